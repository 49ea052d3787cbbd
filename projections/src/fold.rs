//! One family's fold over pages of events: decode, load what is needed, project, hand out what changed.

use lockstep_events::{Event, Position, Recorded};

use crate::{
    key::{Family, Group, Key, Projection},
    project::{self, ProjectError},
    store::{Advance, Generation, ReadError, ReadStore, Write},
    working::{Versions, Working},
};

/// An event with what it says.
pub(crate) type Decoded = (Recorded, Event);

/// Why a page could not be folded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Project(#[from] ProjectError),
}

/// Rows that a page needs and that are not in memory.
#[derive(Debug)]
pub(crate) struct Missing {
    keys: Vec<Key>,
    groups: Vec<Group>,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub family: Family,
    pub generation: Generation,
    pub position: Position,
    working: Working,
    /// At most so many rows stay in memory between two pages.
    capacity: usize,
    /// The generation began empty and nothing was forgotten since: what is not here does not exist.
    complete: bool,
    /// Whether what is handed out is in the store before the next page is folded.
    versions: Versions,
}

impl Fold {
    pub fn resume(family: Family, generation: Generation, position: Position, capacity: usize) -> Self {
        let (working, complete, versions) = (Working::default(), false, Versions::Leave);
        Self { family, generation, position, working, capacity, complete, versions }
    }

    /// The fold of a generation that has no rows yet. What it hands out may be written while it goes on: it wants to be
    /// told of it by [`Self::stored`].
    pub fn begin(family: Family, generation: Generation, capacity: usize) -> Self {
        let resumed = Self::resume(family, generation, Position::ZERO, capacity);
        Self { complete: true, versions: Versions::Stay, ..resumed }
    }

    /// The step that a commit makes from here.
    pub fn advance(&self, must_be_live: bool) -> Advance {
        Advance { family: self.family, generation: self.generation, from: self.position, must_be_live }
    }

    /// Whether an event stands in a stream of this family.
    pub fn wants(&self, recorded: &Recorded) -> bool {
        recorded.stream_kind == self.family.stream_kind()
    }

