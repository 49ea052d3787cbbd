//! `lockstep`: the client that a person types.

#[path = "../cli/mod.rs"]
mod cli;

fn main() {
    cli::main()
}
