//! Names for the log that lead to nobody without the key file, and in no month to those of another.

use std::sync::{Mutex, PoisonError};

use lockstep_events::{AccountId, Micros, SessionId, canonical::Writer};

use crate::auth::server_keys::ServerKeys;

/// A key is used so long, in microseconds: 30 days.
const MONTH: i64 = 30 * 24 * 3600 * 1_000_000;

/// Eight hexadecimal digits that stand for an account or a session.
pub type Pseudonym = String;

/// Makes pseudonyms.
pub struct Pseudonyms {
    root: [u8; 32],
    now: Mutex<(i64, [u8; 32])>,
}

impl Pseudonyms {
    /// With a key that is derived from the key file.
    pub fn new(keys: &ServerKeys) -> Self {
        Self { root: keys.stable("log-pseudonyms", b""), now: Mutex::new((i64::MIN, [0; 32])) }
    }

    /// The key of the month.
    fn key(&self, at: Micros) -> [u8; 32] {
        let month = at.0.div_euclid(MONTH);
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0 != month {
            let about = Writer::new("lockstep/v1/log-month").fixed(&self.root).fixed(&month.to_be_bytes());
            *now = (month, about.sha256());
        }
        now.1
    }

    fn of(&self, kind: &str, id: &[u8], at: Micros) -> Pseudonym {
        // All parts have a fixed length but the first, which has its length before it: no input continues another.
        let hash = Writer::new(kind).fixed(&self.key(at)).fixed(id).sha256();
        hex::encode(&hash[..4])
    }

    /// For an account.
    pub fn account(&self, account: AccountId, at: Micros) -> Pseudonym {
        self.of("lockstep/v1/log-account", account.as_bytes(), at)
    }

    /// For a session.
    pub fn session(&self, session: SessionId, at: Micros) -> Pseudonym {
        self.of("lockstep/v1/log-session", session.as_bytes(), at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::OsRng;
    use uuid::Uuid;

    #[test]
    fn a_pseudonym_stays_for_a_month_and_means_nothing_without_the_key() {
        let keys = ServerKeys::generate(&mut OsRng);
        let names = Pseudonyms::new(&keys);
        let (account, other) = (AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let first = names.account(account, Micros(1));
        assert_eq!(first.len(), 8);
        assert_eq!(first, Pseudonyms::new(&keys).account(account, Micros(MONTH - 1)));
        assert_ne!(first, names.account(account, Micros(MONTH)));
        assert_ne!(first, names.account(other, Micros(1)));
        assert_ne!(first, names.session(SessionId(account.0), Micros(1)));
        assert_ne!(first, Pseudonyms::new(&ServerKeys::generate(&mut OsRng)).account(account, Micros(1)));
    }
}
