//! `export`.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanBytes;
use lockstep_client::{
    Client,
    crypto::{os_random, password::Password},
    porting::{Item, archive, export::bitwarden_json},
};
use lockstep_events::EntryId;
use serde_json::{Value, json};

use crate::cli::{
    app::{App, count},
    failure::{Done, Exit, Failure},
    find::{Found, vault_word},
    output, prompt,
};

use super::attachment;

/// So many bytes of attachments fit an archive, which is made and opened in memory.
const MAX_FILES: u64 = 256 * 1024 * 1024;
/// The environment variable that holds an archive's password.
const ARCHIVE_VARIABLE: &str = "LOCKSTEP_ARCHIVE_PASSWORD";

/// Where to, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep export vault.lockstep              # encrypted under a password that it asks for
  lockstep export --plain vault.json          # in clear text, readable by Bitwarden
  lockstep --vault Work export work.lockstep  # another vault
  lockstep import vault.lockstep              # brings an archive back

One vault goes into one file, with the entries as they are now: their earlier versions and deleted entries stay where
they are. Other vaults (lockstep --vault NAME export …) and the one encrypted file (lockstep file get) are not in it;
the command says so, if there are any. An archive holds the attachments too: those that are not on this device are
fetched first. The password of an archive comes from a prompt, or from LOCKSTEP_ARCHIVE_PASSWORD. Entries that were
changed apart are exported as the version shown meanwhile.")]
pub struct Export {
    /// File to write; - for standard output
    file: PathBuf,
    /// In clear text, as Bitwarden JSON
    #[arg(long)]
    plain: bool,
    /// Leave the attachments out
    #[arg(long)]
    without_attachments: bool,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Exports a vault.
///
/// # Errors
/// If an entry cannot be opened, or the file is there already.
pub async fn run(args: Export, app: &App) -> Done {
    let client = app.open().await?;
    let all = app.all(&client).await?;
    let divergent = all.iter().filter(|found| found.entry.divergent).count() as u64;
    if divergent > 0 {
        let entries = count(divergent, "entry was", "entries were");
        app.ui.warn(format!(
            "{entries} changed apart; only the version shown meanwhile is exported; see: lockstep conflicts"
        ));
    }
    let (items, files) = with_files(&args, app, &client, readable(all)?).await?;
    let left_out = left_out(app, &client).await?;
    let bytes = if args.plain {
        app.ui.warn("this file holds every password in clear text; delete it as soon as you can");
        format!("{:#}\n", bitwarden_json(&items)).into_bytes()
    } else {
        let password = archive_password(app, true)?;
        let account = client.status().await?.account;
        let wheel = app.ui.wheel("sealing");
        let sealed = archive::seal(&items, &password, account, &mut os_random());
        wheel.finish_and_clear();
        sealed.map_err(|error| Failure::new(Exit::Failure, error.to_string(), ""))?
    };
    if args.file == Path::new("-") {
        return app.ui.raw(&bytes);
    }
    output::write(&args.file, &bytes, args.force)?;
    if app.ui.json {
        return app.ui.document(&json!({
            "file": args.file, "items": items.len(), "attachments": files, "encrypted": !args.plain,
            "divergent": divergent, "left_out": left_out,
        }));
    }
    let how = if args.plain { "in clear text" } else { "encrypted" };
    app.ui.done(format!(
        "{} written to {}, {how}.",
        count(items.len() as u64, "entry", "entries"),
        args.file.display()
    ));
    Ok(())
}

/// What the account has beside this vault: nobody must take the file for all there is.
async fn left_out(app: &App, client: &Client) -> Done<Vec<Value>> {
    let mut left_out = Vec::new();
    let vaults = client.vaults().await?;
    for vault in vaults.iter().filter(|vault| !vault.current) {
        let entries = client.in_vault(vault.vault).await?.status().await?.entries;
        if entries > 0 {
            let (word, them) = (vault_word(&vaults, vault.vault), count(entries, "entry", "entries"));
            app.ui.warn(format!(
                "another vault is not in it, with {them}: lockstep --vault {word} export FILE"
            ));
            left_out.push(json!({ "vault": vault.vault, "name": vault.name, "entries": entries }));
        }
    }
    if let Some((content, _)) = client.in_first_vault().await?.file_get().await? {
        app.ui.warn("the one encrypted file is not in it: lockstep file get --out FILE");
        left_out.push(json!({ "file": true, "bytes": content.len() }));
    }
    Ok(left_out)
}

/// The items with the bytes of their files, if they go along; how many do.
async fn with_files(
    args: &Export,
    app: &App,
    client: &Client,
    all: Vec<(EntryId, Item)>,
) -> Done<(Vec<Item>, u64)> {
    let files = || all.iter().flat_map(|(_, item)| &item.attachments);
    let (number, bytes) = (files().count() as u64, files().map(|file| file.size).sum::<u64>());
    let left_out = args.plain || args.without_attachments;
    if left_out && number > 0 {
        let them = count(number, "attachment is", "attachments are");
        app.ui.warn(format!("{them} left out; `lockstep attachment get` writes one"));
    } else if bytes > MAX_FILES {
        let message = format!("the attachments have {}, more than an archive holds", HumanBytes(bytes));
        return Err(Failure::new(Exit::Refused, message, "--without-attachments leaves them out"));
    }
    let mut items = Vec::with_capacity(all.len());
    for (entry, mut item) in all {
        let mut whole = Vec::new();
        for file in item.attachments.iter().filter(|_| !left_out) {
            whole.push(file.with_content(&attachment::fetch(app, client, (entry, file)).await?));
        }
        item.attachments = whole;
        items.push(item);
    }
    Ok((items, if left_out { 0 } else { number }))
}

fn readable(all: Vec<Found>) -> Done<Vec<(EntryId, Item)>> {
    all.into_iter()
        .map(|found| {
            let (entry, id) = (found.entry.entry, found.short_id());
            found.item.map(|item| (entry, item)).ok_or_else(|| {
                Failure::new(
                    Exit::Failure,
                    format!("entry {id} cannot be opened, so the export would not be whole"),
                    "lockstep sync, then try again",
                )
            })
        })
        .collect()
}

/// The password of an archive: of its own, because an archive outlives the account's password.
///
/// # Errors
/// No terminal to ask at; too weak for a new one.
pub fn archive_password(app: &App, new: bool) -> Done<Password> {
    let given = std::env::var(ARCHIVE_VARIABLE).ok().filter(|password| !password.is_empty());
    if given.is_none() && !app.ui.err_is_terminal {
        let message = "there is no terminal to ask for the archive's password";
        return Err(Failure::new(Exit::Locked, message, format!("set {ARCHIVE_VARIABLE}")));
    }
    let ask = |label: &str| prompt::secret(app.ui, label);
    loop {
        let text = match (&given, new) {
            (Some(text), _) => text.as_str().into(),
            (None, false) => ask("Password of the archive")?,
            (None, true) => {
                let first = ask("New password for the archive")?;
                if ask("Once more")? != first {
                    app.ui.warn("the two are not the same; once again");
                    continue;
                }
                first
            }
        };
        let password = Password::new(text.as_str().to_owned());
        match if new { password.check_new("") } else { Ok(()) } {
            Ok(()) => return Ok(password),
            Err(error) if given.is_none() => app.ui.warn(error.to_string()),
            Err(error) => {
                return Err(Failure::usage(
                    error.to_string(),
                    "`lockstep generate --words 6` makes a good one",
                ));
            }
        }
    }
}
