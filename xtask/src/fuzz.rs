//! `cargo xtask test --api-fuzz`: schemathesis against a live embedded server.

use crate::install;
use crate::process::fail;
use crate::steps::Achieved;

/// Fails as long as there is nothing to fuzz.
pub fn run() -> Achieved {
    install::ensure(&[&install::PYTHON])?;
    fail("the server has no docs/openapi.json yet")
}
