//! `import`.

use std::path::PathBuf;

use clap::Args;
use lockstep_client::{
    Client, NewEntry,
    crypto::wipe::Plaintext,
    porting::{
        Format, ImportError, Imported, Item, Secret, archive,
        import::{self, Options, Place},
        item::AttachmentRef,
    },
};
use serde_json::json;

use crate::cli::{
    app::{App, Sent, content_of, count},
    failure::{Done, Exit, Failure},
    ui::printable,
};

use super::export::archive_password;

/// From where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep import bitwarden_export.json
  lockstep import logins.csv --folder Firefox
  lockstep import keepass.xml --dry-run          # what would come over
  lockstep import vault.lockstep                 # an encrypted archive of `lockstep export`

Reads Bitwarden JSON (unencrypted), CSV of Chrome, Firefox, Safari, KeePass 1 and others with a header line, KeePass 2
XML, and our own archives. It is all or nothing: a file that cannot be read to its end, with the attachments in it,
imports nothing. The attachments of KeePass and of our archives come along, sealed one by one, up to 90 MiB each, 32
for an entry and 1 GiB in all; what does not fit is left out and named. Other formats hold none. Delete the file
afterwards: it holds every password in clear text.")]
pub struct Import {
    /// File, or - for standard input
    file: PathBuf,
    /// Format, if it should not be recognised: bitwarden, csv, keepass
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Put everything into this folder
    #[arg(long, value_name = "PATH")]
    folder: Option<String>,
    /// Also what lies in the other program's bin
    #[arg(long)]
    with_trash: bool,
    /// Leave the attachments out
    #[arg(long)]
    without_attachments: bool,
    /// Only say what would be imported
    #[arg(long)]
    dry_run: bool,
}

/// Imports a file.
///
/// # Errors
/// If the file is not good; nothing is imported then.
pub async fn run(args: Import, app: &App) -> Done {
    let mut imported = read(&args, app)?;
    if let Some(folder) = &args.folder {
        for item in &mut imported.items {
            item.folder = Secret::new(match item.folder.as_str() {
                "" => folder.clone(),
                inner => format!("{folder}/{inner}"),
            });
        }
    }
    leave_out(&mut imported, args.without_attachments);
    say_notes(&imported, app);
    if args.dry_run {
        return summary(&imported, "would be imported", None, app);
    }
    let client = app.open().await?;
    let mut entries = Vec::with_capacity(imported.items.len());
    let saved = save(app, &client, &mut imported.items, &mut entries).await;
    if let Err(failure) = saved {
        let files = entries.iter().flat_map(|entry| &entry.attachments);
        client.detach(files).await?;
        return Err(failure);
    }
    let sent = app.send_files(&client, bytes(&imported.items)).await?;
    summary(&imported, "imported", Some(sent), app)
}

fn read(args: &Import, app: &App) -> Done<Imported> {
    let wheel = app.ui.wheel("reading");
    let bytes = import::load(&args.file).map_err(failure)?;
    if bytes.starts_with(archive::MAGIC) {
        wheel.finish_and_clear();
        return from_archive(args, &bytes, app);
    }
    let options = Options { with_trash: args.with_trash, without_attachments: args.without_attachments };
    let parsed = import::parse_bytes(bytes, args.format, options);
    wheel.finish_and_clear();
    parsed.map_err(|error| failure(error.of(&args.file)))
}

/// How long all files of some items are.
fn bytes(items: &[Item]) -> u64 {
    items.iter().flat_map(|item| &item.attachments).map(|file| file.size).sum()
}

/// Seals all files, and then writes all entries at once; `entries` are those whose files were sealed so far.
async fn save(app: &App, client: &Client, items: &mut [Item], entries: &mut Vec<NewEntry>) -> Done {
    let bar = app.ui.bytes(bytes(items), "sealing files");
    for item in items.iter_mut() {
        entries.push(NewEntry {
            entry: client.new_entry(),
            content: Plaintext::default(),
            attachments: Vec::with_capacity(item.attachments.len()),
        });
        let Some(new) = entries.last_mut() else { continue };
        for file in &mut item.attachments {
            seal(client, file, new).await?;
            bar.inc(file.size);
        }
        new.content = Plaintext::new(content_of(item)?.to_vec());
    }
    bar.finish_and_clear();
    let bar = app.ui.progress(entries.len() as u64, "sealing");
    let position = bar.clone();
    let saved = client.add_prepared(entries, &mut |n| position.set_position(n as u64)).await;
    bar.finish_and_clear();
    Ok(saved?)
}

