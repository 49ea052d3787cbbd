//! A read store in memory: the plain reading of the contract, for tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lockstep_events::{AccountId, DeviceId, EntryId, Position, Seq, SessionId, VaultId, VersionId};

use crate::{
    checksum::RowDigest,
    key::{Family, Group, Key, Projection},
    rows::{AccountRow, DeviceRow, EntryRow, Row, SessionRow, VaultRow, VersionRow},
    store::{Advance, Checkpoint, Checksum, Claim, Generation, ReadError, ReadStore, Write},
};

#[derive(Debug, Default, Clone)]
struct Table {
    position: Position,
    rows: BTreeMap<Key, Row>,
}

#[derive(Debug, Clone)]
struct State {
    live: BTreeMap<Family, Generation>,
    tables: BTreeMap<(Projection, Generation), Table>,
}

/// Keeps everything in maps behind one lock.
#[derive(Debug)]
pub struct MemoryReads(Mutex<State>, Arc<tokio::sync::Mutex<()>>);

impl Default for MemoryReads {
    fn default() -> Self {
        let first = Generation(1);
        let state = State {
            live: Family::ALL.into_iter().map(|family| (family, first)).collect(),
            tables: Projection::ALL.into_iter().map(|p| ((p, first), Table::default())).collect(),
        };
        Self(Mutex::new(state), Arc::default())
    }
}

impl MemoryReads {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_rows<T>(&self, projection: Projection, pick: impl Fn(&Row) -> Option<T>) -> Vec<T> {
        let state = self.state();
        state
            .table(projection, state.live(projection.family()))
            .map(|table| table.rows.values().filter_map(pick).collect())
            .unwrap_or_default()
    }
}

impl State {
    fn live(&self, family: Family) -> Generation {
        self.live.get(&family).copied().unwrap_or(Generation(1))
    }

    fn table(&self, projection: Projection, generation: Generation) -> Option<&Table> {
        self.tables.get(&(projection, generation))
    }

