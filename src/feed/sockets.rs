//! Everyone on this node who is connected for long: live sockets, event streams, long-polls. Who must go is told here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lockstep_api::live::close;
use lockstep_events::DeviceId;
use rand::seq::SliceRandom;

use super::{
    revocations::{Access, Revoked},
    signal::{Close, Signal},
};

/// Clients come back within so many milliseconds after a drain, each in its own slot.
const WINDOW_MS: u32 = 30_000;

/// Who is connected.
#[derive(Debug, Default)]
pub struct Sockets {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: HashMap<u64, Entry>,
    live: HashMap<DeviceId, u64>,
    draining: bool,
}

#[derive(Debug)]
struct Entry {
    access: Access,
    signal: Arc<Signal>,
}

/// One connection is known, until this is dropped.
#[derive(Debug)]
pub struct Connected {
    sockets: Arc<Sockets>,
    /// How the node reaches the connection.
    pub signal: Arc<Signal>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut inner = self.sockets.inner();
        let Some(entry) = inner.all.remove(&self.signal.id) else { return };
        if inner.live.get(&entry.access.device) == Some(&self.signal.id) {
            inner.live.remove(&entry.access.device);
        }
    }
}

impl Sockets {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A live socket opens; an older one of the same device is closed.
    pub fn live(self: &Arc<Self>, access: Access) -> Connected {
        let connected = self.watch(access);
        let mut inner = self.inner();
        let older = inner.live.insert(access.device, connected.signal.id);
        if let Some(older) = older.and_then(|id| inner.all.get(&id)) {
            older.signal.close(Close::now(close::SUPERSEDED));
        }
        drop(inner);
        connected
    }

    /// A long-poll or event stream opens. Any number of them may run beside a live socket.
    pub fn watch(self: &Arc<Self>, access: Access) -> Connected {
        let signal = Arc::new(Signal::default());
        let mut inner = self.inner();
        if inner.draining {
            signal.close(Close::draining((0, WINDOW_MS)));
        }
        inner.all.insert(signal.id, Entry { access, signal: Arc::clone(&signal) });
        drop(inner);
        Connected { sockets: Arc::clone(self), signal }
    }

    /// Closes what was revoked.
    pub fn revoke(&self, revoked: &[Revoked]) {
        if revoked.is_empty() {
            return;
        }
        let inner = self.inner();
        let hit = |entry: &Entry| revoked.iter().any(|end| end.hits(&entry.access));
        inner
            .all
            .values()
            .filter(|entry| hit(entry))
            .for_each(|entry| entry.signal.close(Close::now(close::REVOKED)));
    }

    /// Sends everyone away, each with a slot of its own, and whoever comes from now on too.
    pub fn drain(&self) {
        let mut inner = self.inner();
        inner.draining = true;
        let mut everyone: Vec<&Arc<Signal>> = inner.all.values().map(|entry| &entry.signal).collect();
        everyone.shuffle(&mut rand::thread_rng());
        let number = u32::try_from(everyone.len()).unwrap_or(u32::MAX).max(1);
        for (place, signal) in (0..number).zip(everyone) {
            signal.close(Close::draining(slot(place, number)));
        }
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.inner().all.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn slot(place: u32, number: u32) -> (u32, u32) {
    let edge = |n: u32| u64::from(WINDOW_MS) * u64::from(n) / u64::from(number);
    let ms = |n: u32| u32::try_from(edge(n)).unwrap_or(WINDOW_MS);
    (ms(place), ms(place + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_events::{AccountId, Seq, SessionId};
    use uuid::Uuid;

    fn device(n: u128) -> DeviceId {
        DeviceId(Uuid::from_u128(n))
    }

    fn session(n: u128) -> SessionId {
        SessionId(Uuid::from_u128(n))
    }

    /// Device and session of this number, of one account.
    fn access(n: u128) -> Access {
        let account = AccountId(Uuid::from_u128(1));
        Access { account, device: device(n), session: session(n), auth_epoch: 3 }
    }

    fn code(connected: &Connected) -> Option<u16> {
        connected.signal.closed().map(|close| close.code)
    }

    #[test]
    fn a_newer_socket_of_the_same_device_closes_the_older_one() {
        let sockets = Arc::new(Sockets::default());
        let (one, poll) = (sockets.live(access(1)), sockets.watch(access(1)));
        let other = sockets.live(access(2));
        let two = sockets.live(access(1));
        assert_eq!([&one, &poll, &other, &two].map(code), [Some(close::SUPERSEDED), None, None, None]);
        drop(one);
        let three = sockets.live(access(1));
        assert_eq!([&two, &three].map(code), [Some(close::SUPERSEDED), None]);
    }

    #[test]
    fn what_is_revoked_is_closed_and_nothing_else() {
        let sockets = Arc::new(Sockets::default());
        let connected: Vec<_> = (1..=3).map(|n| sockets.live(access(n))).collect();
        sockets.revoke(&[Revoked::Device(device(1)), Revoked::Session(session(3))]);
        let codes: Vec<_> = connected.iter().map(code).collect();
        assert_eq!(codes, [Some(close::REVOKED), None, Some(close::REVOKED)]);
    }

    #[test]
    fn when_all_sessions_of_an_account_end_only_the_kept_one_stays_connected() {
        let sockets = Arc::new(Sockets::default());
        let connected: Vec<_> = (1..=3).map(|n| sockets.live(access(n))).collect();
        let end = |account, before| Revoked::Account { account, before: Seq(before), keep: Some(session(2)) };
        sockets.revoke(&[end(AccountId(Uuid::from_u128(9)), 7), end(access(1).account, 3)]);
        assert!(connected.iter().all(|one| code(one).is_none()));
        sockets.revoke(&[end(access(1).account, 4)]);
        let codes: Vec<_> = connected.iter().map(code).collect();
        assert_eq!(codes, [Some(close::REVOKED), None, Some(close::REVOKED)]);
    }

    #[test]
    fn on_a_drain_everyone_gets_a_slot_of_its_own_and_newcomers_are_sent_away() {
        let sockets = Arc::new(Sockets::default());
        let connected: Vec<_> = (1..=3).map(|n| sockets.live(access(n))).collect();
        sockets.drain();
        let mut slots: Vec<_> = connected.iter().map(|c| c.signal.closed().unwrap().wait_ms).collect();
        slots.sort_unstable();
        assert_eq!(slots, [(0, 10_000), (10_000, 20_000), (20_000, 30_000)]);
        assert_eq!(code(&sockets.live(access(9))), Some(close::DRAINING));
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let sockets = Arc::new(Sockets::default());
        drop(sockets.live(access(1)));
        assert!(sockets.is_empty() && sockets.inner().live.is_empty());
    }
}
