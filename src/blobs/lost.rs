//! Blobs that the index has and the store lost: who still has the bytes may bring them again.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use lockstep_events::{BlobHash, VaultId};

use super::{BlobError, BlobPlace, Lying, Shelf, shelf::READERS};

impl Shelf {
    /// Of these blobs, those that the index has and the store has not, or not to their end. A store that cannot be asked
    /// has lost nothing.
    ///
    /// # Errors
    /// If the index does not answer.
    pub async fn lost(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, BlobPlace)>, BlobError> {
        let mut found = self.index.find(vault, hashes).await?;
        // Many blobs lie in one object, which is asked for once.
        let objects: BTreeSet<String> = found.iter().map(|(_, place)| place.pack.clone()).collect();
        let asked = objects.into_iter().map(|object| async move {
            let there = match self.store.length(&object).await {
                Ok(length) => length,
                Err(BlobError::Missing) => 0,
                Err(_) => u64::MAX,
            };
            (object, there)
        });
        let there: BTreeMap<String, u64> = stream::iter(asked).buffer_unordered(READERS).collect().await;
        found.retain(|(_, place)| there[&place.pack] < place.offset.saturating_add(place.length));
        Ok(found)
    }

    /// Whether the vault has a blob, which the store did not lose.
    ///
    /// # Errors
    /// If the index does not answer.
    pub async fn has(&self, vault: VaultId, hash: BlobHash) -> Result<bool, BlobError> {
        Ok(!self.index.find(vault, &[hash]).await?.is_empty() && self.lost(vault, &[hash]).await?.is_empty())
    }

    /// Enters blobs where they lie now; lost ones among them leave their places of before.
    pub(super) async fn enter(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, BlobPlace)],
        lost: &[(BlobHash, BlobPlace)],
    ) -> Result<(), BlobError> {
        self.index.insert(vault, blobs, self.clock.now()).await?;
        for (hash, before) in lost {
            let Some((_, now)) = blobs.iter().find(|(entered, _)| entered == hash) else { continue };
            let moved = Lying { vault, hash: *hash, offset: now.offset, length: now.length };
            self.index.relocate(&before.pack, &now.pack, &[moved]).await?;
        }
        Ok(())
    }
}
