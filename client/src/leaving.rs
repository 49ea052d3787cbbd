//! Logging out deletes the profile, and must not delete with it what no server has.

use sqlx::SqliteConnection;

use crate::{
    engine::Engine,
    error::Error,
    profile::Held,
    store::{alarms, outbox},
    sync::{believed, reconcile},
};

/// Fails if something may be on this device alone.
async fn nothing_is_here_alone(db: &mut SqliteConnection) -> Result<(), Error> {
    if outbox::count(db).await? > 0 {
        return Err(Error::Invalid("versions wait to be sent: sync first, or discard them"));
    }
    // What the server refused for good exists nowhere else.
    if !outbox::quarantined_ids(db).await?.is_empty() {
        return Err(Error::Invalid("versions were refused and are here alone: offer or discard them first"));
    }
    // What a server lost waits for it only once the two sides were compared.
    if reconcile::any_due(db).await? {
        return Err(Error::Invalid(
            "what the server has of this is not compared yet: sync first, or discard it",
        ));
    }
    // Whatever it said that it took, nobody knows what a server has that was caught.
    if alarms::holding(db).await?.is_some() || believed::any_disbelieved(db).await? {
        return Err(Error::Invalid(
            "the server was caught, and may have nothing of this: see the alarms first",
        ));
    }
    Ok(())
}

impl Engine {
    /// Ends the session, unless the server is not to be told, and deletes the profile; whether the server knows.
    pub(crate) async fn logout(&self, discard: bool, tell: bool) -> Result<bool, Error> {
        if !discard {
            nothing_is_here_alone(&mut *self.store.pool().acquire().await?).await?;
        }
        // A server that cannot be reached ends the session by itself when its tokens run out.
        let ended = if tell { self.end_own_session().await.map(|()| true) } else { Ok(false) };
        let told = match ended {
            Ok(told) => told,
            Err(Error::Revoked(_)) => true,
            Err(Error::Offline(_) | Error::Refused { .. } | Error::Certificate) => false,
            Err(other) => return Err(other),
        };
        // Before anything is deleted: a system may ask its person first, who may give up and say it again. A store that
        // does not answer keeps a secret that opens nothing any more.
        let _ = crate::keystore::forget(&self.home, self.profile.device).await;
        self.delete(discard).await?;
        Ok(told)
    }

    /// Looks again, as the server may have taken its time, and lets nobody write from then on.
    async fn delete(&self, discard: bool) -> Result<(), Error> {
        let held = Held::wait(&self.home).await?;
        let mut tx = self.store.begin().await?;
        if !discard {
            nothing_is_here_alone(&mut tx).await?;
        }
        outbox::close_for_good(&mut tx).await?;
        held.unmake()?;
        tx.commit().await?;
        self.store.close().await;
        held.delete()
    }

    async fn end_own_session(&self) -> Result<(), Error> {
        let session = self.session().await?;
        self.end_session(session).await
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::{Chain, Epoch, Seq};

    use super::*;
    use crate::{
        account::testing::{Stream, TestDevice, two_devices},
        crypto::keys::LocalKey,
        model::AlarmKind,
        profile::Profile,
        store::{Store, keys, streams},
        sync::reset::Life,
    };

    async fn refused(device: &TestDevice, tell: bool) {
        let left = device.logout(false, tell).await;
        assert!(matches!(left, Err(Error::Invalid(_))), "{left:?}");
        assert!(Profile::exists(&device.home));
    }

    /// A device of which the server has everything.
    async fn sent() -> (TestDevice, Stream) {
        let (a, _, _, mut vault) = two_devices().await;
        a.add(b"only here").await.unwrap();
        vault.accept_all(&a).await;
        a.apply(&vault.page(0)).await.unwrap();
        let mut tx = a.store.begin().await.unwrap();
        for waiting in outbox::first(&mut tx, a.vault(), 9).await.unwrap() {
            outbox::remove(&mut tx, waiting.version).await.unwrap();
        }
        tx.commit().await.unwrap();
        (a, vault)
    }

    #[tokio::test]
    async fn what_a_restored_server_lost_keeps_the_profile_before_it_waits_to_be_offered() {
        let (a, vault) = sent().await;
        let place = streams::get(&mut a.store.begin().await.unwrap(), vault.id).await.unwrap().unwrap();
        let common = (Seq::ZERO, Chain::ZERO);
        let life = Life { epoch: Epoch([9; 16]), common, entries: Vec::new(), versions: Vec::new() };
        a.begin_life(&place, &life).await.unwrap();
        assert_eq!(a.status().await.unwrap().waiting, 0);
        refused(&a, false).await;
        assert!(!a.logout(true, false).await.unwrap());
        assert!(!Profile::exists(&a.home));
    }

    #[tokio::test]
    async fn a_server_that_was_caught_keeps_the_profile_until_its_history_is_believed_again() {
        let (a, _) = sent().await;
        a.alarm(AlarmKind::Chain, "another history").await;
        refused(&a, false).await;
        a.note_believed(false).await.unwrap();
        a.acknowledge_alarms(i64::MAX).await.unwrap();
        refused(&a, false).await;
        a.note_believed(true).await.unwrap();
        a.logout(false, false).await.unwrap();
        assert!(!Profile::exists(&a.home));
    }

    #[tokio::test]
    async fn what_is_written_while_the_session_is_ended_keeps_the_profile_and_later_nothing_is_written() {
        let (a, _) = sent().await;
        let local = LocalKey::from_token(&"5".repeat(64)).unwrap();
        let profile = Profile::read(&a.home).unwrap();
        let store = Store::open(&Profile::database(&a.home), &local, false).await.unwrap();
        let other = Engine::unlock(a.home.clone(), profile, store, local).await.unwrap();
        // The first look found nothing.
        other.add(b"meanwhile").await.unwrap();
        let deleted = a.delete(false).await;
        assert!(matches!(deleted, Err(Error::Invalid(_))), "{deleted:?}");
        assert_eq!(a.entries().await.unwrap().len(), 2);
        a.delete(true).await.unwrap();
        assert!(!Profile::exists(&a.home));
        assert!(other.add(b"too late").await.is_err(), "it would be nowhere");
        assert!(keys::statements(&mut other.store.pool().acquire().await.unwrap()).await.is_ok());
    }
}
