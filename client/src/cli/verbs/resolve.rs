//! `resolve`: the sides of a conflict beside what they came from, and a person's choice.

use clap::Args;
use console::Style;
use lockstep_client::{
    Client,
    model::{Conflict, Content, Resolution, VersionView},
    porting::{
        Item,
        changes::Change,
        fields::SetError,
        merge::{self, Cell, Draft, Part, Row},
    },
};
use lockstep_events::{VersionId, VersionKind};
use serde_json::json;

use crate::cli::{
    app::{App, item_of, opened},
    editor,
    failure::{Done, Exit, Failure},
    find::{Found, shell_word},
    prompt,
    ui::printable,
};

use super::{
    attachment,
    changes::{report, split},
    get::MASK,
    history::{arrived, described, is_unreadable},
};

/// How it is resolved; without a choice the sides are shown and, at a terminal, a choice is asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep resolve github                       # compare, then choose
  lockstep resolve github --reveal              # with secrets
  lockstep resolve github --keep 2              # side 2, or the beginning of a version's id
  lockstep resolve github --merge               # what only one side changed; fails if a field is contested
  lockstep resolve github --merge-from password=2 --merge-set notes='see both'
  lockstep resolve github --keep-both           # side 1 stays, the others become entries of their own

A merge keeps the attachments and addresses of all sides, but for those that one took away; --merge-from \
attachments=SIDE and uri=SIDE take one side's. Every password that a merge does not take goes into the entry's \
earlier passwords. --keep leaves the other sides as they are in the entry's history, and nowhere else. A version that \
arrives while you choose stays open. Without a choice and without a terminal the exit code is 5.")]
pub struct Resolve {
    /// Whole name, beginning of the id, or address of the entry
    entry: String,
    /// Keep one side: its number, or the beginning of its version's id
    #[arg(long, value_name = "SIDE", group = "choice")]
    keep: Option<String>,
    /// Keep all sides, each as an entry of its own
    #[arg(long, group = "choice")]
    keep_both: bool,
    /// Take every field from the side that changed it
    #[arg(long, group = "choice")]
    merge: bool,
    /// In a merge, give a field this value
    #[arg(long, value_name = "FIELD=VALUE", conflicts_with_all = ["keep", "keep_both"])]
    merge_set: Vec<String>,
    /// In a merge, take a field from this side
    #[arg(long, value_name = "FIELD=SIDE", conflicts_with_all = ["keep", "keep_both"])]
    merge_from: Vec<String>,
    /// Edit the merge in $EDITOR
    #[arg(long, conflicts_with_all = ["keep", "keep_both", "json"])]
    edit: bool,
    /// Show masked values
    #[arg(long)]
    reveal: bool,
}

/// A conflict with its contents opened.
struct Sides {
    conflict: Conflict,
    base: Option<Item>,
    items: Vec<Option<Item>>,
}

/// What a person chose.
enum Choice {
    Keep(usize),
    KeepBoth,
    Merge(Box<Item>),
    /// A merge that was written in an editor.
    Typed(Box<Item>),
    Leave,
}

/// That it is one that a person made: the one file, and what a vault is called, have verbs of their own.
///
/// # Errors
/// If it is one of those; `file` is what to do with the file instead.
pub(super) fn is_entry(client: &Client, found: &Found, file: &str) -> Done {
    if found.entry.entry == client.file_entry() {
        return Err(Failure::usage("this is the one encrypted file", file));
    }
    if client.is_vault_name(found.entry.vault, found.entry.entry) {
        return Err(Failure::usage(
            "this is what a vault is called",
            "lockstep vault rename, or vault delete",
        ));
    }
    Ok(())
}

/// Shows and resolves one conflict.
///
/// # Errors
/// Not found; contested fields without a choice.
pub async fn run(args: Resolve, app: &App) -> Done {
    for pair in args.merge_set.iter().chain(&args.merge_from) {
        split(pair)?;
    }
    let client = app.open().await?;
    let found = app.find_to_change(&client, &args.entry, false).await?;
    is_entry(&client, &found, "lockstep file resolve")?;
    if !found.entry.divergent {
        if app.ui.json {
            return app.ui.document(&json!({ "entry": found.entry.entry, "divergent": false }));
        }
        app.ui.say("There is nothing to resolve: this entry has one version.");
        return Ok(());
    }
    let sides = Sides::new(client.conflict(found.entry.entry).await?)?;
    let choice = match chosen(&args, &sides, app)? {
        Some(choice) => choice,
        None if app.ui.json => {
            app.ui.document(&sides.document(args.reveal))?;
            return Err(undecided(&args));
        }
        None => {
            sides.show(app, args.reveal)?;
            if !prompt::can_ask(app.ui) {
                return Err(undecided(&args));
            }
            ask(&sides, app)?
        }
    };
    carry_out(choice, &sides, app, &client).await
}

