//! Writing only on what was read: how commands of one profile that run at the same time stand in order.

use lockstep_events::{EntryId, VersionId};

use super::Client;
use crate::{crypto::attachment::Attachment, error::Error, model::Resolution};

impl Client {
    /// As [`Client::edit`], or with `attachments` as [`Client::edit_with`], if all of `base` are heads still. `None`, and
    /// nothing is written, if somebody was faster, perhaps another process of this profile: read again, and decide again.
    ///
    /// # Errors
    /// As [`Client::edit`].
    pub async fn edit_heads(
        &self,
        entry: EntryId,
        base: &[VersionId],
        content: &[u8],
        attachments: Option<&[Attachment]>,
    ) -> Result<Option<VersionId>, Error> {
        let hashes: Option<Vec<_>> =
            attachments.map(|all| all.iter().map(|attachment| attachment.hash).collect());
        self.engine.edit_heads(entry, base, content, hashes.as_deref()).await
    }

    /// As [`Client::remove`], if all of `shown` are heads still; else `None`, and nothing is deleted.
    ///
    /// # Errors
    /// As [`Client::remove`].
    pub async fn remove_heads(
        &self,
        entry: EntryId,
        shown: &[VersionId],
    ) -> Result<Option<VersionId>, Error> {
        self.engine.remove_heads(entry, shown).await
    }

    /// As [`Client::resolve`], if all of `shown` are heads still; else `None`, and nothing is resolved.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub async fn resolve_heads(
        &self,
        entry: EntryId,
        shown: &[VersionId],
        resolution: &Resolution,
    ) -> Result<Option<VersionId>, Error> {
        self.engine.resolve_heads(entry, shown, resolution).await
    }

    /// As [`Client::file_put`], if all of `base` are heads still, or there is no file still if it is empty; else `None`,
    /// and nothing is written.
    ///
    /// # Errors
    /// As [`Client::file_put`].
    pub async fn file_put_heads(
        &self,
        base: &[VersionId],
        content: &[u8],
    ) -> Result<Option<VersionId>, Error> {
        self.engine.file_put_heads(base, content).await
    }
}
