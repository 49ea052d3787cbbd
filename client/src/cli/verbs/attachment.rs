//! `attachment`: files beside an entry.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use lockstep_client::{
    Client, Error,
    porting::{
        Item,
        files::{MAX_FILE_BYTES, MAX_FILES, safe_name},
        item::AttachmentRef,
    },
};
use lockstep_events::{EntryId, VersionId};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::{
    app::{App, Sent, content_of, count, item_of, moving, opened},
    failure::{Done, Exit, Failure},
    find::{Found, shell_word},
    input::{is_there, read},
    output,
    ui::printable,
};

use super::{edit::readable, history::version_of};

/// What to do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep attachment add passport scan.pdf photo.jpg
  tar cz keys | lockstep attachment add server - --name keys.tgz
  lockstep attachment list passport
  lockstep attachment get passport scan.pdf --out ~/Desktop/
  lockstep attachment get server keys.tgz | tar tz
  lockstep attachment get passport old.pdf --version 3   # as `history` numbers it
  lockstep attachment rm passport photo.jpg

Each file is sealed on this device under a key of its own, up to 90 MiB, 32 for an entry. Adding and removing make a \
version, like an edit, and work offline: the file goes out with the next sync, and one that breaks off goes on where \
it stopped. A file that another device added is fetched when you get it, and stays here then. After an entry was \
changed apart, `list` and `get` show the files of every side, and a merge keeps them all.")]
pub struct Attachment {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Add files to an entry
    Add {
        /// Whole name, beginning of the id, or address of the entry
        entry: String,
        /// Files to read; - for standard input, with --name
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// What the file is called, if not as on this disk
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Replace a file of the same name
        #[arg(long)]
        force: bool,
    },
    /// List the files of an entry
    #[command(visible_alias = "ls")]
    List {
        /// Name or a part of it, beginning of the id, or address of the entry
        entry: String,
        /// Number or beginning of the id of an earlier version
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
    },
    /// Write a file of an entry to standard output, or to --out
    Get {
        /// Name or a part of it, beginning of the id, or address of the entry
        entry: String,
        /// Name of the file, or beginning of its id
        file: String,
        /// File or folder to write to; - for standard output
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace what is there
        #[arg(long, requires = "out")]
        force: bool,
        /// Number or beginning of the id of an earlier version
        #[arg(long, value_name = "VERSION")]
        version: Option<String>,
    },
    /// Take files from an entry; earlier versions keep them
    Rm {
        /// Whole name, beginning of the id, or address of the entry
        entry: String,
        /// Names of the files, or beginnings of their ids
        #[arg(required = true)]
        files: Vec<String>,
    },
}

/// A file of an entry, and in which open versions it is.
struct Shown {
    file: AttachmentRef,
    sides: Vec<usize>,
}

/// Adds, lists, gets or takes away.
///
/// # Errors
/// Not found, too large, not to be had.
pub async fn run(args: Attachment, app: &App) -> Done {
    match args.action {
        Action::Add { entry, files, name, force } => add(app, &entry, &files, name.as_deref(), force).await,
        Action::List { entry, version } => list(app, &entry, version.as_deref()).await,
        Action::Get { entry, file, out, force, version } => {
            get(app, (&entry, version.as_deref()), &file, out.as_deref(), force).await
        }
        Action::Rm { entry, files } => rm(app, &entry, &files).await,
    }
}

