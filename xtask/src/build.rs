//! The workspace's own programs, built with the tests' selection of features, so that nothing is compiled twice for them.

use crate::process::{self, Failure, Result};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Stdio;

/// One of cargo's messages, as far as it names a finished program.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the programs and returns the path of the one with this name: `lockstepd`, `lockstep` or `s3-server`.
pub fn program(name: &str) -> Result<PathBuf> {
    let mut command = process::cargo(&["build", "--quiet", "--workspace", "--locked"]);
    command.args(["--bin", "lockstepd", "--bin", "lockstep", "--example", "s3-server"]);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let messages = process::answer(&mut command)?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let mut named =
        messages.filter(|message| message.target.as_ref().is_some_and(|target| target.name == name));
    let found = named.find_map(|message| message.executable);
    found.ok_or_else(|| Failure(format!("cargo built no {name}")))
}