    /// Folds a page and takes out what has to be written. After an error the fold has forgotten everything that
    /// was not committed, and may go on from its position.
    pub async fn page<'p>(
        &mut self,
        reads: &dyn ReadStore,
        page: impl Iterator<Item = &'p Decoded> + Clone + Send,
    ) -> Result<Vec<Write>, FoldError> {
        let missing = self.missing(page.clone());
        self.more(missing, reads, page).await?;
        Ok(self.changes())
    }

    /// Folds one more page, of which this is missing, before anything is written. After an error, as [`Self::page`].
    pub async fn more<'p>(
        &mut self,
        missing: Missing,
        reads: &dyn ReadStore,
        page: impl Iterator<Item = &'p Decoded> + Clone + Send,
    ) -> Result<(), FoldError> {
        let folded = self.load_and_project(missing, reads, page).await;
        if folded.is_err() {
            self.forget();
        }
        folded
    }

    /// How many rows wait to be written.
    pub fn waiting(&self) -> usize {
        self.working.changes()
    }

    /// How many versions wait to be written.
    pub fn waiting_versions(&self) -> usize {
        self.working.changed_versions()
    }

    /// Takes out what has to be written since the last commit.
    pub fn changes(&mut self) -> Vec<Write> {
        self.working.take_changes(self.versions)
    }

    /// Takes out of it what nothing comes back to: versions. The rest waits on.
    pub fn versions(&mut self) -> Vec<Write> {
        self.working.take_versions(self.versions)
    }

    async fn load_and_project<'p>(
        &mut self,
        Missing { keys, groups }: Missing,
        reads: &dyn ReadStore,
        page: impl Iterator<Item = &'p Decoded> + Clone + Send,
    ) -> Result<(), FoldError> {
        if !keys.is_empty() {
            for row in reads.load(self.generation, &keys).await? {
                self.working.loaded(row);
            }
            for key in keys {
                self.working.absent(key);
            }
        }
        for group in groups {
            for row in reads.load_group(self.generation, group).await? {
                self.working.loaded(row);
            }
        }
        for (recorded, event) in page {
            project::project(&mut self.working, recorded, event)?;
        }
        Ok(())
    }

    /// What has to be loaded before a page is folded.
    pub fn missing<'p>(&self, page: impl Iterator<Item = &'p Decoded>) -> Missing {
        let (mut keys, mut groups) = (Vec::new(), Vec::new());
        for (recorded, event) in page {
            let needs = project::needs(recorded, event);
            keys.extend(needs.keys.into_iter().filter(|key| !self.known(key)));
            groups.extend(needs.groups);
        }
        keys.sort_unstable();
        keys.dedup();
        groups.sort_unstable();
        groups.dedup();
        Missing { keys, groups }
    }

    fn known(&self, key: &Key) -> bool {
        self.working.knows(key) || (self.complete && key.projection() != Projection::Versions)
    }

    /// Notes that the changes of the last page were committed.
    pub fn committed(&mut self, to: Position) {
        self.position = to;
        if self.is_full() {
            self.forget();
        }
    }

    /// Whether it is time to forget: there is much in memory, and all of it was handed out.
    pub fn is_full(&self) -> bool {
        self.working.len() > self.capacity && self.waiting() == 0
    }

    /// So many batches of what was handed out are in the store.
    pub fn stored(&mut self, batches: u64) {
        self.working.stored(batches);
    }

    /// Forgets all rows: they are loaded again when they are needed.
    pub fn forget(&mut self) {
        self.working.clear();
        self.complete = false;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use lockstep_events::{
        EventLog, StreamKind,
        event::VaultEvent,
        log::{Contents, Filter},
        testing::MemoryLog,
    };
    use uuid::Uuid;

    use super::*;
    use crate::{
        rows::Row,
        testing::{
            MemoryReads,
            script::{Script, play},
        },
    };

    /// What a script did in its vaults.
    async fn events(units: usize) -> Vec<Decoded> {
        let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(Uuid::nil()));
        play(&log, &mut Script::new(5), units).await;
        let vaults = Filter { stream_kind: Some(StreamKind::Vault), kinds: Vec::new() };
        let all = log.read_all(Position::ZERO, 100_000, &vaults, Contents::No).await.unwrap();
        let decoded = |event: Recorded| Some((event.clone(), project::decode(Family::Vault, &event).ok()?));
        all.into_iter().filter_map(decoded).collect()
    }

    fn fold() -> Fold {
        Fold::begin(Family::Vault, Generation(2), 100_000)
    }

    fn note(rows: &mut HashMap<Key, Row>, writes: Vec<Write>) {
        for write in writes {
            if let Write::Put(row) | Write::New(row) = write {
                rows.insert(row.key(), row);
            }
        }
    }

    #[tokio::test]
    async fn a_purge_finds_versions_that_are_still_on_their_way_into_the_store() {
        let (events, empty) = (events(900).await, MemoryReads::new());
        let mut wanted = HashMap::new();
        note(&mut wanted, fold().page(&empty, events.iter()).await.unwrap());
        let (mut fold, mut written) = (fold(), HashMap::new());
        for page in events.chunks(7) {
            let missing = fold.missing(page.iter());
            fold.more(missing, &empty, page.iter()).await.unwrap();
            note(&mut written, fold.versions());
        }
        note(&mut written, fold.changes());
        assert!(wanted.values().any(|row| matches!(row, Row::Version(version) if version.content_gone)));
        assert!(written == wanted);
    }

    #[tokio::test]
    async fn versions_leave_when_their_batch_is_stored_and_stay_if_they_have_changed_since() {
        let (events, empty) = (events(900).await, MemoryReads::new());
        let changes = |(_, event): &Decoded| matches!(event, Event::Vault(VaultEvent::ContentPruned(_)));
        let at = events.iter().position(changes).unwrap();
        let mut fold = fold();
        fold.page(&empty, events[..at].iter()).await.unwrap();
        let all = fold.working.len();
        let missing = fold.missing(events[at..=at].iter());
        assert!(missing.keys.is_empty(), "all of it is in memory");
        fold.more(missing, &empty, events[at..=at].iter()).await.unwrap();
        let changed = fold.waiting_versions();
        fold.stored(1);
        let left = fold.working.keys_where(Projection::Versions, |_| true);
        assert!(changed > 0 && left.len() == changed && fold.working.len() < all, "{changed} {}", left.len());
        fold.changes();
        fold.stored(1);
        assert_eq!(fold.working.keys_where(Projection::Versions, |_| true), left, "the second is on its way");
        fold.stored(2);
        assert!(fold.working.keys_where(Projection::Versions, |_| true).is_empty());
    }
}