async fn add(app: &App, wanted: &str, paths: &[PathBuf], name: Option<&str>, force: bool) -> Done {
    let from_input = paths.iter().any(|path| path == Path::new("-"));
    if paths.len() > 1 && (name.is_some() || from_input) || (from_input && name.is_none()) {
        return Err(Failure::usage("--name goes with one file, and standard input takes a name", ""));
    }
    let shown = HumanBytes(MAX_FILE_BYTES).to_string();
    let mut new: Vec<(String, &PathBuf)> = Vec::with_capacity(paths.len());
    for path in paths {
        let called = name.map(Into::into).or_else(|| path.file_name().map(|name| name.to_string_lossy()));
        let called = safe_name(&called.unwrap_or_default());
        if new.iter().any(|(other, _)| *other == called) {
            return Err(taken(&called));
        }
        is_there(path, MAX_FILE_BYTES, (&shown, "nothing was added"))?;
        new.push((called, path));
    }
    let client = app.open().await?;
    let found = app.find_to_change(&client, wanted, false).await?;
    let item = readable(&found)?;
    // Before anything is sealed in vain.
    without(&item, new.iter().map(|(name, _)| name.as_str()), force)?;
    let (mut added, mut bytes) = (Vec::with_capacity(new.len()), 0);
    for (name, path) in new {
        let content = read(path, MAX_FILE_BYTES, (&shown, "nothing was added"))?;
        bytes += content.len() as u64;
        let wheel = app.ui.wheel(&format!("sealing {}", printable(&name)));
        let sealed = client.attach(found.entry.entry, &content).await;
        wheel.finish_and_clear();
        added.push(AttachmentRef::new(name, &sealed?));
    }
    let what = count(added.len() as u64, "file", "files");
    let documents = added.iter().map(document).collect();
    let change = |found: &Found| {
        let mut item = without(&readable(found)?, added.iter().map(|file| file.name.as_str()), force)?;
        item.attachments.extend(added.iter().cloned());
        Ok(item)
    };
    save(app, &client, (found, &change), (format!("{what} added to"), "attachments", documents), bytes).await
}

/// The item with room for new files: what they replace is taken away.
fn without<'a>(item: &Item, names: impl Iterator<Item = &'a str>, force: bool) -> Done<Item> {
    let (mut item, mut new) = (item.clone(), 0);
    for name in names {
        let before = item.attachments.len();
        item.attachments.retain(|file| file.name.as_str() != name);
        if item.attachments.len() < before && !force {
            return Err(taken(name));
        }
        new += 1;
    }
    if item.attachments.len() + new > MAX_FILES {
        return Err(Failure::new(Exit::Refused, format!("an entry has at most {MAX_FILES} files"), ""));
    }
    Ok(item)
}

fn taken(name: &str) -> Failure {
    let message = format!("the entry has a file \"{}\" already", printable(name));
    Failure::new(Exit::Failure, message, "--force replaces it, --name gives another")
}

async fn rm(app: &App, wanted: &str, names: &[String]) -> Done {
    let client = app.open().await?;
    let found = app.find_to_change(&client, wanted, false).await?;
    let item = readable(&found)?;
    let mut removed: Vec<AttachmentRef> = Vec::with_capacity(names.len());
    for name in names {
        let left = item.attachments.iter().filter(|file| removed.iter().all(|gone| gone.id != file.id));
        let shown = left.map(|file| Shown { file: file.clone(), sides: vec![1] });
        let file = pick(shown.collect(), &found, name)?.file;
        removed.push(file);
    }
    let what = count(removed.len() as u64, "file", "files");
    let documents = removed.iter().map(document).collect();
    let change = |found: &Found| {
        let mut item = readable(found)?;
        item.attachments.retain(|file| removed.iter().all(|gone| gone.id != file.id));
        Ok(item)
    };
    save(app, &client, (found, &change), (format!("{what} taken from"), "removed", documents), 0).await
}

/// Saves what is made of an entry, with exactly its files: on top of the version that was shown, or of what another
/// command of this profile has written since.
async fn save(
    app: &App,
    client: &Client,
    (mut found, change): (Found, &impl Fn(&Found) -> Done<Item>),
    (did, key, files): (String, &str, Value),
    bytes: u64,
) -> Done {
    let entry = found.entry.entry;
    let version = loop {
        let item = change(&found)?;
        let (base, content) = ([found.head()?], content_of(&item)?);
        if let Some(version) = client.edit_heads(entry, &base, &content, Some(&item.sealed_files())).await? {
            break version;
        }
        found = opened(client.get(entry).await?);
    };
    if found.entry.divergent {
        let word = shell_word(&found.short_id());
        app.ui.warn(format!("the version shown first was changed, others are open: lockstep resolve {word}"));
    }
    let sent = app.send_files_of(client, &[entry], bytes).await?;
    let divergent = app.apart(client, entry, found.entry.divergent).await?;
    if app.ui.json {
        let sent = sent == Sent::Now;
        return app.ui.document(&json!({
            "entry": entry, "version": version, "sent": sent, "divergent": divergent, key: files,
        }));
    }
    let place = if sent == Sent::Now { "" } else { " on this device" };
    app.ui.done(format!("{did} {}{place}.", printable(&found.name())));
    Ok(())
}

