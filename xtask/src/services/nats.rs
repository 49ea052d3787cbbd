//! A private nats-server.

use super::service::{Recipe, Service, accepts};
use super::{Started, folder_for, free_port};
use crate::process::{Failure, Result, find};
use std::path::Path;

pub fn start(parent: &Path) -> Result<Started> {
    let program = find("nats-server").ok_or_else(|| Failure("no nats-server found".to_owned()))?;
    let folder = folder_for(parent, "nats", None)?;
    let port = free_port()?;
    let arguments = ["-a", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).to_vec();
    let recipe = Recipe {
        name: "nats",
        program: &program,
        arguments,
        environment: Vec::new(),
        folder: &folder,
        owner: None,
        signal: "TERM",
    };
    let service = Service::start(&recipe, || accepts(port))?;
    Ok((service, vec![("LOCKSTEP_TEST_NATS", format!("nats://127.0.0.1:{port}"))]))
}
