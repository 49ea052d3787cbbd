//! Files beside entries, by the command.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    device::{Answer, Device, NAME, PASSWORD, answer},
    mode::Mode,
    proxy::{Proxy, Relay},
    server::Server,
};

in_both_modes! {
    files_of_every_size_reach_another_device_whole_and_are_never_written_over_anything,
    an_edit_a_choice_and_a_restore_keep_the_files_and_an_earlier_version_still_has_what_was_taken_away,
    files_that_two_devices_added_apart_are_both_shown_and_a_merge_keeps_both,
    keeping_both_sides_gives_each_entry_files_that_open,
    an_upload_that_was_cut_off_goes_on_where_it_stopped_with_the_next_sync,
    the_rest_of_an_upload_that_was_cut_off_is_all_that_is_sent_again,
    a_file_that_was_changed_on_the_disk_is_neither_sent_nor_given_out,
    wrong_bytes_of_a_file_raise_an_alarm_that_is_kept_and_no_file_is_written,
    an_archive_brings_the_files_to_another_account,
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(31) >> 3) as u8).collect()
}

/// A file beside the profile.
fn file(device: &Device, name: &str, content: &[u8]) -> String {
    let path = device.home().join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn names(device: &Device, entry: &str) -> Vec<String> {
    let all = device.json(&["attachment", "list", entry]);
    all.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

/// What `get` writes to a pipe.
#[track_caller]
fn got(device: &Device, args: &[&str]) -> Vec<u8> {
    let mut all = vec!["attachment", "get"];
    all.extend(args);
    let output = device.command(&all).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn files_of_every_size_reach_another_device_whole_and_are_never_written_over_anything(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "passport", "--type", "note"]);
    let contents = [
        ("empty", bytes(0)),
        ("small.txt", bytes(700)),
        ("photo.jpg", bytes(40_000)),
        ("scan.pdf", bytes(9 << 20)),
    ];
    let paths: Vec<String> = contents.iter().map(|(name, content)| file(&laptop, name, content)).collect();
    let mut add = vec!["attachment", "add", "passport"];
    add.extend(paths.iter().map(String::as_str));
    let added = laptop.json(&add);
    assert_eq!(added["sent"], json!(true));
    assert_eq!(added["attachments"][3]["size"], json!(9 << 20));
    let again = laptop.run(&["attachment", "add", "passport", &paths[1]]);
    assert_eq!(again.code, 1, "{}", again.err);
    assert!(again.err.contains("--force"), "{}", again.err);

    let phone = Device::logged_in(&server);
    let listed = phone.json(&["attachment", "list", "passport"]);
    assert_eq!(listed.as_array().unwrap().len(), 4);
    assert_eq!(listed[3]["here"], json!(false));
    let missing = phone.run(&["--offline", "attachment", "get", "passport", "scan.pdf"]);
    assert_eq!((missing.code, missing.out.as_str()), (6, ""), "{}", missing.err);
    for (name, content) in &contents {
        assert!(got(&phone, &["passport", name]) == *content, "{name}");
    }
    assert!(got(&phone, &["passport", "scan.pdf"]) == contents[3].1);
    assert_eq!(phone.json(&["attachment", "list", "passport"])[3]["here"], json!(true));
    assert!(phone.ok(&["get", "passport"]).contains("scan.pdf (9.00 MiB)"));

    let folder = phone.home().to_str().unwrap();
    phone.ok(&["attachment", "get", "passport", "small.txt", "--out", folder]);
    let out = phone.home().join("small.txt");
    assert_eq!(fs::read(&out).unwrap(), contents[1].1);
    fs::write(&out, "mine").unwrap();
    let refused = phone.run(&["attachment", "get", "passport", "small.txt", "--out", folder]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    // What is replaced stays whole until the new file is: whoever has it by another name keeps it.
    let kept = phone.home().join("kept.txt");
    fs::hard_link(&out, &kept).unwrap();
    phone.ok(&["attachment", "get", "passport", "small.txt", "--out", folder, "--force"]);
    assert_eq!(fs::read(&out).unwrap(), contents[1].1);
    assert_eq!(fs::read(&kept).unwrap(), b"mine");
    let link = phone.home().join("link.txt");
    std::os::unix::fs::symlink(&kept, &link).unwrap();
    phone.ok(&["attachment", "get", "passport", "small.txt", "--out", link.to_str().unwrap(), "--force"]);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(&kept).unwrap(), contents[1].1);
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
    assert_eq!(phone.run(&["attachment", "get", "passport", "none.txt"]).code, 3);
    assert_eq!(phone.run(&["attachment", "add", "passport", "/nowhere/at-all"]).code, 3);
}

fn an_edit_a_choice_and_a_restore_keep_the_files_and_an_earlier_version_still_has_what_was_taken_away(
    mode: Mode,
) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "server", "--set", "password=one"]);
    let added =
        laptop.run_with(&["attachment", "add", "server", "-", "--name", "../keys\u{202e}.tgz"], b"keys");
    assert_eq!(added.code, 0, "{}", added.err);
    assert_eq!(names(&laptop, "server"), ["keys.tgz"], "no path and nothing that turns a terminal");
    laptop.ok(&["edit", "server", "--set", "password=two"]);
    laptop.ok(&["attachment", "rm", "server", "keys.tgz"]);
    assert_eq!(names(&laptop, "server"), Vec::<String>::new());
    assert_eq!(got(&laptop, &["server", "keys.tgz", "--version", "3"]), b"keys");
    // A restored version is a choice: what is built on it has the files of what was chosen.
    laptop.ok(&["restore", "server", "3"]);
    laptop.ok(&["edit", "server", "--set", "password=three"]);
    let phone = Device::logged_in(&server);
    assert_eq!(names(&phone, "server"), ["keys.tgz"]);
    assert_eq!(got(&phone, &["server", "keys.tgz"]), b"keys");
    let vault = phone.json(&["status"])["vault"].as_str().unwrap().to_owned();
    let snapshot: Value =
        serde_json::from_str(&phone.ok(&["api", "GET", &format!("/v1/vaults/{vault}/snapshot")])).unwrap();
    let versions = snapshot["entries"][0]["versions"].as_array().unwrap();
    assert!(
        versions.iter().any(|version| version["attachments"].as_array().map(Vec::len) == Some(1)),
        "{snapshot}"
    );
    let replaced =
        phone.run_with(&["attachment", "add", "server", "-", "--name", "keys.tgz", "--force"], b"new");
    assert_eq!(replaced.code, 0, "{}", replaced.err);
    laptop.ok(&["sync"]);
    assert_eq!(names(&laptop, "server"), ["keys.tgz"]);
    assert_eq!(got(&laptop, &["server", "keys.tgz"]), b"new");
    assert!(laptop.ok(&["history", "server"]).contains("attachments"));
}

