//! `history` and `restore`.

use clap::Args;
use lockstep_client::{
    Client,
    model::{Content, VersionView},
    porting::Item,
};
use lockstep_events::{DeviceId, EntryId, VersionId, VersionKind};
use serde_json::json;

use crate::cli::{
    app::{App, deleted, item_of},
    failure::{Done, Exit, Failure},
    find::{Found, shell_word},
    prompt,
    ui::printable,
};

use super::{
    changes::report,
    watch::{clock, short_device},
};

/// Whose history.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep history github
  lockstep history github --json")]
pub struct History {
    /// Name or a part of it, beginning of the id, or address of the entry; deleted ones too
    entry: String,
}

/// What comes back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep restore github 2               # version 2 of the list that `history` prints
  lockstep restore github                 # if it is deleted: what it held last

Nothing is lost: the present version stays in the history. An entry that was changed apart on several devices has \
several; all of them give way, so that the command asks first. Without a terminal the exit code is 5 then, unless \
--yes is given.")]
pub struct Restore {
    /// Whole name, beginning of the id, or address of the entry; deleted ones too
    entry: String,
    /// Number or beginning of the id of the version
    version: Option<String>,
    /// Do not ask, although the entry was changed apart
    #[arg(long, short)]
    yes: bool,
}

/// Lists the versions of an entry.
///
/// # Errors
/// Not found, ambiguous.
pub async fn history(args: History, app: &App) -> Done {
    let client = app.open().await?;
    let found = app.find_also_deleted(&client, &args.entry).await?;
    let versions = client.history(found.entry.entry).await?;
    let own = client.status().await?.device;
    let heads = found.entry.head_ids();
    let quarantine = client.quarantine().await?;
    let is_refused = |version: &VersionView| quarantine.iter().any(|one| one.version == version.version);
    if app.ui.json {
        let shown = |(version, nth)| document(version, nth, (&heads, is_refused(version)));
        let documents: Vec<serde_json::Value> = versions.iter().zip(1_u64..).map(shown).collect();
        return app.ui.document(&json!({ "entry": found.entry.entry, "versions": documents }));
    }
    let mut rows = Vec::with_capacity(versions.len());
    for (nth, version) in versions.iter().enumerate() {
        let changed = changed_fields(version, &versions[..nth]);
        let head = if heads.contains(&version.version) { "● " } else { "  " };
        rows.push(vec![
            format!("{head}{}", nth + 1),
            when(version),
            if is_refused(version) {
                format!("{}, refused", did(version.kind))
            } else {
                did(version.kind).to_owned()
            },
            by(version, own),
            changed,
            version.version.to_string().chars().take(12).collect(),
        ]);
    }
    app.ui.table(&["  N", "WHEN (UTC)", "WHAT", "DEVICE", "FIELDS", "VERSION"], &rows)?;
    if versions.iter().any(is_refused) {
        app.ui.say(
            "Refused: the server did not take it, and it is on this device alone; lockstep status says why.",
        );
    }
    app.ui.hint("● is present. Look: lockstep get ENTRY --version N   Bring back: lockstep restore ENTRY N");
    Ok(())
}

/// Makes a version the present one.
///
/// # Errors
/// Not found, its content is gone, or the entry was changed apart and nobody said that it may be.
pub async fn restore(args: Restore, app: &App) -> Done {
    let client = app.open().await?;
    let found = app.find_to_change_also_deleted(&client, &args.entry, args.yes).await?;
    let entry = found.entry.entry;
    let (version, item) = match &args.version {
        Some(wanted) => version_of(&client, entry, wanted).await?,
        None if !found.entry.deleted => {
            return Err(Failure::usage("which version?", "lockstep history lists them by number"));
        }
        None => what_was_deleted(&client, &found, app).await?,
    };
    if found.entry.divergent {
        ends_the_conflict(&args, &found, app)?;
    }
    let back = version.content_of.unwrap_or(version.version);
    let made = client.restore_over(entry, &found.entry.head_ids(), back).await?;
    let sent = app.send_of(&client, &[entry]).await?;
    let divergent = app.apart(&client, entry, false).await?;
    report(app, ("Restored", item.name.as_str()), (entry, made), (sent, divergent))
}

/// Shows what a restore puts an end to, and asks.
fn ends_the_conflict(args: &Restore, found: &Found, app: &App) -> Done {
    let heads = found.entry.heads.len();
    show_sides(found, &format!("all {heads} open versions would give way to the older one"), app);
    if args.yes || prompt::confirm(app.ui, "Restore nevertheless?")? {
        return Ok(());
    }
    let word = shell_word(&args.entry);
    let advice = format!("choose a side with: lockstep resolve {word}; or restore with --yes");
    Err(Failure::new(Exit::Conflict, "nothing was restored", advice))
}

/// Warns that an entry was changed apart and what follows from that, and names its sides.
pub fn show_sides(found: &Found, what: &str, app: &App) {
    app.ui.warn(format!("{} was changed apart; {what}:", printable(&found.name())));
    for (head, nth) in found.entry.heads.iter().zip(1..) {
        app.ui.needed(format!("  {nth}  {}", described(head)));
    }
}

