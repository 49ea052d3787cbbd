//! Long ciphertexts: the store port (immutable objects by key), the index port (which vault has which, and where),
//! and what stands on the two.

mod shelf;
mod sweep;
#[cfg(test)]
pub mod testing;
mod uploads;

use async_trait::async_trait;
use bytes::Bytes;
use lockstep_events::{BlobHash, Micros, VaultId};

pub use shelf::{Shelf, direct_key};
pub use sweep::{SweepReport, sweep};
pub use uploads::{UploadError, Uploads};

/// A blob that goes through the server is at most so long, in bytes.
pub const MAX_BLOB: u64 = 10 * 1024 * 1024;

/// Why the blob store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It cannot be reached or timed out.
    #[error("the blob store is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No room left.
    #[error("the blob store has no room left")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The object does not exist.
    #[error("there is no such object")]
    Missing,
    /// Anything else it says.
    #[error("the blob store failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Refuses a key that no store has to know: it must be `[a-z0-9/-]{1,200}`.
///
/// # Errors
/// `Other`.
pub fn check_key(key: &str) -> Result<(), BlobError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'/' || b == b'-';
    if key.is_empty() || key.len() > 200 || !key.bytes().all(allowed) {
        return Err(BlobError::Other("an object key has 1 to 200 of a-z, 0-9, / and -".into()));
    }
    Ok(())
}

/// Keeps immutable objects. A key is `[a-z0-9/-]{1,200}`, another one is refused, and it is never written twice with
/// other bytes.
///
/// What `put` has answered survives a power cut, and nobody sees an object before all of its bytes are there. An
/// object that is not there is [`BlobError::Missing`], and so are bytes beyond its end: a short answer is never given.
/// A store that cannot be reached says [`BlobError::Unavailable`] within half a minute; then nothing is known about
/// what was asked, and asking again is always right.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Stores an object; durable when it returns. Storing the same bytes again, also at the same time, is no error.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BlobError>;

    /// Bytes `offset .. offset + length` of an object, all of them.
    async fn get(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, BlobError>;

    /// How long an object is.
    async fn length(&self, key: &str) -> Result<u64, BlobError>;

    /// Deletes an object; deleting what is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;

    /// Keys with a prefix, after a key (which need not be there any more), ascending, at most `limit`: for the sweep of
    /// orphans.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, BlobError>;

    /// A URL at which a client may PUT exactly this object without a token of ours, with the headers that it must
    /// send along; none where the store has no such thing (then the upload goes through the server).
    async fn presign_put(
        &self,
        key: &str,
        length: u64,
        sha256: &[u8; 32],
        expires_s: u32,
    ) -> Result<Option<(String, Vec<(String, String)>)>, BlobError>;

    /// Whether it answers, for `/health/ready`.
    async fn ready(&self) -> Result<(), BlobError>;
}

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

/// Which vault has which blob, and where. A hash that another vault has gives nothing.
///
/// A blob is *named* once an event that needs it was about to be appended. That is noted before the append, so that
/// a crash can leave a blob too many and never one too few. Unnamed blobs, and objects in which no blob lies, are
/// swept in two phases: seen once, and deleted when they are seen again long enough after.
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

    /// The same, and from now on they are named.
    async fn name(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, BlobPlace)>, BlobError>;

    /// Enters blobs of a vault; one that is there keeps its place.
    async fn insert(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, BlobPlace)],
        now: Micros,
    ) -> Result<(), BlobError>;

    /// Takes blobs of a vault out. The objects in which no blob lies any more.
    async fn remove(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Vec<String>, BlobError>;

    /// Takes out unnamed blobs that were added before one time and first seen so before another, and notes all other
    /// unnamed ones that were added before the first time as seen `now`. How many went.
    async fn sweep_unnamed(
        &self,
        added_before: Micros,
        seen_before: Micros,
        now: Micros,
    ) -> Result<u64, BlobError>;

    /// Of these objects, those in which no blob lies and that were first seen so before a time. The others in which
    /// none lies are noted as seen `now`.
    async fn orphans(
        &self,
        objects: &[String],
        seen_before: Micros,
        now: Micros,
    ) -> Result<Vec<String>, BlobError>;

    /// Forgets what was noted about objects that are deleted.
    async fn forget_orphans(&self, objects: &[String]) -> Result<(), BlobError>;
}
