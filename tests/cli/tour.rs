//! The tour, as a newcomer runs it.

use std::{path::Path, process::Command};

/// What it tells, in order: a line each, with the seconds since it began.
const STEPS: [&str; 9] =
    ["server", "account", "entry", "device 2", "live", "offline", "two heads", "resolved", "verified"];

#[test]
fn the_tour_tells_its_story_to_the_end_one_readable_line_a_step() {
    let program = Path::new(env!("CARGO_BIN_EXE_lockstepd")).with_file_name("examples").join("tour");
    assert!(program.exists(), "build it first: cargo build --example tour");
    let toured = Command::new(program).output().unwrap();
    let (out, err) = (String::from_utf8(toured.stdout).unwrap(), String::from_utf8(toured.stderr).unwrap());
    assert!(toured.status.success(), "{out}\n{err}");
    let steps: Vec<(f32, &str)> = out.lines().filter_map(step).collect();
    let names: Vec<&str> = steps.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, STEPS, "{out}");
    assert!(steps.is_sorted_by(|(one, _), (two, _)| one <= two), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 120), "{out}");
    assert!(out.ends_with("Everything above was deleted.\n"), "{out}");
}

/// The time and the name of a step.
fn step(line: &str) -> Option<(f32, &str)> {
    let (seconds, told) = line.split_once(" s  ")?;
    let (name, text) = told.split_at_checked(10)?;
    assert!(!text.trim().is_empty(), "{line}");
    Some((seconds.trim().parse().ok()?, name.trim_end()))
}
