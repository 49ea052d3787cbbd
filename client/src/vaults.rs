//! The vaults of the account: which there are, what they are called, and how another one begins.
//!
//! What a vault is called is an entry of it with an id that every device makes again: sealed, synced and resolved like
//! any other, and never shown as one. While it is deleted, the vault is: no device or server can say so but one that
//! signs, and what another device wrote meanwhile stays live in it.

use std::collections::BTreeMap;

use lockstep_api::{Code, account::CreateVault};
use lockstep_events::{EntryId, StreamKind, VaultId, VersionId, roster::Roster};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::{
    crypto::{label::MAX_NAME, os_random, version::new_id},
    edit::known_entry,
    engine::Engine,
    error::Error,
    model::{Vault, VersionView},
    profile::Profile,
    store::{damaged, entries, keys},
    transport::Body,
};

/// How often a new vault is stated after somebody else's statement was first.
const TRIES: u32 = 4;

/// What a vault that never had a name is called in the moment before it is deleted.
const NEVER_NAMED: &str = "-";
/// The single value with the vaults that are begun and not named, as JSON.
const BEGUN: &str = "vaults_begun";

/// What the versions of its name say of a vault.
#[derive(Default)]
struct Naming {
    /// The one that is shown first.
    names: Vec<String>,
    divergent: bool,
    deleted: bool,
    was: Option<String>,
}

/// The content of the entry.
#[derive(Serialize, Deserialize)]
struct Called {
    vault: String,
}

/// UUID (version 8) of SHA-256(lp("lockstep/v1/vault-name") | vault).
pub(crate) fn name_entry(vault: VaultId) -> EntryId {
    known_entry("lockstep/v1/vault-name", vault.as_bytes())
}

fn called(version: &VersionView) -> Option<String> {
    serde_json::from_slice::<Called>(version.content.bytes()?).ok().map(|called| called.vault)
}

/// The vaults that this device began and has not named, each with its name.
async fn begun(db: &mut SqliteConnection) -> Result<BTreeMap<VaultId, String>, Error> {
    let kept = keys::get(db, BEGUN).await?;
    kept.map_or_else(|| Ok(BTreeMap::new()), |bytes| serde_json::from_slice(&bytes).map_err(|_| damaged()))
}

