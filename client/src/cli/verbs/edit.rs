//! `edit`.

use clap::Args;
use lockstep_client::{
    model::Content,
    porting::{Item, Secret, changes::Change},
};

use crate::cli::{
    app::{App, content_of},
    editor,
    failure::{Done, Exit, Failure},
    find::{Found, shell_word},
};

use super::{
    changes::{Changes, apply, report},
    get::no_field,
};

/// What is changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep edit github --generate            # a new password; the old one stays in the entry's history
  lockstep edit github --set username=ada2 --unset totp
  lockstep edit github --ask password
  lockstep edit github                       # all fields in $EDITOR

The version before stays: lockstep history github")]
pub struct Edit {
    /// Name, beginning of the id, or address of the entry
    entry: String,
    /// New values
    #[command(flatten)]
    changes: Changes,
    /// Remove a field
    #[arg(long, value_name = "FIELD")]
    unset: Vec<String>,
    /// New name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
}

/// Changes one entry.
///
/// # Errors
/// Not found, ambiguous, a value that does not fit.
pub async fn run(args: Edit, app: &App) -> Done {
    let client = app.open().await?;
    let found = app.find(&client, &args.entry).await?;
    let item = readable(&found)?;
    let Some(changed) = changed(&args, &item, app)? else {
        app.ui.say("Nothing was changed.");
        return Ok(());
    };
    let head =
        found.entry.winner().ok_or_else(|| Failure::new(Exit::NotFound, "the entry has no version", ""))?;
    // Built on what was shown, and on nothing else: if another device was faster, both stay.
    let version = client.edit(found.entry.entry, &[head.version], &content_of(&changed)?).await?;
    if found.entry.divergent {
        let word = shell_word(&args.entry);
        app.ui.warn(format!(
            "this entry has {} open versions; the one shown first was changed; see: lockstep resolve {word}",
            found.entry.heads.len()
        ));
    }
    let sent = app.send(&client).await?;
    report(app, "Changed", changed.name.as_str(), (found.entry.entry, version), sent)
}

fn changed(args: &Edit, item: &Item, app: &App) -> Done<Option<Item>> {
    if args.changes.is_empty() && args.unset.is_empty() && args.rename.is_none() {
        if !crate::cli::prompt::can_ask(app.ui) {
            return Err(Failure::usage(
                "nothing to change",
                "use --set FIELD=VALUE, --hidden, --unset, --ask, --stdin or --generate",
            ));
        }
        return editor::edit(&app.home, item, item.name.as_str());
    }
    let mut changes = args.changes.all(app)?;
    for field in &args.unset {
        is_a_field(item, field)?;
        changes.push(Change::new(field, Secret::default()));
    }
    changes.extend(args.rename.iter().map(|name| Change::new("name", name.as_str())));
    let mut edited = item.clone();
    apply(&mut edited, &changes)?;
    Ok((edited != *item).then_some(edited))
}

/// What is empty already can be removed; what was never there is a slip.
fn is_a_field(item: &Item, name: &str) -> Done {
    if item.get(name).is_some() || item.built_in(name).is_some() { Ok(()) } else { Err(no_field(item, name)) }
}

/// The opened item, or why it cannot be opened.
///
/// # Errors
/// Deleted, not here, gone, rejected.
pub fn readable(found: &Found) -> Done<Item> {
    if let Some(item) = &found.item {
        return Ok(item.clone());
    }
    let id = found.short_id();
    Err(match found.entry.winner().map(|head| &head.content) {
        Some(Content::None) => Failure::new(
            Exit::NotFound,
            format!("{id} is deleted"),
            format!("bring it back with: lockstep restore {}", found.entry.entry),
        ),
        Some(Content::Missing) => Failure::new(
            Exit::Offline,
            format!("the content of {id} is not on this device yet"),
            "lockstep sync fetches it",
        ),
        Some(Content::Gone) => Failure::new(Exit::NotFound, format!("the content of {id} is gone"), ""),
        Some(Content::Rejected) => {
            Failure::new(Exit::Alarm, format!("the content of {id} is not authentic"), "see: lockstep status")
        }
        Some(Content::Here(_)) => {
            Failure::new(Exit::Failure, format!("{id} was written by a newer program"), "update lockstep")
        }
        None => Failure::new(Exit::NotFound, format!("{id} has no version"), ""),
    })
}
