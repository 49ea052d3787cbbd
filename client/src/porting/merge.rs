//! Comparing states of one item with the state they came from, value by value.
//!
//! This proposes; a person decides. Nothing here is applied without being shown.

use std::collections::BTreeSet;

use super::{
    fields::{Field, SetError},
    files,
    item::Item,
    secret::Secret,
};

/// One value as each side has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the value.
    pub name: String,
    /// Whether it is masked unless asked.
    pub masked: bool,
    /// In the common ancestor; none if there is no ancestor or it has no such value.
    pub base: Option<Secret>,
    /// In each side, in the order given. None for a side that is deleted or has no such value.
    pub sides: Vec<Option<Secret>>,
    /// The files of each side: shown like a value, but a merge has those of all sides.
    pub files: bool,
}

impl Row {
    /// Whether the sides do not all agree.
    pub fn differs(&self) -> bool {
        self.sides.windows(2).any(|pair| pair[0] != pair[1])
    }

    /// Whether a person must say which side's value a merge takes.
    pub fn is_contested(&self) -> bool {
        !self.files && self.proposal().is_none()
    }

    /// Which side a three-way merge takes: the only one that changed the value, or the first if they agree; none if
    /// several changed it differently.
    pub fn proposal(&self) -> Option<usize> {
        let changed: Vec<usize> = (0..self.sides.len()).filter(|n| self.sides[*n] != self.base).collect();
        match changed.as_slice() {
            [] => Some(0),
            [first, rest @ ..] if rest.iter().all(|n| self.sides[*n] == self.sides[*first]) => Some(*first),
            _ => None,
        }
    }
}

/// Every value that any state has, in the order the first state that has it shows it, and the files last. `None` is a
/// deleted side.
pub fn compare(base: Option<&Item>, sides: &[Option<&Item>]) -> Vec<Row> {
    let mut rows = values(base, sides);
    let of = |item: &Option<&Item>| item.and_then(files::described);
    let (before, files) = (of(&base), sides.iter().map(of).collect::<Vec<_>>());
    if before.is_some() || files.iter().any(Option::is_some) {
        rows.push(Row {
            name: files::ROW.to_owned(),
            masked: false,
            base: before,
            sides: files,
            files: true,
        });
    }
    rows
}

fn values(base: Option<&Item>, sides: &[Option<&Item>]) -> Vec<Row> {
    let of = |item: Option<&Item>| item.map(Item::all).unwrap_or_default();
    let base = of(base);
    let sides: Vec<Vec<Field>> = sides.iter().map(|side| of(*side)).collect();
    let mut seen = BTreeSet::new();
    let all = sides.iter().flatten().chain(&base);
    let fields: Vec<&Field> = all.filter(|field| seen.insert(field.name.clone())).collect();
    let value = |from: &[Field], name: &str| {
        from.iter().find(|field| field.name == name).map(|field| field.value.clone())
    };
    let row = |field: &&Field| Row {
        name: field.name.clone(),
        masked: field.masked,
        base: value(&base, &field.name),
        sides: sides.iter().map(|side| value(side, &field.name)).collect(),
        files: false,
    };
    fields.iter().map(row).collect()
}

/// A three-way merge: one state to start from and the values that need a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The first live side, with every value that only another side changed taken over, and all old passwords.
    pub item: Item,
    /// Values that several sides changed differently; `item` has the first live side's.
    pub contested: Vec<Row>,
}

/// Proposes a merge; none if no side is live.
///
/// # Errors
/// If a value of one side cannot stand in the item, for example another side's emptied name.
pub fn draft(base: Option<&Item>, sides: &[Option<&Item>]) -> Result<Option<Draft>, SetError> {
    let live: Vec<Option<&Item>> = sides.iter().copied().flatten().map(Some).collect();
    let Some(mut item) = live.first().and_then(|first| first.cloned()) else { return Ok(None) };
    let mut contested = Vec::new();
    for row in values(base, &live) {
        match row.proposal() {
            Some(0) => {}
            Some(side) => item.set(&row.name, row.sides[side].clone().unwrap_or_default())?,
            None => contested.push(row),
        }
    }
    files::merge(&mut item, base, sides);
    keep_all_passwords(&mut item, &live);
    Ok(Some(Draft { item, contested }))
}

/// A merge must not be the place where a password is lost: what the result does not use goes into its history.
fn keep_all_passwords(item: &mut Item, sides: &[Option<&Item>]) {
    let current = item.get("password").map(|field| field.value);
    for side in sides.iter().flatten() {
        for old in &side.history {
            if !item.history.iter().any(|known| known.password == old.password) {
                item.history.push(old.clone());
            }
        }
        let Some(theirs) = side.get("password").filter(|field| field.masked).map(|field| field.value) else {
            continue;
        };
        if Some(&theirs) != current.as_ref() && !item.history.iter().any(|known| known.password == theirs) {
            let old = super::item::OldPassword { password: theirs, ..Default::default() };
            item.history.insert(0, old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::porting::item::{Body, Login};

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
}
