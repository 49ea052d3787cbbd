//! `export`.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use lockstep_client::{
    Client,
    crypto::{os_random, password::Password, wipe::Plaintext},
    model::Vault,
    porting::{
        Item, archive,
        export::bitwarden_json_of,
        item::AttachmentRef,
        portion::{Origin, Portion},
    },
};
use lockstep_events::EntryId;
use serde_json::{Value, json};

use crate::cli::{
    app::{App, count},
    failure::{Done, Exit, Failure},
    find::{Found, vault_word},
    output, prompt,
    ui::printable,
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
  lockstep export all.lockstep                # encrypted under a password that it asks for
  lockstep export --plain vault.json          # in clear text, readable by Bitwarden
  lockstep --vault Work export work.lockstep  # only this vault
  lockstep import all.lockstep                # brings an archive back

An archive is a whole backup: every vault with its entries and their attachments (those that are not on this device \
are fetched first), and the one encrypted file. With --vault only that vault is in it, without the one file. The \
entries are as they are now: their earlier versions and deleted entries stay where they are, and of what was changed \
apart the version shown meanwhile is taken. A file that is not here and cannot be fetched, because the server does not \
have it, the session has ended, or of --offline, is named and left out; the rest is written, and the exit code is 1. \
The password of an archive comes from a prompt, or from LOCKSTEP_ARCHIVE_PASSWORD.

--plain writes what Bitwarden reads: a further vault is a folder there, and `lockstep import` knows the vaults again. \
It has no place for attachments and the one encrypted file; the command says so, if there are any.")]
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

/// A vault that is exported.
struct Taken {
    client: Client,
    origin: Origin,
    all: Vec<(EntryId, Item)>,
}

/// What is exported, and what is not.
#[derive(Default)]
struct Collected {
    vaults: Vec<Portion>,
    attachments: u64,
    file: Option<Plaintext>,
    divergent: u64,
    left_out: Vec<Value>,
    gone: u64,
}

/// Exports the vaults.
///
/// # Errors
/// If an entry cannot be opened, or the file is there already; and if an attachment is not in what was written.
pub async fn run(args: Export, app: &App) -> Done {
    output::is_free(&args.file, args.force)?;
    let client = app.open().await?;
    let collected = collect(&args, app, &client).await?;
    let gone = collected.gone;
    written(&args, app, &client, collected).await?;
    if gone == 0 {
        return Ok(());
    }
    let message = format!("{} not in it", count(gone, "attachment is", "attachments are"));
    Err(Failure::new(Exit::Failure, message, "the lines above name each; all else is written"))
}

async fn written(args: &Export, app: &App, client: &Client, mut collected: Collected) -> Done {
    let vaults = std::mem::take(&mut collected.vaults);
    let shown: Vec<Value> = vaults.iter().map(document).collect();
    let items = vaults.iter().map(|portion| portion.items.len() as u64).sum::<u64>();
    let bytes = if args.plain {
        app.ui.warn("this file holds every password in clear text; delete it as soon as you can");
        format!("{:#}\n", bitwarden_json_of(&vaults)).into_bytes()
    } else {
        let password = archive_password(app, true)?;
        let account = client.status().await?.account;
        let wheel = app.ui.wheel("sealing");
        let sealed = archive::seal((vaults, collected.file.as_deref()), &password, account, &mut os_random());
        wheel.finish_and_clear();
        sealed.map_err(|error| Failure::new(Exit::Failure, error.to_string(), ""))?
    };
    output::write(&args.file, &bytes, args.force)?;
    if output::is_stdout(&args.file) {
        return Ok(());
    }
    if app.ui.json {
        return app.ui.document(&json!({
            "file": args.file, "items": items, "vaults": shown, "attachments": collected.attachments,
            "one_file": collected.file.map(|file| file.len()), "encrypted": !args.plain,
            "divergent": collected.divergent, "left_out": collected.left_out,
        }));
    }
    let mut what = count(items, "entry", "entries");
    if shown.len() > 1 {
        what += &format!(" of {} vaults", shown.len());
    }
    if collected.attachments > 0 {
        what += &format!(", {}", count(collected.attachments, "attachment", "attachments"));
    }
    if collected.file.is_some() {
        what += " and the one file";
    }
    let how = if args.plain { "in clear text" } else { "encrypted" };
    app.ui.done(format!("{what} written to {}, {how}.", args.file.display()));
    Ok(())
}

fn document(portion: &Portion) -> Value {
    json!({ "vault": portion.vault.id, "name": portion.vault.name, "items": portion.items.len() })
}

async fn collect(args: &Export, app: &App, client: &Client) -> Done<Collected> {
    let mut collected = Collected::default();
    let (mut taken, vaults) = (Vec::new(), client.vaults().await?);
    for (nth, vault) in vaults.iter().enumerate() {
        let at = client.in_vault(vault.vault).await?;
        if app.vault.is_some() && !vault.current {
            let entries = at.status().await?.entries;
            if entries > 0 {
                say_left_out(app, &vaults, (vault, entries), &mut collected);
            }
            continue;
        }
        if vault.deleted && vault.left == 0 {
            continue;
        }
        let all = app.all(&at).await?;
        collected.divergent += all.iter().filter(|found| found.entry.divergent).count() as u64;
        let name = vault.name.as_deref().or(vault.was.as_deref()).map(Into::into);
        let origin = Origin { id: vault.vault, name, first: nth == 0 };
        taken.push(Taken { client: at, origin, all: readable(all)? });
    }
    if collected.divergent > 0 {
        let entries = count(collected.divergent, "entry was", "entries were");
        app.ui.warn(format!(
            "{entries} changed apart; only the version shown meanwhile is exported; see: lockstep conflicts"
        ));
    }
    let with = with_files(args, app, &taken, &mut collected)?;
    for Taken { client, origin, all } in taken {
        let items = whole(app, &client, (all, with), &mut collected).await?;
        collected.vaults.push(Portion { vault: origin, items });
    }
    take_file(args, app, client, &mut collected).await?;
    let refused = client.quarantine().await?.len() as u64;
    if refused > 0 {
        let changes = count(refused, "change is", "changes are");
        app.ui.warn(format!(
            "{changes} not in it, because the server refused them for good; see: lockstep status"
        ));
        collected.left_out.push(json!({ "refused": refused }));
    }
    Ok(collected)
}

fn say_left_out(app: &App, vaults: &[Vault], (vault, entries): (&Vault, u64), collected: &mut Collected) {
    let (word, them) = (vault_word(vaults, vault.vault), count(entries, "entry", "entries"));
    app.ui.warn(format!("another vault is not in it, with {them}: lockstep --vault {word} export FILE"));
    collected.left_out.push(json!({ "vault": vault.vault, "name": vault.name, "entries": entries }));
}

fn say_gone(
    app: &App,
    (entry, item): (EntryId, &Item),
    file: &AttachmentRef,
    (why, collected): (&Failure, &mut Collected),
) {
    let advice = if why.advice.is_empty() { String::new() } else { format!("; {}", why.advice) };
    let name = printable(item.name.as_str());
    app.ui.warn(format!("{name}: a file is not in it: {}{advice}", why.message));
    collected.left_out.push(json!({ "entry": entry, "attachment": file.name, "bytes": file.size }));
    collected.attachments -= 1;
    collected.gone += 1;
}

/// The one file goes with all vaults.
async fn take_file(args: &Export, app: &App, client: &Client, collected: &mut Collected) -> Done {
    let Some((content, heads)) = client.file_get().await? else { return Ok(()) };
    if args.plain || app.vault.is_some() {
        app.ui.warn("the one encrypted file is not in it: lockstep file get --out FILE");
        collected.left_out.push(json!({ "file": true, "bytes": content.len() }));
        return Ok(());
    }
    if heads.len() > 1 {
        app.ui.warn(
            "the one file was put apart; only the version shown meanwhile is exported; see: lockstep file resolve",
        );
    }
    collected.file = Some(content);
    Ok(())
}

/// Whether the attachments go along.
fn with_files(args: &Export, app: &App, taken: &[Taken], collected: &mut Collected) -> Done<bool> {
    let items = || taken.iter().flat_map(|taken| &taken.all);
    let files = || items().flat_map(|(_, item)| &item.attachments);
    let (number, bytes) = (files().count() as u64, files().map(|file| file.size).sum::<u64>());
    if args.plain || args.without_attachments {
        if number > 0 {
            let them = count(number, "attachment is", "attachments are");
            app.ui.warn(format!("{them} left out; `lockstep attachment get` writes one"));
            collected.left_out.push(json!({ "attachments": number, "bytes": bytes }));
        }
        return Ok(false);
    }
    if bytes > MAX_FILES {
        let message = format!("the attachments have {}, more than an archive holds", HumanBytes(bytes));
        let advice = match taken.len() {
            1 => "--without-attachments leaves them out",
            _ => "one vault alone may fit, with --vault; --without-attachments leaves them out",
        };
        return Err(Failure::new(Exit::Refused, message, advice));
    }
    collected.attachments = number;
    Ok(true)
}

/// Whether an export goes on without a file: nobody has it, or this device alone has to do, by --offline or because its
/// session has ended. A server that is away for a moment is waited for by a person.
fn is_out_of_reach(app: &App, why: &Failure) -> bool {
    matches!(why.exit, Exit::NotFound | Exit::Locked) || (app.offline && why.exit == Exit::Offline)
}

/// A file is not to be had now, with the way to have the rest.
fn or_without(away: Failure) -> Failure {
    let rest = "without the files that are not on this device: lockstep export --offline FILE";
    let advice = if away.advice.is_empty() { rest.to_owned() } else { format!("{}; {rest}", away.advice) };
    Failure { advice, ..away }
}

/// The items of a vault, with the bytes of their files or without files. A file that is not to be had stops none of the
/// rest.
async fn whole(
    app: &App,
    client: &Client,
    (all, with_files): (Vec<(EntryId, Item)>, bool),
    collected: &mut Collected,
) -> Done<Vec<Item>> {
    let mut items = Vec::with_capacity(all.len());
    for (entry, mut item) in all {
        let mut files = Vec::new();
        for file in item.attachments.iter().filter(|_| with_files) {
            match attachment::fetch(app, client, (entry, file)).await {
                Ok(content) => files.push(file.with_content(&content)),
                Err(gone) if is_out_of_reach(app, &gone) => {
                    say_gone(app, (entry, &item), file, (&gone, collected))
                }
                Err(away) if away.exit == Exit::Offline => return Err(or_without(away)),
                Err(other) => return Err(other),
            }
        }
        item.attachments = files;
        items.push(item);
    }
    Ok(items)
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
