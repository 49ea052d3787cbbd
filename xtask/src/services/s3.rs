//! The small S3 server of the tests: an example of the root package, so that it shares the tests' build.

use super::service::{Recipe, Service, accepts};
use super::{Started, folder_for, free_port, random_hex};
use crate::process::{self, Failure, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

pub fn start(parent: &Path) -> Result<Started> {
    let program = build()?;
    let folder = folder_for(parent, "s3", None)?;
    let port = free_port()?;
    let (key, secret) = ("lockstep-test".to_owned(), random_hex(16)?);
    let data = folder_for(&folder, "data", None)?;
    let arguments =
        vec![format!("127.0.0.1:{port}"), data.display().to_string(), key.clone(), secret.clone()];
    let recipe = Recipe {
        name: "s3",
        program: &program,
        arguments,
        environment: Vec::new(),
        folder: &folder,
        owner: None,
        signal: "TERM",
    };
    let service = Service::start(&recipe, || accepts(port))?;
    Ok((service, variables(port, key, secret)))
}

/// How the tests find an S3 server on this port.
pub fn variables(port: u16, key: String, secret: String) -> Vec<(&'static str, String)> {
    let endpoint = format!("http://127.0.0.1:{port}");
    vec![("LOCKSTEP_TEST_S3", endpoint), ("LOCKSTEP_TEST_S3_KEY", key), ("LOCKSTEP_TEST_S3_SECRET", secret)]
}

/// The part of cargo's messages that names a finished program.
#[derive(Deserialize)]
struct Built {
    executable: Option<PathBuf>,
}

/// Builds with the workspace's own selection of features, so that nothing is compiled a second time for it.
fn build() -> Result<PathBuf> {
    let arguments = [
        "build",
        "--quiet",
        "--workspace",
        "--example",
        "s3-server",
        "--message-format=json-render-diagnostics",
    ];
    let mut command = process::cargo(&arguments);
    command.stderr(std::process::Stdio::inherit());
    let messages = process::answer(&mut command)?;
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Built>(line).ok());
    let programs: Vec<_> = built.filter_map(|message| message.executable).collect();
    programs.into_iter().next_back().ok_or_else(|| Failure("cargo built no s3-server".to_owned()))
}
