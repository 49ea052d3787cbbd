//! `import`.

mod places;
mod present;

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use lockstep_client::{
    Client, NewEntry,
    crypto::wipe::Plaintext,
    model::NoRoom,
    porting::{
        Format, ImportError, Imported, Item, archive,
        import::{self, Options},
        item::AttachmentRef,
        portion::inside,
    },
};
use serde_json::{Value, json};

use crate::cli::{
    app::{App, Sent, content_of, count},
    failure::{Done, Exit, Failure},
    ui::printable,
};

use super::export::archive_password;
use places::Place;
use present::OneFile;

/// From where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep import bitwarden_export.json          # or the .zip with attachments
  lockstep import logins.csv --folder Firefox
  lockstep import keepass.xml --dry-run          # what would come over
  lockstep import all.lockstep                   # an encrypted archive of `lockstep export`
  lockstep --vault Old import all.lockstep       # all of it into one vault

Reads Bitwarden JSON and ZIP (unencrypted), CSV of Chrome, Firefox, Safari, KeePass 1 and others with a header line, \
KeePass 2 XML, and our own archives. It is all or nothing: a file that cannot be read to its end, with the attachments \
in it, imports nothing. Entries whose content the vault has are left out and counted, so that an import may be \
repeated. The attachments of Bitwarden's ZIP, of KeePass and of our archives come along, sealed one by one, up to \
90 MiB each, 32 for an entry and 1 GiB in all; what does not fit is left out and named. Other formats hold none. \
What the plan has no room for stays on this device and goes out when there is some, up to 250 entries at once or none of \
them. Delete the file afterwards: it holds every password in clear text.

What `lockstep export` wrote of several vaults goes back into each: into the same vault, else the one of its name, \
else one that is made; with --vault all of it into that one. The one encrypted file of an archive is put if there is \
none; what is there stays, unless --replace-file says otherwise (and in `lockstep file list` even then).")]
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
    /// Also entries that are there already
    #[arg(long)]
    again: bool,
    /// Put the archive's one encrypted file in place of the one that is there
    #[arg(long)]
    replace_file: bool,
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
        imported.all_mut().for_each(|item| item.folder = inside(folder, item.folder.as_str()).into());
    }
    leave_out(&mut imported, args.without_attachments);
    if args.dry_run && Client::profile(&app.home).is_err() {
        imported.notes.push("nobody is logged in here: nothing was compared with a vault".to_owned());
        return without_profile(&imported, app);
    }
    let client = app.open().await?;
    app.refresh(&client).await?;
    let mut plan = plan(&args, app, &client, imported).await?;
    say_notes(&plan.notes, app);
    if args.dry_run {
        return summary(&plan, None, app);
    }
    places::make(app, &client, &mut plan.places).await?;
    let mut prepared = Vec::with_capacity(plan.places.len());
    let saved = save(app, &mut plan.places, &mut prepared).await;
    if let Err(failure) = saved {
        let files = prepared.iter().flatten().flat_map(|entry| &entry.attachments);
        client.detach(files).await?;
        return Err(failure);
    }
    if let OneFile::Put(content, base) = &plan.file {
        client.file_put(base, content).await?;
    }
    let sent = app.send_files(&client, bytes(&plan.places)).await?;
    summary(&plan, Some(sent), app)?;
    say_waiting(app, &client, sent).await
}

/// What is to be done.
struct Plan {
    source: String,
    places: Vec<Place>,
    file: OneFile,
    notes: Vec<String>,
}

async fn plan(args: &Import, app: &App, client: &Client, mut imported: Imported) -> Done<Plan> {
    let mut places = places::of(app, client, &mut imported).await?;
    let (mut there, mut unknown) = (0, 0);
    for place in places.iter_mut().filter(|_| !args.again) {
        unknown += present::leave_out(app, place).await?;
        there += place.there;
    }
    let mut notes = Vec::new();
    if there > 0 {
        let them = count(there, "entry was there already and is", "entries were there already and are");
        notes.push(format!("{them} left out; --again adds what is there all the same"));
    }
    if unknown > 0 {
        let them = count(unknown, "entry has attachments", "entries have attachments");
        notes.push(format!("{them} that cannot be compared now; what may be there already is added"));
    }
    let file = present::one_file(client, imported.file, args.replace_file).await?;
    if matches!(file, OneFile::Other) {
        notes.push(
            "the archive's one encrypted file is left out: another one is there; --replace-file puts it in its place"
                .to_owned(),
        );
    }
    // First, because of many notes not all are shown.
    notes.append(&mut imported.notes);
    Ok(Plan { source: imported.source, places, file, notes })
}

fn read(args: &Import, app: &App) -> Done<Imported> {
    let wheel = app.ui.wheel("reading");
    let bytes = import::load(&args.file).map_err(failure)?;
    if archive::is_archive(&bytes) {
        wheel.finish_and_clear();
        return from_archive(args, &bytes, app);
    }
    let options = Options { with_trash: args.with_trash, without_attachments: args.without_attachments };
    let parsed = import::parse_bytes(bytes, args.format, options);
    wheel.finish_and_clear();
    parsed.map_err(|error| failure(error.of(&args.file)))
}

/// How long all files are.
fn bytes(places: &[Place]) -> u64 {
    let items = places.iter().flat_map(|place| &place.items);
    items.flat_map(|item| &item.attachments).map(|file| file.size).sum()
}

