//! A server that was put back to what a backup has: what its devices have comes back, files included.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lockstepd::blobs::BlobStore;
use serde_json::json;

use crate::{
    device::{Device, NAME, PASSWORD, answer},
    mode::Mode,
    moving::bucket,
    proxy::Relay,
    server::Server,
    verify::copied,
};

in_both_modes! {
    a_file_comes_back_from_the_device_that_has_it_also_where_another_one_offered_its_version_before,
    a_file_that_comes_back_goes_on_with_the_next_sync_where_it_was_cut_off,
    what_a_revoked_device_wrote_and_another_gave_back_is_shown_as_written_by_it,
    a_login_after_a_restore_says_that_the_password_of_then_may_be_wanted,
    a_device_that_heard_that_an_erasure_was_called_off_tells_that_it_is_due_again,
    a_device_that_joined_after_the_backup_logs_in_where_the_restored_server_has_another_certificate,
}

/// What a backup has while there is no file yet.
struct Backup {
    data: tempfile::TempDir,
    database: Option<String>,
}

fn copy(from: &Path, to: &Path, but: Option<&str>) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true if but.is_some_and(|but| entry.file_name() == but) => {}
            true => copy(&entry.path(), &target, None),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

fn database_of(server: &Server) -> Option<String> {
    server.options().iter().find(|(name, _)| name == "LOCKSTEP_LOG").map(|(_, url)| url.clone())
}

impl Backup {
    fn of(server: &mut Server) -> Self {
        server.kill();
        let data = tempfile::tempdir().unwrap();
        copy(server.data(), data.path(), Some("keys"));
        let database = database_of(server).map(|url| wait(copied(&url, "")));
        server.start_again();
        Self { data, database }
    }

    /// Puts it back, but for the keys, which stay as they are.
    fn put_back(self, server: &mut Server) {
        self.put_there(server);
        server.start_again();
    }

    /// The same on a host that has a certificate of its own.
    fn put_elsewhere(self, server: &mut Server) {
        self.put_there(server);
        fs::remove_dir_all(server.data().join("tls")).unwrap();
        server.start_again_with_another_certificate();
    }

    fn put_there(self, server: &mut Server) {
        server.kill();
        copy(&server.data().join("keys"), &self.data.path().join("keys"), None);
        let before = database_of(server);
        let mut options = server.options().to_vec();
        for (name, value) in &mut options {
            if let Some(copy) = self.database.as_ref().filter(|_| Some(&*value) == before.as_ref()) {
                value.clone_from(copy);
            }
            if name == "LOCKSTEP_BLOBS" {
                wait(emptied(server.options()));
            }
        }
        server.go(self.data, options);
        assert_eq!(answer(&server.operator().args(["log", "restored"]).output().unwrap()).code, 0);
    }
}

/// The bucket had nothing when the backup was made.
async fn emptied(options: &[(String, String)]) {
    let bucket = bucket(options);
    for object in bucket.list("", None, 100).await.unwrap() {
        bucket.delete(&object.key).await.unwrap();
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(31) >> 3) as u8).collect()
}

fn file(device: &Device, content: &[u8]) -> PathBuf {
    let path = device.home().join("scan.pdf");
    fs::write(&path, content).unwrap();
    path
}

fn got(device: &Device) -> (Option<i32>, Vec<u8>) {
    let output = device.command(&["attachment", "get", "passport", "scan.pdf"]).output().unwrap();
    (output.status.code(), output.stdout)
}

/// The phone knows of the file and does not have it, and offers its version to the restored server before the laptop
/// comes, which has it.
fn offered_without_its_file(server: &mut Server, laptop: &Device, content: &[u8]) -> Device {
    laptop.ok(&["add", "passport", "--type", "note"]);
    let phone = Device::logged_in(server);
    let backup = Backup::of(server);
    laptop.ok(&["attachment", "add", "passport", file(laptop, content).to_str().unwrap()]);
    phone.ok(&["sync"]);
    backup.put_back(server);
    phone.ok(&["sync"]);
    phone
}

fn a_file_comes_back_from_the_device_that_has_it_also_where_another_one_offered_its_version_before(
    mode: Mode,
) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let content = bytes(20_000);
    let phone = offered_without_its_file(&mut server, &laptop, &content);

    let away = phone.run(&["attachment", "get", "passport", "scan.pdf"]);
    assert_eq!((away.code, away.out.as_str()), (3, ""));
    assert!(away.err.contains("\"scan.pdf\": the server does not have this file"), "{}", away.err);
    assert!(away.err.contains("a device that has opened it before brings it back"), "{}", away.err);
    exports_all_but_it(&phone);

    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["waiting"], json!(0));
    let tablet = Device::logged_in(&server);
    for device in [&phone, &tablet] {
        assert_eq!(got(device), (Some(0), content.clone()));
    }
    let status = laptop.json(&["status"]);
    assert_eq!((&status["quarantined"], &status["waiting"]), (&json!(0), &json!(0)), "{status}");
}

