//! What stands in the memory of programs that hold keys, and stays there.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{agent, device::Device, server::Server};

/// The limits of a process that can write no core dump; and its files belong to root, so that nobody else's program reads
/// its memory.
fn is_private(process: &Path) {
    let limits = std::fs::read_to_string(process.join("limits")).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"], "{}", process.display());
    assert_eq!(std::fs::metadata(process.join("environ")).unwrap().uid(), 0);
}

#[test]
fn neither_the_server_nor_a_command_nor_the_agent_can_leave_a_core_dump() {
    let server = Server::start();
    let device = Device::registered(&server);
    device.ok(&["unlock"]);
    let mut watch = device.start(&["--json", "watch"]);
    BufReader::new(watch.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    let process = |id: u32| PathBuf::from(format!("/proc/{id}"));
    is_private(&process(server.process()));
    is_private(&process(watch.id()));
    is_private(&agent::process_of(&device));
    watch.kill().unwrap();
    watch.wait().unwrap();
}
