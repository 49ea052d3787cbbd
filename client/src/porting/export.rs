//! Writing items as JSON that Bitwarden, and we, can read again.
//!
//! What Bitwarden has no place for stands under `lockstep` in each item; Bitwarden ignores it, [`super::bitwarden`]
//! reads it back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    bitwarden::{CARD, IDENTITY, KEY, LOGIN, MATCHES, Names, SSH_KEY},
    item::{Body, Custom, CustomKind, Item, OldPassword, Uri},
    secret::Secret,
};

/// Everything in clear text. The caller has warned the person.
pub fn bitwarden_json(items: &[Item]) -> Value {
    let mut folders: BTreeMap<&str, String> = BTreeMap::new();
    for folder in items.iter().map(|item| item.folder.as_str()).filter(|folder| !folder.is_empty()) {
        folders.entry(folder).or_insert_with(|| stable_id("folder", folder));
    }
    let items: Vec<Value> = items
        .iter()
        .zip(0_u64..)
        .map(|(item, nth)| one(item, nth, folders.get(item.folder.as_str())))
        .collect();
    let folders: Vec<Value> = folders.iter().map(|(name, id)| json!({ "id": id, "name": name })).collect();
    json!({ "encrypted": false, "folders": folders, "items": items })
}

/// An id that is the same in every export, made from a name.
fn stable_id(kind: &str, name: &str) -> String {
    let hash = Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn one(item: &Item, nth: u64, folder: Option<&String>) -> Value {
    let mut to = match item.extra.0.get(KEY) {
        Some(Value::Object(kept)) => kept.clone(),
        _ => Map::new(),
    };
    if !to.contains_key("id") {
        to.insert("id".into(), stable_id("item", &format!("{nth}/{}", item.name.as_str())).into());
    }
    to.insert("name".into(), text(&item.name));
    to.insert("notes".into(), text(&item.notes));
    to.insert("favorite".into(), item.favourite.into());
    to.insert("folderId".into(), folder.map_or(Value::Null, |id| id.as_str().into()));
    body(item, &mut to);
    if !item.fields.is_empty() {
        to.insert("fields".into(), item.fields.iter().map(custom).collect());
    }
    if !item.history.is_empty() {
        to.insert("passwordHistory".into(), item.history.iter().map(old_password).collect());
    }
    let own = own(item);
    if !own.is_empty() {
        to.insert("lockstep".into(), Value::Object(own));
    }
    Value::Object(to)
}

fn body(item: &Item, to: &mut Map<String, Value>) {
    match &item.body {
        Body::Login(login) => {
            let mut fields = values(LOGIN, |name| login.value(name), &login.extra.0);
            fields.insert("uris".into(), login.uris.iter().map(uri).collect());
            section(to, 1, "login", fields);
        }
        Body::Note(note) => {
            let mut fields = note.extra.0.clone();
            fields.entry("type").or_insert_with(|| 0.into());
            section(to, 2, "secureNote", fields);
        }
        Body::Card(card) => section(to, 3, "card", values(CARD, |name| card.value(name), &card.extra.0)),
        Body::Identity(identity) => {
            section(to, 4, "identity", values(IDENTITY, |name| identity.value(name), &identity.extra.0));
        }
        Body::SshKey(key) => section(to, 5, "sshKey", values(SSH_KEY, |name| key.value(name), &key.extra.0)),
        Body::Other(kept) => to.extend(kept.0.clone()),
    }
}

fn section(to: &mut Map<String, Value>, code: u64, key: &str, fields: Map<String, Value>) {
    to.insert("type".into(), code.into());
    to.insert(key.into(), Value::Object(fields));
}

fn values<'a>(
    names: Names,
    value: impl Fn(&str) -> Option<&'a Secret>,
    extra: &Map<String, Value>,
) -> Map<String, Value> {
    let mut fields = extra.clone();
    for (theirs, ours) in names {
        fields.insert((*theirs).into(), value(ours).map_or(Value::Null, text));
    }
    fields
}

fn text(value: &Secret) -> Value {
    if value.is_empty() { Value::Null } else { value.as_str().into() }
}

fn uri(uri: &Uri) -> Value {
    let mut to = uri.extra.0.clone();
    let code = uri.matching.as_ref().and_then(|word| MATCHES.iter().position(|known| known == word));
    to.insert("uri".into(), text(&uri.uri));
    to.entry("match").or_insert_with(|| code.map_or(Value::Null, Value::from));
    Value::Object(to)
}

fn custom(field: &Custom) -> Value {
    let code = match field.kind {
        CustomKind::Text => 0,
        CustomKind::Hidden => 1,
        CustomKind::Boolean => 2,
        CustomKind::Linked => 3,
    };
    let mut to = field.extra.0.clone();
    to.insert("name".into(), text(&field.name));
    to.insert("value".into(), text(&field.value));
    to.insert("type".into(), code.into());
    Value::Object(to)
}

/// Where nobody knows until when a password was used: Bitwarden refuses a file that says nothing.
pub(super) const UNKNOWN_DATE: &str = "1970-01-01T00:00:00.000Z";

fn old_password(old: &OldPassword) -> Value {
    let mut to = old.extra.0.clone();
    to.insert("password".into(), text(&old.password));
    to.insert("lastUsedDate".into(), old.used_until.as_deref().unwrap_or(UNKNOWN_DATE).into());
    Value::Object(to)
}

/// What Bitwarden has no place for.
fn own(item: &Item) -> Map<String, Value> {
    let mut own = item.extra.0.clone();
    own.remove(KEY);
    if !item.tags.is_empty() {
        own.insert("tags".into(), item.tags.iter().map(Secret::as_str).collect());
    }
    if !item.attachments.is_empty() {
        own.insert("attachments".into(), serde_json::to_value(&item.attachments).unwrap_or_default());
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::porting::{bitwarden, item::Login};

    #[test]
    fn every_earlier_password_has_a_date_and_one_that_nobody_knows_stays_unknown() {
        let mut item = Item::new("mail", Body::Login(Login { password: "two".into(), ..Login::default() }));
        item.history = vec![OldPassword { password: "one".into(), ..OldPassword::default() }];
        item.set("password", "three".into()).unwrap();
        let written = bitwarden_json(std::slice::from_ref(&item));
        let dates = written["items"][0]["passwordHistory"].as_array().unwrap().clone();
        assert!(dates.len() == 2 && dates.iter().all(|old| old["lastUsedDate"].is_string()), "{dates:?}");
        let read =
            bitwarden::parse(&written.to_string(), crate::porting::import::Options::default()).unwrap();
        assert_eq!(read.items[0].history, item.history);
    }
}
