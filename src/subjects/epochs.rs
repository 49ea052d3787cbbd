//! The keys that seal subject keys: one for each epoch of 30 days, in the server's key file, outside every database.
//!
//! The key of an epoch is made from that of the epoch before by a one-way step. So all nodes come to the same key
//! by the clock alone, also with copies of the file, and nobody comes from a key to an earlier one: once the file
//! begins at an epoch, nothing opens what was sealed before it. A database backup older than two epochs is dead.

use lockstep_events::Micros;
use rand::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::cipher::{Key, derived};

/// An epoch, in seconds: 30 days.
const EPOCH_S: i64 = 30 * 24 * 3600;

/// The number of the epoch at a time.
pub fn epoch_at(now: Micros) -> u32 {
    u32::try_from(now.seconds().div_euclid(EPOCH_S)).unwrap_or(0)
}

/// The keys from one epoch on.
#[derive(Clone)]
pub struct EpochKeys {
    first: u32,
    key: Key,
}

impl EpochKeys {
    /// New keys, from the first epoch of all on: the first turn forgets those that are over.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *key);
        Self { first: 0, key }
    }

    /// The keys from an epoch on, by its key.
    pub fn from(first: u32, key: Key) -> Self {
        Self { first, key }
    }

    /// The first epoch that there is a key for.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The key of the first epoch, for the key file.
    pub fn first_key(&self) -> &Key {
        &self.key
    }

    /// The key of an epoch; none for an epoch whose key was destroyed.
    pub fn key(&self, epoch: u32) -> Option<Key> {
        let steps = epoch.checked_sub(self.first)?;
        Some((0..steps).fold(self.key.clone(), |key, _| derived(&key, "next epoch")))
    }

    /// The same without the keys before an epoch.
    #[must_use]
    pub fn from_epoch(&self, epoch: u32) -> Self {
        match self.key(epoch) {
            Some(key) => Self { first: epoch, key },
            None => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::OsRng;

    const NOW: Micros = Micros(1_795_608_000_000_000);

    #[test]
    fn everybody_comes_to_the_same_key_of_an_epoch_and_nobody_to_an_earlier_one() {
        let now = epoch_at(NOW);
        let keys = EpochKeys::generate(&mut OsRng).from_epoch(now - 1);
        let later = keys.from_epoch(now + 1);
        assert_eq!(later.key(now + 3), keys.key(now + 3));
        assert_eq!(later.key(now), None);
        assert_ne!(keys.key(now), keys.key(now + 1));
        assert!(later.from_epoch(now).first() == now + 1, "there is no way back");
    }

    #[test]
    fn an_epoch_has_thirty_days() {
        let begin = Micros(i64::from(epoch_at(NOW)) * EPOCH_S * 1_000_000);
        assert_eq!(epoch_at(begin), epoch_at(NOW));
        assert_eq!(epoch_at(Micros(begin.0 - 1)), epoch_at(NOW) - 1);
        assert_eq!(epoch_at(begin.plus_seconds(EPOCH_S)), epoch_at(NOW) + 1);
    }
}
