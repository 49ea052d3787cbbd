//! The index port: which vault has which blob, and where it lies.

use async_trait::async_trait;
use lockstep_events::{BlobHash, Micros, VaultId};

use super::BlobError;

/// Where the bytes of a blob lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPlace {
    /// The key of the object.
    pub pack: String,
    /// The first byte in it.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// A blob that lies in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lying {
    /// Whose it is.
    pub vault: VaultId,
    /// Its hash.
    pub hash: BlobHash,
    /// Its first byte in the object.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// An object in which blobs lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its key.
    pub object: String,
    /// It has at least so many bytes.
    pub end: u64,
    /// Blobs in it.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Its key, and the three numbers in their order, as a database has them.
impl From<(String, i64, i64, i64)> for Held {
    fn from((object, end, blobs, bytes): (String, i64, i64, i64)) -> Self {
        let (end, blobs, bytes) = (end.cast_unsigned(), blobs.cast_unsigned(), bytes.cast_unsigned());
        Self { object, end, blobs, bytes }
    }
}

/// Room that is asked for before anything is uploaded.
#[derive(Debug, Clone, Copy)]
pub struct Promise<'a> {
    /// All vaults of the account, in the same order on every node.
    pub vaults: &'a [VaultId],
    /// The vault of the blobs.
    pub vault: VaultId,
    /// The blobs with their lengths, each once; none of them is there.
    pub blobs: &'a [(BlobHash, u64)],
    /// How much the blobs of these vaults that wait may be together.
    pub room: u64,
    /// Whether the blobs count from now on; else it is only looked whether they could.
    pub keep: bool,
    /// The time.
    pub now: Micros,
}

/// What the log says of a blob of which a naming did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// No version keeps it.
    Unnamed,
    /// A version keeps it whose event has no length for it: the version stood before it came. It is not swept, and counts
    /// as what waits, for it counts nowhere else.
    Late,
    /// A version keeps it, and counts it.
    Named,
}

/// Since when a blob is named that is [`Settled::Late`]. Of such a one the sweep asks the log no more.
pub const LATE_SINCE: Micros = Micros(-1);

/// A turn that is dated so many seconds ahead was taken by a clock that was wrong: nobody waits until then.
pub const TURN_AHEAD_S: i64 = 3600;

/// Which vault has which blob, and where. A hash that another vault has gives nothing.
///
/// A blob is *named* by the events that need it. A naming begins before the append, so that a crash can leave a blob too
/// many and never one too few, and ends when it is known whether the event stands. Only then a blob that nobody named
/// before is named; until then it counts as what waits, and is not swept. Of a naming that does not end, the sweep asks
/// the log. Unnamed blobs, and objects in which no blob lies, are swept in two phases: seen once, and deleted when they
/// are seen again long enough after.
///
/// An object is *doomed* before it is deleted, and only while no blob lies in it; into a doomed object no blob is
/// entered any more. So whatever happens at the same time, a blob that was entered and named is not deleted under
/// whoever named it.
///
/// Every call is one transaction, and many nodes may call at the same time.
#[async_trait]
pub trait BlobIndex: Send + Sync {
    /// Those of these blobs that a vault has.
    async fn find(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, BlobPlace)>, BlobError>;

    /// The same, and a naming of each of them begins. Their mark rises.
    async fn name(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
        now: Micros,
    ) -> Result<Vec<(BlobHash, BlobPlace)>, BlobError>;

    /// A naming of each of these blobs has ended. If the event `stands`, they are named, and their mark rises.
    async fn naming_ended(&self, vault: VaultId, hashes: &[BlobHash], stands: bool) -> Result<(), BlobError>;

    /// Blobs with their marks of which a naming has not ended and none began since a time; in order of their vaults and
    /// hashes, after one, at most `limit`.
    async fn endless(
        &self,
        before: Micros,
        after: Option<(VaultId, BlobHash)>,
        limit: usize,
    ) -> Result<Vec<(VaultId, BlobHash, u64)>, BlobError>;

    /// All namings of these blobs have ended, by the log. One whose mark is another one by now stays as it is.
    async fn naming_settled(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        settled: Settled,
    ) -> Result<(), BlobError>;

