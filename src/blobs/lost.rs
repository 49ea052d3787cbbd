//! Blobs that the index has and the store lost: who still has the bytes may bring them again.

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
        let asked = self.index.find(vault, hashes).await?.into_iter().map(|(hash, place)| async move {
            let is_lost = match self.store.length(&place.pack).await {
                Ok(length) => length < place.offset.saturating_add(place.length),
                Err(error) => matches!(error, BlobError::Missing),
            };
            is_lost.then_some((hash, place))
        });
        Ok(stream::iter(asked).buffer_unordered(READERS).filter_map(std::future::ready).collect().await)
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