/// Seals all files, and then writes all entries of each vault at once; `prepared` are those whose files were sealed so
/// far and that are not written.
async fn save(app: &App, places: &mut [Place], prepared: &mut Vec<Vec<NewEntry>>) -> Done {
    let bar = app.ui.bytes(bytes(places), "sealing files");
    for place in places.iter_mut() {
        let mut entries = Vec::with_capacity(place.items.len());
        let prepare = prepare(place, &mut entries, &bar).await;
        prepared.push(entries);
        prepare?;
    }
    bar.finish_and_clear();
    let bar = app.ui.progress(prepared.iter().map(|entries| entries.len() as u64).sum(), "sealing");
    for (place, entries) in places.iter().zip(prepared) {
        if let Some(client) = &place.client {
            let before = bar.position();
            client.add_prepared(entries, &mut |n| bar.set_position(before + n as u64)).await?;
        }
        entries.clear();
    }
    bar.finish_and_clear();
    Ok(())
}

/// Seals the files of a vault's new entries.
async fn prepare(place: &mut Place, entries: &mut Vec<NewEntry>, bar: &ProgressBar) -> Done {
    let Some(client) = &place.client else { return Ok(()) };
    for item in &mut place.items {
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
    Ok(())
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
    for item in imported.all_mut() {
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
        import::Place::Line(line) => failure.fact("line", line),
        import::Place::Record(record) => failure.fact("item", record),
        import::Place::File => failure,
    }
}

fn from_archive(args: &Import, bytes: &[u8], app: &App) -> Done<Imported> {
    let password = archive_password(app, false)?;
    let wheel = app.ui.wheel("opening the archive");
    let opened = archive::open(bytes, &password);
    wheel.finish_and_clear();
    opened.map_err(|error| {
        let exit = if error.is_rejected() { Exit::Locked } else { Exit::Failure };
        Failure::new(exit, format!("{}: {error}", args.file.display()), "nothing was imported")
    })
}

/// The first notes one by one, the rest as a number: a KeePass file may have a thousand attachments that do not fit.
fn say_notes(notes: &[String], app: &App) {
    const SHOWN: usize = 10;
    for note in notes.iter().take(SHOWN) {
        app.ui.warn(printable(note));
    }
    if notes.len() > SHOWN {
        app.ui.warn(format!("… and {} more of this kind (--json lists them)", notes.len() - SHOWN));
    }
}

fn without_profile(imported: &Imported, app: &App) -> Done {
    say_notes(&imported.notes, app);
    let file = imported.file.as_ref().map(|_| "in_archive");
    told(&Told::new(imported.all(), &imported.source, &imported.notes), (json!([]), file), None, app)
}

fn summary(plan: &Plan, sent: Option<Sent>, app: &App) -> Done {
    let items = plan.places.iter().flat_map(|place| &place.items);
    let met = plan.places.iter().filter(|place| !place.items.is_empty() || place.there > 0);
    let documents: Vec<Value> = met.clone().map(Place::document).collect();
    told(&Told::new(items, &plan.source, &plan.notes), (documents.into(), plan.file.word()), sent, app)?;
    let several = met.clone().count() > 1 || met.clone().any(Place::is_new);
    for place in met.filter(|place| several && !app.ui.json && !place.items.is_empty()) {
        let new = if place.is_new() { " (a new vault)" } else { "" };
        app.ui.say(format!(
            "  {}{new}: {}",
            place.word(),
            count(place.items.len() as u64, "entry", "entries")
        ));
    }
    if !app.ui.json && matches!(plan.file, OneFile::Put(..)) {
        let done = if sent.is_some() { "was put" } else { "would be put" };
        app.ui.say(format!("  the one encrypted file {done}"));
    }
    Ok(())
}

/// What there is to tell of items that are imported.
struct Told<'a> {
    kinds: BTreeMap<&'static str, u64>,
    files: u64,
    source: &'a str,
    notes: &'a [String],
}

impl<'a> Told<'a> {
    fn new(items: impl Iterator<Item = &'a Item>, source: &'a str, notes: &'a [String]) -> Self {
        let (mut kinds, mut files) = (BTreeMap::new(), 0);
        for item in items {
            *kinds.entry(item.body.word()).or_default() += 1;
            files += item.attachments.len() as u64;
        }
        Self { kinds, files, source, notes }
    }
}

fn told(told: &Told<'_>, (vaults, file): (Value, Option<&str>), sent: Option<Sent>, app: &App) -> Done {
    let Told { kinds, files, source, notes } = told;
    let items = kinds.values().sum::<u64>();
    if app.ui.json {
        let there = |place: &Value| place["already_there"].as_u64().unwrap_or_default();
        let there = vaults.as_array().into_iter().flatten().map(there).sum::<u64>();
        return app.ui.document(&json!({
            "source": source, "items": items, "types": kinds, "attachments": files, "already_there": there,
            "vaults": vaults, "file": file, "notes": notes, "imported": sent.is_some(),
            "sent": sent == Some(Sent::Now),
        }));
    }
    let parts: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    let mut parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    if *files > 0 {
        parts.push_str("; with ");
        parts.push_str(&count(*files, "attachment", "attachments"));
    }
    let done = if sent.is_some() { "imported" } else { "would be imported" };
    app.ui.done(format!("{} {done} from {source}{parts}.", count(items, "entry", "entries")));
    Ok(())
}

/// What the plan has no room for waits: an import is what fills one.
async fn say_waiting(app: &App, client: &Client, sent: Sent) -> Done {
    if sent == Sent::Now || app.offline {
        return Ok(());
    }
    let status = client.status().await?;
    if let Some(NoRoom { what, limit, used, .. }) = &status.no_room {
        let (what, waiting) = (printable(what), count(status.waiting, "change waits", "changes wait"));
        app.ui.warn(format!(
            "the plan has no room for all of it: {what}, limit {limit}, used {used}; {waiting} on this device"
        ));
        app.ui.hint(
            "They go out with a later sync, when there is room: delete something, or have another plan; lockstep plan shows \
             the limits",
        );
    }
    Ok(())
}
