//! How much is left of a quota: the generic cell rate algorithm. Pure; every store decides by it.
//!
//! A bucket is one number: the time at which it will be full again. What is taken moves that time by one step; it may
//! not lie further ahead than the window.

use lockstep_events::Micros;

const SECOND: i64 = 1_000_000;
/// Clocks of several nodes differ by less, in microseconds: a minute.
pub const SLACK: i64 = 60 * SECOND;
/// No window is longer: a day.
pub const LONGEST: i64 = 24 * 3600 * SECOND;

/// So many at once, and one more in every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Microseconds until one more may be taken.
    pub step: i64,
    /// How many may be taken at once.
    pub burst: i64,
}

impl Quota {
    /// `burst` at once, then `count` in `seconds`.
    pub const fn new(burst: i64, count: i64, seconds: i64) -> Self {
        Self { step: seconds * SECOND / count, burst }
    }

    /// `count` in `seconds`, all at once if it must be.
    pub const fn per(count: i64, seconds: i64) -> Self {
        Self::new(count, count, seconds)
    }

    /// The quota times a number.
    #[must_use]
    pub const fn times(self, factor: u32) -> Self {
        let factor = if factor == 0 { 1 } else { factor as i64 };
        let step = self.step / factor;
        Self { step: if step == 0 { 1 } else { step }, burst: self.burst.saturating_mul(factor) }
    }

    /// How far ahead the time may lie.
    pub const fn window(self) -> i64 {
        self.step.saturating_mul(self.burst)
    }

    /// The time of a bucket as this clock has it. One that lies further ahead than any take can move it was written by a
    /// clock that has been set back since: that bucket is empty, and fills from now on. It has to be kept so, or it would
    /// never fill.
    pub const fn seen(self, full_at: Micros, now: Micros) -> Micros {
        let empty = now.0.saturating_add(self.window());
        if full_at.0 > empty.saturating_add(SLACK) { Micros(empty) } else { full_at }
    }

    /// Takes one from a bucket that will be full at `full_at`: its new time, or for how long nothing may be taken.
    ///
    /// # Errors
    /// The microseconds until one may be taken.
    pub fn take(self, full_at: Option<Micros>, now: Micros) -> Result<Micros, i64> {
        self.take_some(1, full_at, now)
    }

    /// Takes so many at once, all or none.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_some(self, number: i64, full_at: Option<Micros>, now: Micros) -> Result<Micros, i64> {
        let taken = self.step.saturating_mul(number);
        let next = full_at.unwrap_or(now).max(now).0.saturating_add(taken);
        let over = next.saturating_sub(now.0.saturating_add(self.window()));
        if over <= 0 { Ok(Micros(next)) } else { Err(over) }
    }

    /// What is left in a bucket.
    pub fn standing(self, full_at: Micros, now: Micros) -> Standing {
        let ahead = full_at.0.saturating_sub(now.0).max(0);
        Standing {
            limit: self.burst,
            remaining: (self.window().saturating_sub(ahead) / self.step).max(0),
            reset_s: ahead.saturating_add(SECOND - 1) / SECOND,
        }
    }
}

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many may be taken at once.
    pub limit: i64,
    /// How many may be taken now.
    pub remaining: i64,
    /// Seconds until all of them may be taken.
    pub reset_s: i64,
}

impl Standing {
    /// The one that stops a caller sooner.
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        if other.remaining < self.remaining { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `tries` at the given times are taken.
    fn taken(quota: Quota, times: impl Iterator<Item = i64>) -> usize {
        let mut full_at = None;
        let mut count = 0;
        for now in times {
            if let Ok(next) = quota.take(full_at, Micros(now)) {
                (full_at, count) = (Some(next), count + 1);
            }
        }
        count
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_in_every_step() {
        let quota = Quota::new(10, 6, 60);
        assert_eq!(taken(quota, (0..1000).map(|_| 0)), 10);
        assert_eq!(taken(quota, (0..6_000).map(|n| n * SECOND / 100)), 10 + 5);
        assert_eq!(quota.take(Some(Micros(quota.window())), Micros(0)), Err(10 * SECOND));
        assert!(quota.take(Some(Micros(quota.window())), Micros(10 * SECOND)).is_ok());
    }

    #[test]
    fn a_bucket_that_rested_is_full_and_never_fuller() {
        let quota = Quota::per(5, 60);
        let rested = (0..100).map(|_| 3_600 * SECOND);
        assert_eq!(taken(quota, std::iter::once(0).chain(rested)), 1 + 5);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_away() {
        let quota = Quota::per(5, 60);
        let times = [100, 100, 100, 100, 100].into_iter().chain((0..50).map(|_| 0)).map(|s| s * SECOND);
        assert_eq!(taken(quota, times), 5);
    }

    #[test]
    fn a_factor_multiplies_burst_and_rate() {
        let quota = Quota::new(3, 3, 3600);
        assert_eq!(quota.times(8), Quota::new(24, 24, 3600));
        assert_eq!(quota.times(1), quota);
        assert!(taken(quota.times(u32::MAX), (0..10_000).map(|_| 0)) == 10_000);
    }

    #[test]
    fn what_is_left_is_told_in_whole_numbers_that_a_caller_can_rely_on() {
        let quota = Quota::per(5, 60);
        let after_one = quota.take(None, Micros(0)).unwrap();
        assert_eq!(quota.standing(after_one, Micros(0)), Standing { limit: 5, remaining: 4, reset_s: 12 });
        assert_eq!(quota.standing(after_one, Micros(1)).reset_s, 12);
        assert_eq!(quota.standing(after_one, Micros(12 * SECOND)).remaining, 5);
        assert_eq!(quota.standing(Micros(quota.window()), Micros(0)).remaining, 0);
    }
}
