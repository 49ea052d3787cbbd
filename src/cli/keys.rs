//! `lockstepd keys`: the keys that sign access tokens. Works beside a running server, which takes the change over
//! within a second.

use std::io::Write;

use clap::Subcommand;
use lockstep_events::Clock;
use rand::rngs::OsRng;

use super::{AnyError, shown::at};
use crate::{
    app, auth::signing_keys::KeySet, clock::SystemClock, commands::rotate_key::OperatorKeys, config::Config,
};

/// What to do with the keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys with their states.
    List,
    /// Let the next key sign from now on.
    Rotate,
    /// Refuse every token that a key has signed.
    Revoke {
        /// The key's id, as `list` shows it.
        kid: String,
    },
}

/// Runs a command.
///
/// # Errors
/// Whatever the stores say.
pub async fn run(
    command: KeysCommand,
    config: &Config,
    out: &mut (impl Write + Send),
) -> Result<(), AnyError> {
    let tools = app::tools(config).await?;
    let operator = OperatorKeys {
        store: &*tools.credentials,
        log: &*tools.log,
        keys: &tools.keys,
        now: SystemClock.now(),
    };
    let set = match command {
        KeysCommand::List => KeySet::new(tools.credentials.signing_keys().await?, &tools.keys),
        KeysCommand::Rotate => {
            let set = operator.rotate(&mut OsRng).await?;
            let kid = set.current().map_or("no key", |(kid, _)| kid);
            writeln!(
                out,
                "{kid} signs from now on; what the key before it has signed is valid until it expires"
            )?;
            set
        }
        KeysCommand::Revoke { kid } => {
            let set = operator.revoke(&kid, &mut OsRng).await?;
            writeln!(out, "What {kid} has signed is refused from now on")?;
            set
        }
    };
    for row in set.rows() {
        writeln!(out, "{}  {:<8}  since {}", row.kid, row.state.name(), at(row.changed_at.seconds()))?;
    }
    Ok(())
}