/// An entry to which both devices added a file of one name, apart.
fn apart(server: &Server) -> (Device, Device) {
    let laptop = Device::registered(server);
    laptop.ok(&["add", "passport", "--type", "note"]);
    let phone = Device::logged_in(server);
    for (device, content) in [(&laptop, b"laptop"), (&phone, b"phone!")] {
        let add = ["--offline", "attachment", "add", "passport", "-", "--name", "scan.pdf"];
        let added = device.run_with(&add, content);
        assert_eq!(added.code, 0, "{}", added.err);
    }
    for device in [&laptop, &phone, &laptop] {
        device.ok(&["sync"]);
    }
    (laptop, phone)
}

fn files_that_two_devices_added_apart_are_both_shown_and_a_merge_keeps_both(mode: Mode) {
    let server = Server::start_in(mode);
    let (laptop, phone) = apart(&server);
    let listed = laptop.json(&["attachment", "list", "passport"]);
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["sides"], &listed[1]["sides"]), (&json!([1]), &json!([2])));
    let by_name = got(&laptop, &["passport", "scan.pdf"]);
    let other = got(&laptop, &["passport", listed[1]["id"].as_str().unwrap()]);
    let mut both = [by_name, other];
    both.sort();
    assert_eq!(both, [b"laptop", b"phone!"]);
    let shown = laptop.run(&["resolve", "passport"]);
    assert!(
        shown.code == 5 && shown.out.contains("attachments") && shown.out.contains("scan.pdf"),
        "{shown:?}"
    );
    assert!(laptop.ok(&["conflicts"]).contains("attachments"));
    laptop.ok(&["resolve", "passport", "--merge"]);
    phone.ok(&["sync"]);
    assert_eq!(names(&phone, "passport"), ["scan.pdf", "scan (2).pdf"]);
    let mut both = [got(&phone, &["passport", "scan.pdf"]), got(&phone, &["passport", "scan (2).pdf"])];
    both.sort();
    assert_eq!(both, [b"laptop", b"phone!"]);
}