/// New content with exactly the files that it speaks of.
///
/// # Errors
/// If it does not fit an entry.
pub async fn edit(client: &Client, entry: EntryId, base: &[VersionId], item: &Item) -> Done<VersionId> {
    let files = item.sealed_files();
    Ok(client.edit_with(entry, base, &content_of(item)?, &files.iter().collect::<Vec<_>>()).await?)
}

/// The same, if all of `base` are heads still; else none.
///
/// # Errors
/// If it does not fit an entry.
pub async fn edit_heads(
    client: &Client,
    entry: EntryId,
    base: &[VersionId],
    item: &Item,
) -> Done<Option<VersionId>> {
    Ok(client.edit_heads(entry, base, &content_of(item)?, Some(&item.sealed_files())).await?)
}

async fn list(app: &App, wanted: &str, version: Option<&str>) -> Done {
    let client = app.open().await?;
    let found = app.find(&client, wanted).await?;
    let shown = all(&client, &found, version).await?;
    let mut rows = Vec::with_capacity(shown.len());
    let mut documents = Vec::with_capacity(shown.len());
    for Shown { file, sides } in &shown {
        let here = match file.sealed() {
            Some(sealed) => client.has_attachment(&sealed).await?,
            None => false,
        };
        let mut document = document(file);
        document["here"] = here.into();
        let mut row = vec![
            file.name.as_str().to_owned(),
            HumanBytes(file.size).to_string(),
            if here { "here" } else { "on the server" }.to_owned(),
            file.id.chars().take(8).collect(),
        ];
        if found.entry.divergent && version.is_none() {
            document["sides"] = json!(sides);
            row.push(sides.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        }
        documents.push(document);
        rows.push(row);
    }
    if app.ui.json {
        return app.ui.document(&documents);
    }
    if rows.is_empty() {
        app.ui.say("No files.");
        return Ok(());
    }
    let header = ["NAME", "SIZE", "WHERE", "ID", "SIDE"];
    app.ui.table(&header[..rows[0].len()], &rows)
}

async fn get(
    app: &App,
    (wanted, version): (&str, Option<&str>),
    name: &str,
    out: Option<&Path>,
    force: bool,
) -> Done {
    let out = out.filter(|out| !output::is_stdout(out));
    if out.is_none() && app.ui.out_is_terminal {
        return Err(Failure::usage("a file is not shown on a terminal", "--out FILE, or a pipe"));
    }
    if let Some(out) = out.filter(|out| !out.is_dir()) {
        output::is_free(out, force)?;
    }
    let client = app.open().await?;
    let found = app.find(&client, wanted).await?;
    let Shown { file, sides } = pick(all(&client, &found, version).await?, &found, name)?;
    if found.entry.divergent && version.is_none() && !sides.contains(&1) {
        app.ui.warn(format!("this file is on side {} only: lockstep resolve {}", sides[0], found.short_id()));
    }
    let path = out.map(|out| if out.is_dir() { out.join(safe_name(file.name.as_str())) } else { out.into() });
    // Before anything is fetched in vain.
    if let Some(path) = path.as_ref().filter(|path| !force && path.is_file()) {
        let message = format!("{} is there already", path.display());
        return Err(Failure::new(Exit::Failure, message, "--force replaces it"));
    }
    let content = fetch(app, &client, (found.entry.entry, &file)).await?;
    match path {
        None => app.ui.raw(&content),
        Some(path) => {
            output::write(&path, &content, force)?;
            if app.ui.json {
                return app.ui.document(&json!({ "file": path, "name": file.name, "size": file.size }));
            }
            app.ui.done(format!("{} written to {}.", HumanBytes(file.size), path.display()));
            Ok(())
        }
    }
}

/// The bytes of a file: from this device, or from the server.
///
/// # Errors
/// Not here and no server; gone; not authentic.
pub async fn fetch(
    app: &App,
    client: &Client,
    (entry, file): (EntryId, &AttachmentRef),
) -> Done<Zeroizing<Vec<u8>>> {
    let name = printable(file.name.as_str());
    let sealed = file.sealed();
    let sealed = sealed.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("\"{name}\" was left out when the entry was imported"), "")
    })?;
    if app.offline && !client.has_attachment(&sealed).await? {
        let message = format!("\"{name}\" is not on this device");
        return Err(Failure::new(Exit::Offline, message, way_to_it(client).await?));
    }
    let work = client.attachment(entry, &sealed);
    let content = moving(app.ui, client, (&format!("fetching {name}"), file.size), work).await;
    let content = content.map_err(|error| match Failure::from(error) {
        gone @ Failure { exit: Exit::NotFound | Exit::Locked, .. } => {
            Failure { message: format!("\"{name}\": {}", gone.message), ..gone }
        }
        other => other,
    })?;
    Ok(Zeroizing::new(content.to_vec()))
}