fn undecided(args: &Resolve) -> Failure {
    let word = shell_word(&args.entry);
    let advice = format!(
        "choose: lockstep resolve {word} --keep SIDE, --merge, --merge-from FIELD=SIDE or --keep-both"
    );
    Failure::new(Exit::Conflict, "this entry needs a person to choose", advice)
}

async fn carry_out(choice: Choice, sides: &Sides, app: &App, client: &Client) -> Done {
    let entry = sides.conflict.entry.entry;
    let shown = sides.conflict.entry.head_ids();
    let heads = &sides.conflict.entry.heads;
    let version = match choice {
        Choice::Leave => {
            app.ui.say("Left as it is.");
            return Ok(());
        }
        Choice::Keep(side) if heads[side].kind == VersionKind::Tombstone => {
            client.remove_heads(entry, &shown).await?
        }
        Choice::Keep(side) => {
            client.resolve_heads(entry, &shown, &Resolution::Keep(heads[side].version)).await?
        }
        Choice::KeepBoth => {
            let stays = sides.first_live()?;
            client.resolve_heads(entry, &shown, &Resolution::KeepBoth(heads[stays].version)).await?
        }
        Choice::Merge(item) => attachment::edit_heads(client, entry, &shown, &item).await?,
        // What was typed is not thrown away: if somebody was faster, both stay.
        Choice::Typed(item) => Some(attachment::edit(client, entry, &shown, &item).await?),
    };
    let Some(version) = version else {
        let advice = "look at it once more: lockstep conflicts";
        return Err(Failure::new(Exit::Conflict, "it was changed meanwhile: nothing was resolved", advice));
    };
    let sent = app.send_of(client, &[entry]).await?;
    let after = opened(client.get(entry).await?);
    if after.entry.divergent {
        app.ui.warn("another version arrived meanwhile and stays open; resolve once more");
    }
    let name = if after.entry.deleted {
        format!("{}: deleted; back with: lockstep restore {}", sides.name(), after.short_id())
    } else {
        after.name()
    };
    report(app, ("Resolved", &name), (entry, version), (sent, after.entry.divergent))
}

fn chosen(args: &Resolve, sides: &Sides, app: &App) -> Done<Option<Choice>> {
    if let Some(wanted) = &args.keep {
        return sides.side(wanted).map(|side| Some(Choice::Keep(side)));
    }
    if args.keep_both {
        return Ok(Some(Choice::KeepBoth));
    }
    if !args.merge && !args.edit && args.merge_set.is_empty() && args.merge_from.is_empty() {
        return Ok(None);
    }
    let Draft { mut item, contested } = sides.draft()?;
    let mut taken: Vec<(Part, String)> = Vec::new();
    for pair in &args.merge_from {
        let (field, side) = split(pair)?;
        let found = merge::take(&mut item, field, &sides.refs(), sides.side(side)?);
        taken.extend(found.map_err(unfit)?);
    }
    let (mut changes, mut set): (Vec<Change>, Vec<&str>) = Default::default();
    for pair in &args.merge_set {
        let (field, value) = split(pair)?;
        changes.push(Change::new(field, value));
        set.push(field);
    }
    item.set_all(&changes).map_err(unfit)?;
    if args.edit {
        let note = format!(
            "Merge of {} versions. Fields that several sides changed: {}",
            sides.items.len(),
            names(&contested)
        );
        let edited = editor::edit(app, &item, &note)?;
        return Ok(Some(edited.map_or(Choice::Leave, |item| Choice::Typed(Box::new(item)))));
    }
    let is_taken = |row: &Row| taken.iter().any(|(part, name)| *part == row.part && *name == row.name);
    let is_set =
        |row: &Row| !row.part.is_quiet() && set.iter().any(|name| name.eq_ignore_ascii_case(&row.name));
    let open: Vec<Row> = contested.into_iter().filter(|row| !is_taken(row) && !is_set(row)).collect();
    if open.is_empty() {
        return Ok(Some(Choice::Merge(Box::new(item))));
    }
    let message = format!("several sides changed: {}", names(&open));
    let open_names: Vec<String> = open.iter().map(|row| row.name.clone()).collect();
    let advice = format!("decide each with --merge-from {}=SIDE or --merge-set", shell_word(&open[0].name));
    Err(Failure::new(Exit::Conflict, message, advice).fact("contested", open_names))
}

