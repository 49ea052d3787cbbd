//! `cargo xtask test --api-fuzz`: schemathesis reads docs/openapi.json and tries to make a live server break its word.

use crate::process::{self, Doing, Failure, Result};
use crate::services::fresh_folder;
use crate::steps::Achieved;
use crate::{build, install, server};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Written here, so that a new release cannot change what a run proves.
const SCHEMATHESIS: &str = "4.32.5";
/// The same cases in every run.
const SEED: &str = "20240611";
/// How many cases for each operation and phase, besides those that cover its boundaries.
const EXAMPLES: &str = "40";

/// Not asked for: a version that satisfies the schema is refused unless its id, signature and parents are right, and no
/// generator can make those.
const LEFT_OUT: &str = "positive_data_acceptance";

/// Starts an embedded server whose tokens live as long as it allows, registers a device, and lets schemathesis loose with its token.
pub fn run() -> Achieved {
    install::ensure(&[&install::PYTHON])?;
    let tool = installed()?;
    let folder = fresh_folder()?;
    let outcome = fuzz(&tool, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn fuzz(tool: &Path, folder: &Path) -> Achieved {
    let options = [
        ("LOCKSTEP_ACCESS_TOKEN_S", "1200"),
        ("LOCKSTEP_LOG_FILTER", "warn"),
        ("LOCKSTEP_RATE_LIMIT_FACTOR", "1000000"),
    ];
    let (mut server, url) = server::start(&build::program("lockstepd")?, folder, &options)?;
    let device = Device { program: build::program("lockstep")?, home: folder.join("device") };
    let fingerprint = fingerprint(folder)?;
    let place = ["--server", &url, "--email", "fuzz@example.org", "--fingerprint", &fingerprint];
    device.ask(&[&["register"], &place[..]].concat())?;
    device.ask(&["add", "an entry", "--set", "username=ada"])?;
    let token = device.ask(&["api", "--print-token"])?;
    let mut command = Command::new(tool);
    let document = process::root().join("docs/openapi.json");
    command.arg("run").arg(&document).args(["--url", &url, "--tls-verify", "false", "--checks", "all"]);
    command.args([
        "--exclude-checks",
        LEFT_OUT,
        "--seed",
        SEED,
        "--max-examples",
        EXAMPLES,
        "--continue-on-failure",
    ]);
    // It keeps notes where it runs. The token comes after the command was shown.
    command.current_dir(folder).stdin(Stdio::null());
    println!("$ {} --header 'Authorization: Bearer …'", process::shown(&command));
    command.args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
    let status = command.status().doing("start schemathesis")?;
    match server.obituary() {
        Some(obituary) => Err(Failure(obituary)),
        None if status.success() => Ok("no 5xx, no violation".to_owned()),
        None => Err(Failure(format!("schemathesis ended with {status}\n{}", server.last_lines()))),
    }
}

/// What the server printed about its certificate.
fn fingerprint(parent: &Path) -> Result<String> {
    let log = std::fs::read_to_string(parent.join("server/log")).doing("read the server's output")?;
    let words = log.split_whitespace().skip_while(|word| *word != "--fingerprint");
    words
        .skip(1)
        .map(str::to_owned)
        .next()
        .ok_or_else(|| Failure(format!("the server named no fingerprint:\n{log}")))
}

/// A person's device: the real client.
struct Device {
    program: PathBuf,
    home: PathBuf,
}

impl Device {
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .env("LOCKSTEP_PASSWORD", "a passphrase that nobody uses twice")
            .env("LOCKSTEP_HOME", &self.home);
        process::answer(command.args(arguments).stdin(Stdio::null()))
    }
}

/// schemathesis in a Python environment of its own.
fn installed() -> Result<PathBuf> {
    let place = process::cache().join(format!("schemathesis-{SCHEMATHESIS}"));
    let tool = place.join("bin/st");
    if process::answer(Command::new(&tool).arg("--version")).is_ok() {
        return Ok(tool);
    }
    std::fs::create_dir_all(&place).doing("create a folder for schemathesis")?;
    process::run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    let package = format!("schemathesis=={SCHEMATHESIS}");
    process::run(Command::new(place.join("bin/pip")).args(["install", "--quiet", &package]))?;
    Ok(tool)
}
