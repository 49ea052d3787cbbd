//! The contract of the store that keeps the read models.
//!
//! Rows and checkpoint move in one transaction, by compare-and-set on the old position: two runners can never
//! both apply the same batch, and a crash leaves either all of it or nothing. Every key starts with a
//! `generation`; queries read the live one.

use std::pin::Pin;

use async_trait::async_trait;
use lockstep_events::{AccountId, DeviceId, EntryId, Hash32, Position, Seq, SessionId, VaultId, VersionId};

use crate::{
    key::{Family, Group, Key, Projection},
    rows::{AccountRow, DeviceRow, EntryRow, Row, SessionRow, VaultRow, VersionRow},
};

/// One life of a read model: a rebuild fills a new one beside the live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u32);

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The row is now this.
    Put(Row),
    /// The row is now this, and as far as the writer knows there was none. A store may take that as a hint; a row that
    /// it has is replaced all the same.
    New(Row),
    /// The row is gone.
    Delete(Key),
    /// All entries and versions of the vault are gone. Nothing is put into it in the same commit.
    Clear(VaultId),
}

/// The live state of one read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The generation that queries read.
    pub live: Generation,
    /// The last position that is in its rows.
    pub position: Position,
}

/// One family's step in a commit: its generation, and the position from which its checkpoints move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Whose checkpoints and rows.
    pub family: Family,
    /// Which life of them.
    pub generation: Generation,
    /// Where the checkpoints stand now.
    pub from: Position,
    /// Refuse unless the generation is the live one: a follower must notice that a rebuild took its place.
    pub must_be_live: bool,
}

