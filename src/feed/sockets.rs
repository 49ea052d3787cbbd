//! Everyone on this node who is connected for long: live sockets, event streams, long-polls. Who must go is told here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lockstep_api::live::close;
use lockstep_events::{AccountId, DeviceId};
use rand::seq::SliceRandom;

use super::{
    revocations::{Access, Revoked},
    signal::{Close, Signal},
};
use crate::{
    auth::signing_keys::Kid,
    limits::{OPEN, Seat, Seats},
};

/// Clients come back within so many milliseconds after a drain, each in its own slot.
const WINDOW_MS: u32 = 30_000;
/// An account has at most so many event streams and long-polls: each takes one of the server's connections.
const WAITING: usize = 200;

/// Who is connected.
#[derive(Debug)]
pub struct Sockets {
    inner: Mutex<Inner>,
    /// Event streams and long-polls of each account.
    waiting: Seats,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { inner: Mutex::default(), waiting: Seats::new(WAITING) }
    }
}

#[derive(Debug, Default)]
struct Inner {
    all: HashMap<u64, Entry>,
    /// The live socket of each device, whose id is a name in its account.
    live: HashMap<(AccountId, DeviceId), u64>,
    accounts: HashMap<AccountId, usize>,
    /// The keys whose tokens are accepted; none: nobody has said yet.
    keys: Option<Vec<Kid>>,
    draining: bool,
}

#[derive(Debug)]
struct Entry {
    /// The account of a live socket that counts among its open ones.
    account: Option<AccountId>,
    access: Access,
    /// What signed the token that it goes on by.
    key: Kid,
    signal: Arc<Signal>,
}

impl Entry {
    /// Sends it away if its key is none of these; its client renews the token and comes back.
    fn check(&self, keys: Option<&[Kid]>) {
        if keys.is_some_and(|keys| !keys.contains(&self.key)) {
            self.signal.close(Close::now(close::TOKEN_EXPIRED));
        }
    }
}

/// One connection is known, until this is dropped.
#[derive(Debug)]
pub struct Connected {
    sockets: Arc<Sockets>,
    /// How the node reaches the connection.
    pub signal: Arc<Signal>,
    /// Of an event stream or long-poll.
    _seat: Option<Seat>,
}

impl Connected {
    /// It goes on by a newer token, which this key has signed.
    pub fn renewed(&self, key: Kid) {
        let mut inner = self.sockets.inner();
        let Inner { all, keys, .. } = &mut *inner;
        if let Some(entry) = all.get_mut(&self.signal.id) {
            entry.key = key;
            entry.check(keys.as_deref());
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut inner = self.sockets.inner();
        let Some(mut entry) = inner.all.remove(&self.signal.id) else { return };
        let account = entry.account.take();
        inner.leave(account);
        let device = (entry.access.account, entry.access.device);
        if inner.live.get(&device) == Some(&self.signal.id) {
            inner.live.remove(&device);
        }
    }
}

impl Inner {
    /// A live socket of an account counts no more.
    fn leave(&mut self, account: Option<AccountId>) {
        let Some(account) = account else { return };
        let Some(open) = self.accounts.get_mut(&account) else { return };
        *open -= 1;
        if *open == 0 {
            self.accounts.remove(&account);
        }
    }

    fn send_away(&self) {
        let mut everyone: Vec<&Arc<Signal>> = self.all.values().map(|entry| &entry.signal).collect();
        everyone.shuffle(&mut rand::thread_rng());
        let number = u32::try_from(everyone.len()).unwrap_or(u32::MAX).max(1);
        for (place, signal) in (0..number).zip(everyone) {
            signal.close(Close::draining(slot(place, number)));
        }
    }
}

impl Sockets {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A live socket opens; an older one of the same device is closed. Nothing if too many are open already, for this
    /// account or on this node.
    pub fn live(self: &Arc<Self>, access: Access, key: Kid, per_account: usize) -> Option<Connected> {
        let Access { account, device, .. } = access;
        let connected = self.enter(access, key, None);
        let mut inner = self.inner();
        let older = inner.live.get(&(account, device)).copied();
        if let Some(older) = older.and_then(|id| inner.all.get_mut(&id)) {
            older.signal.close(Close::now(close::SUPERSEDED));
            let freed = older.account.take();
            inner.leave(freed);
        }
        let open = inner.accounts.get(&account).copied().unwrap_or_default();
        if open >= per_account || inner.live.len() >= OPEN {
            // Unlocked first: the drop of the connection locks again.
            drop(inner);
            return None;
        }
        *inner.accounts.entry(account).or_default() += 1;
        inner.live.insert((account, device), connected.signal.id);
        if let Some(entry) = inner.all.get_mut(&connected.signal.id) {
            entry.account = Some(account);
        }
        drop(inner);
        Some(connected)
    }