/// An export has everything but a file that is gone, and says which one that is.
fn exports_all_but_it(phone: &Device) {
    let archive = phone.home().join("all.lockstep");
    let mut export = phone.command(&["--json", "export", archive.to_str().unwrap()]);
    let exported = answer(&export.env("LOCKSTEP_ARCHIVE_PASSWORD", PASSWORD).output().unwrap());
    assert_eq!(exported.code, 1, "{}", exported.err);
    assert!(exported.err.contains("passport: a file is not in it: \"scan.pdf\": "), "{}", exported.err);
    assert!(exported.err.contains("1 attachment is not in it"), "{}", exported.err);
    let written = exported.json();
    assert_eq!((&written["items"], &written["attachments"]), (&json!(1), &json!(0)), "{written}");
    assert_eq!(written["left_out"][0]["attachment"], "scan.pdf", "{written}");
    assert!(fs::metadata(archive).unwrap().len() > 0);
}

fn a_file_that_comes_back_goes_on_with_the_next_sync_where_it_was_cut_off(mode: Mode) {
    const MIB: u64 = 1 << 20;
    let mut server = Server::start_in(mode);
    let line = Relay::start(server.url.strip_prefix("https://").unwrap().parse().unwrap());
    let url = format!("https://{}", line.addr);
    let laptop = Device::empty();
    laptop.ok(&["register", "--server", &url, "--email", NAME, "--fingerprint", &server.fingerprint]);
    let content = bytes(6 << 20);
    offered_without_its_file(&mut server, &laptop, &content);
    let direct = mode == Mode::Distributed;
    // Parts that go straight to the store do not go through here.
    line.cut_after(if direct { 0 } else { 3 * MIB });
    laptop.run(&["sync"]);
    line.mend();
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["waiting"], json!(0));
    assert!(got(&Device::logged_in(&server)) == (Some(0), content));
}

fn what_a_revoked_device_wrote_and_another_gave_back_is_shown_as_written_by_it(mode: Mode) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=first"]);
    let [phone, tablet] = [Device::logged_in(&server), Device::logged_in(&server)];
    let id = |device: &Device| device.json(&["status"])["device"].clone();
    let backup = Backup::of(&mut server);
    tablet.ok(&["edit", "mail", "--set", "password=stolen"]);
    laptop.ok(&["sync"]);
    laptop.ok(&["devices", "revoke", &id(&tablet).as_str().unwrap()[..8], "--yes"]);
    backup.put_back(&mut server);
    for device in [&laptop, &phone, &laptop, &phone] {
        device.ok(&["sync"]);
    }
    for device in [&laptop, &phone] {
        let history = device.json(&["history", "mail"]);
        let last = history["versions"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["device"], &last["given_back_by"]), (&id(&tablet), &id(&laptop)), "{history}");
    }
    let shown = laptop.ok(&["history", "mail"]);
    assert!(shown.contains("given back by this one"), "{shown}");
}

fn a_login_after_a_restore_says_that_the_password_of_then_may_be_wanted(mode: Mode) {
    const NEW: &str = "seven lanterns drift southward";
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail"]);
    let backup = Backup::of(&mut server);
    let run = |args: &[&str], password: &str| {
        let mut command = laptop.command(args);
        command.env("LOCKSTEP_PASSWORD", password).env("LOCKSTEP_EARLIER_PASSWORD", NEW);
        answer(&command.env("LOCKSTEP_NEW_PASSWORD", NEW).output().unwrap())
    };
    let changed = run(&["passwd"], PASSWORD);
    assert_eq!(changed.code, 0, "{}", changed.err);
    backup.put_back(&mut server);
    let synced = run(&["sync"], NEW);
    assert_eq!(synced.code, 0, "its session was open then: {}", synced.err);
    let refused = run(&["login"], NEW);
    assert_eq!(refused.code, 4, "{}", refused.err);
    for said in
        ["the server was restored, as this device saw at 20", "LOCKSTEP_EARLIER_PASSWORD", "was erased"]
    {
        assert!(refused.err.contains(said), "{said}: {}", refused.err);
    }
    let entered = run(&["login"], PASSWORD);
    assert_eq!(entered.code, 0, "{}", entered.err);
}

fn a_device_that_heard_that_an_erasure_was_called_off_tells_that_it_is_due_again(mode: Mode) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    laptop.ok(&["account", "delete", "--yes"]);
    phone.ok(&["sync"]);
    let backup = Backup::of(&mut server);
    laptop.ok(&["account", "keep"]);
    for device in [&laptop, &phone] {
        device.ok(&["sync"]);
        assert_eq!(device.json(&["status"])["erasure_due_at"], json!(null));
    }
    backup.put_back(&mut server);
    for device in [&laptop, &phone] {
        let told = device.run(&["sync"]).err;
        assert!(told.contains("going to be erased at 20") && told.contains("account keep"), "{told}");
        assert!(device.json(&["status"])["erasure_due_at"].is_i64());
    }
    phone.ok(&["account", "keep"]);
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["erasure_due_at"], json!(null));
}

fn a_device_that_joined_after_the_backup_logs_in_where_the_restored_server_has_another_certificate(
    mode: Mode,
) {
    let mut server = Server::start_in(mode);
    let _laptop = Device::registered(&server);
    let backup = Backup::of(&mut server);
    let phone = Device::logged_in(&server);
    phone.ok(&["add", "mail"]);
    let before = server.fingerprint.clone();
    backup.put_elsewhere(&mut server);
    assert_ne!(server.fingerprint, before);
    assert_eq!(phone.run(&["login"]).code, 7, "nobody said that it may be another");
    phone.ok(&["login", "--fingerprint", &server.fingerprint]);
    phone.ok(&["sync"]);
    assert!(Device::logged_in(&server).ok(&["list"]).contains("mail"));
}
