//! `account`: what the server holds about you, and the end of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::second_factor::proven;
use crate::cli::{
    app::{App, count},
    failure::{Done, Failure},
    output::{Out, is_free, is_stdout},
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
        /// File to write; - for standard output
        file: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
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
        Action::Export { file, force } => export(&file, force, app).await,
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

async fn export(file: &std::path::Path, force: bool, app: &App) -> Done {
    is_free(file, force)?;
    let client = app.open().await?;
    // Half an export must not be taken for a whole one, nor stay where somebody else reads it.
    let mut out = Out::open(file, force)?;
    let exported = proven(app, &client, async || client.export_account(&mut out).await).await;
    let exported = exported.map_err(|failure| out.broke().unwrap_or(failure))?;
    out.finish()?;
    if is_stdout(file) {
        return Ok(());
    }
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
    prompt::sure(app.ui, yes, &question, "nothing was erased")?;
    let due = proven(app, &client, async || client.erase_account().await).await?;
    if app.ui.json {
        return app.ui.document(&json!({ "due_at": due.due_at.0 }));
    }
    app.ui.done(format!("The account {name} will be erased at {} UTC.", clock(due.due_at.seconds())));
    app.ui.hint("Until then: lockstep account keep. This device keeps its copy: lockstep export, then lockstep logout.");
    Ok(())
}
