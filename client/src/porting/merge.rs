//! Comparing states of one item with the state they came from, part by part.
//!
//! This proposes; a person decides. Nothing here is applied without being shown.

mod parts;

use std::collections::BTreeSet;

use super::{fields::SetError, files, item::Item};
use parts::Piece;

pub use parts::{Cell, KIND, Part};

/// One part as each side has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is.
    pub part: Part,
    /// Whether it is masked unless asked.
    pub masked: bool,
    /// In the common ancestor; none if there is no ancestor or it has no such part.
    pub base: Option<Cell>,
    /// In each side, in the order given. None for a side that is deleted or has no such part.
    pub sides: Vec<Option<Cell>>,
    /// Several things in one row: a merge has those of all sides, but for those that a side took away.
    pub list: bool,
}

impl Row {
    /// Whether the sides do not all agree.
    pub fn differs(&self) -> bool {
        self.sides.windows(2).any(|pair| pair[0] != pair[1])
    }

    /// Whether a person must say which side's a merge takes.
    pub fn is_contested(&self) -> bool {
        !self.list && self.proposal().is_none()
    }

    /// Which side a three-way merge takes: the only one that changed it, or the first if they agree; none if several
    /// changed it differently, and for the kind if they disagree at all, because nothing of one kind fits another.
    pub fn proposal(&self) -> Option<usize> {
        if self.part == Part::Kind && self.differs() {
            return None;
        }
        let changed: Vec<usize> = (0..self.sides.len()).filter(|n| self.sides[*n] != self.base).collect();
        match changed.as_slice() {
            [] => Some(0),
            [first, rest @ ..] if rest.iter().all(|n| self.sides[*n] == self.sides[*first]) => Some(*first),
            _ => None,
        }
    }

    /// Gives an item this part as a side has it, whole: a custom field as hidden as it is there, and so on. A side that
    /// is deleted has nothing.
    ///
    /// # Errors
    /// If the item cannot be without it.
    pub fn take(&self, item: &mut Item, side: Option<&Item>) -> Result<(), SetError> {
        parts::take(item, self.part, &self.name, side)
    }
}

/// Every part that any state has, in the order the first state that has it shows it, and the files last. `None` is a
/// deleted side.
pub fn compare(base: Option<&Item>, sides: &[Option<&Item>]) -> Vec<Row> {
    let mut rows = rows(base, sides);
    let of = |item: Option<&Item>| item.and_then(files::described).map(Cell::plain);
    let (before, files) = (of(base), sides.iter().copied().map(of).collect::<Vec<_>>());
    if before.is_some() || files.iter().any(Option::is_some) {
        rows.push(Row {
            name: files::ROW.to_owned(),
            part: Part::Files,
            masked: false,
            base: before,
            sides: files,
            list: true,
        });
    }
    rows
}

fn rows(base: Option<&Item>, sides: &[Option<&Item>]) -> Vec<Row> {
    let of = |item: Option<&Item>| item.map(parts::of).unwrap_or_default();
    let (base, pieces) = (of(base), sides.iter().map(|side| of(*side)).collect::<Vec<_>>());
    let states: Vec<&[Piece]> = pieces.iter().chain([&base]).map(Vec::as_slice).collect();
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for piece in states.iter().copied().flatten() {
        if !seen.insert((piece.name.as_str(), piece.part)) {
            continue;
        }
        let same = |other: &&Piece| other.name == piece.name && other.part == piece.part;
        let cell = |state: &[Piece]| state.iter().find(same).map(|piece| piece.cell.clone());
        let any = |is: fn(&Piece) -> bool| states.iter().copied().flatten().filter(same).any(is);
        rows.push(Row {
            name: piece.name.clone(),
            part: piece.part,
            masked: any(|piece| piece.masked),
            base: cell(&base),
            sides: pieces.iter().map(|side| cell(side)).collect(),
            list: any(|piece| piece.list),
        });
    }
    // What no person looks at is worth a row only if sides that are there disagree about it.
    let live: Vec<usize> = (0..sides.len()).filter(|side| sides[*side].is_some()).collect();
    let disagree = |row: &Row| live.windows(2).any(|pair| row.sides[pair[0]] != row.sides[pair[1]]);
    rows.retain(|row| !row.part.is_quiet() || disagree(row));
    rows
}

/// A three-way merge: one state to start from and the parts that need a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The first live side, with every part that only another side changed taken over, and all old passwords.
    pub item: Item,
    /// Parts that several sides changed differently; `item` has the first live side's.
    pub contested: Vec<Row>,
}

/// Proposes a merge; none if no side is live.
///
/// # Errors
/// If a value of one side cannot stand in the item, for example another side's emptied name.
pub fn draft(base: Option<&Item>, sides: &[Option<&Item>]) -> Result<Option<Draft>, SetError> {
    let live: Vec<&Item> = sides.iter().copied().flatten().collect();
    let Some(mut item) = live.first().map(|first| (*first).clone()) else { return Ok(None) };
    let mut contested = Vec::new();
    let rows = rows(base, &live.iter().copied().map(Some).collect::<Vec<_>>());
    // Who chooses a kind chooses what it holds: there is nothing to merge one by one.
    let kinds_differ = rows.iter().any(|row| row.part == Part::Kind);
    for row in rows.into_iter().filter(|row| !(kinds_differ && row.part.is_in_body())) {
        match row.proposal() {
            Some(0) => {}
            Some(side) => row.take(&mut item, Some(live[side]))?,
            None if row.list => parts::merge_list(&mut item, row.part, &row.name, base, &live),
            None => contested.push(row),
        }
    }
    files::merge(&mut item, base, sides);
    keep_all_passwords(&mut item, &live);
    // What a newer release wrote stays marked as that.
    item.schema = live.iter().map(|side| side.schema).max().unwrap_or(item.schema);
    Ok(Some(Draft { item, contested }))
}

/// Takes what a person calls `field` over from a side into a merge, and says which row that was: none if no state has
/// such a field.
///
/// # Errors
/// If the item cannot be without it.
pub fn take(
    item: &mut Item,
    field: &str,
    sides: &[Option<&Item>],
    side: usize,
) -> Result<Option<(Part, String)>, SetError> {
    let states: Vec<&Item> =
        sides[side].into_iter().chain([&*item]).chain(sides.iter().copied().flatten()).collect();
    let found = parts::find(field, &states);
    if let Some((part, name)) = &found {
        parts::take(item, *part, name, sides[side])?;
    }
    Ok(found)
}

/// A merge must not be the place where a password is lost: what the result does not use goes into its history.
fn keep_all_passwords(item: &mut Item, sides: &[&Item]) {
    let current = item.get("password").map(|field| field.value);
    for side in sides {
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
mod tests;
