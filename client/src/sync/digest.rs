//! The digest of the vault's versions, beside the cursor: what this device holds, and what the server says it has.
//!
//! The chain binds the order in which events came; the digest binds the set that came of it. Where the two sides
//! disagree nothing is wiped: an alarm is kept, and the sides are reconciled.

use lockstep_events::{Epoch, Seq, SetDigest, StreamId, StreamKind};
use sqlx::SqliteConnection;

use super::reconcile;
use crate::{
    engine::Engine,
    error::Error,
    model::{Alarm, AlarmKind, Change},
    store::{alarms, streams, streams::Place, versions},
};

/// What the server's digest means for a place.
enum Verdict {
    /// Nothing to compare, or the same.
    Fits,
    /// This device has none yet.
    Learn(SetDigest),
    /// They differ.
    Differs,
}

fn verdict(place: &Place, theirs: Option<SetDigest>) -> Verdict {
    match (place.digest, theirs) {
        (_, None) => Verdict::Fits,
        (None, Some(theirs)) => Verdict::Learn(theirs),
        (Some(own), Some(theirs)) if own == theirs => Verdict::Fits,
        (Some(_), Some(_)) => Verdict::Differs,
    }
}

impl Engine {
    /// Compares in the transaction that holds the place.
    pub(crate) async fn compare_digest(
        &self,
        db: &mut SqliteConnection,
        place: &Place,
        theirs: Option<SetDigest>,
    ) -> Result<Option<Alarm>, Error> {
        match verdict(place, theirs) {
            Verdict::Fits => Ok(None),
            Verdict::Learn(theirs) => {
                let mut absent = theirs;
                for id in versions::ids_up_to(db, place.stream.into(), place.seq).await? {
                    absent.remove(&id);
                }
                streams::put(db, &Place { digest: Some(theirs), absent, ..*place }).await?;
                Ok(None)
            }
            Verdict::Differs => self.digest_differs(db, place, "the server's").await,
        }
    }

    async fn digest_differs(
        &self,
        db: &mut SqliteConnection,
        place: &Place,
        whose: &str,
    ) -> Result<Option<Alarm>, Error> {
        reconcile::make_due(db, place.stream.into(), reconcile::Why::Digest).await?;
        let detail = format!("{} at {}: {whose}", place.stream, place.seq);
        alarms::raise(db, AlarmKind::SetDigest, self.now(), &detail).await
    }

