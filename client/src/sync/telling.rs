//! What another process of this profile applied: the cursor is the profile's, so whoever follows would never hear of
//! it. Each version is told once, in order. And what is told of an event of the account.

use std::collections::BTreeMap;

use lockstep_events::{Epoch, Recorded, Seq, StreamId, StreamKind, VaultId, event::AccountEvent};
use sqlx::SqliteConnection;

use crate::{
    engine::Engine,
    error::Error,
    model::Change,
    store::{entries, streams, streams::Place, versions},
};

/// What an address is that is the account's first.
const FIRST: &str = "first";

/// How far whoever follows was told of each vault; nothing while nobody follows.
pub(crate) type Told = Option<BTreeMap<StreamId, (Epoch, Seq)>>;

/// An event of the account that is applied by being told; `first`, if it is about the first address that it ever had.
pub(super) fn told(event: &Recorded, account: &AccountEvent, first: bool) -> Change {
    let what = match account {
        _ if first => Some(FIRST.to_owned()),
        AccountEvent::CredentialSet(set) => Some(set.credential.to_string()),
        AccountEvent::FactorSet(set) => Some(set.factor_kind.to_string()),
        AccountEvent::SessionOpened(opened) => {
            serde_json::to_value(opened.method).ok().and_then(|method| method.as_str().map(str::to_owned))
        }
        _ => None,
    };
    Change::Account { kind: event.kind.clone(), what, device: event.device, at: event.recorded_at }
}

/// Whether an entry is divergent is said of what this device shows: what waits here counts.
pub(super) async fn with_what_waits(db: &mut SqliteConnection, changes: &mut [Change]) -> Result<(), Error> {
    let mut waiting = BTreeMap::new();
    for change in changes {
        let Change::Version { entry, divergent, .. } = change else { continue };
        if !waiting.contains_key(entry) {
            waiting.insert(*entry, entries::waiting(db, *entry).await?);
        }
        if let Some(heads) = &waiting[entry] {
            *divergent = heads.is_divergent();
        }
    }
    Ok(())
}

impl Engine {
    /// Somebody follows from here on.
    pub(super) async fn begin_telling(&self) -> Result<(), Error> {
        let places = streams::all(&mut *self.store.pool().acquire().await?).await?;
        let vaults = places.into_iter().filter(|place| place.kind == StreamKind::Vault);
        let told = vaults.map(|place| (place.stream, (place.epoch, place.seq))).collect();
        *self.told.lock().await = Some(told);
        Ok(())
    }

    /// Tells what stands up to a place and was not told: another process applied it.
    pub(super) async fn tell_missed(&self, place: &Place) -> Result<(), Error> {
        if place.kind != StreamKind::Vault {
            return Ok(());
        }
        let mut told = self.told.lock().await;
        let Some(told) = told.as_mut() else { return Ok(()) };
        let before = told.insert(place.stream, (place.epoch, place.seq));
        // A stream that is new here, or in another life, is told from here on.
        let Some((epoch, after)) = before else { return Ok(()) };
        if epoch != place.epoch || after >= place.seq {
            return Ok(());
        }
        for change in self.between(place.stream.into(), after, place.seq).await? {
            let _ = self.changes.send(change);
        }
        Ok(())
    }

    /// As [`Self::tell_missed`], up to where the profile is now.
    pub(super) async fn tell_missed_of(&self, stream: StreamId) -> Result<(), Error> {
        let _one = self.pulling.lock().await;
        let place = streams::get(&mut *self.store.pool().acquire().await?, stream).await?;
        match place {
            Some(place) => self.tell_missed(&place).await,
            None => Ok(()),
        }
    }

    /// A page was told as it was applied.
    pub(super) async fn was_told(&self, place: &Place, to: Seq) {
        if place.kind == StreamKind::Vault
            && let Some(told) = self.told.lock().await.as_mut()
        {
            told.insert(place.stream, (place.epoch, to));
        }
    }

    /// What happened between two places of a vault. Reads the entries that changed, and no others.
    async fn between(&self, vault: VaultId, after: Seq, last: Seq) -> Result<Vec<Change>, Error> {
        let within = |seq: Seq| after < seq && seq <= last;
        let mut db = self.store.pool().acquire().await?;
        let mut found = Vec::new();
        for entry in entries::changed_after(&mut db, vault, after).await? {
            let heads = entries::accepted(&mut db, vault, entry).await?.heads;
            let divergent = entries::waiting(&mut db, entry).await?.as_ref().unwrap_or(&heads).is_divergent();
            for version in versions::of_entry(&mut db, entry).await? {
                let Some(seq) = version.seq.filter(|seq| within(*seq)) else { continue };
                let change = Change::Version {
                    vault,
                    entry,
                    version: version.id,
                    kind: version.header.kind,
                    device: version.signer,
                    seq,
                    divergent,
                };
                found.push((seq, change));
            }
            if heads.purged && within(heads.last_seq) {
                found.push((heads.last_seq, Change::Purged { entry }));
            }
        }
        found.sort_by_key(|(seq, _)| *seq);
        Ok(found.into_iter().map(|(_, change)| change).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        account::testing::two_devices,
        model::Change,
        sync::{apply::Applied, apply::Page},
    };

    fn seqs(told: &mut tokio::sync::broadcast::Receiver<Change>) -> Vec<u64> {
        let mut all = Vec::new();
        while let Ok(change) = told.try_recv() {
            if let Change::Version { seq, .. } = change {
                all.push(seq.0);
            }
        }
        all
    }

    /// Applies a page as another process of the same profile does: nobody here is told.
    async fn apply_elsewhere(device: &crate::engine::Engine, page: &Page) {
        let told = device.told.lock().await.take();
        assert!(matches!(device.apply(page).await.unwrap(), Applied::Done(_)));
        *device.told.lock().await = told;
    }

    #[tokio::test]
    async fn what_another_process_applied_first_is_told_once_and_in_order() {
        let (a, b, _, mut vault) = two_devices().await;
        a.add(b"one").await.unwrap();
        a.add(b"two").await.unwrap();
        vault.accept_all(&a).await;
        b.begin_telling().await.unwrap();
        apply_elsewhere(&b, &vault.page(0)).await;
        let mut told = b.changes.subscribe();
        assert_eq!(b.apply(&vault.page(0)).await.unwrap(), Applied::Old);
        assert_eq!(seqs(&mut told), [1, 2], "a frame that is old here was not told yet");
        assert_eq!(b.apply(&vault.page(0)).await.unwrap(), Applied::Old);
        assert_eq!(seqs(&mut told), [] as [u64; 0], "once");
        a.apply(&vault.page(0)).await.unwrap();
        a.add(b"three").await.unwrap();
        vault.accept_all(&a).await;
        let third = vault.page(2);
        apply_elsewhere(&b, &third).await;
        let mut told = b.changes.subscribe();
        a.apply(&third).await.unwrap();
        a.add(b"four").await.unwrap();
        vault.accept_all(&a).await;
        b.apply(&vault.page(3)).await.unwrap();
        assert_eq!(seqs(&mut told), [3, 4], "what was missed comes before what is new");
    }

    #[tokio::test]
    async fn what_is_applied_while_it_is_followed_is_told_once() {
        let (a, b, _, mut vault) = two_devices().await;
        b.begin_telling().await.unwrap();
        let mut told = b.changes.subscribe();
        a.add(b"one").await.unwrap();
        vault.accept_all(&a).await;
        b.apply(&vault.page(0)).await.unwrap();
        b.apply(&vault.page(0)).await.unwrap();
        assert_eq!(seqs(&mut told), [1]);
    }
}
