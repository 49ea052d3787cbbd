//! How long to wait before the next try: full jitter, growing, never shorter than the server asks.

use std::time::Duration;

use rand::RngCore;

const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_mins(1);

/// Waiting times of one loop.
#[derive(Debug, Default, Clone)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked: start again from the shortest wait.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait, given how long the server asks.
    pub(crate) fn next(&mut self, asked: Option<Duration>, rng: &mut impl RngCore) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(8)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        asked.unwrap_or_default() + jitter(Duration::ZERO, most, rng)
    }
}

/// A random time between two.
pub(crate) fn jitter(least: Duration, most: Duration, rng: &mut impl RngCore) -> Duration {
    let span = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
    least + Duration::from_millis(rng.next_u64() % span.saturating_add(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn waits_grow_to_a_minute_spread_over_their_whole_range_and_start_again_after_success() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..2000).map(|_| backoff.next(None, &mut rng)).collect();
        assert!(waits[0] <= FIRST && waits.iter().all(|wait| *wait <= MOST));
        let late = &waits[100..];
        assert!(late.iter().any(|wait| *wait < MOST / 10) && late.iter().any(|wait| *wait > MOST * 9 / 10));
        backoff.reset();
        assert!(backoff.next(None, &mut rng) <= FIRST);
    }

    #[test]
    fn a_wait_is_never_shorter_than_the_server_asks() {
        let mut rng = StdRng::seed_from_u64(2);
        let asked = Duration::from_secs(7);
        assert!((0..100).all(|_| Backoff::default().next(Some(asked), &mut rng) >= asked));
    }
}
