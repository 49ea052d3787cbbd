//! Whether two kinds of questions take the same time, by many pairs of them.
//!
//! As `dudect` (Reparaz, Balasch, Verbauwhede: "dude, is my code constant time?") decides it: what another program had its
//! part in lies far out, so the slowest tenth of both kinds is left out, by a bound that is common to them; of the rest,
//! Student's t says how many standard errors the mean difference is away from nothing. The two of a pair stand side by
//! side: what slows the machine slows both.

/// How far apart the medians of both kinds may be, in milliseconds.
const MEDIANS: f64 = 0.2;
/// By how many standard errors the means may differ. Without a difference that is reached once in 150,000 times.
const T: f64 = 4.5;
/// Of all times, so many are kept.
const KEPT: f64 = 0.9;

/// What many pairs say.
#[derive(Debug, Clone, Copy)]
pub struct Comparison {
    /// How much longer the first kind took by the medians, in milliseconds.
    pub medians: f64,
    /// By how many standard errors it took longer by the means.
    pub t: f64,
    /// The standard error, in milliseconds.
    pub error: f64,
}

impl Comparison {
    /// Compares the times of pairs, in milliseconds.
    pub fn of(pairs: &[[f64; 2]]) -> Self {
        let of_kind = |kind: usize| sorted(pairs.iter().map(|pair| pair[kind]));
        let medians = at(&of_kind(0), 0.5) - at(&of_kind(1), 0.5);
        let bound = at(&sorted(pairs.iter().flatten().copied()), KEPT);
        let kept = pairs.iter().filter(|pair| pair.iter().all(|time| *time <= bound));
        let differences: Vec<f64> = kept.map(|pair| pair[0] - pair[1]).collect();
        let (mean, error) = mean(&differences);
        Self { medians, t: mean / error, error }
    }

    /// Whether both bars hold.
    pub fn is_alike(&self) -> bool {
        self.medians.abs() < MEDIANS && self.t.abs() < T
    }

    /// Whether a mean difference of so many milliseconds could not have been missed, but for one in 150,000 times.
    pub fn would_see(&self, difference: f64) -> bool {
        difference > 2.0 * T * self.error
    }
}

fn sorted(times: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The value that so large a part of all is not above.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a place among some thousands"
)]
fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// The mean and its standard error.
#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// Times as a busy machine gives them: two tenths of a millisecond of noise, and now and then twenty milliseconds in
    /// which something else runs. The first kind takes longer by a time.
    fn times(seed: u64, longer: f64) -> Vec<[f64; 2]> {
        let mut draw = StdRng::seed_from_u64(seed);
        let mut one = move |more: f64| {
            let away = if draw.gen_bool(0.05) { draw.gen_range(0.0..20.0) } else { 0.0 };
            2.0 + more + draw.gen_range(0.0..0.2) + away
        };
        (0..5_000).map(|_| [one(longer), one(0.0)]).collect()
    }

    #[test]
    fn the_same_times_are_alike_however_far_out_some_of_them_lie() {
        for seed in 0..300 {
            let comparison = Comparison::of(&times(seed, 0.0));
            assert!(comparison.is_alike(), "seed {seed}: {comparison:?}");
        }
    }

    #[test]
    fn fifty_microseconds_are_told_by_their_errors_and_a_quarter_of_a_millisecond_by_the_medians_too() {
        for (seed, sign) in (0..50).flat_map(|seed| [(seed, 1.0), (seed, -1.0)]) {
            let small = Comparison::of(&times(seed, 0.05 * sign));
            assert!(
                small.would_see(0.05) && small.t * sign > T && small.medians.abs() < MEDIANS,
                "{small:?}"
            );
            let large = Comparison::of(&times(seed, 0.25 * sign));
            assert!(large.medians * sign > MEDIANS && large.t * sign > T, "{large:?}");
        }
    }
}
