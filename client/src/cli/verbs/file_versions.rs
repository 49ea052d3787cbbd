//! `file list` and `file resolve`: earlier versions of the one encrypted file, and the sides of its conflict.

use std::{fs, path::PathBuf};

use clap::Args;
use lockstep_client::{
    Client,
    crypto::wipe::Plaintext,
    model::{Content, Entry, Resolution, VersionView},
};
use lockstep_events::VersionKind;
use serde_json::{Value, json};

use crate::cli::{
    app::{App, Sent},
    failure::{Done, Exit, Failure},
    output,
};

use super::{
    file::none_yet,
    history::{device, did, when},
};

/// Digits of a version's id that a person sees.
const SHORT: usize = 12;

/// How many.
#[derive(Debug, Args)]
pub struct List {
    /// At most so many, newest first
    #[arg(long, value_name = "N", default_value_t = 10)]
    last: usize,
}

/// What stays.
#[derive(Debug, Args)]
pub struct Resolve {
    /// Keep this side: its number, or the beginning of its version's id
    #[arg(long, value_name = "SIDE")]
    keep: Option<String>,
    /// Write the sides that are not kept into this folder; without --keep side 1 stays
    #[arg(long, value_name = "FOLDER")]
    keep_both: Option<PathBuf>,
}

fn short(version: &VersionView) -> String {
    version.version.to_string().chars().take(SHORT).collect()
}

fn size(content: &Content) -> String {
    match content {
        Content::Here(bytes) => bytes.len().to_string(),
        Content::None => "deleted".to_owned(),
        Content::Missing => "not here".to_owned(),
        Content::Gone => "pruned".to_owned(),
        Content::Rejected => "does not open".to_owned(),
    }
}

fn document(version: &VersionView, number: usize, head: bool) -> Value {
    json!({
        "number": number, "version": version.version, "kind": version.kind, "device": version.device,
        "time": version.client_time, "seq": version.seq, "head": head, "branch": version.branch,
        "bytes": version.content.bytes().map(<[u8]>::len),
    })
}

/// Every version of the file, newest first.
async fn versions(client: &Client) -> Done<Vec<VersionView>> {
    let mut all = client.history(client.file_entry()).await.map_err(|error| match error {
        lockstep_client::Error::NotFound => none_yet(),
        other => other.into(),
    })?;
    all.reverse();
    Ok(all)
}

/// Lists what was put.
///
/// # Errors
/// No file yet.
pub async fn list(args: &List, app: &App, client: &Client) -> Done {
    let mut all = versions(client).await?;
    let heads = client.get(client.file_entry()).await?.head_ids();
    all.truncate(args.last);
    let is_head = |version: &VersionView| heads.contains(&version.version);
    if app.ui.json {
        let documents: Vec<Value> =
            (1..).zip(&all).map(|(number, version)| document(version, number, is_head(version))).collect();
        return app.ui.document(&documents);
    }
    let own = client.status().await?.device;
    let rows: Vec<Vec<String>> = (1_usize..)
        .zip(&all)
        .map(|(number, version)| {
            vec![
                format!("{} {number}", if is_head(version) { "●" } else { " " }),
                when(version),
                did(version.kind).to_owned(),
                device(version.device, own),
                size(&version.content),
                short(version),
            ]
        })
        .collect();
    app.ui.table(&["  N", "WHEN (UTC)", "WHAT", "DEVICE", "BYTES", "VERSION"], &rows)?;
    app.ui.hint("● is present. An earlier one: lockstep file get --version N");
    Ok(())
}

/// The content of one version.
///
/// # Errors
/// Not found, ambiguous, or its content is gone.
pub async fn one(client: &Client, wanted: &str) -> Done<Plaintext> {
    let all = versions(client).await?;
    let version = &all[pick(&all, wanted, "lockstep file list")?];
    match &version.content {
        Content::Here(content) => Ok(content.clone()),
        other => {
            let message = format!("the content of version {wanted} is not to be had ({})", size(other));
            Err(Failure::new(Exit::NotFound, message, "lockstep file list"))
        }
    }
}