fn names(rows: &[Row]) -> String {
    rows.iter().map(|row| printable(&row.name)).collect::<Vec<_>>().join(", ")
}

fn unfit(error: SetError) -> Failure {
    Failure::usage(error.to_string(), "nothing was saved")
}

fn ask(sides: &Sides, app: &App) -> Done<Choice> {
    let count = sides.items.len();
    app.ui.needed("");
    app.ui.needed(format!(
        "  1–{count}  keep that side          m  merge field by field    e  edit a merge in $EDITOR"
    ));
    app.ui.needed("  b    keep all as entries     r  show secrets            Enter  leave it");
    loop {
        let answer = prompt::line(app.ui, "Choose")?.unwrap_or_default();
        match answer.as_str() {
            "" | "q" => return Ok(Choice::Leave),
            "b" => return Ok(Choice::KeepBoth),
            "r" => sides.show(app, true)?,
            "m" => return merge_by_hand(sides, app),
            "e" => {
                let draft = sides.draft()?;
                let note = format!("Fields that several sides changed: {}", names(&draft.contested));
                let edited = editor::edit(app, &draft.item, &note)?;
                // Who leaves the editor without a change has decided nothing.
                return Ok(edited.map_or(Choice::Leave, |item| Choice::Typed(Box::new(item))));
            }
            side => match side.parse::<usize>() {
                Ok(n) if (1..=count).contains(&n) => return Ok(Choice::Keep(n - 1)),
                _ => app.ui.warn(format!("1–{count}, m, e, b, r or Enter")),
            },
        }
    }
}

fn merge_by_hand(sides: &Sides, app: &App) -> Done<Choice> {
    let Draft { mut item, contested } = sides.draft()?;
    if contested.is_empty() {
        app.ui.say("No field was changed by more than one side: all changes fit together.");
    }
    for row in &contested {
        let side = loop {
            let label = format!("{} from side (1–{})", printable(&row.name), sides.items.len());
            match prompt::line(app.ui, &label)?.unwrap_or_default().parse::<usize>() {
                Ok(n) if (1..=sides.items.len()).contains(&n) => break n - 1,
                _ => app.ui.warn("a number of a side, please"),
            }
        };
        row.take(&mut item, sides.items[side].as_ref()).map_err(unfit)?;
    }
    Ok(Choice::Merge(Box::new(item)))
}

impl Sides {
    fn new(conflict: Conflict) -> Done<Self> {
        let items = conflict.entry.heads.iter().map(readable).collect::<Done<Vec<_>>>()?;
        let base = conflict.ancestors.first().and_then(item_of);
        Ok(Self { conflict, base, items })
    }

    /// What it is called where it is not deleted.
    fn name(&self) -> String {
        let item = self.items.iter().flatten().next().cloned();
        Found { entry: self.conflict.entry.clone(), item }.name()
    }

    fn refs(&self) -> Vec<Option<&Item>> {
        self.items.iter().map(Option::as_ref).collect()
    }

    fn rows(&self) -> Vec<Row> {
        merge::compare(self.base.as_ref(), &self.refs()).into_iter().filter(Row::differs).collect()
    }

    /// What cannot be read is nothing to make something of: it can only be kept, or give way.
    fn all_readable(&self) -> Done {
        let Some(side) = self.conflict.entry.heads.iter().position(is_unreadable) else { return Ok(()) };
        let message = format!("side {} cannot be read", side + 1);
        Err(Failure::new(
            Exit::Conflict,
            message,
            "keep another side with --keep, or delete all: lockstep rm",
        ))
    }

    fn draft(&self) -> Done<Draft> {
        self.all_readable()?;
        let draft = merge::draft(self.base.as_ref(), &self.refs());
        let draft = draft
            .map_err(|error| Failure::new(Exit::Conflict, error.to_string(), "keep one side, or --edit"))?;
        draft.ok_or_else(|| Failure::usage("every side is deleted", "lockstep rm, or --keep"))
    }

    fn first_live(&self) -> Done<usize> {
        self.all_readable()?;
        let live: Vec<usize> = (0..self.items.len()).filter(|side| self.items[*side].is_some()).collect();
        match live.as_slice() {
            [first, _, ..] => Ok(*first),
            _ => Err(Failure::usage("only one side has content", "use --keep with its number")),
        }
    }

