//! A server of our own, embedded, in a folder of its own.

use crate::process::Result;
use crate::services::service::{Recipe, Service, accepts};
use crate::services::{folder_for, free_port};
use std::path::Path;

/// Starts the program on a free port, with these options in its environment; answers when it takes connections, with
/// its address.
pub fn start(program: &Path, parent: &Path, options: &[(&'static str, &str)]) -> Result<(Service, String)> {
    let folder = folder_for(parent, "server", None)?;
    let port = free_port()?;
    let listen = format!("127.0.0.1:{port}");
    let data = folder.join("data").display().to_string();
    let recipe = Recipe {
        name: "lockstepd",
        program,
        arguments: ["serve", "--data", &data, "--listen", &listen].map(str::to_owned).to_vec(),
        environment: options.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        folder: &folder,
        owner: None,
        signal: "TERM",
    };
    let service = Service::start(&recipe, || accepts(port))?;
    Ok((service, format!("https://{listen}")))
}
