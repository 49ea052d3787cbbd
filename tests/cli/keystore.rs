//! Kept open without a process: by the key store of the system, a real GNOME Keyring on a bus of its own, or by a file.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    device::{Answer, Device, PASSWORD, answer},
    server::Server,
};

/// A desktop session as far as secrets go: a bus and a keyring that the person's login has unlocked.
struct Session {
    home: tempfile::TempDir,
    address: String,
    children: Vec<Child>,
}

impl Session {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--print-address", "--address"]);
        bus.arg(format!("unix:path={}", home.path().join("bus").display()));
        let mut bus = bus.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let mut session = Self { home, address: address.trim().to_owned(), children: vec![bus] };
        let mut keyring = Command::new("gnome-keyring-daemon");
        keyring.args(["--foreground", "--unlock", "--components=secrets"]);
        let mut keyring = session.inside(keyring).stdin(Stdio::piped()).spawn().unwrap();
        keyring.stdin.take().unwrap().write_all(b"the password of the desktop").unwrap();
        session.children.push(keyring);
        session.wait_for_the_keyring();
        session
    }

    /// A command of this desktop session.
    fn inside(&self, mut command: Command) -> Command {
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address).env("HOME", self.home.path());
        command.env("XDG_RUNTIME_DIR", self.home.path()).env("XDG_DATA_HOME", self.home.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn wait_for_the_keyring(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut ask = Command::new("dbus-send");
            ask.args(["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]);
            ask.args(["org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"]);
            let said = self.inside(ask).stdout(Stdio::piped()).output().unwrap();
            if String::from_utf8_lossy(&said.stdout).contains("boolean true") {
                return;
            }
            assert!(Instant::now() < until, "the keyring did not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Holds the keyring, or lets it go on.
    fn keyring(&self, signal: &str) {
        send(signal, self.children[1].id());
    }

    /// Runs `lockstep` in it.
    fn run(&self, device: &Device, args: &[&str]) -> Answer {
        let mut command = self.inside(device.command(args));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        answer(&command.output().unwrap())
    }

    /// Runs `lockstep` in it with the password on its standard input.
    fn with_password(&self, device: &Device, args: &[&str]) -> Answer {
        let mut command = self.inside(device.command(&["--password-stdin"]));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
        answer(&child.wait_with_output().unwrap())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn send(signal: &str, process: u32) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

fn laptop() -> (Server, Device) {
    let server = Server::start();
    let mut laptop = Device::registered(&server);
    laptop.forget_password();
    (server, laptop)
}

#[test]
fn the_key_store_of_the_system_keeps_a_profile_open_until_lock() {
    let ((_server, laptop), session) = (laptop(), Session::start());
    assert_eq!(session.run(&laptop, &["list"]).code, 4);
    let kept = session.with_password(&laptop, &["unlock", "--keep"]);
    assert_eq!(kept.code, 0, "{}", kept.err);
    let added = session.run(&laptop, &["add", "mail", "--set", "password=x"]);
    assert_eq!(added.code, 0, "{}", added.err);
    assert_eq!(session.run(&laptop, &["get", "mail", "password"]).out, "x\n");
    assert_eq!(session.run(&laptop, &["--json", "status"]).json()["kept"], "system");
    assert!(!laptop.home().join("agent.sock").exists(), "no process is needed");
    // The directory alone, without the person's session, opens nothing.
    assert_eq!(laptop.run(&["list"]).code, 4);
    assert_eq!(session.run(&laptop, &["--json", "lock"]).json()["was_unlocked"], true);
    assert_eq!(session.run(&laptop, &["list"]).code, 4);
    assert!(!laptop.home().join("kept.json").exists());
}

#[test]
fn logging_out_takes_away_what_is_kept() {
    let ((_server, laptop), session) = (laptop(), Session::start());
    assert_eq!(session.with_password(&laptop, &["unlock", "--keep"]).code, 0);
    let out = session.run(&laptop, &["logout"]);
    assert_eq!(out.code, 0, "{}", out.err);
    let left: Vec<_> = std::fs::read_dir(laptop.home()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!left.iter().any(|path| path.ends_with("kept.json")), "{left:?}");
    assert_eq!(session.run(&laptop, &["list"]).code, 4);
}

#[test]
fn a_logout_that_is_given_up_while_the_key_store_is_asked_keeps_the_profile_and_is_said_again() {
    let ((_server, laptop), session) = (laptop(), Session::start());
    assert_eq!(session.with_password(&laptop, &["unlock", "--keep"]).code, 0);
    // The key is in a process too: the store is asked for nothing before the end.
    assert_eq!(session.with_password(&laptop, &["unlock"]).code, 0);
    session.keyring("-STOP");
    let mut logout = session.inside(laptop.command(&["logout"]));
    let logout = logout.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(90);
    while laptop.home().join("kept.json").exists() {
        assert!(Instant::now() < until, "the store is not asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    send("-INT", logout.id());
    let given_up = answer(&logout.wait_with_output().unwrap());
    assert_eq!(given_up.code, 130, "{}", given_up.err);
    let listed = session.run(&laptop, &["list"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    session.keyring("-CONT");
    let again = session.run(&laptop, &["logout"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(!laptop.home().join("vault.db").exists());
}

#[test]
fn without_a_key_store_nothing_is_kept_and_the_way_out_is_named() {
    let (_server, laptop) = laptop();
    let mut command = laptop.command(&["--password-stdin", "unlock", "--keep"]);
    command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus").stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    let refused = answer(&child.wait_with_output().unwrap());
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("key store") && refused.err.contains("--keep file"), "{}", refused.err);
    assert!(!laptop.home().join("kept.json").exists());
}

#[test]
fn a_file_keeps_a_profile_open_is_private_and_is_called_weaker() {
    let (_server, laptop) = laptop();
    let password = format!("{PASSWORD}\n");
    let kept = laptop.run_with(&["--password-stdin", "unlock", "--keep", "file"], password.as_bytes());
    assert_eq!(kept.code, 0, "{}", kept.err);
    assert!(kept.err.contains("weaker"), "{}", kept.err);
    for name in ["kept.json", "kept.key"] {
        let mode = std::fs::metadata(laptop.home().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(laptop.run(&["list"]).code, 0);
    assert_eq!(laptop.json(&["status"])["kept"], "file");
    laptop.ok(&["lock"]);
    assert_eq!(laptop.run(&["list"]).code, 4);
    assert!(!laptop.home().join("kept.key").exists());
}

#[test]
fn a_damaged_secret_is_named_and_the_password_still_opens() {
    let (_server, laptop) = laptop();
    let password = format!("{PASSWORD}\n");
    laptop.run_with(&["--password-stdin", "unlock", "--keep", "file"], password.as_bytes());
    std::fs::write(laptop.home().join("kept.key"), "00".repeat(32)).unwrap();
    assert_eq!(laptop.run(&["list"]).code, 4);
    let listed = laptop.run_with(&["--password-stdin", "list"], password.as_bytes());
    assert_eq!(listed.code, 0, "{}", listed.err);
}