/// What identifies the content of a read model: equal checksums at equal positions, equal read models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// SHA-256 over keys and documents of all rows in key order.
    pub sha256: Hash32,
    /// How many rows.
    pub rows: u64,
    /// The position at which it was taken.
    pub position: Position,
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database cannot be reached or timed out.
    #[error("the read store is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk or the quota of the database is full.
    #[error("the read store has no room left")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A rebuild is under way; the word for who does it.
    #[error("{0} is rebuilding read models: wait until it has ended, or stop it")]
    Rebuilding(String),
    /// Another runner moved the checkpoint, or the generation was dropped: load it again.
    #[error("the checkpoint of {0} is not where it was")]
    Moved(&'static str),
    /// A stored row cannot be read by this program.
    #[error("a row of {projection} cannot be read")]
    Shape {
        /// Whose row.
        projection: &'static str,
        /// What serde met.
        source: serde_json::Error,
    },
    /// Anything else the database says.
    #[error("the read store failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Held by whoever rebuilds, and given back when it is dropped or its process ends.
pub struct Claim {
    /// Owns what is held.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Claim {
    /// Whatever gives the claim back when it is dropped.
    pub fn new(held: impl Send + 'static) -> Self {
        Self::ended_by(async move { drop(held) })
    }

    /// What gives the claim back when it ends, and a moment later when it is dropped before.
    pub fn ended_by(end: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { end: Box::pin(end) }
    }

    /// Whoever asks next has it.
    pub async fn give_back(self) {
        self.end.await;
    }
}

/// Keeps rows and checkpoints, and answers the queries of the server.
#[async_trait]
pub trait ReadStore: Send + Sync {
    /// The live generation and checkpoint of a read model; generation 1 at position 0 if it never ran.
    async fn checkpoint(&self, projection: Projection) -> Result<Checkpoint, ReadError>;

    /// The same for a family, whose members move together.
    async fn checkpoint_of(&self, family: Family) -> Result<Checkpoint, ReadError> {
        self.checkpoint(family.members()[0]).await
    }

    /// Every generation of a read model with its position, ascending.
    async fn generations(&self, projection: Projection) -> Result<Vec<(Generation, Position)>, ReadError>;

    /// Rows of one generation by key; those that do not exist are left out. All keys are of one family.
    async fn load(&self, generation: Generation, keys: &[Key]) -> Result<Vec<Row>, ReadError>;

    /// All rows of one generation that belong to a group.
    async fn load_group(&self, generation: Generation, group: Group) -> Result<Vec<Row>, ReadError>;

    /// Writes rows and moves the checkpoints of whole families to `to`, all in one transaction. Every row
    /// belongs to one of the families and is written into that family's generation.
    ///
    /// # Errors
    /// `Moved` if a checkpoint is not where the step says, or the generation is not live though it must be;
    /// nothing is written then.
    async fn commit(&self, steps: &[Advance], to: Position, writes: &[Write]) -> Result<(), ReadError>;

    /// The right to rebuild, which one process has at a time: each start of a generation deletes what is not live.
    ///
    /// # Errors
    /// `Rebuilding` if somebody else has it.
    async fn claim_rebuild(&self) -> Result<Claim, ReadError>;

    /// Starts an empty generation of a family beside the live one, at position 0. Generations that are not
    /// live (left by a rebuild that was killed) are deleted first.
    async fn start_generation(&self, family: Family) -> Result<Generation, ReadError>;

    /// Makes a generation of a family the live one, if the live one is still `from` and `to` is not behind it.
    ///
    /// # Errors
    /// `Moved` if either does not hold; nothing is changed then.
    async fn switch_generation(
        &self,
        family: Family,
        from: Generation,
        to: Generation,
    ) -> Result<(), ReadError>;

    /// Deletes a generation that is not live; the number of rows that went.
    ///
    /// # Errors
    /// `Moved` if it is the live one.
    async fn drop_generation(&self, family: Family, generation: Generation) -> Result<u64, ReadError>;

    /// The checksum of one generation of a read model, taken from one consistent state.
    async fn checksum(&self, projection: Projection, generation: Generation) -> Result<Checksum, ReadError>;

    /// The number of rows in one generation of a read model.
    async fn rows(&self, projection: Projection, generation: Generation) -> Result<u64, ReadError>;

    /// An account.
    async fn account(&self, account: AccountId) -> Result<Option<AccountRow>, ReadError>;

    /// Accounts in order of id, after an id, at most `limit`.
    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountRow>, ReadError>;

    /// A device of an account.
    async fn device(&self, account: AccountId, device: DeviceId) -> Result<Option<DeviceRow>, ReadError>;

    /// The devices of an account, oldest first.
    async fn devices(&self, account: AccountId) -> Result<Vec<DeviceRow>, ReadError>;

    /// A session.
    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>, ReadError>;

    /// The sessions of an account, oldest first.
    async fn sessions(&self, account: AccountId) -> Result<Vec<SessionRow>, ReadError>;

    /// A vault.
    async fn vault(&self, vault: VaultId) -> Result<Option<VaultRow>, ReadError>;

    /// Some entries of a vault; those that do not exist are left out.
    async fn entries_by_id(&self, vault: VaultId, entries: &[EntryId]) -> Result<Vec<EntryRow>, ReadError>;

    /// Entries of a vault in order of id, after an id, at most `limit`.
    async fn entries(
        &self,
        vault: VaultId,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<EntryRow>, ReadError>;

    /// Some versions of a vault; those that do not exist are left out.
    async fn versions_by_id(
        &self,
        vault: VaultId,
        versions: &[VersionId],
    ) -> Result<Vec<VersionRow>, ReadError>;

    /// Some versions of a vault as they are stored, each the JSON of a [`VersionRow`]; those that do not exist are
    /// left out. For whoever hands them on as they are.
    async fn version_documents(
        &self,
        vault: VaultId,
        versions: &[VersionId],
    ) -> Result<Vec<String>, ReadError> {
        let rows = self.versions_by_id(vault, versions).await?;
        let document = |row| Row::Version(Box::new(row)).document();
        let shape = |source| ReadError::Shape { projection: Projection::Versions.name(), source };
        rows.into_iter().map(document).collect::<Result<_, _>>().map_err(shape)
    }

    /// The versions of an entry in order of seq, after a seq, at most `limit`.
    async fn versions_of(
        &self,
        vault: VaultId,
        entry: EntryId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<VersionRow>, ReadError>;

    /// Makes sure that what was deleted is in no file that this store writes: a journal, a free page.
    async fn scrub(&self) -> Result<(), ReadError> {
        Ok(())
    }

    /// Ids of all versions of a vault whose id is after `after`, ascending, at most `limit`: for `reconcile`.
    async fn version_ids(
        &self,
        vault: VaultId,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Vec<VersionId>, ReadError>;
}
