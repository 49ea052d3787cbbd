//! The server's program. Everything is in the library: what is instantiated here would be compiled twice.
#![deny(clippy::disallowed_types)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstepd::cli::main()
}