    /// A side by its number or the beginning of its version's id.
    fn side(&self, wanted: &str) -> Done<usize> {
        let heads = &self.conflict.entry.heads;
        if let Ok(number) = wanted.parse::<usize>()
            && (1..=heads.len()).contains(&number)
        {
            return Ok(number - 1);
        }
        let starts = |version: VersionId| wanted.len() >= 4 && version.to_string().starts_with(wanted);
        let hits: Vec<usize> = (0..heads.len()).filter(|side| starts(heads[*side].version)).collect();
        match hits.as_slice() {
            [only] => Ok(*only),
            _ => {
                let message =
                    format!("there is no side \"{}\"; there are 1 to {}", printable(wanted), heads.len());
                Err(Failure::new(Exit::NotFound, message, ""))
            }
        }
    }

    fn show(&self, app: &App, reveal: bool) -> Done {
        app.ui.data(&Style::new().bold().apply_to(printable(&self.name())).to_string())?;
        for (head, nth) in self.conflict.entry.heads.iter().zip(1..) {
            app.ui.data(&format!("  side {nth}  {}", described(head)))?;
        }
        let mut header = vec!["FIELD".to_owned(), "BEFORE".to_owned()];
        header.extend((1..=self.items.len()).map(|nth| format!("SIDE {nth}")));
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> = self.rows().iter().map(|row| self.cells(row, reveal)).collect();
        app.ui.data("")?;
        app.ui.table(&header, &rows)
    }

    fn cells(&self, row: &Row, reveal: bool) -> Vec<String> {
        let mut cells = vec![row.name.clone(), shown(row.base.as_ref(), row.masked, reveal)];
        for (side, value) in row.sides.iter().enumerate() {
            let text = if is_unreadable(&self.conflict.entry.heads[side]) {
                "(cannot be read)".to_owned()
            } else if self.items[side].is_none() {
                "(deleted)".to_owned()
            } else {
                shown(value.as_ref(), row.masked, reveal)
            };
            // What this side changed is marked, so that masked values can be told apart too.
            cells.push(if *value == row.base { text } else { format!("{text} ✱") });
        }
        cells
    }

    fn document(&self, reveal: bool) -> serde_json::Value {
        let text = |value: &Option<Cell>, masked: bool| match value {
            Some(_) if masked && !reveal => json!(MASK),
            Some(value) => json!(value.shown),
            None => serde_json::Value::Null,
        };
        let heads = self.conflict.entry.heads.iter().zip(1..).map(|(head, nth)| {
            json!({ "side": nth, "version": head.version, "kind": head.kind, "device": head.device, "branch": head.branch, "time": head.client_time, "arrived": arrived(head), "readable": !is_unreadable(head) })
        });
        let fields = self.rows().into_iter().map(|row| {
            json!({
                "field": row.name, "masked": row.masked, "before": text(&row.base, row.masked),
                "sides": row.sides.iter().map(|side| text(side, row.masked)).collect::<Vec<_>>(),
                "changed": row.sides.iter().map(|side| *side != row.base).collect::<Vec<_>>(),
                "contested": row.is_contested(),
            })
        });
        json!({
            "entry": self.conflict.entry.entry, "divergent": true,
            "sides": heads.collect::<Vec<_>>(), "fields": fields.collect::<Vec<_>>(),
        })
    }
}

fn shown(value: Option<&Cell>, masked: bool, reveal: bool) -> String {
    match value {
        None => "—".to_owned(),
        Some(_) if masked && !reveal => MASK.to_owned(),
        Some(value) => printable(value.shown.as_str()),
    }
}

/// The item of a head; none for a tombstone, and for what cannot be read.
fn readable(head: &VersionView) -> Done<Option<Item>> {
    let id: String = head.version.to_string().chars().take(12).collect();
    match (&head.content, item_of(head)) {
        (Content::None, _) => Ok(None),
        (_, Some(item)) => Ok(Some(item)),
        (Content::Missing, None) => Err(Failure::new(
            Exit::Offline,
            format!("version {id} is not on this device yet"),
            "lockstep sync fetches it",
        )),
        (Content::Rejected | Content::Here(_), None) => Ok(None),
        (_, None) => {
            Err(Failure::new(Exit::Failure, format!("version {id} cannot be opened"), "update lockstep"))
        }
    }
}

/// The names of the fields in which the heads of a conflict differ.
pub fn contested(conflict: &Conflict) -> Vec<String> {
    let items: Vec<Option<Item>> = conflict.entry.heads.iter().map(item_of).collect();
    let live: Vec<Option<&Item>> = items.iter().filter(|item| item.is_some()).map(Option::as_ref).collect();
    merge::compare(None, &live).into_iter().filter(Row::differs).map(|row| row.name).collect()
}