    /// Compares with what a ping, or a page without events, says about a place. Another place than this device's
    /// says nothing.
    pub(crate) async fn heard_digest(
        &self,
        stream: StreamId,
        (epoch, seq): (Epoch, Seq),
        theirs: Option<SetDigest>,
    ) -> Result<(), Error> {
        let here = |place: &Place| place.epoch == epoch && place.seq == seq;
        let place = streams::get(&mut *self.store.pool().acquire().await?, stream).await?;
        if place.is_none_or(|place| !here(&place) || matches!(verdict(&place, theirs), Verdict::Fits)) {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        let Some(place) = streams::get(&mut tx, stream).await?.filter(here) else { return Ok(()) };
        let alarm = self.compare_digest(&mut tx, &place, theirs).await?;
        tx.commit().await?;
        self.tell(alarm);
        Ok(())
    }

    /// Once in the life of this process: whether the versions that are here are those that the digest was made of.
    pub(crate) async fn audit_digest(&self) -> Result<(), Error> {
        if !self.audited.lock().is_ok_and(|mut audited| audited.insert(self.vault())) {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        let place = streams::get(&mut tx, self.vault().into()).await?;
        let Some(place) = place.filter(|place| place.kind == StreamKind::Vault) else { return Ok(()) };
        let Some(kept) = place.digest else { return Ok(()) };
        let mut here = place.absent;
        for id in versions::ids_up_to(&mut tx, self.vault(), place.seq).await? {
            here.add(&id);
        }
        if here == kept {
            return Ok(());
        }
        let alarm = self.digest_differs(&mut tx, &place, "what is here").await?;
        tx.commit().await?;
        self.tell(alarm);
        Ok(())
    }

    /// Tells whoever watches of an alarm that was kept, and makes the pull loop go.
    pub(crate) fn tell(&self, alarm: Option<Alarm>) {
        if let Some(alarm) = alarm {
            let _ = self.changes.send(Change::Alarm(alarm));
            self.behind.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        account::testing::{EPOCH, Stream, TestDevice, two_devices},
        store::keys,
        sync::apply::{Applied, Page},
    };

    async fn place(device: &TestDevice) -> Place {
        let mut db = device.store.pool().acquire().await.unwrap();
        streams::get(&mut db, device.vault().into()).await.unwrap().unwrap()
    }

    async fn kinds(device: &TestDevice) -> Vec<AlarmKind> {
        device.alarms().await.unwrap().into_iter().map(|alarm| alarm.kind).collect()
    }

    async fn is_due(device: &TestDevice) -> bool {
        let mut db = device.store.pool().acquire().await.unwrap();
        keys::get(&mut db, &format!("reconcile/{}", device.vault())).await.unwrap().is_some()
    }

    async fn some_entries(from: &TestDevice, vault: &mut Stream) {
        for n in 0..3 {
            from.add(format!("entry {n}").as_bytes()).await.unwrap();
        }
        vault.accept_all(from).await;
    }

    #[tokio::test]
    async fn the_digest_moves_with_the_cursor_in_one_transaction_and_is_the_servers() {
        let (a, b, _, mut vault) = two_devices().await;
        some_entries(&a, &mut vault).await;
        b.apply(&vault.page(0)).await.unwrap();
        assert_eq!(place(&b).await.digest, Some(vault.digest()));
        let seq = place(&b).await.seq;
        b.heard_digest(vault.id, (EPOCH, seq), Some(vault.digest())).await.unwrap();
        b.audit_digest().await.unwrap();
        assert_eq!(kinds(&b).await, []);
        assert!(!is_due(&b).await);
    }

    #[tokio::test]
    async fn another_digest_of_the_server_is_an_alarm_and_wipes_nothing() {
        let (a, b, _, mut vault) = two_devices().await;
        some_entries(&a, &mut vault).await;
        let page = Page { set_digest: Some(SetDigest([9; 32])), ..vault.page(0) };
        assert_eq!(b.apply(&page).await.unwrap(), Applied::Done(3));
        assert_eq!(kinds(&b).await, [AlarmKind::SetDigest]);
        assert!(is_due(&b).await, "the sides are compared next");
        assert_eq!(b.entries().await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_ping_is_compared_only_where_it_speaks_of_this_devices_own_place() {
        let (a, b, _, mut vault) = two_devices().await;
        some_entries(&a, &mut vault).await;
        b.apply(&vault.page(0)).await.unwrap();
        let wrong = Some(SetDigest([9; 32]));
        b.heard_digest(vault.id, (EPOCH, Seq(2)), wrong).await.unwrap();
        b.heard_digest(vault.id, (Epoch([1; 16]), Seq(3)), wrong).await.unwrap();
        assert_eq!(kinds(&b).await, []);
        b.heard_digest(vault.id, (EPOCH, Seq(3)), wrong).await.unwrap();
        assert_eq!(kinds(&b).await, [AlarmKind::SetDigest]);
    }

    #[tokio::test]
    async fn a_version_that_got_lost_on_this_device_is_noticed() {
        let (a, b, _, mut vault) = two_devices().await;
        some_entries(&a, &mut vault).await;
        b.apply(&vault.page(0)).await.unwrap();
        let mut tx = b.store.begin().await.unwrap();
        sqlx::query("DELETE FROM versions WHERE seq = 2").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        b.audit_digest().await.unwrap();
        assert_eq!(kinds(&b).await, [AlarmKind::SetDigest]);
        assert!(is_due(&b).await);
    }

    #[tokio::test]
    async fn a_device_that_does_not_know_its_digest_learns_it_and_what_it_never_held() {
        let (a, b, _, mut vault) = two_devices().await;
        some_entries(&a, &mut vault).await;
        b.apply(&vault.page(0)).await.unwrap();
        let mut tx = b.store.begin().await.unwrap();
        sqlx::query("DELETE FROM versions WHERE seq = 2").execute(&mut *tx).await.unwrap();
        let unknown = Place { digest: None, ..place(&b).await };
        streams::put(&mut tx, &unknown).await.unwrap();
        tx.commit().await.unwrap();
        b.heard_digest(vault.id, (EPOCH, Seq(3)), Some(vault.digest())).await.unwrap();
        let learned = place(&b).await;
        assert_eq!(learned.digest, Some(vault.digest()));
        assert_ne!(learned.absent, SetDigest::ZERO);
        b.audit_digest().await.unwrap();
        assert_eq!(kinds(&b).await, []);
    }
}
