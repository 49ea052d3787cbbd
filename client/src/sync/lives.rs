//! What an author saw, after a reset. A version names a place of the life of the stream in which it was written, and not
//! which life that is: one of an earlier life, offered again, names places that this device may never have seen.
//!
//! Where this device's own first version of the present life stands, that life is like no other. An author that names a
//! place from there on has been in this life, and what it writes later it writes there: that is compared.

use lockstep_events::{DeviceId, Header, Seq, StreamId};
use sqlx::SqliteConnection;

use crate::{
    error::Error,
    store::{damaged, fixed, keys, streams::Place, versions},
};

fn begun(stream: StreamId) -> String {
    format!("life/{stream}")
}

fn author(stream: StreamId, device: DeviceId) -> String {
    format!("life/{stream}/{device}")
}

/// Two numbers, as they are kept.
async fn pair(db: &mut SqliteConnection, name: &str) -> Result<Option<(u64, u64)>, Error> {
    let Some(kept) = keys::get(db, name).await? else { return Ok(None) };
    let (left, right) = kept.split_at_checked(8).ok_or_else(damaged)?;
    Ok(Some((u64::from_be_bytes(fixed(left)?), u64::from_be_bytes(fixed(right)?))))
}

async fn set(db: &mut SqliteConnection, name: &str, (left, right): (u64, u64)) -> Result<(), Error> {
    keys::set(db, name, &[left.to_be_bytes(), right.to_be_bytes()].concat()).await
}

/// A new life begins, or this device joins a stream that has had a past without it: what it writes from now on is of the
/// present life.
pub(super) async fn begin(db: &mut SqliteConnection, stream: StreamId) -> Result<(), Error> {
    let last = versions::last_kept(db).await?;
    set(db, &begun(stream), (last, 0)).await
}

/// Whether the stream may have had a life that this device does not know: it was reset, or was there before the device.
pub(super) async fn may_be_another(db: &mut SqliteConnection, place: &Place) -> Result<bool, Error> {
    Ok(place.lives > 1 || pair(db, &begun(place.stream)).await?.is_some())
}

/// Whether this device kept its `n`-th version since the present life began, or since it began with a snapshot.
pub(super) async fn kept_since(db: &mut SqliteConnection, stream: StreamId, n: i64) -> Result<bool, Error> {
    Ok(pair(db, &begun(stream)).await?.is_some_and(|(last, _)| n.cast_unsigned() > last))
}

/// From where on the present life is like no other; none while that is not known.
async fn alone_from(db: &mut SqliteConnection, stream: StreamId) -> Result<Option<Seq>, Error> {
    Ok(pair(db, &begun(stream)).await?.filter(|(_, from)| *from > 0).map(|(_, from)| Seq(from)))
}

/// A version of this device, the `n`-th that it kept, stands at a place of the present life.
pub(super) async fn own(db: &mut SqliteConnection, place: &Place, (n, seq): (i64, Seq)) -> Result<(), Error> {
    match pair(db, &begun(place.stream)).await? {
        Some((last, 0)) if n.cast_unsigned() > last => set(db, &begun(place.stream), (last, seq.0)).await,
        _ => Ok(()),
    }
}

/// An author saw what this device saw in the present life: when it was there first, by its own clock.
pub(super) async fn met(db: &mut SqliteConnection, place: &Place, header: &Header) -> Result<(), Error> {
    if alone_from(db, place.stream).await?.is_none_or(|from| header.observed_seq < from) {
        return Ok(());
    }
    let name = author(place.stream, header.author_device);
    match pair(db, &name).await? {
        Some((life, _)) if life == u64::from(place.lives) => Ok(()),
        _ => set(db, &name, (place.lives.into(), header.client_time.cast_unsigned())).await,
    }
}

/// Whether an author is known to have been in the present life before it wrote this.
pub(super) async fn is_in(db: &mut SqliteConnection, place: &Place, header: &Header) -> Result<bool, Error> {
    let known = pair(db, &author(place.stream, header.author_device)).await?;
    Ok(known.is_some_and(|(life, since)| {
        life == u64::from(place.lives) && since.cast_signed() < header.client_time
    }))
}

