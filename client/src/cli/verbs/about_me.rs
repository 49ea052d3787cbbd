//! `account`: what the server holds about you, and the end of it.

use std::{os::unix::fs::OpenOptionsExt, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::second_factor::proven;
use crate::cli::{
    app::{App, count},
    failure::{Done, Exit, Failure},
    prompt,
};

use super::watch::clock;

/// What about it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep account export everything.jsonl   # all that the server holds about you, with a signed manifest
  lockstep account delete                    # erases the account, after a time to think about it
  lockstep account keep                      # … or not")]
pub struct Account {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Write all that the server holds about you: events, ciphertexts, sessions, devices
    Export {
        /// A file that does not exist yet
        file: PathBuf,
    },
    /// Erase the account on the server, for good
    Delete {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Call the erasure off
    Keep,
}

/// Exports, deletes or keeps.
///
/// # Errors
/// Offline, or nothing to call off.
pub async fn run(args: Account, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("account needs the server", "leave --offline away"));
    }
    match args.action {
        Action::Export { file } => export(&file, app).await,
        Action::Delete { yes } => delete(yes, app).await,
        Action::Keep => {
            app.open().await?.keep_account().await?;
            if app.ui.json {
                return app.ui.document(&json!({ "kept": true }));
            }
            app.ui.done("The account stays.");
            Ok(())
        }
    }
}

async fn export(file: &std::path::Path, app: &App) -> Done {
    let client = app.open().await?;
    // Who may read the account's devices, sessions and letters is its owner.
    let mut options = std::fs::File::options();
    options.write(true).create_new(true).mode(0o600);
    let mut out = options.open(file).map_err(|error| {
        Failure::new(Exit::Refused, format!("{}: {error}", file.display()), "name a file that does not exist")
    })?;
    let exported = match proven(app, &client, async || client.export_account(&mut out).await).await {
        Ok(exported) => exported,
        Err(error) => {
            // Half an export must not be taken for a whole one.
            let _ = std::fs::remove_file(file);
            return Err(error);
        }
    };
    out.sync_all()?;
    if app.ui.json {
        return app.ui.document(&json!({ "file": file, "lines": exported.lines, "bytes": exported.bytes }));
    }
    let lines = count(exported.lines, "line", "lines");
    app.ui.done(format!("{lines} in {}, signed by the server.", file.display()));
    Ok(())
}

async fn delete(yes: bool, app: &App) -> Done {
    let client = app.open().await?;
    let name = client.status().await?.name;
    let question = format!("Erase the account {name} with everything in it, on the server and for good?");
    if !yes && !prompt::confirm(app.ui, &question)? {
        return Err(Failure::usage("nothing was erased", "without a terminal to ask at, --yes is needed"));
    }
    let due = proven(app, &client, async || client.erase_account().await).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "due_at": due.due_at.0 }));
    }
    app.ui.done(format!("The account {name} will be erased at {} UTC.", clock(due.due_at.seconds())));
    app.ui.hint("Until then: lockstep account keep. This device keeps its copy: lockstep export, then lockstep logout.");
    Ok(())
}
