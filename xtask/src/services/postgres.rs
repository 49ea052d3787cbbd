//! A private Postgres that writes as safely as a real one: fsync stays on, so the tests' timings mean something.

use super::service::{Recipe, Service};
use super::{Started, folder_for, free_port};
use crate::install;
use crate::process::{self, Failure, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

pub fn start(parent: &Path) -> Result<Started> {
    let programs = install::postgres_programs().ok_or_else(|| Failure("no initdb found".to_owned()))?;
    let owner = install::postgres_user()?;
    let folder = folder_for(parent, "postgres", owner)?;
    let data = folder.join("data");
    let as_owner = |program: &str| {
        let mut command = Command::new(programs.join(program));
        command.current_dir(&folder);
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        command
    };
    let mut initdb = as_owner("initdb");
    initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
    process::answer(&mut initdb)?;
    let port = free_port()?;
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", folder.display()),
        // Several tests at once, each with up to three nodes.
        "max_connections=600".to_owned(),
        "shared_buffers=256MB".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "log_min_messages=warning".to_owned(),
    ];
    let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
    arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    let program = programs.join("postgres");
    let recipe = Recipe {
        name: "postgres",
        program: &program,
        arguments,
        environment: Vec::new(),
        folder: &folder,
        owner,
        // At once: a shutdown in order would write out hundreds of databases that nobody opens again.
        signal: "QUIT",
    };
    let service = Service::start(&recipe, || {
        let mut ask = as_owner("pg_isready");
        process::answer(ask.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])).is_ok()
    })?;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    Ok((service, vec![("LOCKSTEP_TEST_POSTGRES", url)]))
}
