//! What an item is compared and merged by: its values, and what is no value and must not be lost either.
//!
//! Addresses and custom fields that share a name are one part together: their numbers shift when one goes.

use serde::Serialize;
use serde_json::{Map, Value};

use super::super::{
    fields::{PREFIX, SetError, canonical_name, uri_index},
    files,
    item::{Body, Custom, CustomKind, Item, Uri},
    secret::Secret,
};

/// The name of the row of the item's kind.
pub const KIND: &str = "kind";
/// What this release does not know is named by where it stands: in the item, or among what its kind holds.
const EXTRA: &str = "extra:";
const BODY_EXTRA: &str = "body:";

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A value that items of every kind have.
    Value,
    /// A value of the item's kind.
    Body,
    /// The kind, with all that it holds.
    Kind,
    /// The addresses of a login.
    Uris,
    /// The custom fields of one name, mostly one.
    Custom,
    /// Something that this release does not know.
    Extra,
    /// The same among what the item's kind holds.
    BodyExtra,
    /// The files.
    Files,
}

impl Part {
    /// Whether it belongs to the item's kind.
    pub(super) const fn is_in_body(self) -> bool {
        matches!(self, Self::Body | Self::Uris | Self::BodyExtra)
    }

    /// Whether it is none of the values that a person sees and sets.
    pub const fn is_quiet(self) -> bool {
        matches!(self, Self::Kind | Self::Extra | Self::BodyExtra)
    }
}

/// What one state has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// As a person sees it.
    pub shown: Secret,
    /// All of it, where more than that can differ.
    whole: Secret,
}

impl Cell {
    /// Of what is seen as it is.
    pub(super) fn plain(shown: Secret) -> Self {
        Self { shown, whole: Secret::default() }
    }

    fn list<T: Serialize>(all: &[T], text: impl Fn(&T) -> &Secret) -> Self {
        let shown: Vec<&str> = all.iter().map(|one| text(one).as_str()).collect();
        let whole = serde_json::to_string(all).unwrap_or_default();
        Self { shown: shown.join(", ").into(), whole: whole.into() }
    }
}

/// A part of one state.
pub(super) struct Piece {
    pub name: String,
    pub part: Part,
    pub masked: bool,
    pub cell: Cell,
    /// Whether it is made of several things, each of which a merge keeps or leaves.
    pub list: bool,
}

/// All parts of an item but its files.
pub(super) fn of(item: &Item) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for field in item.plain() {
        let part = if item.body.value(&field.name).is_some() { Part::Body } else { Part::Value };
        let cell = Cell::plain(field.value);
        pieces.push(Piece { name: field.name, part, masked: field.masked, cell, list: false });
    }
    if !item.uris().is_empty() {
        let cell = Cell::list(item.uris(), |uri| &uri.uri);
        pieces.push(Piece { name: "uri".to_owned(), part: Part::Uris, masked: false, cell, list: true });
    }
    pieces.extend(customs(item));
    pieces.push(Piece {
        name: KIND.to_owned(),
        part: Part::Kind,
        masked: false,
        cell: Cell::plain(item.body.word().into()),
        list: false,
    });
    for (map, prefix, part) in
        [(&item.body.extra().0, BODY_EXTRA, Part::BodyExtra), (&item.extra.0, EXTRA, Part::Extra)]
    {
        let mut found = Vec::new();
        leaves(map, prefix, &mut found);
        pieces.extend(found.into_iter().map(|(name, value)| {
            let cell = Cell::plain(value.to_string().into());
            Piece { name, part, masked: true, cell, list: false }
        }));
    }
    pieces
}

fn customs(item: &Item) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for custom in &item.fields {
        let name = item.custom_name(custom.name.as_str());
        if pieces.iter().any(|piece| piece.name == name) {
            continue;
        }
        let group = of_one_name(item, custom.name.as_str());
        pieces.push(Piece {
            name,
            part: Part::Custom,
            masked: group.iter().any(|custom| custom.kind == CustomKind::Hidden),
            cell: Cell::list(&group, |custom| &custom.value),
            list: group.len() > 1,
        });
    }
    pieces
}

fn of_one_name<'a>(item: &'a Item, plain: &str) -> Vec<&'a Custom> {
    item.fields.iter().filter(|custom| custom.name.as_str() == plain).collect()
}

/// The name that a field has of itself, from the name of its row.
fn plain(row: &str) -> &str {
    row.strip_prefix(PREFIX).unwrap_or(row)
}

