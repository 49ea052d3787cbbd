use super::*;
use crate::porting::item::{Body, Card, Custom, CustomKind, Login, Uri};

fn item(username: &str, password: &str) -> Item {
    let login = Login { username: username.into(), password: password.into(), ..Login::default() };
    Item::new("mail", Body::Login(login))
}

#[test]
fn values_that_one_side_changed_are_taken_and_those_that_both_changed_are_contested() {
    let base = item("ada", "1");
    let (mut left, mut right) = (item("ada", "2"), item("ada", "3"));
    left.set("uri", "https://a".into()).unwrap();
    right.set("notes", "hello".into()).unwrap();
    let draft = draft(Some(&base), &[Some(&left), Some(&right)]).unwrap().unwrap();
    assert_eq!(draft.contested.len(), 1);
    assert_eq!(draft.contested[0].name, "password");
    assert_eq!(draft.item.notes.as_str(), "hello");
    assert_eq!(draft.item.uris().len(), 1);
}

#[test]
fn a_password_that_lost_is_found_in_the_history() {
    let (left, right) = (item("ada", "2"), item("ada", "3"));
    let draft = draft(Some(&item("ada", "1")), &[Some(&left), Some(&right)]).unwrap().unwrap();
    assert!(draft.item.history.iter().any(|old| old.password.as_str() == "3"));
}

#[test]
fn a_deleted_side_shows_in_the_comparison_and_does_not_empty_the_merge() {
    let (base, left) = (item("ada", "1"), item("ada", "2"));
    let rows = compare(Some(&base), &[Some(&left), None]);
    assert!(rows.iter().all(|row| row.sides[1].is_none()));
    let draft = draft(Some(&base), &[None, Some(&left)]).unwrap().unwrap();
    assert_eq!(draft.item.get("password").unwrap().value.as_str(), "2");
}

#[test]
fn without_an_ancestor_every_difference_is_contested() {
    let (left, right) = (item("ada", "1"), item("bob", "1"));
    let draft = draft(None, &[Some(&left), Some(&right)]).unwrap().unwrap();
    let names: Vec<&str> = draft.contested.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["username"]);
}

fn addresses(of: &[&str]) -> Item {
    let uris = of.iter().map(|uri| Uri { uri: (*uri).into(), ..Uri::default() }).collect();
    Item::new("mail", Body::Login(Login { uris, ..Login::default() }))
}

fn custom(name: &str, value: &str, kind: CustomKind) -> Custom {
    Custom { name: name.into(), value: value.into(), kind, ..Custom::default() }
}

fn with(fields: &[Custom]) -> Item {
    Item { fields: fields.to_vec(), ..item("ada", "1") }
}

/// An item of which a newer release wrote more than this one knows.
fn newer(changed: impl FnOnce(&mut Item)) -> Item {
    let mut newer: Item = serde_json::from_value(serde_json::json!({
        "schema": 2, "name": "mail", "bitwarden": { "id": "1", "reprompt": 0 },
        "body": { "login": { "username": "ada", "fido2Credentials": [{ "keyValue": "old" }] } }
    }))
    .unwrap();
    changed(&mut newer);
    newer
}

fn extra_of(body: &mut Body) -> &mut serde_json::Map<String, serde_json::Value> {
    let Body::Login(login) = body else { panic!("a login") };
    &mut login.extra.0
}

#[track_caller]
fn drafted(base: &Item, sides: &[&Item]) -> Draft {
    let sides: Vec<Option<&Item>> = sides.iter().copied().map(Some).collect();
    draft(Some(base), &sides).unwrap().unwrap()
}

fn names(draft: &Draft) -> Vec<&str> {
    draft.contested.iter().map(|row| row.name.as_str()).collect()
}

