//! The vaults of the account and their keys.

use lockstep_events::VaultId;

use super::Client;
use crate::{error::Error, model::Vault};

impl Client {
    /// The vaults of the account as far as this device has read.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn vaults(&self) -> Result<Vec<Vault>, Error> {
        self.engine.vaults().await
    }

    /// Begins the next generation of a vault's key, as the removal of a device does by itself. What was written before
    /// stays readable. Gives the generation. *Online.*
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is no vault of the account, what the server refuses.
    pub async fn rotate_vault_key(&self, vault: VaultId) -> Result<u32, Error> {
        self.engine.turn_vault_key(vault).await
    }
}
