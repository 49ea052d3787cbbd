//! Comma-separated values with a header line: Chrome, Firefox, Safari, Bitwarden, KeePass 1 and whatever looks like
//! them.
//!
//! Columns are recognised by name; a column that nobody recognises becomes a custom field, so nothing is lost.

use csv::{Reader, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::{
    import::{ImportError, Imported, Place},
    item::{Body, Custom, Item, Login, Note, Uri},
    secret::Secret,
};

/// What a column means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Uri,
    Username,
    Password,
    Notes,
    Totp,
    Folder,
    Tags,
    Favourite,
    /// `login` or `note` in Bitwarden's CSV.
    Type,
    /// `name: value` lines in Bitwarden's CSV.
    Fields,
    /// Kept in `extra` under the source's name: nothing a person would look at.
    Technical,
    /// A custom field under the column's own name.
    Unknown,
}

const MEANINGS: &[(&str, Column)] = &[
    ("name", Column::Name),
    ("title", Column::Name),
    ("account", Column::Name),
    ("url", Column::Uri),
    ("uri", Column::Uri),
    ("website", Column::Uri),
    ("web site", Column::Uri),
    ("login_uri", Column::Uri),
    ("username", Column::Username),
    ("user name", Column::Username),
    ("user", Column::Username),
    ("login", Column::Username),
    ("login name", Column::Username),
    ("login_username", Column::Username),
    ("email", Column::Username),
    ("password", Column::Password),
    ("login_password", Column::Password),
    ("note", Column::Notes),
    ("notes", Column::Notes),
    ("comment", Column::Notes),
    ("comments", Column::Notes),
    ("extra", Column::Notes),
    ("totp", Column::Totp),
    ("otp", Column::Totp),
    ("otpauth", Column::Totp),
    ("login_totp", Column::Totp),
    ("folder", Column::Folder),
    ("group", Column::Folder),
    ("grouping", Column::Folder),
    ("tags", Column::Tags),
    ("favorite", Column::Favourite),
    ("favourite", Column::Favourite),
    ("fav", Column::Favourite),
    ("type", Column::Type),
    ("fields", Column::Fields),
    ("reprompt", Column::Technical),
    ("httprealm", Column::Technical),
    ("formactionorigin", Column::Technical),
    ("guid", Column::Technical),
    ("timecreated", Column::Technical),
    ("timelastused", Column::Technical),
    ("timepasswordchanged", Column::Technical),
];

const HEADER_ADVICE: &str =
    "the first line must name the columns, for example: name,url,username,password,notes";

/// The columns of KeePass 1, which alone writes `\"` for a quote and `\\` for a backslash.
const KEEPASS: [&str; 5] = ["Account", "Login Name", "Password", "Web Site", "Comments"];

/// How values are set apart.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    delimiter: u8,
    /// What stands before a quote that belongs to a value; otherwise such a quote is doubled.
    escape: Option<u8>,
}

impl Dialect {
    fn of(text: &str, said: Option<u8>) -> Self {
        let plain = Self { delimiter: said.unwrap_or_else(|| delimiter(text)), escape: None };
        // No name of a column has a quote in it: all dialects read the header alike.
        let is_keepass = plain.reader(text).headers().is_ok_and(is_keepass);
        Self { escape: is_keepass.then_some(b'\\'), ..plain }
    }

    fn reader(self, text: &str) -> Reader<&[u8]> {
        ReaderBuilder::new()
            .delimiter(self.delimiter)
            .double_quote(self.escape.is_none())
            .escape(self.escape)
            .flexible(true)
            .from_reader(text.as_bytes())
    }
}

fn has(header: &StringRecord, title: &str) -> bool {
    header.iter().any(|known| known.trim().eq_ignore_ascii_case(title))
}

fn is_keepass(header: &StringRecord) -> bool {
    KEEPASS.iter().all(|title| has(header, title))
}

struct Layout {
    source: &'static str,
    columns: Vec<(Column, String)>,
}