/// Every value of an object and of the objects in it, with the way to it as a name.
fn leaves<'a>(map: &'a Map<String, Value>, prefix: &str, found: &mut Vec<(String, &'a Value)>) {
    for (key, value) in map {
        let name = format!("{prefix}{}", key.replace('~', "~0").replace('/', "~1"));
        match value {
            Value::Object(inner) if !inner.is_empty() => leaves(inner, &format!("{name}/"), found),
            _ => found.push((name, value)),
        }
    }
}

/// Puts a value where its name says, or takes away what is there.
fn put(map: &mut Map<String, Value>, way: &str, value: Option<Value>) {
    let (key, rest) = way.split_once('/').map_or((way, None), |(key, rest)| (key, Some(rest)));
    let key = key.replace("~1", "/").replace("~0", "~");
    let holds_more = |value: &Value| value.as_object().is_some_and(|inner| !inner.is_empty());
    match (rest, value) {
        (None, Some(value)) => {
            map.insert(key, value);
        }
        // An object that took the place of the value has a row for each of its own.
        (None, None) if map.get(&key).is_some_and(holds_more) => {}
        (None, None) => {
            map.remove(&key);
        }
        (Some(_), None) if !map.get(&key).is_some_and(Value::is_object) => {}
        (Some(rest), value) => {
            let mut inner = match map.remove(&key) {
                Some(Value::Object(inner)) => inner,
                _ => Map::new(),
            };
            put(&mut inner, rest, value);
            if !inner.is_empty() {
                map.insert(key, Value::Object(inner));
            }
        }
    }
}

fn take_extra(to: &mut Map<String, Value>, from: Option<&Map<String, Value>>, name: &str, prefix: &str) {
    let mut found = Vec::new();
    if let Some(from) = from {
        leaves(from, prefix, &mut found);
    }
    let value = found.iter().find(|(known, _)| known == name).map(|(_, value)| (*value).clone());
    put(to, name.strip_prefix(prefix).unwrap_or(name), value);
}

/// Gives an item one part as a side has it, whole; a side that is deleted has nothing.
///
/// # Errors
/// If the item cannot be without it.
pub(super) fn take(item: &mut Item, part: Part, name: &str, from: Option<&Item>) -> Result<(), SetError> {
    match part {
        Part::Value if name == "tags" => item.tags = from.map(|from| from.tags.clone()).unwrap_or_default(),
        Part::Value | Part::Body => {
            let pieces = from.map(of).unwrap_or_default();
            let theirs = pieces.into_iter().find(|piece| piece.part == part && piece.name == name);
            return item.set(name, theirs.map(|piece| piece.cell.shown).unwrap_or_default());
        }
        Part::Kind => {
            let body = from.map(|from| from.body.clone()).ok_or(SetError::NoKind)?;
            item.remember_password(body.value("password").unwrap_or(&Secret::default()));
            item.body = body;
        }
        Part::Uris => set_uris(item, from.map(|from| from.uris().to_vec()).unwrap_or_default()),
        Part::Custom => {
            let theirs = from.map(|from| of_one_name(from, plain(name))).unwrap_or_default();
            set_customs(item, name, theirs.into_iter().cloned().collect());
        }
        Part::Extra => take_extra(&mut item.extra.0, from.map(|from| &from.extra.0), name, EXTRA),
        Part::BodyExtra => {
            let theirs = from.map(|from| &from.body.extra().0);
            take_extra(&mut item.body.extra_mut().0, theirs, name, BODY_EXTRA);
        }
        Part::Files => item.attachments = from.map(|from| from.attachments.clone()).unwrap_or_default(),
    }
    Ok(())
}

fn set_uris(item: &mut Item, uris: Vec<Uri>) {
    if let Body::Login(login) = &mut item.body {
        login.uris = uris;
    }
}

fn set_customs(item: &mut Item, row: &str, customs: Vec<Custom>) {
    let is_one = |custom: &Custom| custom.name.as_str() == plain(row);
    let at = item.fields.iter().position(is_one).unwrap_or(item.fields.len());
    item.fields.retain(|custom| !is_one(custom));
    item.fields.splice(at..at, customs);
}