fn keeping_both_sides_gives_each_entry_files_that_open(mode: Mode) {
    let server = Server::start_in(mode);
    let (laptop, phone) = apart(&server);
    laptop.ok(&["resolve", "passport", "--keep-both"]);
    phone.ok(&["sync"]);
    let entries = phone.json(&["list"]);
    let ids: Vec<&str> =
        entries.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    let mut both: Vec<Vec<u8>> = ids.iter().map(|id| got(&phone, &[id, "scan.pdf"])).collect();
    both.sort();
    assert_eq!(both, [b"laptop", b"phone!"]);
}

fn an_upload_that_was_cut_off_goes_on_where_it_stopped_with_the_next_sync(mode: Mode) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "passport", "--type", "note"]);
    let content = bytes(16 << 20);
    let path = file(&laptop, "scan.pdf", &content);
    let mut child = laptop.start(&["attachment", "add", "passport", &path]);
    let uploads = server.data().join("uploads");
    let begun = || {
        let parts = fs::read_dir(&uploads).into_iter().flatten().flatten();
        parts.map(|part| part.metadata().map_or(0, |part| part.len())).sum::<u64>() > 0
    };
    let late = Instant::now() + Duration::from_secs(120);
    while !begun() && Instant::now() < late && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.kill();
    let cut = answer(&child.wait_with_output().unwrap());
    assert_eq!(cut.code, 0, "it is saved here: {}", cut.err);
    server.start_again();
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["waiting"], json!(0));
    let phone = Device::logged_in(&server);
    assert!(got(&phone, &["passport", "scan.pdf"]) == content);
}

fn the_rest_of_an_upload_that_was_cut_off_is_all_that_is_sent_again(mode: Mode) {
    const MIB: u64 = 1 << 20;
    let server = Server::start_in(mode);
    let line = Relay::start(server.url.strip_prefix("https://").unwrap().parse().unwrap());
    let url = format!("https://{}", line.addr);
    let laptop = Device::empty();
    laptop.ok(&["register", "--server", &url, "--email", NAME, "--fingerprint", &server.fingerprint]);
    laptop.ok(&["add", "passport", "--type", "note"]);
    let content = bytes(16 << 20);
    let path = file(&laptop, "scan.pdf", &content);
    line.moved();
    line.cut_after(10 * MIB);
    let added = laptop.json(&["attachment", "add", "passport", &path]);
    assert_eq!(added["sent"], json!(false), "it is saved here");
    let first = line.moved();
    assert!((10 * MIB..11 * MIB).contains(&first), "{first}");
    assert_eq!(laptop.json(&["status"])["waiting"], json!(1));
    line.mend();
    laptop.ok(&["sync"]);
    let second = line.moved();
    assert!((6 * MIB..8 * MIB).contains(&second), "{second} of 16 MiB, after {first}");
    assert_eq!(laptop.json(&["status"])["waiting"], json!(0));
    let phone = Device::logged_in(&server);
    assert!(got(&phone, &["passport", "scan.pdf"]) == content);
}

/// The sealed files of a device.
fn sealed(device: &Device) -> Vec<PathBuf> {
    fs::read_dir(device.home().join("attachments")).unwrap().map(|file| file.unwrap().path()).collect()
}

fn damage(path: &Path) {
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(path, content).unwrap();
}

fn a_file_that_was_changed_on_the_disk_is_neither_sent_nor_given_out(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "passport", "--type", "note"]);
    let path = file(&laptop, "scan.pdf", &bytes(50_000));
    laptop.ok(&["--offline", "attachment", "add", "passport", &path]);
    damage(&sealed(&laptop)[0]);
    let refused = laptop.run(&["--offline", "attachment", "get", "passport", "scan.pdf"]);
    assert_eq!((refused.code, refused.out.as_str()), (6, ""), "{}", refused.err);
    laptop.ok(&["add", "mail"]);
    let status = laptop.json(&["status"]);
    assert_eq!((&status["quarantined"], &status["waiting"]), (&json!(1), &json!(0)), "{status}");

    // One that the server has is fetched again.
    let path = file(&laptop, "photo.jpg", &bytes(60_000));
    laptop.ok(&["attachment", "add", "mail", &path]);
    let phone = Device::logged_in(&server);
    assert_eq!(got(&phone, &["mail", "photo.jpg"]), bytes(60_000));
    damage(&sealed(&phone)[0]);
    assert_eq!(phone.json(&["attachment", "list", "mail"])[0]["here"], json!(false));
    assert_eq!(got(&phone, &["mail", "photo.jpg"]), bytes(60_000));
    assert_eq!(sealed(&phone).len(), 1);
    phone.ok(&["logout"]);
    assert!(!phone.home().join("attachments").exists());
}

