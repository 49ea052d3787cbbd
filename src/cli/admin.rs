//! `lockstepd admin`: the first administrator. Works beside a running server or without one.

use std::io::Write;

use clap::Subcommand;
use lockstep_events::{Clock, Micros};
use rand::rngs::OsRng;

use super::{AnyError, shown};
use crate::{
    app,
    clock::SystemClock,
    commands::admin::bootstrap::{Opened, open},
    config::{Config, Registration},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make a new one-time token for a server that never had an administrator. An earlier token is void then.
    Bootstrap {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
///
/// # Errors
/// If there was an administrator; whatever the stores say.
pub async fn run(
    command: AdminCommand,
    config: &Config,
    out: &mut (impl Write + Send),
) -> Result<(), AnyError> {
    let AdminCommand::Bootstrap { json } = command;
    let tools = app::tools(config).await?;
    let (file, now) = (config.bootstrap_path(), SystemClock.now());
    let opened = open(&*tools.log, &tools.keys, &file, now, &mut OsRng).await?;
    if json {
        let document = serde_json::json!({ "token": opened.token, "until": opened.until });
        return Ok(writeln!(out, "{document}")?);
    }
    let office = config.admin_apart.then(|| format!("https://{}", config.admin_listen));
    print(&opened, office.as_deref(), out)?;
    if config.registration == Registration::Invited {
        let token = &opened.token;
        writeln!(out, "Who has no account registers with it before: lockstep register --invitation {token}")?;
    }
    Ok(())
}

/// Says what the token is for.
///
/// # Errors
/// If nothing can be written.
pub fn print(opened: &Opened, at: Option<&str>, out: &mut impl Write) -> Result<(), AnyError> {
    let at = at.map(|url| format!("--at {url} ")).unwrap_or_default();
    let token = &opened.token;
    writeln!(out, "First administrator, once, within 30 minutes: lockstep admin {at}bootstrap {token}")?;
    Ok(())
}

/// Says that a token of before can be used still.
///
/// # Errors
/// If nothing can be written.
pub fn print_earlier(until: Micros, out: &mut impl Write) -> Result<(), AnyError> {
    let until = shown::at(until.seconds());
    writeln!(
        out,
        "First administrator: the token of an earlier start is valid until {until}; `lockstepd admin bootstrap` makes another"
    )?;
    Ok(())
}