/// Gives an item what a merge of several things in one row has.
pub(super) fn merge_list(item: &mut Item, part: Part, name: &str, base: Option<&Item>, sides: &[&Item]) {
    match part {
        Part::Uris => {
            let lists: Vec<&[Uri]> = sides.iter().map(|side| side.uris()).collect();
            set_uris(item, merged(base.map_or(&[], Item::uris), &lists));
        }
        Part::Custom => {
            let group =
                |state: &Item| of_one_name(state, plain(name)).into_iter().cloned().collect::<Vec<_>>();
            let lists: Vec<Vec<Custom>> = sides.iter().map(|side| group(side)).collect();
            let lists: Vec<&[Custom]> = lists.iter().map(Vec::as_slice).collect();
            set_customs(item, name, merged(&base.map(group).unwrap_or_default(), &lists));
        }
        _ => {}
    }
}

/// What every side kept of the common ancestor's and what any side added, in the order in which the sides have it.
fn merged<T: Clone + PartialEq>(base: &[T], sides: &[&[T]]) -> Vec<T> {
    let count = |list: &[T], one: &T| list.iter().filter(|other| *other == one).count();
    let mut merged = Vec::new();
    for one in sides.iter().copied().flatten() {
        let counts = || sides.iter().map(|side| count(side, one));
        let (fewest, most) = (counts().min().unwrap_or_default(), counts().max().unwrap_or_default());
        let wanted = if fewest < count(base, one) { fewest } else { most };
        if count(&merged, one) < wanted {
            merged.push(one.clone());
        }
    }
    merged
}

/// The part that a person means by a name, and the name of its row.
pub(super) fn find(field: &str, states: &[&Item]) -> Option<(Part, String)> {
    let pieces: Vec<Piece> = states.iter().flat_map(|state| of(state)).collect();
    let known = |wanted: &str| {
        let exact = pieces.iter().find(|piece| piece.name == wanted);
        exact.or_else(|| pieces.iter().find(|piece| piece.name.eq_ignore_ascii_case(wanted)))
    };
    let canonical = canonical_name(field);
    let address = || uri_index(&canonical).and_then(|_| known("uri"));
    let numbered = || {
        let custom = states.iter().find_map(|state| Some((state, &state.fields[state.custom_at(field)?])));
        custom.and_then(|(state, custom)| known(&state.custom_name(custom.name.as_str())))
    };
    let found = known(field).or_else(|| known(&canonical)).or_else(numbered).or_else(address);
    let is_files = || field.eq_ignore_ascii_case(files::ROW).then(|| (Part::Files, files::ROW.to_owned()));
    found.map(|piece| (piece.part, piece.name.clone())).or_else(is_files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subsets(of: &[char]) -> Vec<Vec<char>> {
        let chosen = |bits: usize| (0..of.len()).filter(|n| bits >> n & 1 == 1).map(|n| of[n]).collect();
        (0..1 << of.len()).map(chosen).collect()
    }

    #[test]
    fn a_list_has_what_all_sides_kept_and_any_side_added_whatever_each_did() {
        for base in subsets(&['a', 'b']) {
            for sides in subsets(&['a', 'b', 'c', 'd']).iter().flat_map(|one| {
                subsets(&['a', 'b', 'd']).into_iter().map(move |two| [one.clone(), two, vec!['a', 'd']])
            }) {
                let lists: Vec<&[char]> = sides.iter().map(Vec::as_slice).collect();
                let result = merged(&base, &lists);
                for one in ['a', 'b', 'c', 'd'] {
                    let has = |side: &Vec<char>| side.contains(&one);
                    let wanted =
                        if base.contains(&one) { sides.iter().all(has) } else { sides.iter().any(has) };
                    let times = result.iter().filter(|other| **other == one).count();
                    assert_eq!(times, usize::from(wanted), "{one}: {base:?} {sides:?}");
                }
            }
        }
    }

    #[test]
    fn a_value_is_put_where_its_name_says_and_an_object_that_took_its_place_stays() {
        let start = serde_json::json!({ "a/b": { "c~": 1 }, "d": 2 });
        let mut map = start.as_object().cloned().unwrap();
        let mut found = Vec::new();
        leaves(start.as_object().unwrap(), EXTRA, &mut found);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["extra:a~1b/c~0", "extra:d"]);
        put(&mut map, "d/e", Some(3.into()));
        put(&mut map, "d", None);
        put(&mut map, "d/f/g", None);
        assert_eq!(map["d"], serde_json::json!({ "e": 3 }));
        put(&mut map, "a~1b/c~0", None);
        assert!(!map.contains_key("a/b"), "nothing is left of it");
    }
}