/// A server, or whoever stands between, that gives other bytes than were asked for.
fn wrong_bytes_of_a_file_raise_an_alarm_that_is_kept_and_no_file_is_written(mode: Mode) {
    let server = Server::start_in_with(mode, &[("LOCKSTEP_PLAIN_HTTP", "true")]);
    let proxy = Proxy::start(server.url.strip_prefix("http://").unwrap().parse().unwrap());
    let url = format!("https://{}", proxy.addr);
    let enter = |verb: &str| {
        let device = Device::empty();
        device.ok(&[verb, "--server", &url, "--email", NAME, "--fingerprint", &proxy.fingerprint]);
        device
    };
    let laptop = enter("register");
    laptop.ok(&["add", "passport", "--type", "note"]);
    let path = file(&laptop, "scan.pdf", &bytes(50_000));
    laptop.ok(&["attachment", "add", "passport", &path]);
    let phone = enter("login");
    let out = phone.home().join("scan.pdf");
    let get = ["attachment", "get", "passport", "scan.pdf", "--out", out.to_str().unwrap()];
    let before = phone.json(&["list"]);
    proxy.spoil(true);
    for _ in 0..2 {
        let refused = phone.run(&get);
        assert_eq!((refused.code, refused.out.as_str()), (7, ""), "{}", refused.err);
        assert!(!out.exists());
        assert_eq!(sealed(&phone), [] as [PathBuf; 0], "nothing of it is kept");
    }
    let status = phone.json(&["status"]);
    assert_eq!(status["alarm_list"][0]["kind"], "content_hash", "{status}");
    assert_eq!(phone.json(&["list"]), before, "the vault is what it was");
    proxy.spoil(false);
    phone.ok(&get);
    assert_eq!(fs::read(&out).unwrap(), bytes(50_000), "an honest answer is taken");
    assert!(phone.json(&["status"])["alarms"].as_u64().unwrap() >= 1, "the alarm stays until it was seen");
}

fn an_archive_brings_the_files_to_another_account(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "passport", "--type", "note"]);
    laptop.ok(&["add", "mail"]);
    let path = file(&laptop, "scan.pdf", &bytes(300_000));
    laptop.ok(&["attachment", "add", "passport", &path]);
    let with_password = |device: &Device, args: &[&str]| -> Answer {
        let mut command = device.command(args);
        answer(&command.env("LOCKSTEP_ARCHIVE_PASSWORD", PASSWORD).output().unwrap())
    };
    let archive = laptop.home().join("vault.lockstep").to_str().unwrap().to_owned();
    let exported = with_password(&laptop, &["--json", "export", &archive]);
    assert_eq!(exported.json()["attachments"], json!(1));
    let plain = laptop.run(&["export", "--plain", "-"]);
    assert!(plain.err.contains("1 attachment is left out"), "{}", plain.err);
    assert!(!plain.out.contains("scan.pdf"));

    let other = Device::empty();
    other.ok(&other.enter("register", &server, "grace@example.org"));
    let imported = with_password(&other, &["import", &archive]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let second = Device::empty();
    second.ok(&second.enter("login", &server, "grace@example.org"));
    assert_eq!(got(&second, &["passport", "scan.pdf"]), bytes(300_000));

    let light = laptop.home().join("light.lockstep").to_str().unwrap().to_owned();
    let exported = with_password(&laptop, &["--json", "export", &light, "--without-attachments"]);
    assert_eq!((exported.code, &exported.json()["attachments"]), (0, &json!(0)), "{}", exported.err);
    assert!(fs::metadata(&light).unwrap().len() < 10_000);
}
