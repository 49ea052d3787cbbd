//! What goes out comes back, and every fixture imports whole.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use lockstep_client::porting::{
    Body, Format, Imported, Item, Secret,
    export::bitwarden_json,
    fixtures::{self, Style},
    import::{Options, parse_bytes},
    item::{Card, Custom, CustomKind, Identity, Login, Note, OldPassword, SshKey, Uri},
};
use proptest::{collection::vec, prelude::*};

fn import(text: String, format: Option<Format>) -> Imported {
    parse_bytes(text.into_bytes(), format, Options::default()).unwrap()
}

fn value(item: &Item, name: &str) -> String {
    item.get(name).map(|field| field.value.as_str().to_owned()).unwrap_or_default()
}

type Content = (Vec<(String, String, bool)>, Vec<String>, Vec<CustomKind>);

/// An item without what the other format adds: ids and the like, which stand in `extra`.
fn content(item: &Item) -> Content {
    let values = item.all().into_iter().map(|f| (f.name, f.value.as_str().to_owned(), f.masked)).collect();
    let history = item.history.iter().map(|old| old.password.as_str().to_owned()).collect();
    (values, history, item.fields.iter().map(|field| field.kind).collect())
}

#[test]
fn three_thousand_items_go_through_bitwarden_json_with_the_same_content() {
    let items = fixtures::items(3000, 1);
    let imported = import(fixtures::write(&items, Style::Bitwarden), None);
    assert_eq!(imported.source, "Bitwarden JSON");
    assert_eq!(imported.notes, Vec::<String>::new());
    assert_eq!(imported.items.len(), 3000);
    for (ours, theirs) in items.iter().zip(&imported.items) {
        assert_eq!(content(ours), content(theirs));
        assert_eq!(ours.body.word(), theirs.body.word());
    }
}

#[test]
fn keepass_fixtures_give_every_value_back() {
    let items = fixtures::items(1000, 2);
    let imported = import(fixtures::write(&items, Style::Keepass), None);
    assert_eq!(imported.items.len(), items.len());
    // KeePass sorts by group; the names carry the number that pairs them.
    let mut by_name: std::collections::HashMap<String, &Item> =
        imported.items.iter().map(|item| (value(item, "name"), item)).collect();
    for item in &items {
        let theirs = by_name.remove(item.name.as_str()).unwrap();
        for name in [
            "username",
            "password",
            "totp",
            "uri",
            "uri2",
            "notes",
            "folder",
            "tags",
            "number",
            "private-key",
        ] {
            if name != "username" || matches!(item.body, Body::Login(_)) {
                assert_eq!(value(item, name), value(theirs, name), "{name}");
            }
        }
        assert_eq!(item.history.len(), theirs.history.len());
    }
}

