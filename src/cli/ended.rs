//! With which code a command ends that did not do its work.

use std::{error::Error, io::ErrorKind::InvalidData};

use crate::{app::StartError, auth::oidc::IdpsError, config::ConfigError, mail::MailError};

/// It was not said rightly, as clap ends and the client's command does.
const USAGE: u8 = 2;
/// Anything else.
const FAILURE: u8 = 1;

/// How a command was said that cannot be meant so, where only the command itself can tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The exit code: whoever starts a server again and again need not do so for options that are not right.
pub fn code(error: &(dyn Error + Send + Sync + 'static)) -> u8 {
    // A file that is not there may be on a disk that comes later.
    let is_unread = |error: &ConfigError| matches!(error, ConfigError::Read { source, .. } if source.kind() != InvalidData);
    let is_usage = error.is::<Usage>()
        || error.downcast_ref::<ConfigError>().is_some_and(|error| !is_unread(error))
        || error.downcast_ref::<StartError>().is_some_and(is_meant_wrongly);
    if is_usage { USAGE } else { FAILURE }
}

/// Whether an option says what can never be, however often it is tried. What a file has that it names may be mended.
fn is_meant_wrongly(error: &StartError) -> bool {
    #[cfg(feature = "distributed")]
    if matches!(error, StartError::NoDatabase { .. }) {
        return true;
    }
    matches!(
        error,
        StartError::Unsupported { .. }
            | StartError::Mail(MailError::Options(_))
            | StartError::Idps(IdpsError::Address | IdpsError::NotBuilt)
    )
}
