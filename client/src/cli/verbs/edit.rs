//! `edit`.

use clap::Args;
use lockstep_client::{
    Client,
    model::Content,
    porting::{Item, Secret, changes::Change},
};

use crate::cli::{
    app::{App, content_of, opened},
    editor,
    failure::{Done, Exit, Failure},
    find::{Found, shell_word},
};

use super::{
    changes::{Changes, apply, report, warn_of_codes},
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
    /// Whole name, beginning of the id, or address of the entry
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

impl Edit {
    /// Whether a person writes the change in the editor.
    fn says_nothing(&self) -> bool {
        self.changes.is_empty() && self.unset.is_empty() && self.rename.is_none()
    }

    /// Fails where it cannot come to anything, before the password is asked for.
    fn check(&self, app: &App) -> Done {
        if self.says_nothing() && !crate::cli::prompt::can_ask(app.ui) {
            return Err(Failure::usage(
                "nothing to change",
                "use --set FIELD=VALUE, --hidden, --unset, --ask, --stdin or --generate",
            ));
        }
        self.changes.given().map(drop)
    }
}

/// What is to become of an entry.
enum Wanted {
    /// Values that were named: set in whatever the entry holds when they are written.
    Set(Vec<Change>),
    /// What a person made in the editor of what it showed.
    Edited { shown: Box<Item>, edited: Box<Item> },
}

impl Wanted {
    fn of(args: &Edit, item: &Item, app: &App) -> Done<Option<Self>> {
        if args.says_nothing() {
            let edited = editor::edit(app, item, item.name.as_str())?;
            let shown = Box::new(item.clone());
            return Ok(edited.map(|edited| Self::Edited { shown, edited: Box::new(edited) }));
        }
        let mut changes = args.changes.all(app)?;
        for field in &args.unset {
            is_a_field(item, field)?;
            changes.push(Change::new(field, Secret::default()));
        }
        changes.extend(args.rename.iter().map(|name| Change::new("name", name.as_str())));
        Ok(Some(Self::Set(changes)))
    }

    /// The item as it is wanted; none if it is so already.
    fn of_item(&self, item: &Item) -> Done<Option<Item>> {
        let mut changed = item.clone();
        match self {
            Self::Set(changes) => apply(&mut changed, changes)?,
            Self::Edited { shown, edited } if **shown == *item => changed = (**edited).clone(),
            Self::Edited { shown, edited } => apply(&mut changed, &differences(shown, edited))?,
        }
        Ok((changed != *item).then_some(changed))
    }
}

/// The values in which two items differ, as the second has them.
fn differences(from: &Item, to: &Item) -> Vec<Change> {
    let (before, after) = (from.all(), to.all());
    let gone = before.iter().filter(|field| after.iter().all(|other| other.name != field.name));
    let new = after.iter().filter(|field| from.get(&field.name).is_none_or(|old| old.value != field.value));
    gone.map(|field| Change::new(&field.name, Secret::default()))
        .chain(
            new.map(|field| Change { hidden: field.masked, ..Change::new(&field.name, field.value.clone()) }),
        )
        .collect()
}

/// Changes one entry.
///
/// # Errors
/// Not found, ambiguous, a value that does not fit.
pub async fn run(args: Edit, app: &App) -> Done {
    args.check(app)?;
    let client = app.open().await?;
    let mut found = app.find_to_change(&client, &args.entry, false).await?;
    let Some(wanted) = Wanted::of(&args, &readable(&found)?, app)? else {
        app.ui.say("Nothing was changed.");
        return Ok(());
    };
    let (entry, own) = (found.entry.entry, Client::profile(&app.home)?.device);
    let (version, changed) = loop {
        let Some(changed) = wanted.of_item(&readable(&found)?)? else {
            app.ui.say("Nothing was changed.");
            return Ok(());
        };
        let (base, content) = ([found.head()?], content_of(&changed)?);
        if let Some(version) = client.edit_heads(entry, &base, &content, None).await? {
            break (version, changed);
        }
        let now = opened(client.get(entry).await?);
        let elsewhere = now.entry.winner().is_some_and(|head| head.device != own);
        if matches!(wanted, Wanted::Edited { .. }) && elsewhere {
            // Built on what was shown, and on nothing else: if another device was faster, both stay.
            break (client.edit(entry, &base, &content).await?, changed);
        }
        // Another command of this profile was faster: this one stands on what it wrote.
        found = now;
    };
    if found.entry.divergent {
        let word = shell_word(&args.entry);
        app.ui.warn(format!(
            "this entry has {} open versions; the one shown first was changed; see: lockstep resolve {word}",
            found.entry.heads.len()
        ));
    }
    warn_of_codes(app, found.item.as_ref(), &changed);
    let sent = app.send_of(&client, &[entry]).await?;
    let divergent = app.apart(&client, entry, found.entry.divergent).await?;
    report(app, ("Changed", changed.name.as_str()), (entry, version), (sent, divergent))
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
            let advice =
                format!("see: lockstep status; an earlier version comes back with: lockstep restore {id} N");
            Failure::new(Exit::Alarm, format!("the content of {id} does not open"), advice)
        }
        Some(Content::Here(_)) => {
            Failure::new(Exit::Failure, format!("{id} was written by a newer program"), "update lockstep")
        }
        None => Failure::new(Exit::NotFound, format!("{id} has no version"), ""),
    })
}
