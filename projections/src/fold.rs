//! One family's fold over pages of events: decode, load what is needed, project, hand out what changed.

use lockstep_events::{Event, Position, Recorded};

use crate::{
    key::{Family, Group, Key, Projection},
    project::{self, ProjectError},
    store::{Advance, Generation, ReadError, ReadStore, Write},
    working::Working,
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

impl Missing {
    /// Whether the store has to be asked.
    pub fn any(&self) -> bool {
        !self.keys.is_empty() || !self.groups.is_empty()
    }
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
}

impl Fold {
    pub fn resume(family: Family, generation: Generation, position: Position, capacity: usize) -> Self {
        Self { family, generation, position, working: Working::default(), capacity, complete: false }
    }

    /// The fold of a generation that has no rows yet.
    pub fn begin(family: Family, generation: Generation, capacity: usize) -> Self {
        Self { complete: true, ..Self::resume(family, generation, Position::ZERO, capacity) }
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
        self.working.take_changes()
    }

    /// Takes out of it what nothing comes back to: versions. The rest waits on.
    pub fn versions(&mut self) -> Vec<Write> {
        self.working.take_versions()
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

    /// Notes that the changes of the last page were committed, or are about to be.
    pub fn committed(&mut self, to: Position) {
        self.position = to;
        if self.working.len() > self.capacity && self.waiting() == 0 {
            self.forget();
        }
    }

    /// Forgets all rows: they are loaded again when they are needed.
    pub fn forget(&mut self) {
        self.working.clear();
        self.complete = false;
    }
}
