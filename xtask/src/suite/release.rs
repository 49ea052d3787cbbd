//! What a newcomer's first command builds: the optimised server, embedded. Nothing else in the suite compiles with
//! optimisation, and some errors of the compiler come only there.

use crate::process::{self, Failure};
use crate::server;
use crate::services::fresh_folder;
use crate::steps::Achieved;

/// Builds what `cargo run --release` builds, starts it, and sees that it takes connections.
pub fn runs() -> Achieved {
    process::run(&mut process::cargo(&["build", "--release", "--locked"]))?;
    let program = process::target().join("release/lockstepd");
    let folder = fresh_folder()?;
    let outcome =
        server::start(&program, &folder, &[]).and_then(|(mut server, url)| match server.obituary() {
            Some(obituary) => Err(Failure(obituary)),
            None => Ok(format!("served {url}")),
        });
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}