#[test]
fn csv_fixtures_give_every_value_back_also_with_a_byte_order_mark_and_crlf() {
    let (items, logins) = (fixtures::items(1000, 3), fixtures::logins(1000, 3));
    let chrome = fixtures::write(&items, Style::Csv);
    let firefox = format!("\u{feff}{}", fixtures::write(&logins, Style::Firefox));
    for (items, text, source, names) in [
        (items, chrome, "Chrome CSV", &["name", "uri", "username", "password", "notes"][..]),
        (logins, firefox, "Firefox CSV", &["uri", "username", "password"]),
    ] {
        let imported = import(text, None);
        assert_eq!((imported.source.as_str(), imported.items.len()), (source, 1000));
        for (ours, theirs) in items.iter().zip(&imported.items) {
            for name in names {
                assert_eq!(value(ours, name), value(theirs, name), "{name}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() {
    let text = |seed| fixtures::write(&fixtures::items(200, seed), Style::Bitwarden);
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
    let words: std::collections::BTreeSet<_> =
        fixtures::items(5, 1).iter().map(|item| item.body.word()).collect();
    assert_eq!(words.len(), 5, "even five items show every kind");
}

#[test]
fn fields_of_the_source_that_we_do_not_know_come_back_in_the_export() {
    let source = serde_json::json!({ "encrypted": false,
        "folders": [{ "id": "f1", "name": "Work" }],
        "collections": [{ "id": "c1", "name": "Team" }],
        "items": [
            { "id": "i1", "type": 1, "name": "A", "folderId": "f1", "reprompt": 1, "somethingNew": { "a": [1] },
              "login": { "username": "ada", "password": "x", "passwordRevisionDate": "2024-01-01T00:00:00Z",
                         "fido2Credentials": [{ "credentialId": "k" }],
                         "uris": [{ "uri": "https://a", "match": 3, "uriChecksum": "z" }, { "uri": "https://b", "match": null }] },
              "fields": [{ "name": "L", "value": null, "type": 3, "linkedId": 100 }] },
            { "id": "i2", "type": 9, "name": "New kind", "passportCard": { "n": "1" }, "collectionIds": ["c1"] }
        ]
    });
    let imported = import(source.to_string(), None);
    assert_eq!(value(&imported.items[0], "folder"), "Work");
    assert_eq!(value(&imported.items[1], "folder"), "Team");
    assert_eq!(imported.notes.len(), 1, "an unknown type is kept and said: {:?}", imported.notes);
    let out = bitwarden_json(&imported.items);
    for (path, wanted) in [
        ("/items/0/somethingNew/a/0", serde_json::json!(1)),
        ("/items/0/reprompt", serde_json::json!(1)),
        ("/items/0/login/fido2Credentials/0/credentialId", serde_json::json!("k")),
        ("/items/0/login/uris/0/match", serde_json::json!(3)),
        ("/items/0/login/uris/0/uriChecksum", serde_json::json!("z")),
        ("/items/0/fields/0/linkedId", serde_json::json!(100)),
        ("/items/1/type", serde_json::json!(9)),
        ("/items/1/passportCard/n", serde_json::json!("1")),
    ] {
        assert_eq!(out.pointer(path), Some(&wanted), "{path}");
    }
}

#[test]
fn encrypted_trashed_and_broken_bitwarden_files_are_told_apart() {
    let refuse =
        |text: &str| parse_bytes(text.as_bytes().to_vec(), None, Options::default()).unwrap_err().to_string();
    let locked = refuse(r#"{"encrypted": true, "passwordProtected": true, "data": "x"}"#);
    assert!(
        locked.contains("password-protected") && locked.contains("not \".json (Encrypted)\""),
        "{locked}"
    );
    assert!(refuse(r#"{"encrypted": true, "items": []}"#).contains("account-encrypted"));
    assert!(refuse("{\n\"items\": [\n{]\n").contains(", line 3: is not the JSON"));
    assert!(refuse(r#"{"items": [{"type": 1, "name": "a", "fields": 7}]}"#).contains(", item 1: has fields"));
    assert!(refuse(r#"{"items": [{"name": "no type"}]}"#).contains(", item 1: has no usable type"));
    assert!(refuse("[]").contains("another shape"));
    let bin = r#"{"items": [{"type": 2, "name": "a", "deletedDate": "2024-01-01"}]}"#;
    let without = import(bin.to_owned(), None);
    assert_eq!((without.items.len(), without.notes.len()), (0, 1));
    let with = parse_bytes(bin.as_bytes().to_vec(), None, Options { with_trash: true, ..Options::default() })
        .unwrap();
    assert_eq!(with.items.len(), 1);
}

fn text() -> impl Strategy<Value = Secret> {
    "\\PC{0,12}".prop_map(Secret::from)
}

fn body() -> impl Strategy<Value = Body> {
    let uri = (text(), proptest::option::of(prop::sample::select(vec!["domain", "exact", "never"])))
        .prop_map(|(uri, matching)| Uri { uri, matching: matching.map(str::to_owned), ..Uri::default() });
    prop_oneof![
        (text(), text(), text(), vec(uri, 0..3)).prop_map(|(username, password, totp, uris)| Body::Login(
            Login { username, password, totp, uris, ..Login::default() }
        )),
        Just(Body::Note(Note::default())),
        (text(), text(), text()).prop_map(|(holder, number, code)| Body::Card(Card {
            holder,
            number,
            code,
            ..Card::default()
        })),
        (text(), text(), text()).prop_map(|(first, ssn, postcode)| Body::Identity(
            Identity { first, ssn, postcode, ..Identity::default() }.into()
        )),
        (text(), text()).prop_map(|(private_key, public_key)| Body::SshKey(SshKey {
            private_key,
            public_key,
            ..SshKey::default()
        })),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let kind = prop::sample::select(vec![
        CustomKind::Text,
        CustomKind::Hidden,
        CustomKind::Boolean,
        CustomKind::Linked,
    ]);
    let custom = (text(), text(), kind).prop_map(|(name, value, kind)| Custom {
        name,
        value,
        kind,
        ..Custom::default()
    });
    let old = text().prop_map(|password| OldPassword { password, ..OldPassword::default() });
    (
        "\\PC{1,12}",
        body(),
        text(),
        any::<bool>(),
        text(),
        vec(custom, 0..4),
        vec(old, 0..3),
        vec("[a-zé ]{1,6}", 0..3),
    )
        .prop_map(|(name, body, folder, favourite, notes, fields, history, tags)| {
            let tags = tags.into_iter().map(Secret::from).collect();
            Item { folder, favourite, notes, fields, history, tags, ..Item::new(name, body) }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_items_come_back_from_an_export_as_they_were(items in vec(item(), 0..8)) {
        let json = bitwarden_json(&items);
        let imported = import(json.to_string(), Some(Format::Bitwarden));
        prop_assert_eq!(imported.items.len(), items.len());
        for (ours, theirs) in items.iter().zip(&imported.items) {
            prop_assert_eq!(content(ours), content(theirs));
        }
        prop_assert_eq!(bitwarden_json(&imported.items), json);
    }

    #[test]
    fn an_item_comes_back_from_its_own_json_as_it_was(item in item()) {
        let json = serde_json::to_string(&item).unwrap();
        prop_assert_eq!(serde_json::from_str::<Item>(&json).unwrap(), item);
    }

    #[test]
    fn no_bytes_make_an_import_panic(bytes in vec(any::<u8>(), 0..200), text in "[\\{\\}\\[\\]<>/&;,\"a-z0-9:\n ]{0,200}") {
        for format in [Format::Bitwarden, Format::Csv, Format::Keepass] {
            let _ = parse_bytes(bytes.clone(), Some(format), Options::default());
            let _ = parse_bytes(text.clone().into_bytes(), Some(format), Options::default());
            let _ = parse_bytes(format!("name,password\n{text}").into_bytes(), Some(format), Options::default());
            let _ = parse_bytes(format!("<KeePassFile>{text}").into_bytes(), Some(format), Options::default());
        }
    }
}
