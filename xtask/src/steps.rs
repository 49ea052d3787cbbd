//! One after the other, each under its own heading, with a table of times at the end.

use crate::process::{Failure, Result, fail};
use std::time::{Duration, Instant};

/// What a step achieved, in a few words for the table ("412 tests").
pub type Achieved = Result<String>;

struct Line {
    name: &'static str,
    took: Duration,
    outcome: Achieved,
}

/// Steps that have run.
#[derive(Default)]
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// Runs one step under its heading. A failing step does not keep the next from running: one run shows all that is wrong.
    pub fn step(&mut self, name: &'static str, what: &str, work: impl FnOnce() -> Achieved) {
        println!("\n━━ {name}: {what}");
        let started = Instant::now();
        let outcome = work();
        let took = started.elapsed();
        match &outcome {
            Ok(achieved) => println!("━━ {name}: ok in {} {achieved}", human(took)),
            Err(failure) => println!("━━ {name}: FAILED in {}: {failure}", human(took)),
        }
        self.lines.push(Line { name, took, outcome });
    }

    /// Prints the table; an error if any step failed.
    pub fn finish(self) -> Result<()> {
        let total: Duration = self.lines.iter().map(|line| line.took).sum();
        println!("\n━━ summary");
        for Line { name, took, outcome } in &self.lines {
            let (mark, text) = match outcome {
                Ok(achieved) => ("ok    ", achieved.as_str()),
                Err(Failure(reason)) => ("FAILED", reason.lines().next().unwrap_or_default()),
            };
            println!("  {mark}  {name:<10} {:>9}  {text}", human(*took));
        }
        let failed = self.lines.iter().filter(|line| line.outcome.is_err()).count();
        let passed = self.lines.len() - failed;
        println!("  {passed} of {} steps passed in {}", self.lines.len(), human(total));
        if failed > 0 {
            return fail(format!("{failed} of {} steps failed", self.lines.len()));
        }
        Ok(())
    }
}

/// A duration for people: `3.4 s`, `12 min 5 s`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}
