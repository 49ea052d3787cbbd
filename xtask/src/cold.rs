//! What a newcomer gets and waits for: the server as `cargo run --release` builds it, from nothing. Not in benches/: a
//! program cannot measure its own build, and the programs there have the adapters of distributed mode in them.

use crate::bench::{Kind, Measured, Row};
use crate::process::{self, Doing, Result};
use crate::server;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name beside those of the programs in benches/.
pub const NAME: &str = "build";
const MINUTES: f64 = 8.0;
/// Resident memory of a server that nobody uses, in megabytes.
const IDLE: f64 = 25.0;
/// After so long a server has done what it does at its start.
const SETTLED: Duration = Duration::from_secs(10);

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
    let program = target.join("release/lockstepd");
    let megabytes = size(&program)?;
    let mut rows = vec![
        at_most(MINUTES, row("cargo build --release, empty target folder", "min", minutes)),
        row("lockstepd, the program's size", "MB", megabytes),
    ];
    if let Some(resident) = idle(&program, &target)? {
        rows.push(at_most(
            IDLE,
            row("server memory, idle, as cargo run --release builds it", "MB", resident),
        ));
    }
    std::fs::remove_dir_all(&target).doing("remove the folder that was built into")?;
    Ok(Measured { bench: NAME.to_owned(), rows })
}

/// Megabytes that a server keeps resident which has started in this folder and does nothing; none where the system does
/// not say it as Linux does.
fn idle(program: &Path, folder: &Path) -> Result<Option<f64>> {
    let (_server, _) = server::start(program, folder, &[])?;
    std::thread::sleep(SETTLED);
    Ok(resident(program))
}

/// The resident memory of the process that runs this program.
fn resident(program: &Path) -> Option<f64> {
    let program = program.canonicalize().ok()?;
    let processes = std::fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let own = processes.filter(|path| std::fs::read_link(path.join("exe")).is_ok_and(|exe| exe == program));
    let status = own.filter_map(|path| std::fs::read_to_string(path.join("status")).ok()).next()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn at_most(target: f64, row: Row) -> Row {
    Row { target: Some(target), target_kind: Some(Kind::AtMost), ok: Some(row.ours <= target), ..row }
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
