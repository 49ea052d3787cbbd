//! `cargo xtask test`: everything that must hold before a change is done, in the order of cheapest first.

mod lint;
mod release;
mod tests;

use crate::process::{self, Result, fail};
use crate::services::{self, S3Kind};
use crate::steps::{Achieved, Report};
use crate::{fuzz, generate, install, room};
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// Which S3 server the tests speak to.
    #[arg(long, value_enum, default_value_t)]
    s3: S3Kind,
    /// Also runs schemathesis (from `PyPI`) against live servers in both modes, as each role: some ten minutes.
    #[arg(long)]
    api_fuzz: bool,
    /// Runs only these steps; see --list.
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Lists the steps.
    #[arg(long)]
    list: bool,
    /// Keeps the services' folder (data and logs) until the next run.
    #[arg(long)]
    keep: bool,
    /// Suites that draw from a seed draw as often as a night is long.
    #[arg(long)]
    night: bool,
    /// Only the tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
}

struct Step {
    name: &'static str,
    what: &'static str,
    work: fn(&Options) -> Achieved,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", what: "the formatting is rustfmt's", work: |_| formatted() },
    Step {
        name: "clippy",
        what: "no warning from rustc and clippy (pedantic only shown)",
        work: |_| lint::clippy(),
    },
    Step {
        name: "embedded",
        what: "the server builds without Postgres, NATS and S3",
        work: |_| lint::embedded(),
    },
    Step { name: "release", what: "`cargo run --release` builds and serves", work: |_| release::runs() },
    Step { name: "docs", what: "the documentation builds without a warning", work: |_| documented() },
    Step { name: "generated", what: "the generated files are fresh", work: |_| generate::check() },
    Step {
        name: "tests",
        what: "unit, contract, property and black-box tests, both modes",
        work: tests::run,
    },
    Step { name: "doctests", what: "the examples in the documentation", work: |_| tests::doctests() },
    Step {
        name: "api",
        what: "a live server keeps to its API document, as schemathesis tries it briefly",
        work: |_| fuzz::briefly(),
    },
];

const FUZZ: Step =
    Step { name: "api-fuzz", what: "the same in both modes, as each role, at length", work: |_| fuzz::run() };

/// Runs the chosen steps and prints the summary.
pub fn run(options: &Options) -> Result<()> {
    let all = || STEPS.iter().chain(std::iter::once(&FUZZ));
    if options.list {
        all().for_each(|step| println!("{:<10} {}", step.name, step.what));
        return Ok(());
    }
    if let Some(unknown) = options.only.iter().find(|name| all().all(|step| step.name != **name)) {
        return fail(format!("there is no step {unknown}; see cargo xtask test --list"));
    }
    if options.only.is_empty() {
        room::ensure()?;
    }
    install::ensure(&[&install::BUILD])?;
    install::ensure_components()?;
    let named = |step: &Step| options.only.iter().any(|name| name == step.name);
    let wanted = |step: &Step| {
        let is_fuzz = step.name == FUZZ.name;
        named(step) || (is_fuzz && options.api_fuzz) || (!is_fuzz && options.only.is_empty())
    };
    let chosen: Vec<_> = all().filter(|step| wanted(step)).collect();
    if chosen.iter().any(|step| step.name == "tests") {
        std::thread::spawn(come_ahead);
    }
    let mut report = Report::default();
    for step in chosen {
        report.step(step.name, step.what, || (step.work)(options));
    }
    report.finish()
}

/// What the last steps need comes over the network while the first ones compute. What fails here is tried again where it is
/// needed, and said there.
fn come_ahead() {
    let _ = services::install();
    let _ = fuzz::install();
}

fn formatted() -> Achieved {
    process::run(&mut process::cargo(&["fmt", "--all", "--check"])).map(|()| String::new())
}

fn documented() -> Achieved {
    let mut command = process::cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    process::run(command.env("RUSTDOCFLAGS", "-D warnings")).map(|()| String::new())
}
