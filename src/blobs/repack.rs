//! Rewriting an object of which little is still used: its blobs are copied into a new one, the index is told, and the
//! old one is an orphan like any other, which the sweep deletes a day later. Until then whoever has the old place in
//! hand can still read there.
//!
//! A crash before the index was told leaves the new object as an orphan; after it, the old one. Two nodes that do the
//! same at the same time each write an object, and each blob lies in the one whose node came first.

use bytes::{Bytes, BytesMut};
use lockstep_events::canonical::sha256;

use super::{BlobError, Listed, Lying, Shelf, shelf::pack_key, sweep::AGE_S};

/// An object is rewritten when at most so many hundredths of it are used.
pub const LIVE_SHARE: u64 = 50;

/// Rewrites an object if at most [`LIVE_SHARE`] of it is used; whether it was done.
///
/// Every blob is compared with its hash on the way. An object in which one does not have it is left as it is, for
/// people to look at.
///
/// # Errors
/// If the store or the index does not answer.
pub async fn repack(shelf: &Shelf, object: &Listed, used: u64) -> Result<bool, BlobError> {
    if used == 0 || used * 100 > object.length * LIVE_SHARE {
        return Ok(false);
    }
    let mut blobs = shelf.index.lying_in(&object.key).await?;
    blobs.sort_unstable_by_key(|blob| blob.offset);
    let Some(first) = blobs.first().copied() else { return Ok(false) };
    let mut bytes = BytesMut::new();
    let mut moved = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let read = shelf.store.get(&object.key, blob.offset, blob.length).await?;
        if sha256(&read) != blob.hash.0 {
            tracing::error!("an object of the blob store is damaged: a blob in it does not have its hash");
            return Ok(false);
        }
        moved.push(Lying { offset: bytes.len() as u64, ..blob });
        bytes.extend_from_slice(&read);
    }
    let to = pack_key(first.vault);
    shelf.store.put(&to, Bytes::from(bytes)).await?;
    shelf.index.relocate(&object.key, &to, &moved).await?;
    // Its day begins now, and not when the next sweep sees it.
    let now = shelf.clock.now();
    shelf.index.orphans(std::slice::from_ref(&object.key), now.plus_seconds(-AGE_S), now).await?;
    Ok(true)
}
