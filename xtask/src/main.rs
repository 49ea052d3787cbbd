//! Lockstep's own tasks. `cargo xtask test` proves everything, `services` starts what the tests need, `bench` measures,
//! `generate` writes the files that are made from code.
#![expect(clippy::print_stdout, reason = "a command talks to the person who typed it")]

mod bench;
mod build;
mod cold;
mod fuzz;
mod generate;
mod install;
mod plot;
mod process;
mod report;
mod room;
mod server;
mod services;
mod steps;
mod suite;
mod tools;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of the Lockstep repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every check and every test, in both modes, with private services on free ports.
    Test(suite::Options),
    /// Starts the services that the tests need, prints their addresses and keeps them until Ctrl-C.
    Services(services::Options),
    /// Measures ours beside the baselines and writes docs/bench/.
    Bench(bench::Options),
    /// Writes (or with --check compares) the committed files that are made from code.
    Generate(generate::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Test(options) => suite::run(&options),
        Task::Services(options) => services::keep(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Generate(options) => generate::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
