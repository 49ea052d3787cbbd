//! A private Garage of one node: a second S3 server, so that the S3 adapter is not fitted to one.

use super::s3::variables;
use super::service::{Recipe, Service};
use super::{Started, folder_for, free_port, random_hex};
use crate::process::{self, Doing, Failure, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Written here once and built once; a change of it builds anew.
const VERSION: &str = "2.5.0";

pub fn start(parent: &Path) -> Result<Started> {
    let program = installed()?;
    let folder = folder_for(parent, "garage", None)?;
    let port = free_port()?;
    let configuration = configuration(&folder, port)?;
    let key = format!("GK{}", random_hex(12)?);
    let secret = random_hex(32)?;
    let recipe = Recipe {
        name: "garage",
        program: &program,
        arguments: ["-c", &configuration, "server", "--single-node", "--default-bucket"]
            .map(str::to_owned)
            .to_vec(),
        environment: vec![
            ("GARAGE_DEFAULT_ACCESS_KEY", key.clone()),
            ("GARAGE_DEFAULT_SECRET_KEY", secret.clone()),
            ("GARAGE_DEFAULT_BUCKET", "lockstep-probe".to_owned()),
        ],
        folder: &folder,
        owner: None,
        signal: "TERM",
    };
    let service = Service::start(&recipe, || {
        // The bucket is the last thing that Garage prepares; before it, every request is refused.
        let mut ask = Command::new(&program);
        ask.args(["-c", &configuration, "bucket", "info", "lockstep-probe"]);
        super::service::accepts(port) && process::answer(&mut ask).is_ok()
    })?;
    Ok((service, variables(port, key, secret)))
}

/// Writes the configuration and returns its path. The region is the one that S3 clients assume.
fn configuration(folder: &Path, port: u16) -> Result<String> {
    let rpc = free_port()?;
    let text = format!(
        "metadata_dir = \"{folder}/meta\"\ndata_dir = \"{folder}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n\n\
         [s3_api]\ns3_region = \"us-east-1\"\napi_bind_addr = \"127.0.0.1:{port}\"\n",
        folder = folder.display(),
        secret = random_hex(32)?,
    );
    let file = folder.join("garage.toml");
    std::fs::write(&file, text).doing(format!("write {}", file.display()))?;
    Ok(file.display().to_string())
}

/// The program, built from crates.io on first use; kept in the target folder.
fn installed() -> Result<PathBuf> {
    let place = process::cache().join(format!("garage-{VERSION}"));
    let program = place.join("bin/garage");
    if program.is_file() {
        return Ok(program);
    }
    println!("building Garage {VERSION} from crates.io; this happens once and takes long");
    let mut command = process::cargo(&["install", "garage", "--locked", "--version", VERSION, "--debug"]);
    command.args(["--no-default-features", "--features", "bundled-libs,sqlite", "--root"]).arg(&place);
    command.arg("--target-dir").arg(process::cache().join("garage-build"));
    process::run(&mut command)?;
    let _ = std::fs::remove_dir_all(process::cache().join("garage-build"));
    if program.is_file() { Ok(program) } else { Err(Failure("cargo install left no garage".to_owned())) }
}
