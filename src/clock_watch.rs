//! Whether this node's clock goes with that of the database, which is the same for all nodes. By its own a node ends
//! sessions, begins erasures and dates the log, and nothing takes back what one did that was days ahead.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lockstep_events::{Clock, Micros};
use tokio::time::timeout;

use crate::auth::credentials::{CredentialError, CredentialStore};

/// Clocks that are further apart are told, until they are nearer than the second.
const TOLD: i64 = 2_000_000;
const NEAR: i64 = 1_000_000;
/// A node whose clock is further off does not serve.
const FAR: i64 = 30_000_000;
/// A database that says nothing for so long is gone: no statement takes longer.
const SILENCE: Duration = Duration::from_secs(35);

/// How two clocks go together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Together {
    /// As clocks do.
    #[default]
    Near,
    /// Not so well that nobody would be told.
    Apart,
    /// So badly that nothing should be decided by this one.
    Far,
}

impl Together {
    fn next(self, apart: i64) -> Self {
        match apart.saturating_abs() {
            far if far > FAR => Self::Far,
            apart if apart > TOLD || self != Self::Near && apart > NEAR => Self::Apart,
            _ => Self::Near,
        }
    }
}

/// What was found when the clocks were last compared.
#[derive(Debug, Default)]
pub struct ClockWatch(Mutex<Together>);

impl ClockWatch {
    /// How the clocks went together then.
    pub fn together(&self) -> Together {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares a clock with that of the database, if it has one of its own, and says what has changed. What the clock
    /// said before that: where the two go together, no later one is known to be right.
    ///
    /// # Errors
    /// If the database does not answer: what was found before stays so.
    async fn look(&self, store: &dyn CredentialStore, clock: &dyn Clock) -> Result<Micros, CredentialError> {
        let before = clock.now();
        if let Some(there) = store.clock().await? {
            self.found(apart(before, there, clock.now()));
        }
        Ok(before)
    }

    /// The time, for what nothing takes back; none by a clock that is far off. It is compared now: since the last look a
    /// clock may have been set.
    ///
    /// # Errors
    /// If the database does not answer: the time is not known then.
    pub async fn sure_time(
        &self,
        store: &dyn CredentialStore,
        clock: &dyn Clock,
    ) -> Result<Option<Micros>, CredentialError> {
        let look = timeout(SILENCE, self.look(store, clock)).await;
        let now = look.map_err(|late| CredentialError::Unavailable(late.into()))??;
        Ok(Some(now).filter(|_| self.together() != Together::Far))
    }

    fn found(&self, apart: i64) {
        let mut together = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (was, ms) = (*together, apart / 1000);
        *together = was.next(apart);
        match (was, *together) {
            (was, now) if was == now => {}
            (_, Together::Near) => tracing::info!("this clock and the database's go together again"),
            (Together::Near, Together::Apart) => tracing::warn!(
                ms,
                "this clock and the database's are apart: let both be kept by NTP; from 30 s on the node is not ready"
            ),
            (_, Together::Apart) => {
                tracing::info!(
                    ms,
                    "this clock and the database's are less than 30 s apart: the node is ready"
                );
            }
            (_, Together::Far) => tracing::warn!(
                ms,
                "this clock and the database's are too far apart: the node is not ready until one of them is put right"
            ),
        }
    }
}

/// By how much a clock is ahead of one that was read between two of its times, or behind if negative: at the least, however
/// long the answer took.
fn apart(before: Micros, there: Micros, after: Micros) -> i64 {
    if there < before {
        before.0 - there.0
    } else if there > after {
        after.0 - there.0
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_takes_long_makes_no_clock_wrong() {
        let of = |before, there, after| apart(Micros(before), Micros(there), Micros(after));
        assert_eq!((of(0, 0, 0), of(0, 40, 40), of(5, 7, 40)), (0, 0, 0));
        assert_eq!(of(100, 60, 110), 40, "ahead");
        assert_eq!(of(100, 160, 110), -50, "behind");
    }

    #[test]
    fn a_clock_is_told_from_two_seconds_on_and_decides_nothing_from_thirty_on() {
        let watch = ClockWatch::default();
        let found = |apart_ms: i64| {
            watch.found(apart_ms * 1000);
            watch.together()
        };
        assert_eq!((found(1_900), found(-1_900)), (Together::Near, Together::Near));
        assert_eq!((found(2_100), found(-29_000)), (Together::Apart, Together::Apart));
        assert_eq!((found(31_000), found(-31_000)), (Together::Far, Together::Far));
        assert_eq!((found(1_500), found(900)), (Together::Apart, Together::Near));
        watch.found(i64::MIN);
        assert_eq!(watch.together(), Together::Far);
    }
}
