//! The vaults of the account and their keys.

use std::sync::Arc;

use lockstep_events::{EntryId, VaultId, VersionId};

use super::Client;
use crate::{error::Error, model::Vault, vaults::name_entry};

impl Client {
    /// The vaults of the account as far as this device has read.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn vaults(&self) -> Result<Vec<Vault>, Error> {
        self.engine.vaults().await
    }

    /// This profile at one of the account's vaults: entries, files and what is written are that one's.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is no vault of the account as far as this device has read.
    pub async fn in_vault(&self, vault: VaultId) -> Result<Self, Error> {
        if self.engine.own_vaults().await?.contains(&vault) {
            return Ok(Self { engine: Arc::new(self.engine.at(vault)) });
        }
        Err(Error::NotFound)
    }

    /// This profile at the vault that the account began with: the one that holds the one file.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn in_first_vault(&self) -> Result<Self, Error> {
        Ok(Self { engine: Arc::new(self.engine.at_first().await?) })
    }

    /// Begins another vault. If this was cut off, the same name again goes on where it was, and so does the next sync.
    /// *Online.*
    ///
    /// # Errors
    /// [`Error::Invalid`] if it cannot be called that; what the server refuses: how many there may be, says the plan.
    pub async fn create_vault(&self, name: &str) -> Result<VaultId, Error> {
        self.engine.create_vault(name).await
    }

    /// Calls the vault that this client is at something; the other devices learn it with their next sync.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it cannot be called that.
    pub async fn name_vault(&self, name: &str) -> Result<(), Error> {
        self.engine.name_vault(name).await
    }

    /// Deletes the vault that this client is at: the entries that the person was shown, each with the heads that it had
    /// then ([`Entry::head_ids`](crate::model::Entry::head_ids)), and its name. Durable when this returns. What is not
    /// among them stays live in it; [`Client::name_vault`] brings the vault back.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is the one that the account began with.
    pub async fn delete_vault(&self, shown: &[(EntryId, Vec<VersionId>)]) -> Result<(), Error> {
        self.engine.delete_vault(shown).await
    }

    /// Whether the vault that this client is at was deleted.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn vault_is_deleted(&self) -> Result<bool, Error> {
        self.engine.vault_is_deleted().await
    }

    /// What the vault that this client is at is called.
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn vault_name(&self) -> Result<Option<String>, Error> {
        self.engine.vault_name().await
    }

    /// Whether an entry is what its vault is called, which is shown as no entry.
    pub fn is_vault_name(&self, vault: VaultId, entry: EntryId) -> bool {
        entry == name_entry(vault)
    }

    /// The entry that is what the vault is called that this client is at.
    pub fn vault_name_entry(&self) -> EntryId {
        name_entry(self.engine.vault())
    }

    /// From now on this profile opens at the vault that this client is at.
    ///
    /// # Errors
    /// If the profile cannot be written.
    pub fn keep_vault(&self) -> Result<(), Error> {
        self.engine.keep_vault()
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
