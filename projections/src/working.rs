//! The rows that a fold has in its hands: loaded, made or changed, and which of them have to be written.

use std::collections::{HashMap, VecDeque};

use lockstep_events::VaultId;

use crate::{
    key::{Key, Projection},
    rows::{AccountRow, DeviceRow, EntryRow, Row, SessionRow, VaultRow, VersionRow},
    store::Write,
};

#[derive(Debug, Clone)]
struct Slot {
    row: Option<Row>,
    changed: bool,
    /// The store has a row of this key. Whatever an event changes was loaded before: what was not is made by it.
    stored: bool,
    /// The last batch that it went with, if it stays until that is in the store.
    batch: u64,
}

impl Slot {
    const fn new(row: Option<Row>, stored: bool) -> Self {
        Self { row, changed: false, stored, batch: 0 }
    }

    /// What has to be written so that the store has it too.
    fn into_write(self, key: Key) -> Write {
        match self.row {
            Some(row) if self.stored => Write::Put(row),
            Some(row) => Write::New(row),
            None => Write::Delete(key),
        }
    }

    /// The same for a row that stays.
    fn write(&mut self, key: Key) -> Write {
        let write = self.clone().into_write(key);
        self.changed = false;
        self.stored = self.row.is_some();
        write
    }
}

/// Rows by key. A key that is not here was not loaded; a key that is here without a row does not exist.
#[derive(Debug, Clone, Default)]
pub struct Working {
    slots: HashMap<Key, Slot>,
    /// Versions that were made or changed.
    versions: Vec<Key>,
    /// Other rows that were.
    changed: Vec<Key>,
    /// Vaults whose entries and versions are all gone.
    cleared: Vec<VaultId>,
    /// Batches that were handed out.
    batches: u64,
    /// Versions that stay until their batch is in the store, by batch.
    on_their_way: VecDeque<(u64, Vec<Key>)>,
}

/// What becomes of versions that are handed out. Nothing but a prune or a purge ever looks at one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// They leave: they are in the store before anybody looks for them there.
    Leave,
    /// They stay until they are in the store: [`Working::stored`].
    Stay,
}

impl Working {
    /// Whether the row of this key was loaded, or is known not to exist.
    pub fn knows(&self, key: &Key) -> bool {
        self.slots.contains_key(key)
    }

    /// Takes in a row as the store has it; a row that is here already is newer and stays.
    pub fn loaded(&mut self, row: Row) {
        self.slots.entry(row.key()).or_insert(Slot::new(Some(row), true));
    }

    /// Notes that the store has no row of this key.
    pub fn absent(&mut self, key: Key) {
        self.slots.entry(key).or_insert(Slot::new(None, false));
    }

    /// A row, if it exists.
    pub fn get(&self, key: &Key) -> Option<&Row> {
        self.slots.get(key)?.row.as_ref()
    }

    /// A row to be changed, if it exists.
    pub fn get_mut(&mut self, key: &Key) -> Option<&mut Row> {
        let slot = self.slots.get_mut(key)?;
        if slot.row.is_some() && !std::mem::replace(&mut slot.changed, true) {
            of_kind(key, &mut self.versions, &mut self.changed).push(*key);
        }
        slot.row.as_mut()
    }

    /// Makes or replaces a row.
    pub fn put(&mut self, row: Row) {
        self.set(row.key(), Some(row));
    }

    /// Removes a row that was loaded.
    pub fn delete(&mut self, key: Key) {
        self.set(key, None);
    }

    fn set(&mut self, key: Key, row: Option<Row>) {
        let slot = self.slots.entry(key).or_insert(Slot::new(None, false));
        slot.row = row;
        if !std::mem::replace(&mut slot.changed, true) {
            of_kind(&key, &mut self.versions, &mut self.changed).push(key);
        }
    }

    /// Removes all entries and versions of a vault, whether they were loaded or not.
    pub fn clear_vault(&mut self, vault: VaultId) {
        let is_gone = |key: &Key| key.scope() == vault.as_bytes();
        self.slots.retain(|key, _| !is_gone(key));
        self.versions.retain(|key| !is_gone(key));
        self.changed.retain(|key| !is_gone(key));
        self.cleared.push(vault);
    }

    /// Keys of rows of one read model that pass a test, ascending.
    pub fn keys_where(&self, projection: Projection, test: impl Fn(&Row) -> bool) -> Vec<Key> {
        let mut keys: Vec<_> = self
            .slots
            .iter()
            .filter(|(key, slot)| key.projection() == projection && slot.row.as_ref().is_some_and(&test))
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        keys
    }

    /// How many rows have to be written.
    pub fn changes(&self) -> usize {
        self.versions.len() + self.changed.len() + self.cleared.len()
    }

    /// How many of them are versions.
    pub fn changed_versions(&self) -> usize {
        self.versions.len()
    }

    /// How many keys are here.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is here.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What has to be written, in key order. Versions go with it; all other rows stay for the next batch.
    pub fn take_changes(&mut self, versions: Versions) -> Vec<Write> {
        let mut keys = std::mem::take(&mut self.changed);
        keys.sort_unstable();
        let mut writes = Vec::with_capacity(keys.len() + self.versions.len());
        writes.extend(keys.into_iter().filter_map(|key| Some(self.slots.get_mut(&key)?.write(key))));
        writes.extend(self.take_versions(versions));
        writes
    }

    /// Of what has to be written only versions, in key order, and what has to go. All other rows may change again
    /// before they are written.
    pub fn take_versions(&mut self, versions: Versions) -> Vec<Write> {
        let mut keys = std::mem::take(&mut self.versions);
        keys.sort_unstable();
        let mut writes = Vec::with_capacity(keys.len());
        self.batches += 1;
        if versions == Versions::Leave {
            writes.extend(keys.into_iter().filter_map(|key| Some(self.slots.remove(&key)?.into_write(key))));
        } else {
            for key in &keys {
                let Some(slot) = self.slots.get_mut(key) else { continue };
                slot.batch = self.batches;
                writes.push(slot.write(*key));
            }
            self.on_their_way.push_back((self.batches, keys));
        }
        writes.extend(self.cleared.drain(..).map(Write::Clear));
        writes
    }

    /// So many batches are in the store now: their versions leave, but for those that have changed since.
    pub fn stored(&mut self, batches: u64) {
        while let Some((batch, keys)) = self.on_their_way.pop_front_if(|(batch, _)| *batch <= batches) {
            for key in keys {
                if self.slots.get(&key).is_some_and(|slot| slot.batch == batch && !slot.changed) {
                    self.slots.remove(&key);
                }
            }
        }
    }

    /// Forgets everything, changes included.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.versions.clear();
        self.changed.clear();
        self.cleared.clear();
        self.on_their_way.clear();
    }
}

/// The list that a key belongs to.
fn of_kind<'l>(key: &Key, versions: &'l mut Vec<Key>, others: &'l mut Vec<Key>) -> &'l mut Vec<Key> {
    if key.projection() == Projection::Versions { versions } else { others }
}

macro_rules! typed_access {
    ($($name:ident, $variant:ident => $row:ty;)+) => {
        impl Working {$(
            pub(crate) fn $name(&mut self, key: Key) -> Option<&mut $row> {
                match self.get_mut(&key) {
                    Some(Row::$variant(row)) => Some(row),
                    _ => None,
                }
            }
        )+}
    };
}

typed_access! {
    account, Account => AccountRow;
    device, Device => DeviceRow;
    session, Session => SessionRow;
    vault, Vault => VaultRow;
    entry, Entry => EntryRow;
    version, Version => VersionRow;
}
