//! The vaults of the account: which there are, what they are called, and how another one begins.
//!
//! What a vault is called is an entry of it with an id that every device makes again: sealed, synced and resolved like
//! any other, and never shown as one.

use lockstep_api::{Code, account::CreateVault};
use lockstep_events::{EntryId, VaultId, roster::Roster};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{
    crypto::{label::MAX_NAME, os_random, version::new_id},
    edit::known_entry,
    engine::Engine,
    error::Error,
    model::{Content, Vault},
    profile::Profile,
    store::keys,
    transport::Body,
};

/// How often a new vault is stated after somebody else's statement was first.
const TRIES: u32 = 4;

/// The content of the entry.
#[derive(Serialize, Deserialize)]
struct Called {
    vault: String,
}

/// UUID (version 8) of SHA-256(lp("lockstep/v1/vault-name") | vault).
pub(crate) fn name_entry(vault: VaultId) -> EntryId {
    known_entry("lockstep/v1/vault-name", vault.as_bytes())
}

/// A name without the spaces around it.
fn checked(name: &str) -> Result<&str, Error> {
    let name = name.trim();
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Error::Invalid("the name of a vault: 1 to 64 bytes of text"));
    }
    Ok(name)
}

impl Engine {
    /// The vaults of the account, by the roster.
    pub(crate) async fn own_vaults(&self) -> Result<Vec<VaultId>, Error> {
        keys::vaults(&mut *self.store.pool().acquire().await?).await
    }

    /// This profile at the vault that the account began with.
    pub(crate) async fn at_first(&self) -> Result<Self, Error> {
        let first = self.own_vaults().await?.first().copied();
        Ok(self.at(first.ok_or_else(crate::store::damaged)?))
    }

    /// The vaults with what is known of each.
    pub(crate) async fn vaults(&self) -> Result<Vec<Vault>, Error> {
        let roster = self.roster().await?;
        let due: Vec<VaultId> = roster.due_to_turn().collect();
        let mut all = Vec::new();
        for vault in self.own_vaults().await? {
            all.push(Vault {
                vault,
                name: self.at(vault).vault_name().await?,
                key_generation: roster.vault_generations.get(&vault).copied().unwrap_or_default(),
                due: due.contains(&vault),
                current: vault == self.vault(),
            });
        }
        Ok(all)
    }

    /// What this vault is called.
    pub(crate) async fn vault_name(&self) -> Result<Option<String>, Error> {
        let entry = match self.entry(name_entry(self.vault())).await {
            Err(Error::NotFound) => return Ok(None),
            other => other?,
        };
        let content = entry.heads.into_iter().next().map(|head| head.content);
        let Some(Content::Here(content)) = content else { return Ok(None) };
        Ok(serde_json::from_slice::<Called>(&content).ok().map(|called| called.vault))
    }

    /// Calls this vault something, in place of whatever names it has here.
    pub(crate) async fn name_vault(&self, name: &str) -> Result<(), Error> {
        let called = Called { vault: checked(name)?.to_owned() };
        let content = serde_json::to_vec(&called).map_err(|_| Error::Invalid("not to be written as JSON"))?;
        let entry = name_entry(self.vault());
        let heads = match self.entry(entry).await {
            Err(Error::NotFound) => Vec::new(),
            other => other?.head_ids(),
        };
        self.replace(entry, &heads, &content).await.map(drop)
    }

    /// Begins another vault of this name.
    pub(crate) async fn create_vault(&self, name: &str) -> Result<VaultId, Error> {
        let name = checked(name)?;
        let vault = new_id(&mut os_random());
        for times in 1.. {
            let _one = self.pulling.lock().await;
            self.learn_anew().await?;
            match self.begin_vault(vault, &self.roster().await?).await {
                Err(Error::Refused { problem, .. })
                    if problem.code == Code::RosterConflict && times < TRIES => {}
                other => {
                    other?;
                    self.learn_anew().await?;
                    break;
                }
            }
        }
        let new = self.at(vault);
        new.place(vault.into(), lockstep_events::StreamKind::Vault).await?;
        new.name_vault(name).await?;
        Ok(vault)
    }

    async fn begin_vault(&self, vault: VaultId, roster: &Roster) -> Result<(), Error> {
        let (statement, wrap) = self.next_generation(vault, roster)?;
        let body = Body::json(&CreateVault { statement, wrap })?;
        self.request(Method::POST, "/v1/vaults", body).await?.ok().map(drop)
    }

    /// This profile opens at this vault from now on.
    pub(crate) fn keep_vault(&self) -> Result<(), Error> {
        // Another process may have changed the lock since this one began.
        Profile { vault: self.vault(), ..Profile::read(&self.home)? }.write(&self.home)
    }
}