    /// A long-poll or event stream opens, beside the live sockets. Nothing if the account has too many of them.
    pub fn watch(self: &Arc<Self>, access: Access, key: Kid) -> Option<Connected> {
        let seat = self.waiting.take(access.account.0.as_u128())?;
        Some(self.enter(access, key, Some(seat)))
    }

    fn enter(self: &Arc<Self>, access: Access, key: Kid, seat: Option<Seat>) -> Connected {
        let signal = Arc::new(Signal::default());
        let mut inner = self.inner();
        if inner.draining {
            signal.close(Close::draining((0, WINDOW_MS)));
        }
        let entry = Entry { account: None, access, key, signal: Arc::clone(&signal) };
        // Under the lock: a key that is revoked at this moment finds the connection, or the connection the new keys.
        entry.check(inner.keys.as_deref());
        inner.all.insert(signal.id, entry);
        drop(inner);
        Connected { sockets: Arc::clone(self), signal, _seat: seat }
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

    /// From now on only these keys are accepted: whoever goes on by a token of another one is sent away, and whoever comes
    /// with one too.
    pub fn accept(&self, keys: &[Kid]) {
        let mut inner = self.inner();
        if inner.keys.as_deref() != Some(keys) {
            inner.all.values().for_each(|entry| entry.check(Some(keys)));
            inner.keys = Some(keys.to_vec());
        }
    }

    /// Sends everyone away, each with a slot of its own, and whoever comes from now on too.
    pub fn drain(&self) {
        let mut inner = self.inner();
        inner.draining = true;
        inner.send_away();
    }

    /// Sends everyone away, each with a slot of its own. Whoever comes afterwards may stay.
    pub fn send_away(&self) {
        self.inner().send_away();
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
        of_account(1, n)
    }

    fn of_account(account: u128, n: u128) -> Access {
        let account = AccountId(Uuid::from_u128(account));
        Access { account, device: device(n), session: session(n), auth_epoch: 3 }
    }

    fn live(sockets: &Arc<Sockets>, n: u128) -> Connected {
        sockets.live(access(n), Kid::default(), 10).unwrap()
    }

    fn watch(sockets: &Arc<Sockets>, access: Access) -> Option<Connected> {
        sockets.watch(access, Kid::default())
    }

    fn code(connected: &Connected) -> Option<u16> {
        connected.signal.closed().map(|close| close.code)
    }

    #[test]
    fn a_newer_socket_of_the_same_device_closes_the_older_one() {
        let sockets = Arc::new(Sockets::default());
        let (one, poll) = (live(&sockets, 1), watch(&sockets, access(1)).unwrap());
        let other = live(&sockets, 2);
        let two = live(&sockets, 1);
        assert_eq!([&one, &poll, &other, &two].map(code), [Some(close::SUPERSEDED), None, None, None]);
        drop(one);
        let three = live(&sockets, 1);
        assert_eq!([&two, &three].map(code), [Some(close::SUPERSEDED), None]);
    }

    #[test]
    fn a_device_of_the_same_id_in_another_account_takes_nothing_over_and_ends_nothing() {
        let sockets = Arc::new(Sockets::default());
        let own = live(&sockets, 1);
        let other = sockets.live(of_account(2, 1), Kid::default(), 10).unwrap();
        assert_eq!([&own, &other].map(code), [None, None]);
        sockets.revoke(&[Revoked::Device(of_account(2, 1).account, device(1))]);
        assert_eq!([&own, &other].map(code), [None, Some(close::REVOKED)]);
        drop(other);
        let newer = live(&sockets, 1);
        assert_eq!([&own, &newer].map(code), [Some(close::SUPERSEDED), None]);
    }

    #[test]
    fn what_is_revoked_is_closed_and_nothing_else() {
        let sockets = Arc::new(Sockets::default());
        let connected: Vec<_> = (1..=3).map(|n| live(&sockets, n)).collect();
        let account = access(1).account;
        sockets.revoke(&[Revoked::Device(account, device(1)), Revoked::Session(session(3))]);
        let codes: Vec<_> = connected.iter().map(code).collect();
        assert_eq!(codes, [Some(close::REVOKED), None, Some(close::REVOKED)]);
    }

    #[test]
    fn who_goes_on_by_a_key_that_is_not_accepted_is_sent_to_renew_and_whoever_comes_with_it_too() {
        let sockets = Arc::new(Sockets::default());
        let (old, new) = (Kid([1; 12]), Kid([2; 12]));
        let open = |n, key| sockets.live(access(n), key, 10).unwrap();
        let (stays, renews, waits) = (open(1, old), open(2, old), sockets.watch(access(3), old).unwrap());
        sockets.accept(&[old, new]);
        let later = open(4, new);
        renews.renewed(new);
        assert!([&stays, &renews, &waits, &later].into_iter().all(|one| code(one).is_none()));
        sockets.accept(&[new]);
        let expired = Some(close::TOKEN_EXPIRED);
        assert_eq!([&stays, &renews, &waits, &later].map(code), [expired, None, expired, None]);
        assert_eq!(code(&open(5, old)), expired, "who was verified a moment before");
        later.renewed(old);
        assert_eq!(code(&later), expired);
    }

    #[test]
    fn when_all_sessions_of_an_account_end_only_the_kept_one_stays_connected() {
        let sockets = Arc::new(Sockets::default());
        let connected: Vec<_> = (1..=3).map(|n| live(&sockets, n)).collect();
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
        let connected: Vec<_> = (1..=3).map(|n| live(&sockets, n)).collect();
        sockets.drain();
        let mut slots: Vec<_> = connected.iter().map(|c| c.signal.closed().unwrap().wait_ms).collect();
        slots.sort_unstable();
        assert_eq!(slots, [(0, 10_000), (10_000, 20_000), (20_000, 30_000)]);
        assert_eq!(code(&live(&sockets, 9)), Some(close::DRAINING));
    }

    #[test]
    fn everyone_is_sent_away_and_whoever_comes_then_stays() {
        let sockets = Arc::new(Sockets::default());
        let (open, waits) = (live(&sockets, 1), watch(&sockets, access(2)).unwrap());
        sockets.send_away();
        let back = live(&sockets, 1);
        let away = Some(close::DRAINING);
        assert_eq!([&open, &waits, &back].map(code), [away, away, None]);
    }

    #[test]
    fn an_account_has_ten_open_sockets_and_a_device_that_comes_back_is_no_eleventh() {
        let sockets = Arc::new(Sockets::default());
        let mut open: Vec<_> = (1..=10).map(|n| live(&sockets, n)).collect();
        let eleventh = |account: u128| sockets.live(of_account(account, 11), Kid::default(), 10);
        assert!(eleventh(1).is_none());
        assert!(eleventh(2).is_some(), "another account is not concerned");
        open.push(live(&sockets, 3));
        assert!(eleventh(1).is_none());
        open.remove(0);
        assert!(eleventh(1).is_some());
        drop(open);
        assert!(sockets.inner().accounts.is_empty() && sockets.is_empty());
    }

    #[test]
    fn an_account_waits_in_so_many_places_and_another_is_not_concerned() {
        let sockets = Arc::new(Sockets::default());
        let waiting: Vec<_> = (0..WAITING as u128).filter_map(|n| watch(&sockets, access(n))).collect();
        assert_eq!(waiting.len(), WAITING);
        assert!(watch(&sockets, access(1)).is_none() && watch(&sockets, of_account(2, 1)).is_some());
        drop(waiting);
        assert!(watch(&sockets, access(1)).is_some() && sockets.waiting.all_free());
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let sockets = Arc::new(Sockets::default());
        drop(live(&sockets, 1));
        assert!(sockets.is_empty() && sockets.inner().live.is_empty());
    }
}
