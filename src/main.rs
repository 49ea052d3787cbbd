//! The server's program.
#![deny(clippy::disallowed_types)]

use std::{io, process::ExitCode};

use clap::Parser;
use lockstepd::cli::{self, AnyError, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let run = || -> Result<(), AnyError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(cli::run(cli, &mut io::stdout()))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("lockstepd: {error}");
            let mut cause = error.source();
            while let Some(source) = cause {
                eprint!(": {source}");
                cause = source.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}
