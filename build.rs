//! New migration files must reach the programs that embed them.
#![expect(clippy::print_stdout, reason = "standard output is how a build script speaks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=build.rs");
}
