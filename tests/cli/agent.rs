//! Unlocked once, used often.

use std::os::unix::fs::PermissionsExt;

use crate::{
    device::{Device, NAME, PASSWORD, answer},
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

#[test]
fn a_profile_whose_path_is_too_long_for_a_socket_is_unlocked_by_one_in_a_folder_of_its_owner_alone() {
    let server = Server::start();
    let device = Device::empty();
    let home = device.home().join("d".repeat(120));
    let session = tempfile::tempdir().unwrap();
    let run = |args: &[&str], password: bool| {
        let mut command = device.command(args);
        command.env("LOCKSTEP_HOME", &home).env("XDG_RUNTIME_DIR", session.path());
        if !password {
            command.env_remove("LOCKSTEP_PASSWORD");
        }
        answer(&command.output().unwrap())
    };
    assert_eq!(run(&device.enter("register", &server, NAME), true).code, 0);
    let folder = session.path().join("lockstep");
    // Whoever made it could listen in it.
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = run(&["unlock"], true);
    assert!(refused.code == 1 && refused.err.contains("not a folder of yours alone"), "{}", refused.err);
    assert_eq!(run(&["list"], true).code, 0, "the password works all the same");
    std::fs::remove_dir(&folder).unwrap();
    let unlocked = run(&["unlock"], true);
    assert_eq!(unlocked.code, 0, "{}", unlocked.err);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let sockets: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!((sockets.len(), mode(&folder), mode(&sockets[0])), (1, 0o700, 0o600), "{sockets:?}");
    assert_eq!(run(&["list"], false).code, 0);
    assert_eq!(run(&["lock"], false).code, 0);
    assert_eq!(run(&["list"], false).code, 4);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
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
    // Only the system's own user may look into it; what an agent gets a unit test shows to everybody.
    match std::fs::read(process_of(&laptop).join("environ")) {
        Ok(environment) => {
            let environment = String::from_utf8_lossy(&environment);
            assert!(!environment.contains(PASSWORD), "{environment}");
            assert!(environment.contains("PATH="), "{environment}");
        }
        Err(refused) => assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied),
    }
}

/// The folder in `/proc` of the one agent of a device.
#[cfg(target_os = "linux")]
pub fn process_of(device: &Device) -> std::path::PathBuf {
    let home = device.home().to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().map(|process| process.unwrap().path());
    let mut agents = processes.filter(|process| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(home) && line.ends_with("agent\0")
    });
    let agent = agents.next().unwrap();
    assert_eq!(agents.next(), None);
    agent
}
