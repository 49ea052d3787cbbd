//! The small S3 server of the tests: an example of the root package, so that it shares the tests' build.

use super::service::{Recipe, Service, accepts};
use super::{Started, folder_for, free_port, random_hex};
use crate::build;
use crate::process::Result;
use std::path::Path;

pub fn start(parent: &Path) -> Result<Started> {
    let program = build::program("s3-server")?;
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
