//! The convergence test of sync.md §9: thousands of seeded runs of the protocol's model, with every invariant of §10
//! that a model can show, and the faults that it has to catch.
//!
//! `LOCKSTEP_TEST_HISTORIES=n` plays another number of them, `LOCKSTEP_TEST_HISTORY=n` the one of this seed alone.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_events::testing::model::{Failure, Fault, run};

const SEEDS: u64 = 10_000;
/// Every fault is found within so many seeds.
const FAULT_SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs all seeds on two threads; the failure with the lowest seed that was found.
fn run_all(seeds: std::ops::Range<u64>, fault: Option<Fault>) -> Option<Box<Failure>> {
    let (next, end) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.end));
    let work = || {
        let mut first: Option<Box<Failure>> = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                return first;
            }
            if let Err(failure) = run(seed, fault) {
                end.fetch_min(seed, Ordering::Relaxed);
                first = Some(failure);
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mine = work();
        let other = other.join().unwrap();
        mine.into_iter().chain(other).min_by_key(|failure| failure.seed)
    })
}

#[test]
fn every_invariant_holds_in_ten_thousand_random_histories() {
    let seeds = match number("LOCKSTEP_TEST_HISTORY") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LOCKSTEP_TEST_HISTORIES").unwrap_or(SEEDS),
    };
    let started = std::time::Instant::now();
    let count = seeds.end - seeds.start;
    if let Some(failure) = run_all(seeds, None) {
        panic!("{failure}");
    }
    println!("{count} histories in {:.1} s", started.elapsed().as_secs_f64());
}

#[test]
fn each_seeded_fault_is_caught() {
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        match run_all(0..FAULT_SEEDS, Some(fault)) {
            Some(failure) => {
                let (seed, steps) = (failure.seed, failure.steps.len());
                println!("{fault:?}: {} (seed {seed}, {steps} steps)", failure.violation);
                assert!(steps < 60, "{fault:?} was not made small: {failure}");
            }
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not caught in {FAULT_SEEDS} seeds: {missed:?}");
}

#[test]
fn each_fault_in_who_may_speak_is_seen_by_the_invariant_that_is_about_it() {
    let seen = [
        (Fault::TakesFromRevoked, "A1"),
        (Fault::TakesEndedToken, "A2"),
        (Fault::RetriedRenewalEndsSession, "A3"),
        (Fault::JoinerDistrustsRevoked, "A4"),
        (Fault::FeedsRevoked, "L6"),
        (Fault::RevocationEmptiesOutbox, "C2"),
    ];
    for (fault, invariant) in seen {
        let failure = run_all(0..FAULT_SEEDS, Some(fault)).unwrap();
        assert_eq!(failure.violation.invariant, invariant, "{fault:?}: {failure}");
    }
}

#[test]
fn a_failing_history_is_the_same_every_time_and_cannot_be_made_smaller_by_one_step() {
    let failure =
        (0..FAULT_SEEDS).find_map(|seed| run(seed, Some(Fault::DeleteNamesOnlyWinner)).err()).unwrap();
    let again = run(failure.seed, Some(Fault::DeleteNamesOnlyWinner)).unwrap_err();
    assert_eq!((&failure.violation, &failure.steps), (&again.violation, &again.steps));
    assert_eq!(failure.violation.invariant, "C4");
    assert!(failure.to_string().starts_with(&format!("seed {}: C4", failure.seed)));
}
