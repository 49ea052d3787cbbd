//! What one process counts by itself, in memory.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lockstep_events::Micros;

use super::gcra::{LONGEST, Quota, SLACK};

const SHARDS: usize = 16;
/// Buckets of one shard at most; a million in all. When so many are in use, newcomers wait.
const MOST: usize = 65_536;
/// From so many on a shard is looked through for buckets that are full again.
const FEW: usize = 1_024;
/// A full shard is looked through once in so many microseconds.
const REST: i64 = 1_000_000;

/// A bucket: of which action, of which kind, whose.
pub type Key = (u8, u8, u128);

#[derive(Debug, Default)]
struct Shard {
    full_at: HashMap<Key, Micros>,
    sweep_from: usize,
    swept_at: i64,
}

/// The buckets of this process.
#[derive(Debug)]
pub struct Local {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

impl Default for Local {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Local {
    /// Takes one from a bucket: when it will be full again.
    ///
    /// # Errors
    /// The microseconds until one may be taken.
    pub fn take(&self, key: Key, quota: Quota, now: Micros) -> Result<Micros, i64> {
        self.take_some(1, key, quota, now)
    }

    /// Takes so many at once, all or none.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_some(&self, number: i64, key: Key, quota: Quota, now: Micros) -> Result<Micros, i64> {
        let mut shard = self.shard(key);
        if let Some(full_at) = shard.full_at.get_mut(&key) {
            *full_at = quota.seen(*full_at, now);
            *full_at = quota.take_some(number, Some(*full_at), now)?;
            return Ok(*full_at);
        }
        shard.make_room(now)?;
        let full_at = quota.take_some(number, None, now)?;
        shard.full_at.insert(key, full_at);
        Ok(full_at)
    }

    /// Puts one back into a bucket.
    pub fn give_back(&self, key: Key, quota: Quota) {
        if let Some(full_at) = self.shard(key).full_at.get_mut(&key) {
            full_at.0 -= quota.step;
        }
    }

    /// Forgets buckets that are full again; how many.
    pub fn sweep(&self, now: Micros) -> u64 {
        let forgotten = self.shards.iter().map(|shard| {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let before = shard.full_at.len();
            shard.forget(now);
            before - shard.full_at.len()
        });
        forgotten.sum::<usize>() as u64
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        let place = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Forgets what is full again. What a clock wrote that has been set back since is full in a day.
    fn forget(&mut self, now: Micros) {
        let latest = now.0.saturating_add(LONGEST);
        self.full_at.retain(|_, full_at| {
            if full_at.0 > latest.saturating_add(SLACK) {
                *full_at = Micros(latest);
            }
            *full_at > now
        });
    }

    fn make_room(&mut self, now: Micros) -> Result<(), i64> {
        let used = self.full_at.len();
        if used < self.sweep_from.max(FEW) {
            return Ok(());
        }
        if used < MOST || now.0.abs_diff(self.swept_at) >= REST.unsigned_abs() {
            self.forget(now);
            self.swept_at = now.0;
            self.sweep_from = (self.full_at.len() * 2).min(MOST);
        }
        // To forget a bucket that is in use would be to fill it.
        if self.full_at.len() < MOST { Ok(()) } else { Err(REST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_taken_together_or_not_at_all() {
        let (local, quota, key) = (Local::default(), Quota::per(10, 60), (0, 0, 1));
        let take = |number| local.take_some(number, key, quota, Micros(0)).is_ok();
        assert_eq!([take(7), take(4), take(3), take(1)], [true, false, true, false]);
    }

    #[test]
    fn buckets_are_apart_and_run_empty() {
        let (local, quota) = (Local::default(), Quota::per(3, 60));
        for key in [(0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 1)] {
            let left: Vec<_> = (0..5)
                .map(|_| local.take(key, quota, Micros(0)).map(|at| quota.standing(at, Micros(0)).remaining))
                .collect();
            assert_eq!(left, [Ok(2), Ok(1), Ok(0), Err(20_000_000), Err(20_000_000)]);
        }
    }

    #[test]
    fn memory_is_bounded_and_a_flood_of_strangers_fills_no_bucket() {
        let (local, quota) = (Local::default(), Quota::per(3, 60));
        for _ in 0..3 {
            assert!(local.take((0, 0, 0), quota, Micros(0)).is_ok());
        }
        let most = u128::try_from(SHARDS * MOST).unwrap();
        let taken = (1..most * 2).filter(|n| local.take((0, 0, *n), quota, Micros(1)).is_ok()).count();
        assert!(taken < SHARDS * MOST);
        assert!(local.take((0, 0, 0), quota, Micros(2)).is_err(), "the first bucket is still empty");
        let later = Micros(120_000_000);
        assert!(local.take((0, 0, most * 3), quota, later).is_ok(), "what is full again is forgotten");
    }
}