/// Reads a file with a header line.
///
/// # Errors
/// If there is no header with a password column, or a line has another number of values than the header.
pub fn parse(text: &str) -> Result<Imported, ImportError> {
    let (delimiter, text) = separator_line(text);
    let dialect = Dialect::of(text, delimiter);
    if let Some(line) = unclosed_quote(text, dialect) {
        return Err(ImportError::new(
            Place::Line(line),
            "opens a quote that is never closed",
            "export it again",
        ));
    }
    let mut reader = dialect.reader(text);
    let header = reader.headers().map_err(|error| unreadable(&error))?.clone();
    let layout = layout(&header)?;
    let mut imported = Imported { source: layout.source.to_owned(), ..Imported::default() };
    let mut kept = Kept::default();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != layout.columns.len() {
            return Err(ImportError::new(
                Place::Line(line),
                format!("has {} values where the header names {}", record.len(), layout.columns.len()),
                "look for a comma or a line break outside of quotes",
            ));
        }
        if holds_something(&layout, &record) {
            imported.items.push(item(&layout, &record, &mut kept));
        } else {
            kept.empty += 1;
        }
    }
    imported.notes = kept.notes();
    Ok(imported)
}

fn unreadable(error: &csv::Error) -> ImportError {
    let line = error.position().map_or(1, csv::Position::line);
    ImportError::new(Place::Line(line), "cannot be read as comma-separated values", HEADER_ADVICE)
}

/// What Excel says before the header, `sep=;`, and the rest with an empty line in its place, which keeps the numbers.
fn separator_line(text: &str) -> (Option<u8>, &str) {
    let rest = text.strip_prefix("sep=").or_else(|| text.strip_prefix("SEP="));
    match rest.and_then(|rest| Some((*rest.as_bytes().first()?, rest.get(1..)?))) {
        Some((said, rest)) if rest.starts_with(['\r', '\n']) => (Some(said), rest),
        _ => (None, text),
    }
}

/// The separator that occurs most in the first line.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    let count = |separator: char| first.chars().filter(|c| *c == separator).count();
    [(b',', count(',')), (b';', count(';')), (b'\t', count('\t'))]
        .into_iter()
        .rev()
        .max_by_key(|(_, n)| *n)
        .map_or(b',', |(separator, _)| separator)
}

/// The line of a quote that opens a value and is never closed: it swallowed the rest of the file.
fn unclosed_quote(text: &str, Dialect { delimiter, escape }: Dialect) -> Option<u64> {
    let (mut line, mut opened) = (1, None);
    let mut at_start = true;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        line += u64::from(byte == b'\n');
        if opened.is_some() {
            if Some(byte) == escape {
                line += u64::from(bytes.next() == Some(b'\n'));
            } else if byte == b'"' && (escape.is_some() || bytes.next_if_eq(&b'"').is_none()) {
                opened = None;
            }
        } else if byte == b'"' && at_start {
            opened = Some(line);
        }
        at_start = opened.is_none() && (byte == delimiter || byte == b'\n' || byte == b'\r');
    }
    opened
}

fn layout(header: &StringRecord) -> Result<Layout, ImportError> {
    let mut columns: Vec<(Column, String)> = Vec::with_capacity(header.len());
    for title in header {
        let wanted = title.trim().to_lowercase();
        let found = MEANINGS.iter().find(|(known, _)| *known == wanted).map(|(_, meaning)| *meaning);
        // A second column of the same meaning ("email" beside "username") keeps its own name.
        let taken = |meaning: Column| {
            meaning != Column::Technical && columns.iter().any(|(used, _)| *used == meaning)
        };
        let meaning = found.filter(|meaning| !taken(*meaning)).unwrap_or(Column::Unknown);
        columns.push((meaning, title.trim().to_owned()));
    }
    let has = |meaning: Column| columns.iter().any(|(used, _)| *used == meaning);
    if !has(Column::Password) || !(has(Column::Name) || has(Column::Uri) || has(Column::Username)) {
        return Err(ImportError::new(Place::Line(1), "has no password column that I know", HEADER_ADVICE));
    }
    Ok(Layout { source: source(header), columns })
}

fn source(header: &StringRecord) -> &'static str {
    let has = |title: &str| has(header, title);
    match () {
        () if is_keepass(header) => "KeePass CSV",
        () if has("httpRealm") && has("formActionOrigin") => "Firefox CSV",
        () if has("login_password") => "Bitwarden CSV",
        () if has("OTPAuth") => "Safari CSV",
        () if header.len() <= 5 && has("name") && has("url") && has("note") => "Chrome CSV",
        () => "CSV",
    }
}

/// In how many records a column says what has no place here, and is kept as a field; how many hold nothing, and are not
/// kept.
#[derive(Default)]
struct Kept {
    types: u64,
    favourites: u64,
    empty: u64,
}