    /// Enters blobs of a vault. One that is there keeps its place; one that would lie in a doomed object is left out.
    async fn insert(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, BlobPlace)],
        now: Micros,
    ) -> Result<(), BlobError>;

    /// The marks of those of these blobs that a vault has: how often each began to be named, and was.
    async fn marks(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Vec<(BlobHash, u64)>, BlobError>;

    /// Takes blobs of a vault out. One stays whose mark is another one by now, or of which a naming began since
    /// `named_since` and has not ended: of such a one the sweep asks the log, a day after `now`. The objects in which no
    /// blob lies any more: they are doomed.
    async fn remove(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        named_since: Micros,
        now: Micros,
    ) -> Result<Vec<String>, BlobError>;

    /// Blobs of a vault in order of their hashes, after one, at most `limit`; named or not.
    async fn of_vault(
        &self,
        vault: VaultId,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Result<Vec<BlobHash>, BlobError>;

    /// Takes out unnamed blobs that were added before one time and first seen so before another, and notes all other
    /// unnamed ones that were added before the first time as seen `now`. Nobody is naming them. How many went.
    async fn sweep_unnamed(
        &self,
        added_before: Micros,
        seen_before: Micros,
        now: Micros,
    ) -> Result<u64, BlobError>;

    /// Of these objects, those in which no blob lies and that were first seen so before a time: they are doomed. The
    /// others in which none lies are noted as seen `now`.
    async fn orphans(
        &self,
        objects: &[String],
        seen_before: Micros,
        now: Micros,
    ) -> Result<Vec<String>, BlobError>;

    /// Doomed objects, at most `limit`: what an earlier process did not come to delete.
    async fn doomed(&self, limit: usize) -> Result<Vec<String>, BlobError>;

    /// Forgets what was noted about objects that are deleted.
    async fn forget_orphans(&self, objects: &[String]) -> Result<(), BlobError>;

    /// How many bytes of each of these objects are a blob's; objects in which no blob lies are left out.
    async fn used(&self, objects: &[String]) -> Result<Vec<(String, u64)>, BlobError>;

    /// Objects in which blobs lie, in order of their keys, after one, at most `limit`.
    async fn objects(&self, after: Option<&str>, limit: usize) -> Result<Vec<Held>, BlobError>;

    /// The blobs that lie in an object.
    async fn lying_in(&self, object: &str) -> Result<Vec<Lying>, BlobError>;

    /// Blobs that lie in one object lie in another from now on, at these places. One that does not lie in `from`
    /// (any more) stays as it is.
    async fn relocate(&self, from: &str, to: &str, blobs: &[Lying]) -> Result<(), BlobError>;

    /// Notes that an upload in parts was begun.
    async fn upload_started(&self, object: &str, upload: &str, now: Micros) -> Result<(), BlobError>;

    /// The upload in parts that was begun for an object and did not end.
    async fn upload_to(&self, object: &str) -> Result<Option<String>, BlobError>;

    /// Uploads in parts that were begun before a time and did not end, at most `limit`: object and upload.
    async fn uploads_before(&self, time: Micros, limit: usize) -> Result<Vec<(String, String)>, BlobError>;

    /// How many uploads in parts to objects whose names begin so were begun and did not end.
    async fn uploads_under(&self, prefix: &str) -> Result<u64, BlobError>;

    /// An upload in parts has ended, one way or the other.
    async fn upload_ended(&self, object: &str) -> Result<(), BlobError>;

    /// Promises room, if it is there; else how many bytes wait without these blobs: unnamed and late blobs of the vaults,
    /// and those that were promised and did not come. Of callers with the same vaults one comes after the other. A promise
    /// is over when its blob is entered.
    async fn promise(&self, asked: &Promise<'_>) -> Result<Result<(), u64>, BlobError>;

    /// A client sends a promised blob to this object; the object of before, if it is another one. Nothing is noted
    /// where nothing was promised.
    async fn promised_at(
        &self,
        vault: VaultId,
        hash: BlobHash,
        object: &str,
    ) -> Result<Option<String>, BlobError>;

    /// A promised blob does not come: unless it may lie in an object already, nothing waits for it any more.
    async fn break_promise(&self, vault: VaultId, hash: BlobHash) -> Result<(), BlobError>;

    /// Nothing is promised to a vault any more.
    async fn forget_promises(&self, vault: VaultId) -> Result<(), BlobError>;

    /// Forgets promises from before a time, but not while bytes of theirs lie in an orphan. How many.
    async fn sweep_promises(&self, before: Micros) -> Result<u64, BlobError>;

    /// Takes the turn at something that one node does for all every so often: whether it was last begun before a
    /// time, or never, or later than [`TURN_AHEAD_S`] after `now`. Then it counts as begun `now`. Of many who ask at the
    /// same time exactly one is told yes.
    async fn take_turn(&self, name: &str, last_before: Micros, now: Micros) -> Result<bool, BlobError>;
}
