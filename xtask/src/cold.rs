//! What a newcomer waits for: the server, built from nothing. Not in benches/, for a program cannot measure its own build.

use crate::bench::{Kind, Measured, Row};
use crate::process::{self, Doing, Result};
use std::path::Path;
use std::time::Instant;

/// The name beside those of the programs in benches/.
pub const NAME: &str = "build";
const MINUTES: f64 = 8.0;

/// Builds into an empty folder, once: it takes minutes. The crates are fetched beforehand, as the network is not ours.
pub fn measure() -> Result<Measured> {
    println!("\n━━ bench {NAME}");
    process::run(&mut process::cargo(&["fetch", "--locked"]))?;
    let target = process::cache().join("cold-build");
    let _ = std::fs::remove_dir_all(&target);
    let started = Instant::now();
    process::run(
        process::cargo(&["build", "--release", "--locked", "--quiet"]).env("CARGO_TARGET_DIR", &target),
    )?;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let megabytes = size(&target.join("release/lockstepd"))?;
    std::fs::remove_dir_all(&target).doing("remove the folder that was built into")?;
    let cold = Row {
        target: Some(MINUTES),
        target_kind: Some(Kind::AtMost),
        ok: Some(minutes <= MINUTES),
        ..row("cargo build --release, empty target folder", "min", minutes)
    };
    Ok(Measured {
        bench: NAME.to_owned(),
        rows: vec![cold, row("lockstepd, the program's size", "MB", megabytes)],
    })
}

fn row(name: &str, unit: &str, ours: f64) -> Row {
    let (name, unit) = (name.to_owned(), unit.to_owned());
    Row {
        name,
        unit,
        ours,
        baseline: None,
        baseline_name: None,
        ratio: None,
        target: None,
        target_kind: None,
        ok: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "megabytes of a program")]
fn size(program: &Path) -> Result<f64> {
    let bytes = std::fs::metadata(program).doing("look at the program that was built")?.len();
    Ok(bytes as f64 / f64::from(1 << 20))
}
