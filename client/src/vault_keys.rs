//! The keys of vaults: every generation that the roster names is here, new versions are sealed under the newest, and a
//! removed device makes the next one due.
//!
//! What waits to be sent is wrapped anew on its way out, what stands in the log stays as it is, and so every generation
//! is kept. A key that this device made is used only after the server has given its wrap back: whatever is killed on the way,
//! nothing is ever sealed under a key that no other device can get.

use std::{collections::BTreeMap, time::Duration};

use lockstep_api::{
    Bytes64, Code,
    account::{Account, TurnVaultKey, Wrap},
};
use lockstep_events::{
    AccountId, StreamKind, VaultId,
    roster::{Claim, Roster, Statement, vault_key_name, vault_key_place},
};
use reqwest::Method;
use sqlx::SqliteConnection;

use crate::{
    crypto::{
        Rejected,
        keys::{AccountRootKey, VaultKey},
        os_random,
        version::{generation_of, rewrap},
    },
    engine::Engine,
    error::Error,
    model::AlarmKind,
    store::{keys, versions::Kept},
    sync::backoff::jitter,
    transport::Body,
};

/// The keys that are open, by vault and generation.
pub(crate) type VaultKeys = BTreeMap<(VaultId, u32), VaultKey>;

/// How often a generation is stated anew after somebody else's statement was first.
const TRIES: u32 = 6;
/// Before the second time; before each further time twice as much. Somebody else's change may be under way.
const PAUSE: Duration = Duration::from_millis(25);

/// The wrap of one generation among those of an account.
fn find(account: &Account, vault: VaultId, generation: u32) -> Option<&Wrap> {
    let name = vault_key_name(vault, generation);
    account.wraps.iter().find(|wrap| wrap.name == name && wrap.generation == generation)
}

/// The wrapped keys that a new device begins with: of each vault exactly the generations that the roster names, each
/// of which opens in its place.
///
/// # Errors
/// An alarm if one is missing (E18), lies in the place of another (E04), or was never stated (E20).
pub(crate) fn all_wraps(
    account: &Account,
    roster: &Roster,
    ark: &AccountRootKey,
) -> Result<Vec<(VaultId, u32, Vec<u8>)>, Error> {
    let alarm = || Error::Alarm(AlarmKind::Keys);
    let named = |vault: &VaultId| roster.vault_generations.get(vault).copied().unwrap_or(0);
    let stated = |wrap: &Wrap| match vault_key_place(&wrap.name) {
        Some((vault, generation)) => generation <= named(&vault),
        None => !wrap.name.starts_with("vault/"),
    };
    if !account.wraps.iter().all(stated) || account.vaults.iter().any(|vault| named(vault) == 0) {
        return Err(alarm());
    }
    let mut all = Vec::new();
    for (vault, newest) in &roster.vault_generations {
        for generation in 1..=*newest {
            let wrap = find(account, *vault, generation).ok_or_else(alarm)?;
            let place = (account.account, *vault, generation);
            ark.unwrap_vault_key(place, &wrap.bytes.0).map_err(|_| alarm())?;
            all.push((*vault, generation, wrap.bytes.0.clone()));
        }
    }
    Ok(all)
}

/// Opens the keys that this device has kept.
///
/// # Errors
/// If the local database fails, or has the key of another account.
pub(crate) async fn open_kept(
    db: &mut SqliteConnection,
    account: AccountId,
    ark: &AccountRootKey,
) -> Result<VaultKeys, Error> {
    let mut open = VaultKeys::new();
    for ((vault, generation), wrap) in keys::vault_keys(db).await? {
        open.insert((vault, generation), ark.unwrap_vault_key((account, vault, generation), &wrap)?);
    }
    Ok(open)
}

impl Engine {
    /// The key of one generation of a vault.
    pub(crate) fn vault_key(&self, vault: VaultId, generation: u32) -> Result<VaultKey, Rejected> {
        let vaults = self.keys.vaults.read().map_err(|_| Rejected)?;
        vaults.get(&(vault, generation)).cloned().ok_or(Rejected)
    }