/// How this device comes to a file that it does not have: a session that has ended fetches nothing.
async fn way_to_it(client: &Client) -> Done<String> {
    let status = client.status().await?;
    if status.logged_in {
        return Ok("without --offline it is fetched".to_owned());
    }
    Ok(Failure::from(Error::Revoked(status.ended)).advice)
}

/// The files of an earlier version, or of all open versions of an entry.
async fn all(client: &Client, found: &Found, version: Option<&str>) -> Done<Vec<Shown>> {
    if let Some(wanted) = version {
        let item = version_of(client, found.entry.entry, wanted).await?.1;
        return Ok(item.attachments.into_iter().map(|file| Shown { file, sides: vec![1] }).collect());
    }
    readable(found)?;
    let mut all: Vec<Shown> = Vec::new();
    for (head, side) in found.entry.heads.iter().zip(1..) {
        for file in item_of(head).map(|item| item.attachments).unwrap_or_default() {
            match all.iter_mut().find(|shown| shown.file.id == file.id) {
                Some(shown) => shown.sides.push(side),
                None => all.push(Shown { file, sides: vec![side] }),
            }
        }
    }
    Ok(all)
}

/// The one file that is meant: by its name, on the side shown first before others, else by the beginning of its id.
fn pick(all: Vec<Shown>, found: &Found, wanted: &str) -> Done<Shown> {
    let by_name = |shown: &&Shown| shown.file.name.as_str() == wanted;
    let first = |shown: &&Shown| by_name(shown) && shown.sides.contains(&1);
    let by_id = |shown: &&Shown| wanted.len() >= 4 && shown.file.id.starts_with(&wanted.to_lowercase());
    let rules: [&dyn Fn(&&Shown) -> bool; 3] = [&first, &by_name, &by_id];
    let hits = rules.iter().map(|rule| all.iter().filter(rule).collect::<Vec<_>>());
    let hits: Vec<&Shown> = hits.into_iter().find(|hits| !hits.is_empty()).unwrap_or_default();
    let listed = format!("lockstep attachment list {}", found.short_id());
    match hits.as_slice() {
        [] => {
            let message = format!("{} has no file \"{}\"", printable(&found.name()), printable(wanted));
            Err(Failure::new(Exit::NotFound, message, listed))
        }
        [only] => Ok(Shown { file: only.file.clone(), sides: only.sides.clone() }),
        several => {
            let message = format!("{} files match \"{}\"", several.len(), printable(wanted));
            Err(Failure::new(Exit::Ambiguous, message, format!("name one by its id: {listed}")))
        }
    }
}

fn document(file: &AttachmentRef) -> Value {
    json!({ "name": file.name, "size": file.size, "id": file.id })
}
