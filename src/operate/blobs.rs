//! `lockstepd blobs verify`: whether the store has what the index names, and the index what versions keep by the log.
//! Existence and length of each object; the bytes are compared with their hashes by whoever reads them.

mod unplaced;

use futures_util::{StreamExt, TryStreamExt, stream};
use lockstep_events::{BlobHash, EventLog, LogError, VaultId};
use serde::Serialize;

use crate::blobs::{BlobError, Held, Shelf};

/// Objects whose names are read at once.
const PAGE: usize = 500;
/// Objects that are asked for at the same time.
const READERS: usize = 16;
/// More missing objects, or ciphertexts without a place, than these are counted and not listed.
const LISTED: usize = 100;

/// An object that is not there as the index has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingObject {
    /// Its name; behind the first slash stands the vault.
    pub object: String,
    /// Ciphertexts in it.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What it is.
    pub what: &'static str,
}

/// A ciphertext that a version keeps, and of which nobody knows where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unplaced {
    /// Whose it is.
    pub vault: VaultId,
    /// Its hash.
    pub hash: BlobHash,
}

/// Why nothing can be said about a blob store.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store or the index does not answer.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The log does not answer, or has an event that cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What a blob store is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifiedBlobs {
    /// Objects that the index names.
    pub objects: u64,
    /// Ciphertexts in them.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that are missing, or too short.
    pub missing: u64,
    /// Ciphertexts in those.
    pub missing_blobs: u64,
    /// The first of those objects.
    pub first: Vec<MissingObject>,
    /// Ciphertexts that versions keep, and for which the index has no place.
    pub unplaced: u64,
    /// The first of those.
    pub first_unplaced: Vec<Unplaced>,
}

/// Asks the store for every object that the index names, and the index for every ciphertext that versions keep. `on_page`
/// is told how many objects were asked for.
///
/// # Errors
/// If the store, the index or the log does not answer.
pub async fn verify(
    shelf: &Shelf,
    log: &dyn EventLog,
    on_page: &mut (dyn FnMut(u64) + Send),
) -> Result<VerifiedBlobs, VerifyError> {
    let mut found = objects(shelf, on_page).await?;
    let unplaced = unplaced::unplaced(shelf, log).await?;
    found.unplaced = unplaced.len() as u64;
    found.first_unplaced = unplaced.into_iter().take(LISTED).collect();
    Ok(found)
}

/// The first half of it: what the log says is not asked.
///
/// # Errors
/// If the store or the index does not answer.
pub async fn objects(
    shelf: &Shelf,
    on_page: &mut (dyn FnMut(u64) + Send),
) -> Result<VerifiedBlobs, BlobError> {
    // Where there is no bucket at all, nothing is known about what was in it.
    shelf.store.ready().await?;
    let mut found = VerifiedBlobs::default();
    let mut after: Option<String> = None;
    loop {
        let page = shelf.index.objects(after.as_deref(), PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|held| held.object.clone()).or(after);
        for held in &page {
            found.objects += 1;
            found.blobs += held.blobs;
            found.bytes += held.bytes;
        }
        let asked = page.into_iter().map(|held| look(shelf, held));
        let missing: Vec<_> = stream::iter(asked).buffered(READERS).try_collect().await?;
        for missing in missing.into_iter().flatten() {
            found.missing += 1;
            found.missing_blobs += missing.blobs;
            if found.first.len() < LISTED {
                found.first.push(missing);
            }
        }
        on_page(found.objects);
        if !full {
            return Ok(found);
        }
    }
}

async fn look(shelf: &Shelf, held: Held) -> Result<Option<MissingObject>, BlobError> {
    let what = match shelf.store.length(&held.object).await {
        Ok(length) if length >= held.end => return Ok(None),
        Ok(_) => "it is too short",
        Err(BlobError::Missing) => "it is missing",
        Err(error) => return Err(error),
    };
    // A server that runs may have taken the last ciphertext out of it meanwhile, and then deleted it.
    if shelf.index.lying_in(&held.object).await?.is_empty() {
        return Ok(None);
    }
    let Held { object, blobs, bytes, .. } = held;
    Ok(Some(MissingObject { object, blobs, bytes, what }))
}
