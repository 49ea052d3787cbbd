//! Bitwarden's unencrypted JSON, read.
//!
//! Every field that has no place in [`Item`] stays under `extra.bitwarden`, so that [`super::export`] gives it back.

mod attached;

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    export::{UNKNOWN_DATE, VAULT},
    import::{ImportError, Imported, Options, Place},
    item::{Body, Card, Custom, CustomKind, Extra, Identity, Item, Login, Note, OldPassword, SshKey, Uri},
    portion::{Origin, Portion, outside},
    secret::Secret,
};

pub use attached::parse_zip;

/// The key in `extra` under which this format's own fields stand.
pub const KEY: &str = "bitwarden";

const AGAIN: &str = "export again from Bitwarden (Settings → Export vault → .json)";

/// How a note ends that is not true of a ZIP.
const NOT_HELD: &str = ": Bitwarden's JSON names its attachments but does not hold them; its export \".zip (with attachments)\" does";

/// Bitwarden's names for the values of a kind, and ours.
pub(super) type Names = &'static [(&'static str, &'static str)];
pub(super) const LOGIN: Names = &[("username", "username"), ("password", "password"), ("totp", "totp")];
pub(super) const CARD: Names = &[
    ("cardholderName", "cardholder"),
    ("brand", "brand"),
    ("number", "number"),
    ("expMonth", "month"),
    ("expYear", "year"),
    ("code", "code"),
];
pub(super) const IDENTITY: Names = &[
    ("title", "title"),
    ("firstName", "first-name"),
    ("middleName", "middle-name"),
    ("lastName", "last-name"),
    ("address1", "address1"),
    ("address2", "address2"),
    ("address3", "address3"),
    ("city", "city"),
    ("state", "state"),
    ("postalCode", "postcode"),
    ("country", "country"),
    ("company", "company"),
    ("email", "email"),
    ("phone", "phone"),
    ("ssn", "ssn"),
    ("username", "username"),
    ("passportNumber", "passport"),
    ("licenseNumber", "licence"),
];
pub(super) const SSH_KEY: Names =
    &[("privateKey", "private-key"), ("publicKey", "public-key"), ("keyFingerprint", "fingerprint")];
pub(super) const MATCHES: &[&str] = &["domain", "host", "starts_with", "exact", "regex", "never"];

/// Reads an export.
///
/// # Errors
/// If it is encrypted, is not JSON, or an item in it is not of Bitwarden's shape.
pub fn parse(text: &str, options: Options) -> Result<Imported, ImportError> {
    let mut root: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        ImportError::new(
            Place::Line(error.line() as u64),
            format!("is not the JSON of a vault ({})", cause(&error)),
            AGAIN,
        )
    })?;
    refuse_encrypted(&root)?;
    let Some(Value::Array(items)) = root.remove("items") else {
        return Err(ImportError::new(Place::File, "has no list of items", AGAIN));
    };
    let groups = Groups { folders: names_of(&root, "folders"), collections: names_of(&root, "collections") };
    let mut imported = Imported { source: "Bitwarden JSON".into(), ..Imported::default() };
    let mut trashed = 0_u64;
    for (value, nth) in items.into_iter().zip(1_u64..) {
        let Value::Object(fields) = value else {
            return Err(ImportError::new(Place::Record(nth), "is not an object", AGAIN));
        };
        if fields.get("deletedDate").is_some_and(|date| !date.is_null()) && !options.with_trash {
            trashed += 1;
            continue;
        }
        let (item, vault) = item(fields, &groups, nth, &mut imported.notes)?;
        put(&mut imported, item, vault);
    }
    match trashed {
        0 => {}
        1 => imported.notes.push("1 item in the bin was left out; --with-trash takes it along".to_owned()),
        n => {
            imported.notes.push(format!("{n} items in the bin were left out; --with-trash takes them along"))
        }
    }
    Ok(imported)
}

/// Into the vault that an item of our own export says, out of the folder that it is there.
fn put(imported: &mut Imported, mut item: Item, vault: Option<Origin>) {
    let Some(vault) = vault else { return imported.items.push(item) };
    item.folder = outside(vault.folder(), item.folder.as_str()).into();
    match imported.vaults.iter_mut().find(|portion| portion.vault.id == vault.id) {
        Some(portion) => portion.items.push(item),
        None => imported.vaults.push(Portion { vault, items: vec![item] }),
    }
}

/// serde's words without the line and column, which stand in the place already. They quote no values: the types
/// asked for here are maps.
fn cause(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax => "a character does not belong there",
        Category::Data | Category::Io => "another shape was expected",
    }
}