impl Kept {
    fn notes(&self) -> Vec<String> {
        let say = |n: u64, what: &str| match n {
            0 => None,
            1 => Some(format!("1 item has {what}: it is kept as a field")),
            n => Some(format!("{n} items have {what}: it is kept as a field of each")),
        };
        let types = say(self.types, "a type that is neither login nor note");
        let favourites = say(self.favourites, "a mark as a favourite that is neither yes nor no");
        let empty = match self.empty {
            0 => None,
            1 => Some("1 line holds nothing: it is left out".to_owned()),
            n => Some(format!("{n} lines hold nothing: they are left out")),
        };
        types.into_iter().chain(favourites).chain(empty).collect()
    }
}

/// The words that a table has for yes and no.
fn yes_or_no(value: &str) -> Option<bool> {
    match value.trim().to_lowercase().as_str() {
        "1" | "true" | "yes" => Some(true),
        "" | "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// Whether there is a value that a person would look at: of a row that holds nothing else, Firefox says when it was made.
fn holds_something(layout: &Layout, record: &StringRecord) -> bool {
    let mut values = layout.columns.iter().zip(record);
    values.any(|((column, _), value)| *column != Column::Technical && !value.is_empty())
}

fn item(layout: &Layout, record: &StringRecord, kept: &mut Kept) -> Item {
    let mut item = Item::new("", Body::default());
    let mut login = Login::default();
    let mut technical = Map::new();
    let mut is_note = false;
    for ((column, title), value) in layout.columns.iter().zip(record) {
        match column {
            _ if value.is_empty() => {}
            Column::Name => item.name = value.into(),
            Column::Uri => login.uris = uris(value, layout.source),
            Column::Username => login.username = value.into(),
            Column::Password => login.password = value.into(),
            Column::Totp => login.totp = value.into(),
            Column::Notes => item.notes = value.into(),
            Column::Folder => item.folder = value.into(),
            Column::Tags => item.tags = tags(value),
            Column::Favourite => {
                if let Some(favourite) = yes_or_no(value) {
                    item.favourite = favourite;
                } else {
                    kept.favourites += 1;
                    item.fields.push(field(title, value));
                }
            }
            Column::Type => match value.trim().to_lowercase().as_str() {
                "login" => {}
                "note" => is_note = true,
                _ => {
                    kept.types += 1;
                    item.fields.push(field(title, value));
                }
            },
            Column::Fields => item.fields.extend(fields(value)),
            Column::Technical => {
                technical.insert(title.clone(), Value::String(value.to_owned()));
            }
            Column::Unknown => item.fields.push(field(title, value)),
        }
    }
    if item.name.is_empty() {
        item.name = name_for(&login);
    }
    if !technical.is_empty() {
        item.extra.0.insert(layout.source.to_lowercase().replace(' ', "-"), Value::Object(technical));
    }
    let only_note = is_note && login == Login::default();
    item.body = if only_note { Body::Note(Note::default()) } else { Body::Login(login) };
    item
}

/// Bitwarden puts several addresses into one column, separated by commas.
fn uris(value: &str, source: &str) -> Vec<Uri> {
    let one = |uri: &str| Uri { uri: uri.into(), ..Uri::default() };
    if source != "Bitwarden CSV" {
        return vec![one(value)];
    }
    value.split(',').map(str::trim).filter(|uri| !uri.is_empty()).map(one).collect()
}

fn fields(value: &str) -> Vec<Custom> {
    let one = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or(("", line));
        field(name, value)
    };
    value.lines().filter(|line| !line.is_empty()).map(one).collect()
}

fn tags(value: &str) -> Vec<Secret> {
    value.split([',', ';']).map(str::trim).filter(|tag| !tag.is_empty()).map(Secret::from).collect()
}

fn field(name: &str, value: &str) -> Custom {
    Custom { name: name.into(), value: value.into(), ..Custom::default() }
}

/// Firefox knows no names: the host stands in, then the user.
fn name_for(login: &Login) -> Secret {
    let address = login.uris.first().map_or("", |uri| uri.uri.as_str());
    let host =
        address.split_once("://").map_or(address, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let name = if host.is_empty() { login.username.as_str() } else { host };
    if name.is_empty() { "(no name)".into() } else { name.into() }
}

#[cfg(test)]
mod tests;