#[test]
fn an_address_that_one_side_added_stays_and_one_that_another_removed_does_not_come_back() {
    let base = addresses(&["a", "b", "c"]);
    let (more, fewer) = (addresses(&["a", "b", "c", "d"]), addresses(&["a"]));
    for sides in [[&more, &fewer], [&fewer, &more]] {
        let draft = drafted(&base, &sides);
        assert_eq!(draft.item.uris(), addresses(&["a", "d"]).uris());
        assert!(draft.contested.is_empty(), "{:?}", names(&draft));
    }
    let draft = drafted(&base, &[&more, &addresses(&["e", "a", "b", "c"]), &fewer]);
    assert_eq!(draft.item.uris(), addresses(&["a", "d", "e"]).uris(), "of three sides");
    let draft = drafted(&addresses(&["a"]), &[&addresses(&["b"]), &addresses(&["c"])]);
    assert_eq!(draft.item.uris(), addresses(&["b", "c"]).uris(), "both changes of one");
}

#[test]
fn fields_that_share_a_name_are_merged_like_addresses() {
    let fields = |values: &[&str]| {
        let fields = values.iter().map(|value| custom("pin", value, CustomKind::Hidden));
        with(&fields.collect::<Vec<_>>())
    };
    let draft = drafted(&fields(&["1", "2", "3"]), &[&fields(&["1", "2", "3", "4"]), &fields(&["1"])]);
    assert_eq!(draft.item.fields, fields(&["1", "4"]).fields);
    let draft = drafted(&fields(&["1"]), &[&fields(&["1", "2"]), &fields(&["1", "3"]), &fields(&["1", "4"])]);
    assert_eq!(draft.item.fields, fields(&["1", "2", "3", "4"]).fields);
}

#[test]
fn a_field_of_another_side_comes_as_it_is_there_hidden_linked_or_empty() {
    let mut linked = custom("user", "", CustomKind::Linked);
    linked.extra.0.insert("linkedId".into(), 100.into());
    let all = with(&[custom("PIN", "1", CustomKind::Hidden), linked, custom("empty", "", CustomKind::Text)]);
    let (base, other) = (item("ada", "1"), Item { notes: "x".into(), ..item("ada", "1") });
    for sides in [[&other, &all], [&all, &other]] {
        let draft = drafted(&base, &sides);
        assert_eq!((&draft.item.fields, draft.item.notes.as_str()), (&all.fields, "x"));
    }
}

#[test]
fn a_field_that_sides_changed_differently_is_contested_even_if_it_looks_the_same() {
    let base = with(&[custom("PIN", "1", CustomKind::Text)]);
    let hidden = with(&[custom("PIN", "1", CustomKind::Hidden)]);
    let mut more = base.clone();
    more.fields[0].extra.0.insert("hint".into(), "x".into());
    let mut draft = drafted(&base, &[&more, &hidden]);
    assert_eq!(names(&draft), ["PIN"]);
    assert!(draft.contested[0].masked);
    draft.contested[0].take(&mut draft.item, Some(&hidden)).unwrap();
    assert_eq!(draft.item.fields, hidden.fields);
    let gone = item("ada", "1");
    assert_eq!(names(&drafted(&base, &[&gone, &hidden])), ["PIN"], "removed here and changed there");
    assert!(drafted(&base, &[&gone, &base]).item.fields.is_empty());
}

#[test]
fn how_an_address_is_compared_comes_from_the_side_that_changed_it() {
    let (base, mut right) = (addresses(&["a", "b"]), addresses(&["a", "b"]));
    if let Body::Login(login) = &mut right.body {
        login.uris[1].matching = Some("host".into());
        login.uris[1].extra.0.insert("port".into(), 8.into());
    }
    let left = Item { notes: "x".into(), ..addresses(&["a", "b"]) };
    let draft = drafted(&base, &[&left, &right]);
    assert_eq!((draft.item.uris(), draft.item.notes.as_str()), (right.uris(), "x"));
    assert!(
        compare(Some(&base), &[Some(&left), Some(&right)])
            .iter()
            .any(|row| row.name == "uri" && row.differs())
    );
}

