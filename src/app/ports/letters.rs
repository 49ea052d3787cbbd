//! What letters leave by.

use super::StartError;
use crate::{
    adapters::{
        mail_folder::{MailFolder, is_sender},
        smtp::Smtp,
    },
    config::Config,
    mail::Mailer,
};

/// Opens it.
pub fn mailer(config: &Config) -> Result<Box<dyn Mailer>, StartError> {
    if config.mail.expose() == "folder" {
        return Ok(Box::new(MailFolder::new(&config.mail_folder(), &config.mail_from)?));
    }
    Ok(Box::new(smtp(config)?))
}

/// Whether it is something that there can be. Nothing is made.
pub fn is_named(config: &Config) -> Result<(), StartError> {
    if config.mail.expose() == "folder" { Ok(is_sender(&config.mail_from)?) } else { smtp(config).map(drop) }
}

fn smtp(config: &Config) -> Result<Smtp, StartError> {
    let authority = Some(config.mail_ca.as_path()).filter(|file| !file.as_os_str().is_empty());
    Ok(Smtp::new(config.mail.expose(), &config.mail_from, authority)?)
}
