//! `file`: the one encrypted file of an account.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockstep_client::Client;
use lockstep_events::VersionId;
use serde_json::json;

use crate::cli::{
    app::{App, Sent, count},
    failure::{Done, Exit, Failure},
    input::{is_there, read},
    output,
};

use super::file_versions;

/// The most that fits.
const MAX_FILE: u64 = 56 * 1024;

/// What to do with it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep file put notes.kdbx
  lockstep file get > notes.kdbx
  lockstep file get --out notes.kdbx --force  # over the one that is there
  tar cz dotfiles | lockstep file put -
  lockstep file list                          # what was put before, newest first
  lockstep file get --version 3f2a9c          # an earlier one
  lockstep file resolve                       # after it was put apart on two devices: the sides
  lockstep file resolve --keep 2              # side 2 stays, the others are in the list
  lockstep file resolve --keep-both copies/   # side 1 stays, the others are written into a folder

One opaque file per account, up to 56 KiB, encrypted on this device. `put` replaces what `get`, \
`put` or `resolve` had on this device last. What another device put meanwhile stays beside it. \
Of several sides `get` shows one, and the next `put` replaces only that one; `resolve` chooses.")]
pub struct File {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Print the file
    Get {
        /// Write to this file instead; - for standard output
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long, requires = "out")]
        force: bool,
        /// An earlier version, by its number in `list` or the beginning of its id
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
    },
    /// List what was put, newest first
    List(file_versions::List),
    /// Choose, where it was put apart on several devices
    Resolve(file_versions::Resolve),
    /// Replace the file as a whole
    Put {
        /// File to read; - for standard input
        file: PathBuf,
    },
}

/// Gets, puts, lists or resolves.
///
/// # Errors
/// No file yet; too long; nothing chosen.
pub async fn run(args: File, app: &App) -> Done {
    let most = format!("{} KiB", MAX_FILE / 1024);
    let most = (most.as_str(), "lockstep attachment add ENTRY FILE takes longer ones, beside an entry");
    // Before the password is asked for.
    match &args.action {
        Action::Put { file } => is_there(file, MAX_FILE, most)?,
        Action::Get { out: Some(out), force, .. } => output::is_free(out, *force)?,
        _ => {}
    }
    // The one file is in the vault that the account began with, whatever vault the profile works with.
    let client = app.open().await?.in_first_vault().await?;
    app.refresh(&client).await?;
    let present = client.file_get().await?;
    match args.action {
        Action::List(args) => file_versions::list(&args, app, &client).await,
        Action::Resolve(args) => file_versions::resolve(&args, app, &client).await,
        Action::Get { out, force, version } => {
            let Some((mut content, heads)) = present else {
                return Err(none_yet());
            };
            let is_present = version.is_none();
            if let Some(wanted) = version {
                content = file_versions::one(&client, &wanted).await?;
            } else if heads.len() > 1 {
                app.ui.warn(
                    "the file was put apart on several devices; this is the version shown meanwhile: \
                     lockstep file resolve",
                );
            }
            // An earlier version is no base to put another on, nor is a side of which nothing was written.
            let seen: Vec<VersionId> = heads.into_iter().take(usize::from(is_present)).collect();
            let Some(path) = out.filter(|out| !output::is_stdout(out)) else {
                app.ui.raw(&content)?;
                return see(&client, &seen).await;
            };
            output::write(&path, &content, force)?;
            see(&client, &seen).await?;
            if app.ui.json {
                return app.ui.document(&json!({ "file": path, "bytes": content.len() }));
            }
            app.ui.done(format!(
                "{} written to {}.",
                count(content.len() as u64, "byte", "bytes"),
                path.display()
            ));
            Ok(())
        }
        Action::Put { file } => {
            let content = read(&file, MAX_FILE, most)?;
            let version = client.file_put_on_seen(&content).await?;
            let sent = app.send_of(&client, &[client.file_entry()]).await?;
            if client.get(client.file_entry()).await?.divergent {
                app.ui.warn(
                    "another one, put apart and not got here last, stays beside it; choose with: lockstep file resolve",
                );
            }
            if app.ui.json {
                return app.ui.document(
                    &json!({ "version": version, "bytes": content.len(), "sent": sent == Sent::Now }),
                );
            }
            app.ui.done(format!("{} put.", count(content.len() as u64, "byte", "bytes")));
            Ok(())
        }
    }
}

/// Keeps which versions a person was shown: the next `put` stands on them.
async fn see(client: &Client, shown: &[VersionId]) -> Done {
    if !shown.is_empty() {
        client.file_see(shown).await?;
    }
    Ok(())
}

/// There is no file.
pub fn none_yet() -> Failure {
    Failure::new(Exit::NotFound, "there is no file yet", "lockstep file put FILE")
}
