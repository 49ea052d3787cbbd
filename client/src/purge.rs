//! Erasing an entry for good: every content and content key of its history, on the server and on every device.

use lockstep_api::sync::{Purge, Purged};
use lockstep_events::{EntryId, VersionId};
use reqwest::Method;

use crate::{client::Client, engine::Engine, error::Error, me, transport::Body};

impl Engine {
    async fn purge(&self, entry: EntryId, shown: &[VersionId]) -> Result<(), Error> {
        self.may_ask().await?;
        if !self.is_believed().await? {
            return Err(Error::Invalid("in a vault whose history is refused nothing can be erased"));
        }
        let mut expect_heads = shown.to_vec();
        expect_heads.sort_unstable();
        let path = format!("/v1/vaults/{}/entries/{entry}/purge", self.vault());
        let body = Body::json(&Purge { expect_heads })?;
        let _: Purged = self.request_with(Method::POST, &path, &[me::key()], body).await?.json()?;
        Ok(())
    }
}

impl Client {
    /// Erases an entry that is deleted, on the server and for good; `shown` are all its heads, which the server has. This
    /// device and the others follow with their next sync. Devices erase nothing that no device of the account deleted:
    /// delete it before, and sync. *Online.*
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not deleted here, something of it waits, or the vault's history is refused;
    /// [`Error::Held`] until a person has seen an alarm; what the server refuses, among it other heads.
    pub async fn purge(&self, entry: EntryId, shown: &[VersionId]) -> Result<(), Error> {
        let now = self.engine.entry(entry).await?;
        if !now.deleted || now.pending {
            return Err(Error::Invalid("only an entry whose deletion the server has can be erased"));
        }
        self.engine.purge(entry, shown).await
    }
}