/// One of some versions, by its number or the beginning of its id.
fn pick(all: &[VersionView], wanted: &str, advice: &str) -> Done<usize> {
    if let Some(number) = wanted.parse::<usize>().ok().filter(|n| (1..=all.len()).contains(n)) {
        return Ok(number - 1);
    }
    let mut hits = all.iter().enumerate().filter(|(_, one)| one.version.to_string().starts_with(wanted));
    match (hits.next().filter(|_| wanted.len() >= 4), hits.next()) {
        (Some((at, _)), None) => Ok(at),
        (Some(_), Some(_)) => {
            Err(Failure::new(Exit::Ambiguous, format!("several versions begin with {wanted}"), advice))
        }
        _ => Err(Failure::new(Exit::NotFound, format!("there is no version {wanted}"), advice)),
    }
}

/// Shows the sides, or keeps one.
///
/// # Errors
/// No file yet; several sides and no choice.
pub async fn resolve(args: &Resolve, app: &App, client: &Client) -> Done {
    let file = match client.conflict(client.file_entry()).await {
        Ok(conflict) => conflict.entry,
        Err(lockstep_client::Error::NotFound) => return Err(none_yet()),
        Err(other) => return Err(other.into()),
    };
    if !file.divergent {
        if app.ui.json {
            return app.ui.document(&json!({ "divergent": false }));
        }
        app.ui.say("There is nothing to resolve: the file has one version.");
        return Ok(());
    }
    let side = match (&args.keep, &args.keep_both) {
        (Some(wanted), _) => pick(&file.heads, wanted, "lockstep file resolve shows the sides")?,
        (None, Some(_)) => 0,
        (None, None) => return undecided(app, client, &file).await,
    };
    let copies = match &args.keep_both {
        Some(folder) => copies(folder, &file, side)?,
        None => Vec::new(),
    };
    let (entry, shown, kept) = (file.entry, file.head_ids(), &file.heads[side]);
    let version = if kept.kind == VersionKind::Tombstone {
        client.remove(entry, &shown).await?
    } else {
        client.resolve(entry, &shown, &Resolution::Keep(kept.version)).await?
    };
    client.file_see(&[version]).await?;
    let sent = app.send_of(client, &[entry]).await? == Sent::Now;
    if client.get(entry).await?.divergent {
        app.ui.warn("another version arrived meanwhile and stays open; resolve once more");
    }
    if app.ui.json {
        return app
            .ui
            .document(&json!({ "version": version, "kept": kept.version, "copies": copies, "sent": sent }));
    }
    for copy in &copies {
        app.ui.say(format!("Copy: {}", copy.display()));
    }
    app.ui.done(format!("Side {} stays.", side + 1));
    Ok(())
}

async fn undecided(app: &App, client: &Client, file: &Entry) -> Done {
    let own = client.status().await?.device;
    if app.ui.json {
        let sides: Vec<Value> =
            (1..).zip(&file.heads).map(|(number, head)| document(head, number, true)).collect();
        app.ui.document(&json!({ "divergent": true, "sides": sides }))?;
    } else {
        let row = |(number, head): (usize, &VersionView)| {
            let did = did(head.kind).to_owned();
            vec![
                number.to_string(),
                when(head),
                did,
                device(head.device, own),
                size(&head.content),
                short(head),
            ]
        };
        let rows: Vec<Vec<String>> = (1..).zip(&file.heads).map(row).collect();
        app.ui.table(&["SIDE", "WHEN (UTC)", "WHAT", "DEVICE", "BYTES", "VERSION"], &rows)?;
    }
    let advice = "look: lockstep file get --version VERSION   choose: lockstep file resolve --keep SIDE, or \
                  --keep-both FOLDER";
    Err(Failure::new(Exit::Conflict, "the file was put apart on several devices", advice))
}

/// Writes all sides but one into a folder. Nothing is overwritten.
fn copies(folder: &std::path::Path, file: &Entry, kept: usize) -> Done<Vec<PathBuf>> {
    fs::create_dir_all(folder).map_err(|error| {
        let message = format!("{}: {error}", folder.display());
        Failure::new(Exit::Failure, message, "name a folder that can be written; nothing was chosen")
    })?;
    let mut written = Vec::new();
    for (at, head) in file.heads.iter().enumerate().filter(|(at, _)| *at != kept) {
        let content = match &head.content {
            Content::Here(content) => content,
            Content::None => continue,
            other => {
                let message = format!("the content of side {} is not to be had ({})", at + 1, size(other));
                return Err(Failure::new(Exit::NotFound, message, "lockstep sync"));
            }
        };
        let path = folder.join(format!("file-{}", short(head)));
        if !path.exists() {
            output::write(&path, content, false)?;
        }
        written.push(path);
    }
    Ok(written)
}