    /// The newest key of a vault: what new versions are written with. Another process of this profile may have learned
    /// it.
    pub(crate) async fn newest_vault_key(
        &self,
        db: &mut SqliteConnection,
        vault: VaultId,
    ) -> Result<(u32, VaultKey), Error> {
        let kept = keys::newest_generation(db, vault).await?;
        if self.vault_key(vault, kept).is_err() {
            self.reopen(db).await?;
        }
        Ok((kept, self.vault_key(vault, kept)?))
    }

    /// Opens what another process of this profile has kept.
    pub(crate) async fn reopen(&self, db: &mut SqliteConnection) -> Result<(), Error> {
        let open = open_kept(db, self.account(), &self.keys.ark).await?;
        self.keys.vaults.write().map_err(|_| Rejected)?.extend(open);
        Ok(())
    }

    /// The roster that this device trusts.
    pub(crate) async fn roster(&self) -> Result<Roster, Error> {
        Ok(keys::trusted(&mut *self.store.pool().acquire().await?).await?.roster)
    }

    /// Fetches the generations of vaults' keys that the roster names and this device does not hold yet.
    ///
    /// # Errors
    /// An alarm if the server does not have one that was stated, or has something else in its place.
    pub(crate) async fn learn_vault_keys(&self, roster: &Roster) -> Result<(), Error> {
        let named = roster.vault_generations.iter();
        let all = named.flat_map(|(vault, newest)| (1..=*newest).map(|generation| (*vault, generation)));
        let missing = |place: &(VaultId, u32)| self.vault_key(place.0, place.1).is_err();
        if !all.clone().any(|place| missing(&place)) {
            return Ok(());
        }
        self.reopen(&mut *self.store.pool().acquire().await?).await?;
        let missing: Vec<_> = all.filter(missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut answer: Account = self.fetch("/v1/account").await?;
        // Whoever turned it may be about to store what the server stated: it is asked once more before it counts as
        // caught.
        if missing.iter().any(|place| self.given(&answer, *place).is_none()) {
            answer = self.fetch("/v1/account").await?;
        }
        let mut tx = self.store.begin().await?;
        for (vault, generation) in missing {
            let Some(wrap) = self.given(&answer, (vault, generation)) else {
                tx.rollback().await?;
                return Err(self.alarm(AlarmKind::Keys, &format!("{vault} generation {generation}")).await);
            };
            keys::keep_vault_key(&mut tx, vault, generation, &wrap.bytes.0).await?;
        }
        tx.commit().await?;
        self.reopen(&mut *self.store.pool().acquire().await?).await
    }

    /// The wrap of one generation, if it is there and opens.
    fn given<'a>(&self, answer: &'a Account, (vault, generation): (VaultId, u32)) -> Option<&'a Wrap> {
        let place = (self.account(), vault, generation);
        find(answer, vault, generation)
            .filter(|wrap| self.keys.ark.unwrap_vault_key(place, &wrap.bytes.0).is_ok())
    }

    /// Nothing leaves this device under a lower generation than the newest that it has seen stated: the key of that one
    /// is here, or it is fetched now, or nothing is sent (E18).
    ///
    /// # Errors
    /// An alarm if the server withholds it.
    pub(crate) async fn hold_stated_key(&self, vault: VaultId) -> Result<(), Error> {
        let mut db = self.store.pool().acquire().await?;
        let stated = keys::stated_generation(&mut db, vault).await?;
        if stated <= keys::newest_generation(&mut db, vault).await? {
            return Ok(());
        }
        drop(db);
        self.learn_vault_keys(&self.roster().await?).await
    }

    /// A content key as it is sent: wrapped by the newest generation, whatever it was when the version was written. One
    /// that does not open goes as it is: it stood in the log so, and the server lost it.
    pub(crate) fn wrapped_by_newest(
        &self,
        version: &Kept,
        (newest, key): &(u32, VaultKey),
    ) -> Result<Option<Vec<u8>>, Rejected> {
        let Some(wrapped) = &version.wrapped_key else { return Ok(None) };
        let generation = generation_of(wrapped)?;
        let anew = match self.vault_key(version.header.vault, generation) {
            Ok(old) if generation < *newest => {
                rewrap(&version.header, wrapped, &old, (*newest, key), &mut os_random()).ok()
            }
            _ => None,
        };
        Ok(Some(anew.unwrap_or_else(|| wrapped.clone())))
    }

    /// Reads the account's stream and learns what it names: another device may have turned a key meanwhile.
    pub(crate) async fn learn_anew(&self) -> Result<u64, Error> {
        let account = self.account().into();
        let applied = Box::pin(self.pull_stream(account, StreamKind::Account)).await?;
        self.learn_vault_keys(&self.roster().await?).await?;
        Ok(applied)
    }

    /// Learns every key that is named, and turns those that are due because a device was removed. What the server
    /// refuses or an alarm holds stays due: reading goes on, and the next sync tries again.
    pub(crate) async fn tend_vault_keys(&self) -> Result<u64, Error> {
        let roster = self.roster().await?;
        self.learn_vault_keys(&roster).await?;
        let mut applied = 0;
        for vault in roster.due_to_turn() {
            let due = |now: &Roster| now.due_to_turn().any(|due| due == vault);
            match self.turn_while(vault, due).await {
                Ok(events) => applied += events,
                Err(Error::Refused { .. } | Error::Held(_)) => break,
                Err(other) => return Err(other),
            }
        }
        Ok(applied)
    }

    /// Begins the next generation of a vault's key and learns it. Whoever is second learns the first one's. Gives the
    /// generation.
    pub(crate) async fn turn_vault_key(&self, vault: VaultId) -> Result<u32, Error> {
        let _one = self.pulling.lock().await;
        self.learn_anew().await?;
        let generation = |roster: &Roster| roster.vault_generations.get(&vault).copied();
        let before = generation(&self.roster().await?).ok_or(Error::NotFound)?;
        self.turn_while(vault, |now| generation(now) == Some(before)).await?;
        generation(&self.roster().await?).ok_or(Error::NotFound)
    }

    /// Turns keys that are due, for somebody who has just removed a device.
    pub(crate) async fn turn_due_keys(&self) -> Result<(), Error> {
        let _one = self.pulling.lock().await;
        self.learn_anew().await?;
        self.tend_vault_keys().await.map(drop)
    }

    /// States the next generation until somebody has; gives the events that this device read meanwhile.
    async fn turn_while(&self, vault: VaultId, due: impl Fn(&Roster) -> bool) -> Result<u64, Error> {
        let mut applied = 0;
        for times in 1..=TRIES {
            let roster = self.roster().await?;
            if !due(&roster) {
                break;
            }
            match self.state_next(vault, &roster).await {
                Err(Error::Refused { problem, .. })
                    if problem.code == Code::RosterConflict && times < TRIES =>
                {
                    let pause = PAUSE * 2_u32.pow(times);
                    tokio::time::sleep(jitter(PAUSE, pause, &mut os_random())).await;
                }
                other => other?,
            }
            applied += self.learn_anew().await?;
        }
        Ok(applied)
    }

    /// Sends the next generation's statement with a key made for it.
    async fn state_next(&self, vault: VaultId, roster: &Roster) -> Result<(), Error> {
        self.may_ask().await?;
        let (statement, wrap) = self.next_generation(vault, roster)?;
        let body = Body::json(&TurnVaultKey { statement, wrap })?;
        self.request(Method::POST, &format!("/v1/vaults/{vault}/key"), body).await?.ok().map(drop)
    }

    /// The statement of a vault's next generation, the first of a new one, and a key made for it, wrapped.
    pub(crate) fn next_generation(
        &self,
        vault: VaultId,
        roster: &Roster,
    ) -> Result<(Statement, Wrap), Error> {
        let generation = roster.vault_generations.get(&vault).map_or(1, |present| present + 1);
        let statement = self.keys.ask.state(roster, Claim::VaultKeyGen { vault, generation })?;
        let rng = &mut os_random();
        let key = VaultKey::random(rng);
        let bytes = self.keys.ark.wrap_vault_key(&key, (self.account(), vault, generation), rng)?;
        Ok((statement, Wrap { name: vault_key_name(vault, generation), generation, bytes: Bytes64(bytes) }))
    }
}

#[cfg(test)]
#[path = "vault_keys_tests.rs"]
mod tests;