async fn set_begun(db: &mut SqliteConnection, begun: &BTreeMap<VaultId, String>) -> Result<(), Error> {
    if begun.is_empty() {
        return keys::remove(db, BEGUN).await;
    }
    keys::set(db, BEGUN, &serde_json::to_vec(begun).map_err(|_| damaged())?).await
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
        Ok(self.at(first.ok_or_else(damaged)?))
    }

    /// The vaults with what is known of each.
    pub(crate) async fn vaults(&self) -> Result<Vec<Vault>, Error> {
        let roster = self.roster().await?;
        let due: Vec<VaultId> = roster.due_to_turn().collect();
        let mut all = Vec::new();
        for vault in self.own_vaults().await? {
            let at = self.at(vault);
            let Naming { mut names, divergent, deleted, was } = at.names().await?;
            all.push(Vault {
                vault,
                name: if names.is_empty() { None } else { Some(names.remove(0)) },
                also: names,
                divergent,
                deleted,
                was,
                left: if deleted { at.live_entries().await? } else { 0 },
                key_generation: roster.vault_generations.get(&vault).copied().unwrap_or_default(),
                due: due.contains(&vault),
                current: vault == self.vault(),
            });
        }
        Ok(all)
    }

    /// What this vault is called.
    pub(crate) async fn vault_name(&self) -> Result<Option<String>, Error> {
        Ok(self.names().await?.names.into_iter().next())
    }

    /// Whether this vault was deleted, and nobody named it again.
    pub(crate) async fn vault_is_deleted(&self) -> Result<bool, Error> {
        let mut db = self.store.pool().acquire().await?;
        let name = entries::shown(&mut db, name_entry(self.vault())).await?;
        Ok(name.is_some_and(|row| row.heads.is_deleted()))
    }

    async fn names(&self) -> Result<Naming, Error> {
        let entry = match self.entry(name_entry(self.vault())).await {
            Err(Error::NotFound) => return Ok(Naming::default()),
            other => other?,
        };
        let mut names = Vec::new();
        for name in entry.heads.iter().filter_map(called) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let was = if entry.deleted {
            let last = self.held(entry.entry).await?.iter().rev().find_map(called);
            last.filter(|name| name != NEVER_NAMED)
        } else {
            None
        };
        Ok(Naming { names, divergent: entry.divergent, deleted: entry.deleted, was })
    }

    async fn live_entries(&self) -> Result<u64, Error> {
        let rows = entries::all_shown(&mut *self.store.pool().acquire().await?, self.vault()).await?;
        Ok(rows.iter().filter(|row| !row.heads.is_deleted() && !self.is_hidden(row)).count() as u64)
    }

    /// Calls this vault something, in place of whatever names it has here.
    pub(crate) async fn name_vault(&self, name: &str) -> Result<(), Error> {
        let name = checked(name)?;
        let mut tx = self.store.begin().await?;
        self.name_on(&mut tx, name).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// The same in a transaction.
    async fn name_on(&self, db: &mut SqliteConnection, name: &str) -> Result<VersionId, Error> {
        let called = Called { vault: name.to_owned() };
        let content = serde_json::to_vec(&called).map_err(|_| Error::Invalid("not to be written as JSON"))?;
        let entry = name_entry(self.vault());
        let heads = entries::shown(db, entry).await?.map(|row| row.heads.ids()).unwrap_or_default();
        self.replace_on(db, entry, &heads, &content).await
    }

    /// Deletes this vault: the entries that the person was shown, each with the heads that it had then, and last its
    /// name. Whatever else is in it, or comes into it from another device, stays live.
    pub(crate) async fn delete_vault(&self, shown: &[(EntryId, Vec<VersionId>)]) -> Result<(), Error> {
        if self.own_vaults().await?.first() == Some(&self.vault()) {
            return Err(Error::Invalid("the vault that the account began with cannot be deleted"));
        }
        let mut tx = self.store.begin().await?;
        for (entry, heads) in shown {
            self.delete_on(&mut tx, *entry, heads).await?;
        }
        let name = name_entry(self.vault());
        match entries::shown(&mut tx, name).await?.map(|row| row.heads) {
            Some(heads) if heads.is_deleted() => {}
            Some(heads) => drop(self.delete_on(&mut tx, name, &heads.ids()).await?),
            None => {
                // Only what is there can be deleted.
                let named = self.name_on(&mut tx, NEVER_NAMED).await?;
                self.delete_on(&mut tx, name, &[named]).await?;
            }
        }
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(())
    }

    /// Begins another vault of this name. Whatever ends this before the vault has its name, the same again goes on.
    pub(crate) async fn create_vault(&self, name: &str) -> Result<VaultId, Error> {
        let name = checked(name)?;
        let vault = self.intend(name).await?;
        for times in 1.. {
            let _one = self.pulling.lock().await;
            self.learn_anew().await?;
            let roster = self.roster().await?;
            if roster.vault_generations.contains_key(&vault) {
                break;
            }
            match self.begin_vault(vault, &roster).await {
                Err(Error::Refused { problem, .. })
                    if problem.code == Code::RosterConflict && times < TRIES => {}
                other => {
                    other?;
                    self.learn_anew().await?;
                    break;
                }
            }
        }
        self.finish_vaults().await?;
        Ok(vault)
    }

    /// Keeps the name of a vault that is about to begin. One of this name that was about to before is meant again.
    async fn intend(&self, name: &str) -> Result<VaultId, Error> {
        let mut tx = self.store.begin().await?;
        let mut begun = begun(&mut tx).await?;
        if let Some((vault, _)) = begun.iter().find(|(_, known)| known.as_str() == name) {
            return Ok(*vault);
        }
        let vault = new_id(&mut os_random());
        begun.insert(vault, name.to_owned());
        set_begun(&mut tx, &begun).await?;
        tx.commit().await?;
        Ok(vault)
    }

    /// Names the vaults that this device began and did not come to name.
    pub(crate) async fn finish_vaults(&self) -> Result<(), Error> {
        let begun = begun(&mut *self.store.pool().acquire().await?).await?;
        if begun.is_empty() {
            return Ok(());
        }
        for vault in self.own_vaults().await?.into_iter().filter(|vault| begun.contains_key(vault)) {
            self.at(vault).finish().await?;
        }
        Ok(())
    }

    /// Gives this vault the name that it was begun for, if it has none.
    async fn finish(&self) -> Result<(), Error> {
        self.place(self.vault().into(), StreamKind::Vault).await?;
        let mut tx = self.store.begin().await?;
        let mut begun = begun(&mut tx).await?;
        let Some(name) = begun.remove(&self.vault()) else { return Ok(()) };
        if entries::shown(&mut tx, name_entry(self.vault())).await?.is_none() {
            self.name_on(&mut tx, &name).await?;
        }
        set_begun(&mut tx, &begun).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(())
    }

    async fn begin_vault(&self, vault: VaultId, roster: &Roster) -> Result<(), Error> {
        self.may_ask().await?;
        let (statement, wrap) = self.next_generation(vault, roster)?;
        let body = Body::json(&CreateVault { statement, wrap })?;
        self.request(Method::POST, "/v1/vaults", body).await?.ok().map(drop)
    }

    /// This profile opens at this vault from now on.
    pub(crate) fn keep_vault(&self) -> Result<(), Error> {
        Profile::change(&self.home, |profile| profile.vault = self.vault())
    }
}
