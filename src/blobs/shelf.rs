//! Store and index as one: put blobs on the shelf, find them, take them off.
//!
//! Blob first, index second, event last: what an event or the index names is there, and what is there without a
//! name is swept.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use lockstep_events::{BlobHash, Clock, VaultId, canonical::sha256};
use uuid::Uuid;

use super::{BlobError, BlobIndex, BlobPlace, BlobStore, MAX_BLOB};

/// So many objects are read at the same time for one request.
const READERS: usize = 8;

/// The shelf of a server.
pub struct Shelf {
    /// The bytes.
    pub store: Arc<dyn BlobStore>,
    /// Where they lie.
    pub index: Arc<dyn BlobIndex>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The key under which a client uploads a blob straight to the store.
pub fn direct_key(vault: VaultId, hash: &BlobHash) -> String {
    format!("direct/{vault}/{hash}")
}

impl Shelf {
    /// Stores blobs as one object; their hashes have been checked.
    ///
    /// # Errors
    /// If the store or the index does not answer. Then nothing is on the shelf.
    pub async fn put(&self, vault: VaultId, blobs: &[(BlobHash, Bytes)]) -> Result<(), BlobError> {
        let pack = format!("packs/{vault}/{}", Uuid::new_v4());
        let mut bytes = BytesMut::with_capacity(blobs.iter().map(|(_, bytes)| bytes.len()).sum());
        let mut places = Vec::with_capacity(blobs.len());
        for (hash, blob) in blobs {
            let (offset, length) = (bytes.len() as u64, blob.len() as u64);
            places.push((*hash, BlobPlace { pack: pack.clone(), offset, length }));
            bytes.extend_from_slice(blob);
        }
        self.store.put(&pack, bytes.freeze()).await?;
        self.index.insert(vault, &places, self.clock.now()).await
    }

    /// Lengths of those of these blobs that are on the shelf. They stay there from now on: an event will name them.
    ///
    /// A blob that a client uploaded straight to the store is looked at here for the first time.
    ///
    /// # Errors
    /// If the store or the index does not answer.
    pub async fn name(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
    ) -> Result<HashMap<BlobHash, u64>, BlobError> {
        let mut lengths = lengths(self.index.name(vault, hashes).await?);
        let missing: Vec<_> = hashes.iter().filter(|hash| !lengths.contains_key(*hash)).copied().collect();
        let mut arrived = Vec::new();
        for hash in missing {
            arrived.extend(self.arrived(vault, hash).await?.map(|place| (hash, place)));
        }
        if !arrived.is_empty() {
            self.index.insert(vault, &arrived, self.clock.now()).await?;
            let hashes: Vec<_> = arrived.iter().map(|(hash, _)| *hash).collect();
            lengths.extend(self::lengths(self.index.name(vault, &hashes).await?));
        }
        Ok(lengths)
    }

    /// A direct upload, if it is there and has its hash. One that has not is deleted.
    async fn arrived(&self, vault: VaultId, hash: BlobHash) -> Result<Option<BlobPlace>, BlobError> {
        let pack = direct_key(vault, &hash);
        let length = match self.store.length(&pack).await {
            Ok(length) => length,
            Err(BlobError::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        if length <= MAX_BLOB && sha256(&self.store.get(&pack, 0, length).await?) == hash.0 {
            return Ok(Some(BlobPlace { pack, offset: 0, length }));
        }
        self.store.delete(&pack).await?;
        Ok(None)
    }

    /// The bytes of those of these blobs that a vault has, at most `most` bytes together; a blob that would go over
    /// that comes without bytes.
    ///
    /// # Errors
    /// If the store or the index does not answer.
    pub async fn get(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
        most: u64,
    ) -> Result<HashMap<BlobHash, Option<Bytes>>, BlobError> {
        let mut left = most;
        let mut wanted = Vec::new();
        let mut found = HashMap::new();
        for (hash, place) in self.index.find(vault, hashes).await? {
            if place.length <= left {
                left -= place.length;
                wanted.push((hash, place));
            } else {
                found.insert(hash, None);
            }
        }
        let reads = wanted.into_iter().map(|(hash, place)| async move {
            let bytes = self.store.get(&place.pack, place.offset, place.length).await?;
            Ok::<_, BlobError>((hash, Some(bytes)))
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(READERS).try_collect().await?;
        found.extend(read);
        Ok(found)
    }

    /// Takes blobs off the shelf, and deletes the objects in which no other blob lies.
    ///
    /// # Errors
    /// If the store or the index does not answer; what is left over is swept.
    pub async fn remove(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<(), BlobError> {
        for pack in self.index.remove(vault, hashes).await? {
            self.store.delete(&pack).await?;
        }
        Ok(())
    }
}

fn lengths(places: Vec<(BlobHash, BlobPlace)>) -> HashMap<BlobHash, u64> {
    places.into_iter().map(|(hash, place)| (hash, place.length)).collect()
}
