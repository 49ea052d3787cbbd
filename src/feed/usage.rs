//! What vaults take up, counted in memory for those who write: the read model's row, what this node appended since,
//! and what it is appending now.
//!
//! The follower only says how long a vault's stream is. Where it is longer than the row and this node's own pushes
//! explain, another node wrote: the row has to be read again.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lockstep_events::{Recorded, Seq, StreamKind, VaultId};
use lru::LruCache;
use tokio::sync::Notify;

use crate::bounded::bounded;

/// So many vaults, about 200 bytes each.
const KEPT: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// A row is read again at most so often while others write.
const FRESH: Duration = Duration::from_millis(250);
/// After so many pushes of this node the row is read again, so that they need not be remembered.
const REMEMBERED: usize = 256;

/// How much there is, or how much more it becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Entries that are not deleted.
    pub entries: i64,
    /// Bytes of ciphertext.
    pub bytes: i64,
}

impl Amount {
    /// Only what makes it more: room that a failed append would not have freed is not given away.
    fn growth(self) -> Self {
        Self { entries: self.entries.max(0), bytes: self.bytes.max(0) }
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { entries: self.entries + more.entries, bytes: self.bytes + more.bytes }
    }
}

impl std::ops::Neg for Amount {
    type Output = Self;

    fn neg(self) -> Self {
        Self { entries: -self.entries, bytes: -self.bytes }
    }
}

#[derive(Debug, Clone)]
struct Counted {
    row: Amount,
    at: Seq,
    /// What this node appended after `at`: number of events and what they added, by the seq of the last.
    ours: BTreeMap<Seq, (u64, Amount)>,
    appending: Amount,
    end: Seq,
    read: Instant,
}

impl Counted {
    fn settled(&self) -> Amount {
        self.ours.values().fold(self.row, |sum, (_, amount)| sum + *amount)
    }

    fn is_old(&self) -> bool {
        let known: u64 = self.ours.values().map(|(events, _)| events).sum();
        let others_wrote = self.end.0 > self.at.0 + known;
        self.ours.len() > REMEMBERED || (others_wrote && self.read.elapsed() > FRESH)
    }
}

/// Counters by vault.
#[derive(Debug)]
pub struct Usage {
    kept: Mutex<LruCache<VaultId, Counted>>,
    /// Told whenever an append has ended.
    ended: Notify,
}

impl Default for Usage {
    fn default() -> Self {
        Self { kept: Mutex::new(bounded(KEPT)), ended: Notify::new() }
    }
}

/// What some vaults take up together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// What stands.
    pub settled: Amount,
    /// What is being appended, and may fail.
    pub appending: Amount,
}

impl Usage {
    fn kept(&self) -> MutexGuard<'_, LruCache<VaultId, Counted>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in events in the order of the log.
    pub fn apply(&self, events: &[Recorded]) {
        let mut ends: HashMap<VaultId, Seq> = HashMap::new();
        for recorded in events.iter().filter(|recorded| recorded.stream_kind == StreamKind::Vault) {
            ends.insert(recorded.stream.into(), recorded.seq);
        }
        let mut kept = self.kept();
        for (vault, end) in ends {
            if let Some(counted) = kept.peek_mut(&vault) {
                counted.end = counted.end.max(end);
            }
        }
    }

    /// Those of some vaults whose row has to be read.
    pub fn unread(&self, vaults: &[VaultId]) -> Vec<VaultId> {
        let kept = self.kept();
        vaults.iter().filter(|vault| kept.peek(vault).is_none_or(Counted::is_old)).copied().collect()
    }

    /// Takes in the row of a vault.
    pub fn read(&self, vault: VaultId, row: Amount, at: Seq) {
        let mut kept = self.kept();
        let read = Instant::now();
        match kept.get_mut(&vault) {
            None => {
                let (ours, appending) = (BTreeMap::new(), Amount::default());
                kept.put(vault, Counted { row, at, ours, appending, end: at, read });
            }
            Some(counted) => {
                counted.read = read;
                if at >= counted.at {
                    (counted.row, counted.at) = (row, at);
                    counted.end = counted.end.max(at);
                    counted.ours = counted.ours.split_off(&at.next());
                }
            }
        }
    }

    /// What some vaults take up.
    pub fn used(&self, vaults: &[VaultId]) -> Used {
        used(&self.kept(), vaults)
    }

