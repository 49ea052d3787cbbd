//! Writing items as JSON that Bitwarden, and we, can read again.
//!
//! What Bitwarden has no place for stands under `lockstep` in each item; Bitwarden ignores it, [`super::bitwarden`]
//! reads it back. Of several vaults, those that the account did not begin with are folders there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    bitwarden::{CARD, IDENTITY, KEY, LOGIN, MATCHES, Names, SSH_KEY},
    item::{Body, Custom, CustomKind, Item, OldPassword, Uri},
    portion::{Origin, Portion, inside},
    secret::Secret,
};

/// The word for an item's vault, among what is ours.
pub(super) const VAULT: &str = "vault";

/// Everything in clear text. The caller has warned the person.
pub fn bitwarden_json(items: &[Item]) -> Value {
    written(items.iter().map(|item| (None, item)))
}

/// The same for vaults. If there are several, each item says in which it is.
pub fn bitwarden_json_of(vaults: &[Portion]) -> Value {
    let several = vaults.len() > 1;
    written(
        vaults.iter().flat_map(|portion| {
            portion.items.iter().map(move |item| (several.then_some(&portion.vault), item))
        }),
    )
}

fn written<'a>(items: impl Iterator<Item = (Option<&'a Origin>, &'a Item)>) -> Value {
    let mut folders: BTreeMap<String, String> = BTreeMap::new();
    let items: Vec<Value> = items
        .zip(0_u64..)
        .map(|((vault, item), nth)| {
            let folder = inside(vault.map_or("", Origin::folder), item.folder.as_str());
            let id = folders.entry(folder.clone()).or_insert_with(|| stable_id("folder", &folder));
            let mut to = one(item, nth, (!folder.is_empty()).then_some(id));
            if let Some(vault) = vault
                && let Some(own) = to.entry("lockstep").or_insert_with(|| json!({})).as_object_mut()
            {
                own.insert(VAULT.to_owned(), serde_json::to_value(vault).unwrap_or_default());
            }
            Value::Object(to)
        })
        .collect();
    folders.remove("");
    let folders: Vec<Value> = folders.iter().map(|(name, id)| json!({ "id": id, "name": name })).collect();
    json!({ "encrypted": false, "folders": folders, "items": items })
}

impl Item {
    /// By what two items are the same to a person: all that they hold, but for the ids that another program or an
    /// export gave them, and for their files.
    pub fn likeness(&self) -> [u8; 32] {
        let bare = Self { attachments: Vec::new(), ..self.clone() };
        let mut shown = one(&bare, 0, None);
        shown.remove("id");
        shown.insert("folderId".into(), self.folder.as_str().into());
        let shown = zeroize::Zeroizing::new(Value::Object(shown).to_string());
        Sha256::digest(shown.as_bytes()).into()
    }
}

/// An id that is the same in every export, made from a name.
fn stable_id(kind: &str, name: &str) -> String {
    let hash = Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn one(item: &Item, nth: u64, folder: Option<&String>) -> Map<String, Value> {
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
    to
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
    use lockstep_events::VaultId;

    use super::*;
    use crate::porting::{
        bitwarden, fixtures,
        import::{Imported, Options},
        item::{AttachmentRef, Login, Note},
    };

    fn read(written: &Value) -> Imported {
        bitwarden::parse(&written.to_string(), Options::default()).unwrap()
    }

    fn vault(n: u128, name: Option<&str>, items: Vec<Item>) -> Portion {
        let vault =
            Origin { id: VaultId(uuid::Uuid::from_u128(n)), name: name.map(Into::into), first: n == 1 };
        Portion { vault, items }
    }

    #[test]
    fn of_several_vaults_each_item_says_its_own_and_bitwarden_shows_a_folder() {
        let mut items = fixtures::items(12, 4);
        items[5].folder = "Web".into();
        items[6].folder = Secret::default();
        let vaults = [
            vault(1, Some("Private"), items[..4].to_vec()),
            vault(2, Some("Work"), items[4..8].to_vec()),
            vault(3, None, items[8..].to_vec()),
        ];
        let written = bitwarden_json_of(&vaults);
        let folder = |nth: usize| {
            let id = &written["items"][nth]["folderId"];
            let all = written["folders"].as_array().unwrap();
            all.iter().find(|folder| folder["id"] == *id).unwrap()["name"].clone()
        };
        assert_eq!((folder(5), folder(6)), (json!("Work/Web"), json!("Work")));
        let read = read(&written);
        assert!(read.items.is_empty() && read.vaults.len() == 3);
        for (ours, theirs) in vaults.iter().zip(&read.vaults) {
            assert_eq!(ours.vault, theirs.vault);
            let like = |portion: &Portion| portion.items.iter().map(Item::likeness).collect::<Vec<_>>();
            assert_eq!(like(ours), like(theirs));
        }
        assert_eq!(bitwarden_json_of(&vaults[1..2]), bitwarden_json(&items[4..8]), "one vault has no name");
    }

    #[test]
    fn items_are_alike_whatever_ids_they_have_and_in_nothing_else() {
        let mut item = Item::new("mail", Body::Note(Note::default()));
        item.tags = vec!["b".into(), "a".into()];
        let again = read(&bitwarden_json(std::slice::from_ref(&item))).items.remove(0);
        assert_ne!(again, item, "it has an id now");
        assert_eq!(again.likeness(), item.likeness());
        let changed = |change: fn(&mut Item)| {
            let mut other = item.clone();
            change(&mut other);
            other.likeness() != item.likeness()
        };
        assert!(changed(|item| item.name = "Mail".into()));
        assert!(changed(|item| item.folder = "Post".into()));
        assert!(changed(|item| item.favourite = true));
        assert!(changed(|item| item.tags = vec!["a".into()]));
        assert!(changed(|item| item.history.push(OldPassword::default())));
        assert!(changed(|item| item.body = Body::Login(Login::default())));
        assert!(changed(|item| item.extra.0.insert("x".into(), json!(1)).map_or((), drop)));
        assert!(!changed(|item| item.attachments.push(AttachmentRef::default())), "files are compared apart");
    }

    #[test]
    fn every_earlier_password_has_a_date_and_one_that_nobody_knows_stays_unknown() {
        let mut item = Item::new("mail", Body::Login(Login { password: "two".into(), ..Login::default() }));
        item.history = vec![OldPassword { password: "one".into(), ..OldPassword::default() }];
        item.set("password", "three".into()).unwrap();
        let written = bitwarden_json(std::slice::from_ref(&item));
        let dates = written["items"][0]["passwordHistory"].as_array().unwrap().clone();
        assert!(dates.len() == 2 && dates.iter().all(|old| old["lastUsedDate"].is_string()), "{dates:?}");
        assert_eq!(read(&written).items[0].history, item.history);
    }
}