#[test]
fn what_a_newer_or_another_program_wrote_is_merged_key_by_key() {
    let base = newer(|_| {});
    let passkey = serde_json::json!([{ "keyValue": "old" }, { "keyValue": "new" }]);
    let left = newer(|item| {
        item.schema = 1;
        item.extra.0["bitwarden"]["reprompt"] = 1.into();
    });
    let right = newer(|item| {
        item.extra.0["bitwarden"]["favoriteOf"] = serde_json::json!({ "x": true });
        item.extra.0.insert("colour".into(), "teal".into());
        extra_of(&mut item.body).insert("fido2Credentials".into(), passkey.clone());
    });
    for sides in [[&left, &right], [&right, &left]] {
        let mut draft = drafted(&base, &sides);
        assert!(draft.contested.is_empty(), "{:?}", names(&draft));
        let wanted = serde_json::json!({ "id": "1", "reprompt": 1, "favoriteOf": { "x": true } });
        assert_eq!(
            (&draft.item.extra.0["bitwarden"], &draft.item.extra.0["colour"]),
            (&wanted, &"teal".into())
        );
        assert_eq!(extra_of(&mut draft.item.body)["fido2Credentials"], passkey);
        assert_eq!(draft.item.schema, 2);
    }
    let none = newer(|item| extra_of(&mut item.body).clear());
    assert!(extra_of(&mut drafted(&base, &[&left, &none]).item.body).is_empty(), "removed by one");
}

#[test]
fn passkeys_that_two_sides_added_are_contested_and_taken_whole() {
    let added = |value: &str| {
        newer(|item| {
            let keys = serde_json::json!([{ "keyValue": "old" }, { "keyValue": value }]);
            extra_of(&mut item.body).insert("fido2Credentials".into(), keys);
        })
    };
    let (left, right) = (added("1"), added("2"));
    let mut draft = drafted(&newer(|_| {}), &[&left, &right]);
    assert_eq!(names(&draft), ["body:fido2Credentials"]);
    assert!(draft.contested[0].masked, "there is a private key in it");
    let sides = [Some(&left), Some(&right)];
    let found = take(&mut draft.item, "BODY:fido2credentials", &sides, 1).unwrap();
    assert_eq!(found, Some((Part::BodyExtra, "body:fido2Credentials".into())));
    assert_eq!(draft.item.body, right.body);
}

#[test]
fn a_changed_kind_is_contested_and_taken_with_all_that_it_holds() {
    let base = item("ada", "1");
    let card = Card { number: "4000".into(), ..Card::default() };
    let mut card = Item::new("mail", Body::Card(card));
    card.notes = "x".into();
    let mut draft = drafted(&base, &[&base, &card]);
    assert_eq!(names(&draft), [KIND]);
    assert_eq!((&draft.item.body, draft.item.notes.as_str()), (&base.body, "x"));
    assert!(draft.item.fields.is_empty(), "nothing of a card became a field of a login");
    draft.contested[0].take(&mut draft.item, Some(&card)).unwrap();
    assert_eq!(draft.item.body, card.body);
    assert_eq!(draft.item.history[0].password.as_str(), "1");
    assert_eq!(draft.contested[0].take(&mut draft.item, None), Err(SetError::NoKind));
}

#[test]
fn what_a_person_calls_a_field_is_found_and_taken_whole() {
    let left = addresses(&["a"]);
    let mut right = addresses(&["a", "b"]);
    right.fields = vec![custom("pin", "1", CustomKind::Hidden), custom("pin", "2", CustomKind::Hidden)];
    right.set("password", "2".into()).unwrap();
    right.tags = vec!["one, two".into()];
    let sides = [Some(&left), Some(&right)];
    for field in ["uri2", "Pin#2", "pw", "tags", "nothing"] {
        let mut merged = left.clone();
        let found = take(&mut merged, field, &sides, 1).unwrap();
        assert_eq!(found.is_some(), field != "nothing", "{field}");
        let of = |item: &Item| {
            (item.uris().to_vec(), item.fields.clone(), item.get("password"), item.tags.clone())
        };
        let (mut wanted, right) = (of(&left), of(&right));
        match field {
            "uri2" => wanted.0 = right.0,
            "Pin#2" => wanted.1 = right.1,
            "pw" => wanted.2 = right.2,
            "tags" => wanted.3 = right.3,
            _ => {}
        }
        assert_eq!(of(&merged), wanted, "{field}");
    }
}