    /// Reserves room in a vault, if `fits` says that it is there; else what is used.
    ///
    /// # Errors
    /// What `fits` says.
    pub fn reserve<E>(
        &self,
        vaults: &[VaultId],
        (vault, more): (VaultId, Amount),
        fits: impl FnOnce(Used) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut kept = self.kept();
        fits(used(&kept, vaults))?;
        if let Some(counted) = kept.get_mut(&vault) {
            counted.appending = counted.appending + more.growth();
        }
        Ok(())
    }

    /// An append has ended: what it added, if it stands, with the seq of its last event.
    pub fn ended(&self, vault: VaultId, reserved: Amount, stands: Option<(Seq, u64)>) {
        if let Some(counted) = self.kept().get_mut(&vault) {
            counted.appending = counted.appending + -reserved.growth();
            if let Some((last, events)) = stands.filter(|(last, _)| *last > counted.at) {
                counted.ours.insert(last, (events, reserved));
                counted.end = counted.end.max(last);
            }
        }
        self.ended.notify_waiters();
    }

    /// Waits until some append has ended, but not for long.
    pub async fn some_end(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(50), self.ended.notified()).await;
    }
}

fn used(kept: &LruCache<VaultId, Counted>, vaults: &[VaultId]) -> Used {
    let mut used = Used::default();
    for counted in vaults.iter().filter_map(|vault| kept.peek(vault)) {
        used.settled = used.settled + counted.settled();
        used.appending = used.appending + counted.appending;
    }
    used
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::feed::testing::some_event;

    const VAULT: VaultId = VaultId(Uuid::from_u128(1));
    const ONE: Amount = Amount { entries: 1, bytes: 10 };

    fn used(usage: &Usage) -> Used {
        let mut seen = Used::default();
        let refuse = |used| {
            seen = used;
            Err(())
        };
        assert!(usage.reserve(&[VAULT], (VAULT, ONE), refuse).is_err());
        seen
    }

    fn reserve(usage: &Usage) {
        usage.reserve(&[VAULT], (VAULT, ONE), |_| Ok::<_, ()>(())).unwrap();
    }

    fn given(entries: i64, at: u64) -> Usage {
        let usage = Usage::default();
        usage.read(VAULT, Amount { entries, bytes: 0 }, Seq(at));
        usage
    }

    #[test]
    fn what_is_being_appended_counts_until_it_stands_or_failed() {
        let usage = given(4, 5);
        reserve(&usage);
        reserve(&usage);
        assert_eq!((used(&usage).settled.entries, used(&usage).appending.entries), (4, 2));
        usage.ended(VAULT, ONE, Some((Seq(6), 1)));
        usage.ended(VAULT, ONE, None);
        assert_eq!((used(&usage).settled.entries, used(&usage).appending.entries), (5, 0));
    }

    #[test]
    fn an_entry_that_is_being_deleted_counts_until_it_is_gone() {
        let usage = given(4, 5);
        let less = Amount { entries: -1, bytes: 0 };
        usage.reserve(&[VAULT], (VAULT, less), |_| Ok::<_, ()>(())).unwrap();
        assert_eq!((used(&usage).settled.entries, used(&usage).appending.entries), (4, 0));
        usage.ended(VAULT, less, Some((Seq(6), 1)));
        assert_eq!((used(&usage).settled.entries, used(&usage).appending.entries), (3, 0));
    }

    #[test]
    fn what_the_row_has_already_is_not_counted_twice() {
        let usage = given(4, 5);
        reserve(&usage);
        usage.ended(VAULT, ONE, Some((Seq(6), 1)));
        usage.read(VAULT, Amount { entries: 5, bytes: 0 }, Seq(6));
        assert_eq!(used(&usage).settled.entries, 5);
        reserve(&usage);
        usage.read(VAULT, Amount { entries: 6, bytes: 0 }, Seq(7));
        usage.ended(VAULT, ONE, Some((Seq(7), 1)));
        assert_eq!(used(&usage).settled.entries, 6);
    }

    #[test]
    fn the_row_is_read_again_when_somebody_else_wrote_and_not_for_pushes_of_this_node() {
        let usage = given(4, 5);
        let event = |seq| Recorded { stream: VAULT.into(), ..some_event(seq) };
        reserve(&usage);
        usage.ended(VAULT, ONE, Some((Seq(6), 1)));
        usage.apply(&[event(6)]);
        std::thread::sleep(FRESH * 2);
        assert!(usage.unread(&[VAULT]).is_empty());
        usage.apply(&[event(7)]);
        assert_eq!(usage.unread(&[VAULT]), [VAULT]);
    }
}
