//! Whole runs, and the smallest run that still fails.

use super::{
    Fault, Held, Violation,
    random::Random,
    steps::{Step, draw},
    world::World,
};

/// Steps of one run before everything comes to rest.
pub const STEPS: usize = 250;

/// A run that failed, made as small as it gets.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Names the run.
    pub seed: u64,
    /// What did not hold.
    pub violation: Violation,
    /// The steps that are left of it.
    pub steps: Vec<Step>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "    {step:?}"))
    }
}

/// Two to eight devices, one to five entries, up to half of all messages lost.
fn world(seed: u64, fault: Option<Fault>) -> (World, Random) {
    let mut random = Random::new(seed);
    let mut world = World::new(2 + random.below(7), 1 + random.below(5), fault);
    world.loss = random.below(51);
    (world, random)
}

fn play(seed: u64, fault: Option<Fault>, steps: &[Step]) -> Held {
    let (mut world, _) = world(seed, fault);
    steps.iter().try_for_each(|step| world.step(*step))?;
    world.come_to_rest()
}

/// One run.
///
/// # Errors
/// The failure, shrunk.
pub fn run(seed: u64, fault: Option<Fault>) -> Result<(), Box<Failure>> {
    let (_, mut random) = world(seed, fault);
    let steps = draw(&mut random, STEPS);
    match play(seed, fault, &steps) {
        Ok(()) => Ok(()),
        Err(violation) => Err(Box::new(shrink(seed, fault, steps, violation))),
    }
}

/// Leaves out ever smaller pieces as long as the same invariant still fails.
fn shrink(seed: u64, fault: Option<Fault>, mut steps: Vec<Step>, mut violation: Violation) -> Failure {
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match play(seed, fault, &fewer) {
                Err(again) if again.invariant == violation.invariant => {
                    steps = fewer;
                    violation = again;
                }
                _ => at += size,
            }
        }
        size /= 2;
    }
    Failure { seed, violation, steps }
}