    fn check(&self, step: &Advance) -> Result<(), ReadError> {
        for member in step.family.members() {
            let at = self.table(*member, step.generation).map(|table| table.position);
            let live = !step.must_be_live || self.live(step.family) == step.generation;
            if at != Some(step.from) || !live {
                return Err(ReadError::Moved(member.name()));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl ReadStore for MemoryReads {
    async fn checkpoint(&self, projection: Projection) -> Result<Checkpoint, ReadError> {
        let state = self.state();
        let live = state.live(projection.family());
        Ok(Checkpoint {
            live,
            position: state.table(projection, live).map(|t| t.position).unwrap_or_default(),
        })
    }

    async fn generations(&self, projection: Projection) -> Result<Vec<(Generation, Position)>, ReadError> {
        let state = self.state();
        let of = state.tables.iter().filter(|((p, _), _)| *p == projection);
        Ok(of.map(|((_, generation), table)| (*generation, table.position)).collect())
    }

    async fn load(&self, generation: Generation, keys: &[Key]) -> Result<Vec<Row>, ReadError> {
        let state = self.state();
        let row = |key: &Key| state.table(key.projection(), generation)?.rows.get(key).cloned();
        Ok(keys.iter().filter_map(row).collect())
    }

    async fn load_group(&self, generation: Generation, group: Group) -> Result<Vec<Row>, ReadError> {
        let state = self.state();
        let Some(table) = state.table(group.projection(), generation) else { return Ok(Vec::new()) };
        let member = |row: &&Row| {
            row.key().scope() == group.scope() && row.parent().is_some_and(|parent| parent == group.parent())
        };
        Ok(table.rows.values().filter(member).cloned().collect())
    }

    async fn commit(&self, steps: &[Advance], to: Position, writes: &[Write]) -> Result<(), ReadError> {
        let mut state = self.state();
        steps.iter().try_for_each(|step| state.check(step))?;
        for write in writes {
            let key = match write {
                Write::Put(row) | Write::New(row) => row.key(),
                Write::Delete(key) => *key,
                Write::Clear(vault) => Key::Vault(*vault),
            };
            let projection = key.projection();
            let step = steps.iter().find(|step| step.family == projection.family());
            let step = step.ok_or(ReadError::Moved(projection.name()))?;
            if let Write::Clear(vault) = write {
                for member in [Projection::Entries, Projection::Versions] {
                    let table = state.tables.entry((member, step.generation)).or_default();
                    table.rows.retain(|key, _| key.scope() != vault.as_bytes());
                }
                continue;
            }
            let table = state.tables.entry((projection, step.generation)).or_default();
            match write {
                Write::Put(row) | Write::New(row) => drop(table.rows.insert(key, row.clone())),
                Write::Delete(_) | Write::Clear(_) => drop(table.rows.remove(&key)),
            }
        }
        for step in steps {
            for member in step.family.members() {
                state.tables.entry((*member, step.generation)).or_default().position = to;
            }
        }
        Ok(())
    }

    async fn claim_rebuild(&self) -> Result<Claim, ReadError> {
        let free = Arc::clone(&self.1).try_lock_owned();
        free.map(Claim::new).map_err(|_| ReadError::Rebuilding("somebody else".to_owned()))
    }

    async fn start_generation(&self, family: Family) -> Result<Generation, ReadError> {
        let mut state = self.state();
        let live = state.live(family);
        let highest = state.tables.keys().filter(|(p, _)| p.family() == family).map(|(_, g)| *g).max();
        let new = Generation(highest.unwrap_or(live).0 + 1);
        state.tables.retain(|(p, generation), _| p.family() != family || *generation == live);
        for member in family.members() {
            state.tables.insert((*member, new), Table::default());
        }
        Ok(new)
    }

    async fn switch_generation(
        &self,
        family: Family,
        from: Generation,
        to: Generation,
    ) -> Result<(), ReadError> {
        let mut state = self.state();
        let at = |generation| state.table(family.members()[0], generation).map(|table| table.position);
        if state.live(family) != from || at(to).is_none() || at(to) < at(from) {
            return Err(ReadError::Moved(family.name()));
        }
        state.live.insert(family, to);
        Ok(())
    }

    async fn drop_generation(&self, family: Family, generation: Generation) -> Result<u64, ReadError> {
        let mut state = self.state();
        if state.live(family) == generation {
            return Err(ReadError::Moved(family.name()));
        }
        let gone = family.members().iter().filter_map(|member| state.tables.remove(&(*member, generation)));
        Ok(gone.map(|table| table.rows.len() as u64).sum())
    }

    async fn checksum(&self, projection: Projection, generation: Generation) -> Result<Checksum, ReadError> {
        let state = self.state();
        let table = state.table(projection, generation).ok_or(ReadError::Moved(projection.name()))?;
        let mut digest = RowDigest::default();
        for (key, row) in &table.rows {
            let document = row
                .document()
                .map_err(|source| ReadError::Shape { projection: projection.name(), source })?;
            digest.add(key.scope(), key.id(), &document);
        }
        let (sha256, rows) = digest.finish();
        Ok(Checksum { sha256, rows, position: table.position })
    }

    async fn rows(&self, projection: Projection, generation: Generation) -> Result<u64, ReadError> {
        Ok(self.state().table(projection, generation).map_or(0, |table| table.rows.len() as u64))
    }

    async fn account(&self, account: AccountId) -> Result<Option<AccountRow>, ReadError> {
        let found = self.live_rows(Projection::Accounts, |row| match row {
            Row::Account(row) if row.account == account => Some(row.clone()),
            _ => None,
        });
        Ok(found.into_iter().next())
    }

    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountRow>, ReadError> {
        let mut found = self.live_rows(Projection::Accounts, |row| match row {
            Row::Account(row) if Some(row.account) > after => Some(row.clone()),
            _ => None,
        });
        found.truncate(limit);
        Ok(found)
    }

    async fn device(&self, account: AccountId, device: DeviceId) -> Result<Option<DeviceRow>, ReadError> {
        let found = self.live_rows(Projection::Devices, |row| match row {
            Row::Device(row) if (row.account, row.device) == (account, device) => Some(row.clone()),
            _ => None,
        });
        Ok(found.into_iter().next())
    }

    async fn devices(&self, account: AccountId) -> Result<Vec<DeviceRow>, ReadError> {
        let mut found = self.live_rows(Projection::Devices, |row| match row {
            Row::Device(row) if row.account == account => Some(row.clone()),
            _ => None,
        });
        found.sort_by_key(|row| (row.added_at, row.device));
        Ok(found)
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>, ReadError> {
        let found = self.live_rows(Projection::Sessions, |row| match row {
            Row::Session(row) if row.session == session => Some(row.clone()),
            _ => None,
        });
        Ok(found.into_iter().next())
    }

    async fn sessions(&self, account: AccountId) -> Result<Vec<SessionRow>, ReadError> {
        let mut found = self.live_rows(Projection::Sessions, |row| match row {
            Row::Session(row) if row.account == account => Some(row.clone()),
            _ => None,
        });
        found.sort_by_key(|row| (row.opened_at, row.session));
        Ok(found)
    }

    async fn vault(&self, vault: VaultId) -> Result<Option<VaultRow>, ReadError> {
        let found = self.live_rows(Projection::Vaults, |row| match row {
            Row::Vault(row) if row.vault == vault => Some(row.clone()),
            _ => None,
        });
        Ok(found.into_iter().next())
    }

    async fn entries_by_id(&self, vault: VaultId, entries: &[EntryId]) -> Result<Vec<EntryRow>, ReadError> {
        Ok(self.live_rows(Projection::Entries, |row| match row {
            Row::Entry(row) if row.vault == vault && entries.contains(&row.entry) => Some(row.clone()),
            _ => None,
        }))
    }

    async fn entries(
        &self,
        vault: VaultId,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<EntryRow>, ReadError> {
        let mut found = self.live_rows(Projection::Entries, |row| match row {
            Row::Entry(row) if row.vault == vault && Some(row.entry) > after => Some(row.clone()),
            _ => None,
        });
        found.truncate(limit);
        Ok(found)
    }

    async fn versions_by_id(
        &self,
        vault: VaultId,
        versions: &[VersionId],
    ) -> Result<Vec<VersionRow>, ReadError> {
        Ok(self.live_rows(Projection::Versions, |row| match row {
            Row::Version(row) if row.header.vault == vault && versions.contains(&row.version) => {
                Some((**row).clone())
            }
            _ => None,
        }))
    }

    async fn versions_of(
        &self,
        vault: VaultId,
        entry: EntryId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<VersionRow>, ReadError> {
        let mut found = self.live_rows(Projection::Versions, |row| match row {
            Row::Version(row)
                if row.header.vault == vault && row.header.entry == entry && row.seq > after =>
            {
                Some((**row).clone())
            }
            _ => None,
        });
        found.sort_by_key(|row| row.seq);
        found.truncate(limit);
        Ok(found)
    }

    async fn version_ids(
        &self,
        vault: VaultId,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Vec<VersionId>, ReadError> {
        let mut found = self.live_rows(Projection::Versions, |row| match row {
            Row::Version(row) if row.header.vault == vault && Some(row.version) > after => Some(row.version),
            _ => None,
        });
        found.truncate(limit);
        Ok(found)
    }
}