fn refuse_encrypted(root: &Map<String, Value>) -> Result<(), ImportError> {
    let flag = |name: &str| root.get(name).and_then(Value::as_bool).unwrap_or(false);
    if !flag("encrypted") {
        return Ok(());
    }
    let kind = if flag("passwordProtected") { "a password-protected" } else { "an account-encrypted" };
    Err(ImportError::new(
        Place::File,
        format!("is {kind} export, which only Bitwarden can open"),
        "in Bitwarden export again as \".json\" (not \".json (Encrypted)\"), import that, then delete the file",
    ))
}

struct Groups {
    folders: HashMap<String, String>,
    collections: HashMap<String, String>,
}

impl Groups {
    /// The folder's name, and the names of collections, which an organisation's item has and of which it may have
    /// several: without a folder the first takes its place. The others become tags.
    fn of(&self, item: &Map<String, Value>) -> (Secret, Vec<Secret>) {
        let folder = item.get("folderId").and_then(Value::as_str).and_then(|id| self.folders.get(id));
        let collections = item.get("collectionIds").and_then(Value::as_array).into_iter().flatten();
        let mut names = collections
            .filter_map(Value::as_str)
            .filter_map(|id| self.collections.get(id))
            .map(String::as_str);
        let folder = folder.map(String::as_str).or_else(|| names.next()).unwrap_or_default();
        (folder.into(), names.map(Secret::from).collect())
    }
}

fn names_of(root: &Map<String, Value>, list: &str) -> HashMap<String, String> {
    let text = |group: &Value, key: &str| group.get(key).and_then(Value::as_str).map(str::to_owned);
    let groups = root.get(list).and_then(Value::as_array).into_iter().flatten();
    groups.filter_map(|group| Some((text(group, "id")?, text(group, "name")?))).collect()
}

fn item(
    mut from: Map<String, Value>,
    groups: &Groups,
    nth: u64,
    notes: &mut Vec<String>,
) -> Result<(Item, Option<Origin>), ImportError> {
    let wrong = |what: &str| ImportError::new(Place::Record(nth), format!("has no usable {what}"), AGAIN);
    let code = from.get("type").and_then(Value::as_u64).ok_or_else(|| wrong("type"))?;
    let body = body(code, &mut from, nth, notes)?;
    let mut item = Item::new(take(&mut from, "name"), body);
    if item.name.is_empty() {
        item.name = "(no name)".into();
    }
    item.notes = take(&mut from, "notes");
    item.favourite = from.remove("favorite").and_then(|flag| flag.as_bool()).unwrap_or(false);
    item.fields = objects(&mut from, "fields", nth)?.into_iter().map(custom).collect();
    item.history = objects(&mut from, "passwordHistory", nth)?.into_iter().map(old_password).collect();
    (item.folder, item.tags) = groups.of(&from);
    if from.get("attachments").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
        notes.push(format!("item {nth}{NOT_HELD}"));
    }
    let vault = ours(&mut item, &mut from);
    keep(&mut item.extra, KEY, from);
    Ok((item, vault))
}

fn body(
    code: u64,
    from: &mut Map<String, Value>,
    nth: u64,
    notes: &mut Vec<String>,
) -> Result<Body, ImportError> {
    let section = |from: &mut Map<String, Value>, key: &str| match from.remove(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields),
        Some(_) => Err(ImportError::new(Place::Record(nth), format!("has a {key} that is no object"), AGAIN)),
    };
    macro_rules! filled {
        ($kind:ident, $key:literal, $names:ident) => {{
            let mut fields = section(from, $key)?;
            let mut body = $kind::default();
            for (theirs, name) in $names {
                if let Some(slot) = body.value_mut(name) {
                    *slot = take(&mut fields, theirs);
                }
            }
            (body, fields)
        }};
    }
    from.remove("type");
    Ok(match code {
        1 => {
            let (mut login, mut rest) = filled!(Login, "login", LOGIN);
            login.uris = objects(&mut rest, "uris", nth)?.into_iter().map(uri).collect();
            login.extra = without_nulls(rest);
            Body::Login(login)
        }
        2 => Body::Note(Note { extra: without_nulls(section(from, "secureNote")?) }),
        3 => {
            let (mut card, rest) = filled!(Card, "card", CARD);
            card.extra = without_nulls(rest);
            Body::Card(card)
        }
        4 => {
            let (mut identity, rest) = filled!(Identity, "identity", IDENTITY);
            identity.extra = without_nulls(rest);
            Body::Identity(Box::new(identity))
        }
        5 => {
            let (mut key, rest) = filled!(SshKey, "sshKey", SSH_KEY);
            key.extra = without_nulls(rest);
            Body::SshKey(key)
        }
        _ => {
            notes
                .push(format!("item {nth}: its type {code} is newer than this program; it is kept as it is"));
            let mut kept = Map::new();
            kept.insert("type".into(), code.into());
            Body::Other(Extra(kept))
        }
    })
}