/// What an entry held that was shown when it was deleted. That there was more, a person is told.
async fn what_was_deleted(client: &Client, found: &Found, app: &App) -> Done<(VersionView, Item)> {
    let mut versions = client.history(found.entry.entry).await?;
    let taken = deleted::taken_away(&versions, &found.entry.head_ids());
    let shown = deleted::shown(&versions, &taken).map(|at| versions.swap_remove(at));
    let shown = shown.and_then(|version| item_of(&version).map(|item| (version, item)));
    let Some((version, item)) = shown else {
        return Err(Failure::new(Exit::NotFound, "no version of this entry has its content still", ""));
    };
    if let [first, others @ ..] = &taken[..]
        && !others.is_empty()
    {
        let others: Vec<String> = others.iter().map(|at| format!("version {}", at + 1)).collect();
        app.ui.warn(format!(
            "{} was changed apart when it was deleted: version {} comes back; also open was {}",
            printable(item.name.as_str()),
            first + 1,
            others.join(", ")
        ));
    }
    Ok((version, item))
}

/// A version by its number in the history or the beginning of its id.
///
/// # Errors
/// Not found, ambiguous, or without content.
pub async fn version_of(client: &Client, entry: EntryId, wanted: &str) -> Done<(VersionView, Item)> {
    let versions = client.history(entry).await?;
    let count = versions.len();
    let by_number = wanted.parse::<usize>().ok().filter(|n| (1..=count).contains(n));
    let mut hits: Vec<VersionView> = match by_number {
        Some(number) => versions.into_iter().skip(number - 1).take(1).collect(),
        None if wanted.len() >= 4 => {
            versions.into_iter().filter(|version| version.version.to_string().starts_with(wanted)).collect()
        }
        None => Vec::new(),
    };
    let advice = "lockstep history lists them";
    match (hits.pop(), hits.is_empty()) {
        (Some(version), true) => match item_of(&version) {
            Some(item) => Ok((version, item)),
            None => {
                Err(Failure::new(Exit::NotFound, format!("version {wanted} has no content here"), advice))
            }
        },
        (None, _) => Err(Failure::new(
            Exit::NotFound,
            format!("there is no version {wanted}; there are {count}"),
            advice,
        )),
        (Some(_), false) => {
            Err(Failure::new(Exit::Ambiguous, format!("several versions begin with {wanted}"), advice))
        }
    }
}

/// What a version did, in a word.
pub const fn did(kind: VersionKind) -> &'static str {
    match kind {
        VersionKind::Edit => "changed",
        VersionKind::Merge => "merged",
        VersionKind::Adopt => "kept",
        VersionKind::Tombstone => "deleted",
    }
}

/// When a version was made: its author's clock. What has none, as a deletion, arrived when the server took it.
pub fn when(version: &VersionView) -> String {
    match (version.client_time, version.accepted_at) {
        (0, Some(at)) => format!("arrived {}", clock(at.seconds())),
        (0, None) => "waiting".to_owned(),
        (millis, _) => clock(millis.div_euclid(1000)),
    }
}

/// When the server took a version, in milliseconds as an author's clock is.
pub fn arrived(version: &VersionView) -> Option<i64> {
    version.accepted_at.map(|at| at.0.div_euclid(1000))
}

/// A head in one line.
pub fn described(head: &VersionView) -> String {
    let unreadable = is_unreadable(head).then(|| "(cannot be read)".to_owned());
    let name = item_of(head).map(|item| printable(item.name.as_str())).or(unreadable).unwrap_or_default();
    let stop = if head.client_time == 0 { "," } else { "" };
    let by = short_device(head.device);
    let back =
        head.given_back_by.map(|by| format!(", given back by {}", short_device(by))).unwrap_or_default();
    format!("{}{stop} {} on device {by}{back}  {name}", did(head.kind), when(head))
}

/// Whether the content of a version is here and does not open, or is no entry that this program knows.
pub fn is_unreadable(version: &VersionView) -> bool {
    matches!(version.content, Content::Rejected | Content::Here(_)) && item_of(version).is_none()
}

/// Who wrote a version, and who brought it back.
fn by(version: &VersionView, own: DeviceId) -> String {
    let back = version.given_back_by.map(|by| format!(", given back by {}", device(by, own)));
    device(version.device, own) + &back.unwrap_or_default()
}

/// A device as a person sees it.
pub fn device(device: DeviceId, own: DeviceId) -> String {
    if device == own { "this one".to_owned() } else { short_device(device) }
}

/// The names of the fields in which a version differs from its first parent.
fn changed_fields(version: &VersionView, earlier: &[VersionView]) -> String {
    let Some(item) = item_of(version) else {
        return match version.content {
            Content::Gone => "(content pruned)".to_owned(),
            Content::Missing => "(not here yet)".to_owned(),
            Content::Rejected | Content::Here(_) => "(cannot be read)".to_owned(),
            Content::None => String::new(),
        };
    };
    let parent = version.parents.first().and_then(|parent| earlier.iter().find(|one| one.version == *parent));
    let Some(before) = parent.and_then(item_of) else { return String::new() };
    let rows = lockstep_client::porting::merge::compare(None, &[Some(&before), Some(&item)]);
    let names: Vec<String> =
        rows.into_iter().filter(|row| row.differs()).map(|row| printable(&row.name)).collect();
    names.join(", ")
}

fn document(version: &VersionView, nth: u64, (heads, refused): (&[VersionId], bool)) -> serde_json::Value {
    json!({
        "number": nth,
        "version": version.version,
        "kind": version.kind,
        "parents": version.parents,
        "content_of": version.content_of,
        "device": version.device,
        "given_back_by": version.given_back_by,
        "time": version.client_time,
        "arrived": arrived(version),
        "seq": version.seq,
        "head": heads.contains(&version.version),
        "branch": version.branch,
        "refused": refused,
        "has_content": version.content.bytes().is_some(),
    })
}