async fn seal(client: &Client, file: &mut AttachmentRef, new: &mut NewEntry) -> Done {
    let content = file.take_content().ok_or_else(|| {
        let message = format!("the attachment \"{}\" is not whole", printable(file.name.as_str()));
        Failure::new(Exit::Failure, message, "nothing was imported")
    })?;
    let attachment = client.attach(new.entry, &content).await?;
    *file = AttachmentRef::new(file.name.clone(), &attachment);
    new.attachments.push(attachment);
    Ok(())
}

/// What a file says of attachments without holding them means nothing here; and if `all`, none is taken.
fn leave_out(imported: &mut Imported, all: bool) {
    let (mut absent, mut left_out) = (0, 0);
    for item in &mut imported.items {
        let named = item.attachments.len();
        item.attachments.retain(AttachmentRef::has_content);
        absent += named - item.attachments.len();
        if all {
            left_out += std::mem::take(&mut item.attachments).len();
        }
    }
    for (n, why) in [(absent, "named in the file and not held by it"), (left_out, "left out")] {
        if n > 0 {
            let them = count(n as u64, "attachment is", "attachments are");
            imported.notes.push(format!("{them} {why}"));
        }
    }
}

fn failure(error: ImportError) -> Failure {
    let exit = if error.problem.starts_with("cannot be read (") { Exit::NotFound } else { Exit::Failure };
    let message = format!("{}{}: {}", error.file, error.place, error.problem);
    let failure = Failure::new(exit, message, format!("{}. Nothing was imported", error.advice));
    match error.place {
        Place::Line(line) => failure.fact("line", line),
        Place::Record(record) => failure.fact("item", record),
        Place::File => failure,
    }
}

fn from_archive(args: &Import, bytes: &[u8], app: &App) -> Done<Imported> {
    let password = archive_password(app, false)?;
    let wheel = app.ui.wheel("opening the archive");
    let opened = archive::open(bytes, &password);
    wheel.finish_and_clear();
    let items = opened.map_err(|error| {
        let exit = if error.is_rejected() { Exit::Locked } else { Exit::Failure };
        Failure::new(exit, format!("{}: {error}", args.file.display()), "nothing was imported")
    })?;
    Ok(Imported { items, notes: Vec::new(), source: "Lockstep archive".into() })
}

/// The first notes one by one, the rest as a number: a KeePass file may have a thousand attachments that do not fit.
fn say_notes(imported: &Imported, app: &App) {
    const SHOWN: usize = 10;
    for note in imported.notes.iter().take(SHOWN) {
        app.ui.warn(printable(note));
    }
    if imported.notes.len() > SHOWN {
        app.ui.warn(format!("… and {} more of this kind (--json lists them)", imported.notes.len() - SHOWN));
    }
}

fn summary(imported: &Imported, done: &str, sent: Option<Sent>, app: &App) -> Done {
    let mut kinds = std::collections::BTreeMap::<&str, u64>::new();
    for item in &imported.items {
        *kinds.entry(item.body.word()).or_default() += 1;
    }
    let files = imported.items.iter().map(|item| item.attachments.len() as u64).sum::<u64>();
    if app.ui.json {
        return app.ui.document(&json!({
            "source": imported.source, "items": imported.items.len(), "types": kinds, "attachments": files,
            "notes": imported.notes, "imported": sent.is_some(), "sent": sent == Some(Sent::Now),
        }));
    }
    let parts: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    let mut parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    if files > 0 {
        parts.push_str("; with ");
        parts.push_str(&count(files, "attachment", "attachments"));
    }
    let entries = count(imported.items.len() as u64, "entry", "entries");
    app.ui.done(format!("{entries} {done} from {}{parts}.", imported.source));
    Ok(())
}
