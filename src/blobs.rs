//! Long ciphertexts: the store port (immutable objects by key), the index port (which vault has which, and where),
//! and what stands on the two.

mod check;
mod index;
mod keepers;
mod large;
mod lost;
mod pages;
mod repack;
mod shelf;
mod sweep;
#[cfg(test)]
pub mod testing;
mod uploads;
mod watch;

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use lockstep_events::LogError;

pub use index::{BlobIndex, BlobPlace, Held, LATE_SINCE, Lying, Promise, Settled, TURN_AHEAD_S};
pub use keepers::{Elsewhere, Keepers};
pub use large::{LargeError, Ticket};
pub use pages::Pages;
pub use repack::{LIVE_SHARE, repack};
pub use shelf::{Shelf, direct_key};
pub use sweep::{SweepReport, sweep};
pub use uploads::{UploadError, Uploads, Whole};
pub use watch::{Touch, Watch};

/// A blob above this length is uploaded in parts of this length where the object store takes them itself, in bytes.
pub const PART: u64 = 8 * 1024 * 1024;

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
    /// Not the store: the index of what lies in it.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Not the store: the log, which is asked what is kept.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Why the index of blobs did not answer. It stands in the database of the credentials.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Its database cannot be reached or timed out.
    #[error("the database with the index of blobs is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No room left.
    #[error("the database with the index of blobs has no room left")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else it says.
    #[error("the index of blobs failed")]
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

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// How long it is.
    pub length: u64,
}

/// A `PUT` that a client may send to the store without a token of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct Presigned {
    /// Where to. Whoever has it may use it: it is never logged.
    pub url: String,
    /// Headers that must be sent along.
    pub headers: Vec<(String, String)>,
}

/// An upload in parts that has begun.
#[derive(Clone, PartialEq, Eq)]
pub struct Parts {
    /// Names it, together with the object's key.
    pub upload: String,
    /// One request per part, in order.
    pub parts: Vec<Presigned>,
}

/// Keeps immutable objects. A key is `[a-z0-9/-]{1,200}`, another one is refused, and it is never written twice with
/// other bytes.
///
/// What `put` has answered survives a power cut, and nobody sees an object before all of its bytes are there. An
/// object that is not there is [`BlobError::Missing`], and so are bytes beyond its end: a short answer is never given.
/// A store that cannot be reached says [`BlobError::Unavailable`] within half a minute, for a file within the time that
/// its bytes may take; then nothing is known about what was asked, and asking again is always right.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Stores an object; durable when it returns. Storing the same bytes again, also at the same time, is no error.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BlobError>;

    /// The same with the bytes of a file, which may be gone afterwards. The bytes are never all in memory.
    async fn put_file(&self, key: &str, file: &Path) -> Result<(), BlobError>;

    /// Bytes `offset .. offset + length` of an object, all of them.
    async fn get(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, BlobError>;

    /// How long an object is.
    async fn length(&self, key: &str) -> Result<u64, BlobError>;

    /// Deletes an object; deleting what is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;

    /// Objects whose key has a prefix, at most `limit`: for the sweep of orphans. They come in an order that is always
    /// the same and the store's own, and after a key in that order, which need not be there any more. Going on after
    /// the last key of a list until one is shorter than its limit shows each object once.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, BlobError>;

    /// Whether clients reach it, so that the next two give them a way.
    fn is_reached_by_clients(&self) -> bool {
        false
    }

    /// How a client may put exactly these bytes at a key; none where clients do not reach the store (then the upload
    /// goes through the server).
    async fn presign_put(
        &self,
        key: &str,
        length: u64,
        sha256: &[u8; 32],
        expires_s: u32,
    ) -> Result<Option<Presigned>, BlobError>;

    /// Begins an upload in parts of these lengths; none where clients do not reach the store. The object is there when
    /// the upload was finished and not before.
    async fn start_parts(
        &self,
        key: &str,
        lengths: &[u64],
        expires_s: u32,
    ) -> Result<Option<Parts>, BlobError>;

    /// Makes the object of its parts, which the store named by these tags when it took them.
    ///
    /// # Errors
    /// `Missing` if there is no such upload (any more), or a part is not there or has another tag.
    async fn finish_parts(&self, key: &str, upload: &str, tags: &[String]) -> Result<(), BlobError>;

    /// Throws away an upload in parts; one that is not there (any more) is no error.
    async fn abort_parts(&self, key: &str, upload: &str) -> Result<(), BlobError>;

    /// Whether it answers, for `/health/ready`.
    async fn ready(&self) -> Result<(), BlobError>;
}
