//! Running the tests, and counting them: a run that ran nothing has proven nothing.

use super::Options;
use crate::process::{self, Result, fail};
use crate::services;
use crate::steps::Achieved;

/// How often the suites draw that draw from a seed, in a night.
const NIGHT: [(&str, &str); 3] = [
    ("LOCKSTEP_TEST_HISTORIES", "500000"),
    ("LOCKSTEP_TEST_SEEDS", "1000"),
    ("LOCKSTEP_EVIL_SEQUENCES", "2000"),
];

/// So many tests at once for each processor: most of them wait most of the time, for a disk, a server or a clock.
const AT_ONCE: usize = 3;

/// Builds first, so that the services wait for nobody, then runs every test of the workspace.
pub fn run(options: &Options) -> Achieved {
    process::run(&mut process::cargo(&[
        "build",
        "--workspace",
        "--bins",
        "--examples",
        "--tests",
        "--locked",
    ]))?;
    let mut services = services::start(options.s3, options.keep)?;
    let nextest = process::answer(&mut process::cargo(&["nextest", "--version"])).is_ok();
    let at_once =
        format!("--test-threads={}", AT_ONCE * std::thread::available_parallelism().map_or(1, usize::from));
    let mut command = if nextest {
        process::cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast", &at_once, "--"])
    } else {
        let mut command = process::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
        command.args(["--lib", "--bins", "--tests", "--", &at_once]);
        command
    };
    command.args(&options.filter);
    command.envs(services.variables.iter().map(|(name, value)| (name, value)));
    if options.night {
        command.envs(NIGHT);
    }
    let (mut passed, mut flaky) = (0, Vec::new());
    let outcome = process::run_watching(&mut command, |line| {
        passed += passed_in(line);
        flaky.extend(flaky_in(line).map(str::to_owned));
    });
    let dead = services.dead();
    if !dead.is_empty() {
        return fail(format!("a service died during the tests\n{}", dead.join("\n")));
    }
    let said = counted(outcome, passed)?;
    Ok(if flaky.is_empty() { said } else { format!("{said}, flaky: {}", flaky.join(", ")) })
}

/// nextest does not run these, so cargo always does.
pub fn doctests() -> Achieved {
    let mut passed = 0;
    let mut command = process::cargo(&["test", "--workspace", "--locked", "--doc", "--no-fail-fast"]);
    let outcome = process::run_watching(&mut command, |line| passed += passed_in(line));
    outcome.map(|()| format!("{passed} examples"))
}

fn counted(outcome: Result<()>, passed: usize) -> Achieved {
    outcome?;
    if passed == 0 { fail("not one test ran") } else { Ok(format!("{passed} tests")) }
}

/// How many tests this line says have passed: cargo's `test result: ok. 12 passed; …`, or nextest's
/// `Summary [ 1.2s] 12 tests run: 12 passed, …`.
fn passed_in(line: &str) -> usize {
    let is_total = line.contains("test result: ") || (line.contains("Summary [") && line.contains("run: "));
    let before = if is_total { line.split(" passed").next() } else { None };
    before.and_then(|text| text.rsplit(' ').next()).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The name of a test that this line says has passed at its second try: nextest's closing
/// `FLAKY 2/2 [ 1.2s] (1/3) package::binary name`.
fn flaky_in(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("FLAKY ")?;
    rest.split_whitespace().next_back()
}

#[cfg(test)]
mod proof {
    use super::*;

    #[test]
    fn the_closing_lines_of_both_runners_are_counted() {
        assert_eq!(passed_in("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured"), 12);
        assert_eq!(passed_in("     Summary [   1.234s] 45 tests run: 44 passed, 1 failed, 0 skipped"), 44);
        assert_eq!(passed_in("test the_user_has passed ... ok"), 0);
        assert_eq!(passed_in("running 3 tests"), 0);
        assert_eq!(passed_in("     Summary [   0.013s] 2 tests run: 2 passed (1 flaky), 0 skipped"), 2);
        assert_eq!(flaky_in("   FLAKY 2/2 [   0.005s] (2/2) fl once"), Some("once"));
        assert_eq!(flaky_in("        PASS [   0.006s] (1/2) fl ok"), None);
    }

    #[test]
    fn a_run_without_a_test_is_a_failure() {
        assert!(counted(Ok(()), 0).is_err());
        assert!(counted(fail("red"), 5).is_err());
        assert_eq!(counted(Ok(()), 5).ok(), Some("5 tests".to_owned()));
    }
}
