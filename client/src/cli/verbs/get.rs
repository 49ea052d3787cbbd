//! `get`.

use clap::Args;
use console::Style;
use lockstep_client::{
    one_time,
    porting::{Item, Secret, fields::Field},
};
use lockstep_events::EntryId;
use serde_json::json;

use crate::cli::{
    app::{App, count},
    failure::{Done, Exit, Failure},
    find::shell_word,
    ui::printable,
};

use super::{edit::readable, history::version_of};

/// What is printed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep get github password               # the value and a line end, nothing else
  lockstep get github code                   # the present one-time code, of the secret in totp
  lockstep get github                        # all fields, secrets masked
  lockstep get github --reveal
  lockstep get https://github.com username   # by address
  lockstep get 3f1c0a7e totp --version 2     # by id, from an earlier version
  lockstep get github --json | jq -r .fields.password")]
pub struct Get {
    /// Name or a part of it, beginning of the id, or address of the entry
    entry: String,
    /// Field to print; code is the one-time code of this moment
    field: Option<String>,
    /// Number or beginning of the id of an earlier version, as `history` lists them
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Show masked values
    #[arg(long)]
    reveal: bool,
    /// Without a line end
    #[arg(long, short = 'n')]
    no_newline: bool,
}

/// Prints one value or one entry.
///
/// # Errors
/// Not found, ambiguous.
pub async fn run(args: Get, app: &App) -> Done {
    let client = app.open().await?;
    let found = app.find(&client, &args.entry).await?;
    let item = match &args.version {
        None => readable(&found)?,
        Some(wanted) => version_of(&client, found.entry.entry, wanted).await?.1,
    };
    if found.entry.divergent && args.version.is_none() {
        let word = shell_word(&args.entry);
        app.ui.warn(format!("changed apart on several devices; this is the version shown meanwhile; see: lockstep resolve {word}"));
    }
    match &args.field {
        Some(field) => one(&args, app, &item, field, found.entry.divergent),
        None if app.ui.json => app.ui.document(&document(&item, found.entry.entry, found.entry.divergent)),
        None => all(&args, app, &item),
    }
}

fn one(args: &Get, app: &App, item: &Item, name: &str, conflict: bool) -> Done {
    let Some(field) = item.get(name) else {
        if CODE.iter().any(|word| name.eq_ignore_ascii_case(word)) {
            return code(args, app, item, conflict);
        }
        return Err(no_field(item, name));
    };
    if app.ui.json {
        return app.ui.document(&json!({ "field": field.name, "value": field.value, "conflict": conflict }));
    }
    print(args, app, &field.value)
}

fn print(args: &Get, app: &App, value: &Secret) -> Done {
    if args.no_newline { app.ui.raw(value.as_str().as_bytes()) } else { app.ui.data(value.as_str()) }
}

/// What asks for the one-time code, where the entry has no field of that name.
const CODE: [&str; 2] = ["code", "otp"];

/// The one-time code: of `totp`, or else of the first value that is an address of such a secret.
fn code(args: &Get, app: &App, item: &Item, conflict: bool) -> Done {
    let name = printable(item.name.as_str());
    let is_address = |field: &Field| field.value.as_str().starts_with("otpauth://");
    let Some(secret) = item.get("totp").or_else(|| item.all().into_iter().find(is_address)) else {
        let message = format!("{name} has no secret for one-time codes");
        let advice = format!("add one: lockstep edit {} --ask totp", shell_word(&args.entry));
        return Err(Failure::new(Exit::NotFound, message, advice));
    };
    let code = one_time::present(secret.value.as_str()).map_err(|why| {
        let message = format!("{} of {name} gives no one-time code: {why}", printable(&secret.name));
        Failure::new(Exit::Failure, message, "")
    })?;
    if app.ui.json {
        return app.ui.document(&json!({
            "field": "code", "value": code.code, "seconds_left": code.seconds_left, "period": code.period,
            "conflict": conflict,
        }));
    }
    print(args, app, &code.code)?;
    app.ui.hint(format!("{} left", count(code.seconds_left, "second", "seconds")));
    Ok(())
}

/// An entry has no such field; which it has.
pub fn no_field(item: &Item, name: &str) -> Failure {
    let names: Vec<String> = item.all().iter().map(|field| printable(&field.name)).collect();
    let message = format!("{} has no field \"{}\"", printable(item.name.as_str()), printable(name));
    Failure::new(Exit::NotFound, message, format!("it has: {}", names.join(", ")))
}

fn all(args: &Get, app: &App, item: &Item) -> Done {
    let fields = item.all();
    let width = fields.iter().map(|field| console::measure_text_width(&field.name)).max().unwrap_or_default();
    let label = Style::new().dim();
    for field in fields {
        let pad = " ".repeat(width - console::measure_text_width(&field.name));
        let value = if field.masked && !args.reveal {
            MASK.to_owned()
        } else {
            let lines: Vec<String> = field.value.as_str().lines().map(printable).collect();
            lines.join(&format!("\n{}", " ".repeat(width + 2)))
        };
        app.ui.data(&format!("{}{pad}  {value}", label.apply_to(printable(&field.name))))?;
    }
    for file in &item.attachments {
        let (name, size) = (printable(file.name.as_str()), indicatif::HumanBytes(file.size));
        app.ui.data(&format!("{}  {name} ({size})", label.apply_to("attachment")))?;
    }
    if !item.history.is_empty() {
        let earlier = count(item.history.len() as u64, "earlier password", "earlier passwords");
        app.ui.hint(format!("{earlier}: --json shows all"));
    }
    Ok(())
}

/// What stands for a masked value.
pub const MASK: &str = "••••••••";

/// An entry as a JSON document: `get --json` is asked for by programs that want the values.
pub fn document(item: &Item, entry: EntryId, conflict: bool) -> serde_json::Value {
    let fields: serde_json::Map<String, serde_json::Value> =
        item.all().into_iter().map(|field| (field.name, field.value.as_str().into())).collect();
    json!({ "id": entry, "type": item.body.word(), "name": item.name, "conflict": conflict, "fields": fields, "item": item })
}
