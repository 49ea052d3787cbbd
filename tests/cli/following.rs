//! What `watch` and `login` say when a session has ended, a device was revoked, or the server goes away between.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout},
    thread,
};

use serde_json::Value;

use crate::{
    device::{Device, NAME, answer},
    mode::Mode,
    server::Server,
};

in_both_modes! {
    watch_ends_with_code_4_when_its_device_is_revoked_and_says_so,
    watch_shows_what_another_command_of_the_profile_fetched_first_and_calls_the_file_the_file,
    a_watch_that_gave_way_to_another_is_live_again_when_that_one_has_ended,
    watch_ends_with_code_4_when_the_password_was_changed_elsewhere_and_login_names_the_way_back,
    a_device_that_is_revoked_already_can_be_revoked_again_and_nothing_happens,
}

const NEW: &str = "seventeen mumbles anchor violet";

/// A `watch` whose lines are read one after the other.
struct Watch {
    process: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    /// Started, and live.
    fn live(device: &Device) -> Self {
        let mut process = device.start(&["--json", "watch", "--seconds", "120"]);
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut watch = Self { process, lines };
        watch.until("link", "live");
        watch
    }

    fn until(&mut self, key: &str, value: &str) -> Value {
        let mut values =
            self.lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        values.find(|line| line[key] == value).unwrap_or_else(|| panic!("{key} {value} never came"))
    }

    /// Its exit code and its error, once it has ended by itself.
    fn ended(mut self) -> (i32, Value) {
        for line in self.lines.by_ref() {
            line.unwrap();
        }
        let mut error = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        let code = self.process.wait().unwrap().code().unwrap();
        let error = error.lines().last().unwrap_or_default();
        (code, serde_json::from_str(error).unwrap_or_else(|why| panic!("{why}: {error}")))
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn id_of(device: &Device) -> String {
    device.json(&["status"])["device"].as_str().unwrap()[..8].to_owned()
}

fn watch_ends_with_code_4_when_its_device_is_revoked_and_says_so(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let watch = Watch::live(&phone);
    laptop.ok(&["devices", "revoke", &id_of(&phone), "--yes"]);
    let (code, error) = watch.ended();
    assert_eq!((code, error["error"]["exit"].as_u64()), (4, Some(4)), "{error}");
    let said = phone.run(&["--json", "sync"]);
    let said: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["error"]["message"], said["error"]["message"], "as every other verb says it");
    let again = phone.run(&["watch", "--seconds", "60"]);
    assert_eq!(again.code, 4, "at once: {again:?}");
    let login = phone.run(&["login"]);
    assert_eq!(login.code, 4, "{}", login.err);
    assert!(login.err.contains("this device was revoked"), "the password is right: {}", login.err);
}

fn watch_shows_what_another_command_of_the_profile_fetched_first_and_calls_the_file_the_file(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let mut older = Watch::live(&phone);
    // It takes the socket over; the one before goes on by long-poll.
    let mut newer = Watch::live(&phone);
    older.until("link", "polling");
    laptop.ok(&["add", "mail", "--set", "password=x"]);
    laptop.run_with(&["file", "put", "-"], b"as a whole");
    phone.ok(&["sync"]);
    for watch in [&mut older, &mut newer] {
        let first = watch.until("change", "version");
        assert_eq!((first["name"].as_str(), first["file"].as_bool()), (Some("mail"), Some(false)));
        let second = watch.until("change", "version");
        assert_eq!((second["name"].as_str(), second["file"].as_bool()), (Some("the file"), Some(true)));
    }
    older.kill();
    newer.kill();
}

fn a_watch_that_gave_way_to_another_is_live_again_when_that_one_has_ended(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let mut older = Watch::live(&phone);
    let mut newer = Watch::live(&phone);
    older.until("link", "polling");
    // While both follow, neither takes it from the other: what comes ends a long-poll.
    laptop.ok(&["add", "mail", "--set", "password=x"]);
    for watch in [&mut older, &mut newer] {
        watch.until("change", "version");
    }
    newer.kill();
    older.until("link", "live");
    older.kill();
}

fn watch_ends_with_code_4_when_the_password_was_changed_elsewhere_and_login_names_the_way_back(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let watch = Watch::live(&phone);
    let changed = laptop.command(&["passwd"]).env("LOCKSTEP_NEW_PASSWORD", NEW).output().unwrap();
    assert_eq!(answer(&changed).code, 0, "{changed:?}");
    assert_eq!(watch.ended().0, 4);
    let refused = answer(&phone.command(&["login"]).env("LOCKSTEP_PASSWORD", NEW).output().unwrap());
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains("LOCKSTEP_EARLIER_PASSWORD"), "{}", refused.err);
    assert!(phone.ok(&["login", "--help"]).contains("LOCKSTEP_EARLIER_PASSWORD"));
}

#[test]
fn watch_without_the_server_is_a_mistake_of_the_command_line() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let refused = laptop.run(&["watch", "--offline", "--seconds", "60"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
}

/// An address that leads to a server for one connection, and then nowhere.
fn one_connection(server: &Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let upstream = server.url.strip_prefix("https://").unwrap().to_owned();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        drop(listener);
        let mut server = TcpStream::connect(upstream).unwrap();
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || io::copy(&mut from_client, &mut to_server));
        let _ = io::copy(&mut server, &mut client);
    });
    url
}

#[test]
fn a_login_whose_first_sync_fails_has_logged_in_and_says_that_the_vault_is_still_to_come() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let phone = Device::empty();
    let url = one_connection(&server);
    let entered =
        phone.run(&["login", "--server", &url, "--email", NAME, "--fingerprint", &server.fingerprint]);
    assert_eq!(entered.code, 0, "{}", entered.err);
    assert!(entered.err.contains("logged in; the vault comes with the next sync"), "{}", entered.err);
    assert_eq!(phone.json(&["--offline", "status"])["logged_in"], true);
    assert_eq!(laptop.json(&["devices"]).as_array().unwrap().len(), 2);
}

fn a_device_that_is_revoked_already_can_be_revoked_again_and_nothing_happens(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = id_of(&Device::logged_in(&server));
    laptop.ok(&["devices", "revoke", &phone, "--yes"]);
    let again = laptop.run(&["devices", "revoke", &phone, "--yes"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("is revoked already"), "{}", again.err);
    assert_eq!(laptop.json(&["vault", "list"])[0]["key_generation"], 2, "the key was turned once");
}