#[cfg(test)]
mod tests {
    use lockstep_events::{Chain, Epoch, Event, event::VaultEvent};

    use crate::{
        account::testing::{Stream, TestDevice, two_devices},
        error::Error,
        model::AlarmKind,
        store::streams,
        sync::{apply::Applied, reset::Life},
    };

    /// The restored stream begins on a device.
    async fn restored(device: &TestDevice, stream: &Stream) {
        let place = streams::get(&mut device.store.begin().await.unwrap(), stream.id).await.unwrap().unwrap();
        let common = (place.seq.min(lockstep_events::Seq(1)), stream.events[0].chain);
        let life = Life { epoch: stream.epoch, common, entries: Vec::new(), versions: Vec::new() };
        device.begin_life(&place, &life).await.unwrap();
    }

    /// What waits on a device, as the last events of a stream that nobody else is shown.
    async fn waiting(device: &TestDevice, like: &Stream) -> Stream {
        let mut stream =
            Stream { events: like.events.clone(), epoch: like.epoch, ..Stream::new(like.id, like.kind) };
        stream.accept_all(device).await;
        stream
    }

    /// Accepts the event at a place of one stream into another.
    fn take(to: &mut Stream, from: &Stream, at: usize) {
        let Event::Vault(VaultEvent::VersionAdded(added)) = from.events[at].event().unwrap() else {
            panic!()
        };
        to.accept(&added, from.events[at].content.clone());
    }

    #[tokio::test]
    async fn after_a_reset_what_an_author_saw_is_compared_again_once_it_was_met_in_the_new_life() {
        let (a, b, _, mut vault) = two_devices().await;
        a.add(b"one").await.unwrap();
        vault.accept_all(&a).await;
        for device in [&a, &b] {
            device.apply(&vault.page(0)).await.unwrap();
        }
        let mut life = Stream {
            events: vault.events.clone(),
            epoch: Epoch([9; 16]),
            ..Stream::new(vault.id, vault.kind)
        };
        // The second has seen more of the old life than the first, and writes there.
        a.add(b"never shown to the first").await.unwrap();
        let further = waiting(&a, &vault).await;
        b.apply(&further.page(1)).await.unwrap();
        b.add(b"of the old life").await.unwrap();
        let old = waiting(&b, &vault).await;
        for device in [&a, &b] {
            restored(device, &life).await;
        }
        let outbox = waiting(&a, &life).await;
        take(&mut life, &outbox, 1);
        a.apply(&life.page(1)).await.unwrap();
        a.add(b"by the first").await.unwrap();
        life.accept_all(&a).await;
        for device in [&a, &b] {
            let from =
                streams::get(&mut device.store.begin().await.unwrap(), life.id).await.unwrap().unwrap().seq.0;
            device.apply(&life.page(from)).await.unwrap();
        }
        // Both are in the new life.
        b.add(b"by the second").await.unwrap();
        let both = waiting(&b, &life).await;
        let met = life.events.len();
        take(&mut life, &both, both.events.len() - 1);
        take(&mut life, &old, old.events.len() - 1);
        assert_eq!(a.apply(&life.page(met as u64)).await.unwrap(), Applied::Done(2), "and what is older");
        b.apply(&life.page(met as u64)).await.unwrap();
        // From here on the second is shown another history.
        let at = life.events.len();
        let mut place = streams::get(&mut b.store.begin().await.unwrap(), life.id).await.unwrap().unwrap();
        (place.seq, place.chain) = (place.seq.next(), Chain([7; 32]));
        let mut tx = b.store.begin().await.unwrap();
        streams::put(&mut tx, &place).await.unwrap();
        tx.commit().await.unwrap();
        let before = b.now();
        while b.now().0 / 1000 <= before.0 / 1000 {
            tokio::task::yield_now().await;
        }
        b.add(b"in the fork").await.unwrap();
        let forked = waiting(&b, &life).await;
        a.add(b"in its place").await.unwrap();
        life.accept_all(&a).await;
        take(&mut life, &forked, forked.events.len() - 1);
        let answer = a.apply(&life.page(at as u64)).await;
        assert!(matches!(answer, Err(Error::Alarm(AlarmKind::ObservedChain))), "{answer:?}");
    }
}
