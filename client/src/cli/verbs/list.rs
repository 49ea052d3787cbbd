//! `list` and `search`.

use clap::Args;
use serde_json::json;

use super::add::Kind;
use crate::cli::{
    app::{App, count},
    failure::Done,
    find::Found,
};

/// Which entries.
#[derive(Debug, Args, Default)]
#[command(after_help = "\
Examples:
  lockstep list
  lockstep list --folder Work --type login
  lockstep list | cut -f1                    # ids; columns are id, name, user, folder, type, state
  lockstep list --json | jq -r '.[].name'")]
pub struct List {
    /// Only this folder and those in it
    #[arg(long, value_name = "PATH")]
    folder: Option<String>,
    /// Only this type
    #[arg(long = "type", short = 't', value_name = "TYPE", value_enum)]
    kind: Option<Kind>,
    /// Only favourites
    #[arg(long)]
    favourite: bool,
    /// Only entries that were changed apart
    #[arg(long)]
    conflicts: bool,
    /// Deleted entries instead; `restore` brings them back
    #[arg(long)]
    deleted: bool,
}

/// What is looked for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep search github
  lockstep search bank savings               # entries that have both words
  lockstep search git --json

Looks into names, user names, addresses, notes, folders, tags and custom fields; never into masked values.")]
pub struct Search {
    /// Words that must all occur; case does not matter
    #[arg(required = true)]
    words: Vec<String>,
    /// Which entries
    #[command(flatten)]
    filter: List,
}

/// Lists entries.
///
/// # Errors
/// Locked.
pub async fn list(args: List, app: &App) -> Done {
    show(app, &args, &[]).await
}

/// Finds entries.
///
/// # Errors
/// Locked.
pub async fn search(args: Search, app: &App) -> Done {
    let words: Vec<String> = args.words.iter().map(|word| word.to_lowercase()).collect();
    show(app, &args.filter, &words).await
}

async fn show(app: &App, filter: &List, words: &[String]) -> Done {
    let client = app.open().await?;
    let all = if filter.deleted { app.deleted(&client).await? } else { app.all(&client).await? };
    let total = all.len();
    let hits: Vec<&Found> = all.iter().filter(|found| fits(found, filter) && has(found, words)).collect();
    if app.ui.json {
        let documents: Vec<serde_json::Value> = hits.iter().map(|found| summary(found)).collect();
        return app.ui.document(&documents);
    }
    let rows: Vec<Vec<String>> = hits.iter().map(|found| row(found)).collect();
    if rows.is_empty() {
        app.ui.say(match (total, filter.deleted) {
            (0, false) => "No entries yet. Add one: lockstep add NAME",
            (0, true) => "Nothing is deleted.",
            _ => "Nothing matches.",
        });
        return Ok(());
    }
    app.ui.table(&["ID", "NAME", "USER", "FOLDER", "TYPE", "STATE"], &rows)?;
    app.ui.hint(count(rows.len() as u64, "entry", "entries"));
    Ok(())
}

fn fits(found: &Found, filter: &List) -> bool {
    let folder = found.value("folder");
    let in_folder = |wanted: &String| folder == *wanted || folder.starts_with(&format!("{wanted}/"));
    let word = found.item.as_ref().map_or("", |item| item.body.word());
    filter.folder.as_ref().is_none_or(in_folder)
        && filter.kind.is_none_or(|kind| kind.word() == word)
        && (!filter.favourite || found.item.as_ref().is_some_and(|item| item.favourite))
        && (!filter.conflicts || found.entry.divergent)
}

fn has(found: &Found, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let fields = found.item.iter().flat_map(lockstep_client::porting::Item::all);
    let open = fields.filter(|field| !field.masked);
    let texts: Vec<String> =
        open.map(|field| format!("{}\n{}", field.name, field.value.as_str()).to_lowercase()).collect();
    words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
}

fn state(found: &Found) -> &'static str {
    match found {
        Found { entry, .. } if entry.divergent => "conflict",
        Found { entry, .. } if entry.deleted => "deleted",
        Found { item: None, .. } => "unreadable",
        Found { entry, .. } if entry.pending => "waiting",
        _ => "",
    }
}

fn row(found: &Found) -> Vec<String> {
    let star = if found.item.as_ref().is_some_and(|item| item.favourite) { "★ " } else { "" };
    let word = found.item.as_ref().map_or("?", |item| item.body.word());
    vec![
        found.short_id(),
        format!("{star}{}", found.name()),
        found.value("username"),
        found.value("folder"),
        word.to_owned(),
        state(found).to_owned(),
    ]
}

/// An entry without anything masked.
fn summary(found: &Found) -> serde_json::Value {
    let uris: Vec<&str> =
        found.item.iter().flat_map(|item| item.uris()).map(|uri| uri.uri.as_str()).collect();
    json!({
        "id": found.entry.entry,
        "name": found.name(),
        "type": found.item.as_ref().map(|item| item.body.word()),
        "username": found.value("username"),
        "folder": found.value("folder"),
        "favourite": found.item.as_ref().is_some_and(|item| item.favourite),
        "uris": uris,
        "conflict": found.entry.divergent,
        "heads": found.entry.head_ids(),
        "waiting": found.entry.pending,
        "deleted": found.entry.deleted,
    })
}
