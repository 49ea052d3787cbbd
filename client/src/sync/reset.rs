//! A stream that has begun another life: nothing is wiped; the history is read again, and what the server lost is
//! offered again (C5, D1).

use std::collections::BTreeMap;

use lockstep_api::sync::Streams;
use lockstep_events::{Chain, Epoch, Seq, StreamKind, VaultId};

use crate::{
    engine::Engine,
    error::Error,
    model::{AlarmKind, Change},
    store::{alarms, entries, keys, outbox, streams, streams::Place, versions},
};

fn due(vault: VaultId) -> String {
    format!("reoffer/{vault}")
}

impl Engine {
    /// Goes back to the beginning of a stream's new life. Keeps every version, the outbox and the old chains.
    pub(crate) async fn reset(&self, old: &Place, epoch: Option<Epoch>) -> Result<(), Error> {
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => self.current_epoch(old).await?,
        };
        let mut tx = self.store.begin().await?;
        let now = streams::get(&mut tx, old.stream).await?;
        if now.is_some_and(|now| now.epoch == epoch && now.epoch != old.epoch) {
            return Ok(());
        }
        let fresh = Place { epoch, seq: Seq::ZERO, chain: Chain::ZERO, lives: old.lives + 1, ..*old };
        streams::put(&mut tx, &fresh).await?;
        if old.kind == StreamKind::Vault {
            let vault = VaultId::from(old.stream);
            versions::unplace_all(&mut tx, vault).await?;
            entries::clear_accepted(&mut tx, vault).await?;
            keys::set(&mut tx, &due(vault), b"1").await?;
        }
        let detail = format!("{} was at {} of {}", old.stream, old.seq, old.epoch);
        let alarm = alarms::raise(&mut tx, AlarmKind::Reset, self.now(), &detail).await?;
        tx.commit().await?;
        if let Some(alarm) = alarm {
            let _ = self.changes.send(Change::Alarm(alarm));
        }
        Ok(())
    }

    async fn current_epoch(&self, old: &Place) -> Result<Epoch, Error> {
        let all: Streams = self.fetch("/v1/streams").await?;
        let info = all.streams.iter().find(|info| info.stream == old.stream);
        Ok(info.ok_or(Error::Protocol("the account's stream is not in its list"))?.epoch)
    }

    /// After a reset, once the new life was read to its head: everything that the server no longer has goes out
    /// again, in the order in which it came here, so that parents come before children.
    pub(crate) async fn reoffer_if_due(&self) -> Result<(), Error> {
        let vault = self.vault();
        let mut tx = self.store.begin().await?;
        if keys::get(&mut tx, &due(vault)).await?.is_none() {
            return Ok(());
        }
        let waiting: BTreeMap<_, _> =
            outbox::first(&mut tx, vault, u32::MAX).await?.into_iter().map(|w| (w.version, w)).collect();
        for version in waiting.keys() {
            outbox::remove(&mut tx, *version).await?;
        }
        for version in versions::unplaced(&mut tx, vault).await? {
            let known = waiting.get(&version.id);
            let unit = known.and_then(|waiting| waiting.unit);
            let reoffer = known.is_none_or(|waiting| waiting.reoffer);
            outbox::add(&mut tx, (vault, version.id), unit, reoffer).await?;
        }
        keys::remove(&mut tx, &due(vault)).await?;
        tx.commit().await?;
        self.outbox.notify_one();
        Ok(())
    }
}
