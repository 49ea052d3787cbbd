//! Unlocked once, used often.

use std::os::unix::fs::PermissionsExt;

use crate::{
    device::{Device, PASSWORD},
    server::Server,
};

#[test]
fn after_unlock_commands_need_no_password_until_lock() {
    let server = Server::start();
    let mut laptop = Device::registered(&server);
    laptop.forget_password();
    assert_eq!(laptop.run(&["list"]).code, 4);
    let unlocked = laptop.run_with(&["--password-stdin", "unlock"], format!("{PASSWORD}\n").as_bytes());
    assert_eq!(unlocked.code, 0, "{}", unlocked.err);
    laptop.ok(&["add", "mail", "--set", "password=x"]);
    assert_eq!(laptop.ok(&["get", "mail", "password"]), "x\n");
    let seconds = laptop.json(&["status"])["locks_in_seconds"].as_u64().unwrap();
    assert!((800..=900).contains(&seconds), "{seconds}");
    let socket = laptop.home().join("agent.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(laptop.home()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(laptop.json(&["lock"])["was_unlocked"], true);
    assert_eq!(laptop.run(&["list"]).code, 4);
    assert_eq!(laptop.json(&["lock"])["was_unlocked"], false);
}

#[test]
fn a_wrong_password_starts_no_agent() {
    let server = Server::start();
    let mut laptop = Device::registered(&server);
    laptop.forget_password();
    let wrong = laptop.run_with(&["--password-stdin", "unlock"], b"violet anchor mumbles eighteen\n");
    assert_eq!(wrong.code, 4);
    assert!(!laptop.home().join("agent.sock").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn the_agent_keeps_nothing_that_is_secret_in_its_environment() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let mut unlock = laptop.command(&["unlock"]);
    let secrets =
        ["LOCKSTEP_PASSWORD", "LOCKSTEP_NEW_PASSWORD", "LOCKSTEP_ARCHIVE_PASSWORD", "LOCKSTEP_CODE", "TOKEN"];
    for name in secrets {
        unlock.env(name, PASSWORD);
    }
    assert!(unlock.status().unwrap().success());
    let home = laptop.home().to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().map(|process| process.unwrap().path());
    let agents: Vec<_> = processes
        .filter(|process| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(home) && line.ends_with("agent\0")
        })
        .collect();
    assert_eq!(agents.len(), 1, "{agents:?}");
    let environment = std::fs::read(agents[0].join("environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(!environment.contains(PASSWORD), "{environment}");
    assert!(environment.contains("PATH="), "{environment}");
}
