//! What waits to be sent, and what was refused.

use lockstep_events::VersionId;

use super::Client;
use crate::{error::Error, model::Quarantined};

impl Client {
    /// How many versions of all vaults wait to be sent.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn waiting(&self) -> Result<u64, Error> {
        self.engine.waiting().await
    }

    /// Versions that the server refused for good.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn quarantine(&self) -> Result<Vec<Quarantined>, Error> {
        self.engine.quarantine().await
    }

    /// Offers a quarantined version again, or (`discard`) deletes it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn release(&self, version: VersionId, discard: bool) -> Result<(), Error> {
        self.engine.release(version, discard).await
    }
}