/// Takes a text out of an object; numbers and booleans become text, null becomes nothing.
fn take(from: &mut Map<String, Value>, key: &str) -> Secret {
    match from.get(key) {
        Some(Value::String(_)) => match from.remove(key) {
            Some(Value::String(text)) => text.into(),
            _ => Secret::default(),
        },
        Some(Value::Null) => {
            from.remove(key);
            Secret::default()
        }
        Some(Value::Number(_) | Value::Bool(_)) => {
            from.remove(key).map_or_else(Secret::default, |value| value.to_string().into())
        }
        // An array or object where a text belongs stays in `extra`.
        Some(_) | None => Secret::default(),
    }
}

fn objects(
    from: &mut Map<String, Value>,
    key: &str,
    nth: u64,
) -> Result<Vec<Map<String, Value>>, ImportError> {
    let wrong = || ImportError::new(Place::Record(nth), format!("has {key} of an unknown shape"), AGAIN);
    match from.remove(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .into_iter()
            .map(|value| if let Value::Object(fields) = value { Ok(fields) } else { Err(wrong()) })
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn without_nulls(mut fields: Map<String, Value>) -> Extra {
    fields.retain(|_, value| !value.is_null());
    Extra(fields)
}

fn keep(extra: &mut Extra, key: &str, fields: Map<String, Value>) {
    let kept = without_nulls(fields);
    if !kept.is_empty() {
        extra.0.insert(key.into(), Value::Object(kept.0));
    }
}

fn uri(mut from: Map<String, Value>) -> Uri {
    let code = from.get("match").and_then(Value::as_u64).and_then(|code| usize::try_from(code).ok());
    let matching = code.and_then(|code| MATCHES.get(code)).map(|word| (*word).to_owned());
    if matching.is_some() {
        from.remove("match");
    }
    Uri { uri: take(&mut from, "uri"), matching, extra: without_nulls(from) }
}

fn custom(mut from: Map<String, Value>) -> Custom {
    let kind = match from.get("type").and_then(Value::as_u64) {
        Some(0) | None => CustomKind::Text,
        Some(1) => CustomKind::Hidden,
        Some(2) => CustomKind::Boolean,
        Some(_) => CustomKind::Linked,
    };
    from.remove("type");
    Custom {
        name: take(&mut from, "name"),
        value: take(&mut from, "value"),
        kind,
        extra: without_nulls(from),
    }
}

fn old_password(mut from: Map<String, Value>) -> OldPassword {
    let date = from.remove("lastUsedDate").and_then(|date| date.as_str().map(str::to_owned));
    let used_until = date.filter(|date| date != UNKNOWN_DATE);
    OldPassword { password: take(&mut from, "password"), used_until, extra: without_nulls(from) }
}

/// What our own export added, because Bitwarden has no place for it; the vault that the item was in.
fn ours(item: &mut Item, from: &mut Map<String, Value>) -> Option<Origin> {
    let Some(Value::Object(mut own)) = from.remove("lockstep") else { return None };
    let mut typed = |key: &str| own.remove(key).unwrap_or(Value::Null);
    let tags: Vec<Secret> = serde_json::from_value(typed("tags")).unwrap_or_default();
    item.tags.extend(tags);
    item.attachments = serde_json::from_value(typed("attachments")).unwrap_or_default();
    let vault = serde_json::from_value(typed(VAULT)).ok();
    item.extra.0.extend(own);
    vault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_collections_one_is_the_folder_and_the_others_are_tags() {
        let text = r#"{
            "folders": [{ "id": "f", "name": "Mine" }],
            "collections": [{ "id": "1", "name": "Web" }, { "id": "2", "name": "Shop/Orders" }, { "id": "3", "name": "Bank" }],
            "items": [
                { "type": 2, "name": "a", "collectionIds": ["1", "2", "3"], "lockstep": { "tags": ["own"] } },
                { "type": 2, "name": "b", "folderId": "f", "collectionIds": ["1", "gone"] },
                { "type": 2, "name": "c", "collectionIds": null }
            ]
        }"#;
        let items = parse(text, Options::default()).unwrap().items;
        let places: Vec<(&str, Vec<&str>)> = items
            .iter()
            .map(|item| (item.folder.as_str(), item.tags.iter().map(Secret::as_str).collect()))
            .collect();
        let wanted = [("Web", vec!["Shop/Orders", "Bank", "own"]), ("Mine", vec!["Web"]), ("", vec![])];
        assert_eq!(places, wanted);
        assert_eq!(items[1].extra.0[KEY]["collectionIds"], serde_json::json!(["1", "gone"]));
    }
}
