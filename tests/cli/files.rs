//! Exports, archives, and the one encrypted file.

use crate::{
    device::{Device, PASSWORD},
    server::Server,
};

#[test]
fn an_archive_brings_everything_to_another_account() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let path = |name: &str| laptop.home().join(name).to_str().unwrap().to_owned();
    let (export, archive) = (path("export.xml"), path("vault.lockstep"));
    laptop.ok(&["fixtures", "--items", "60", "--format", "keepass", "--out", &export]);
    laptop.ok(&["import", &export, "--folder", "Old"]);
    let sealed = |args: &[&str], device: &Device| {
        let mut command = device.command(args);
        crate::device::answer(&command.env("LOCKSTEP_ARCHIVE_PASSWORD", PASSWORD).output().unwrap())
    };
    assert_eq!(laptop.run(&["export", &archive]).code, 4, "no password for the archive");
    assert_eq!(sealed(&["export", &archive], &laptop).code, 0);
    assert_eq!(sealed(&["export", &archive], &laptop).code, 1, "a file is not overwritten");
    let bytes = std::fs::read(&archive).unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"Bank 1" || window == b"otpaut"));

    let other = Device::empty();
    other.ok(&other.enter("register", &server, "grace@example.org"));
    let wrong =
        other.command(&["import", &archive]).env("LOCKSTEP_ARCHIVE_PASSWORD", "not this one at all").output();
    assert_eq!(crate::device::answer(&wrong.unwrap()).code, 4);
    let imported = sealed(&["import", &archive], &other);
    assert_eq!(imported.code, 0, "{}", imported.err);
    // Same content; only the ids of the two accounts' entries differ.
    assert_eq!(
        other.ok(&["export", "--plain", "-"]).lines().count(),
        laptop.ok(&["export", "--plain", "-"]).lines().count()
    );
    assert_eq!(other.json(&["list"]).as_array().unwrap().len(), 60);
    let plain = laptop.run(&["export", "--plain", "-"]);
    assert!(plain.err.contains("clear text"), "{}", plain.err);
}

#[test]
fn a_bad_file_imports_nothing() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let file = laptop.home().join("bad.csv");
    std::fs::write(&file, "name,password\ngood,1\nbad,2,3\n").unwrap();
    let answer = laptop.run(&["import", file.to_str().unwrap()]);
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("bad.csv, line 3"), "{}", answer.err);
    assert_eq!(laptop.json(&["list"]), serde_json::json!([]));
}

#[test]
fn the_one_encrypted_file_is_put_and_got_whole_and_binary() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    assert_eq!(laptop.run(&["file", "get"]).code, 3);
    let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
    let put = laptop.run_with(&["file", "put", "-"], &bytes);
    assert_eq!(put.code, 0, "{}", put.err);
    let got = phone.command(&["file", "get"]).output().unwrap();
    assert_eq!(got.stdout, bytes);
    assert_eq!(laptop.json(&["list"]), serde_json::json!([]), "the file is no entry of the list");
    let large = laptop.run_with(&["file", "put", "-"], &[0; 60 * 1024]);
    assert_eq!(large.code, 8, "{}", large.err);
}

/// A file that two devices put apart.
fn put_apart(server: &Server) -> (Device, Device) {
    let put = |device: &Device, args: &[&str], text: &[u8]| {
        let answer = device.run_with(args, text);
        assert_eq!(answer.code, 0, "{}", answer.err);
    };
    let laptop = Device::registered(server);
    put(&laptop, &["file", "put", "-"], b"the first");
    let phone = Device::logged_in(server);
    assert_eq!(phone.ok(&["file", "get"]), "the first");
    put(&laptop, &["--offline", "file", "put", "-"], b"of the laptop");
    put(&phone, &["--offline", "file", "put", "-"], b"of the phone");
    for device in [&laptop, &phone, &laptop] {
        device.ok(&["sync"]);
    }
    (laptop, phone)
}

#[test]
fn what_another_device_put_and_nobody_saw_here_stays_beside_a_new_file_although_it_was_fetched() {
    let server = Server::start();
    let put = |device: &Device, text: &[u8]| device.run_with(&["file", "put", "-"], text);
    let laptop = Device::registered(&server);
    assert_eq!(put(&laptop, b"the first").code, 0);
    let phone = Device::logged_in(&server);
    assert_eq!(phone.ok(&["file", "get"]), "the first");
    let alone = put(&phone, b"of the phone");
    assert!(alone.code == 0 && !alone.err.contains("resolve"), "{}", alone.err);
    laptop.ok(&["sync"]);
    let beside = put(&laptop, b"of the laptop");
    assert!(beside.code == 0 && beside.err.contains("lockstep file resolve"), "{}", beside.err);
    for device in [&laptop, &phone] {
        device.ok(&["sync"]);
        assert_eq!(device.json(&["conflicts"]).as_array().unwrap().len(), 1);
    }
    // Once it was chosen, the next one stands alone.
    laptop.ok(&["file", "resolve", "--keep", "1"]);
    let both = put(&laptop, b"of both");
    assert!(both.code == 0 && !both.err.contains("resolve"), "{}", both.err);
    assert_eq!(laptop.json(&["conflicts"]), serde_json::json!([]));
    assert_eq!(phone.ok(&["file", "get"]), "of both");
}

#[test]
fn a_side_that_get_did_not_write_stays_beside_the_next_put() {
    let server = Server::start();
    let (laptop, phone) = put_apart(&server);
    assert_eq!(laptop.ok(&["file", "get"]), "of the laptop");
    let put = laptop.run_with(&["file", "put", "-"], b"on top");
    assert!(put.code == 0 && put.err.contains("lockstep file resolve"), "{}", put.err);
    phone.ok(&["sync"]);
    for device in [&laptop, &phone] {
        let sides = device.run(&["--json", "file", "resolve"]).json()["sides"].clone();
        let mut bytes: Vec<_> = sides.as_array().unwrap().iter().map(|side| side["bytes"].as_u64()).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, ["on top", "of the phone"].map(|text| Some(text.len() as u64)), "{sides}");
    }
}

#[test]
fn the_one_file_is_neither_deleted_nor_erased_as_an_entry() {
    let server = Server::start();
    let (laptop, _) = put_apart(&server);
    let id = laptop.json(&["conflicts"])[0]["id"].as_str().unwrap().to_owned();
    for verb in ["rm", "purge"] {
        let refused = laptop.run(&[verb, &id, "--yes"]);
        assert!(refused.code == 2 && refused.err.contains("lockstep file put"), "{}", refused.err);
    }
    laptop.ok(&["file", "resolve", "--keep", "1"]);
    assert_eq!(laptop.run_with(&["file", "put", "-"], b"another").code, 0);
    assert_eq!(laptop.ok(&["file", "get"]), "another");
}

#[test]
fn a_file_that_was_put_apart_is_resolved_by_keeping_one_side_and_the_other_stays_in_the_list() {
    let server = Server::start();
    let (laptop, phone) = put_apart(&server);
    let got = laptop.run(&["file", "get"]);
    assert_eq!(got.out, "of the laptop", "who came first is shown meanwhile");
    assert!(got.err.contains("lockstep file resolve"), "{}", got.err);
    let undecided = laptop.run(&["--json", "file", "resolve"]);
    assert_eq!(undecided.code, 5);
    let sides = undecided.json();
    assert_eq!(sides["sides"].as_array().unwrap().len(), 2);
    assert_eq!(laptop.json(&["conflicts"])[0]["file"], true);
    assert_eq!(laptop.run(&["file", "resolve", "--keep", "3"]).code, 3);

    laptop.ok(&["file", "resolve", "--keep", "2"]);
    phone.ok(&["sync"]);
    for device in [&laptop, &phone] {
        assert_eq!(device.ok(&["file", "get"]), "of the phone");
        assert_eq!(device.json(&["conflicts"]), serde_json::json!([]));
        let list = device.json(&["file", "list"]);
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), 4, "three puts and a choice");
        assert_eq!(list.iter().filter(|version| version["head"] == true).count(), 1);
        let lost = list.iter().find(|version| version["bytes"] == "of the laptop".len()).unwrap();
        let id = lost["version"].as_str().unwrap();
        assert_eq!(device.ok(&["file", "get", "--version", &id[..12]]), "of the laptop");
        assert_eq!(device.json(&["file", "list", "--last", "1"]).as_array().unwrap().len(), 1);
    }
    let again = laptop.run(&["file", "resolve", "--keep", "1"]);
    assert_eq!(again.code, 0, "a second time there is nothing to do: {}", again.err);
}

#[test]
fn a_file_that_was_put_apart_is_resolved_by_keeping_one_side_and_copies_of_the_others() {
    let server = Server::start();
    let (laptop, phone) = put_apart(&server);
    let copies = phone.home().join("copies");
    let done = phone.json(&["file", "resolve", "--keep-both", copies.to_str().unwrap()]);
    let paths = done["copies"].as_array().unwrap();
    assert_eq!(paths.len(), 1);
    assert_eq!(std::fs::read(paths[0].as_str().unwrap()).unwrap(), b"of the phone");
    laptop.ok(&["sync"]);
    for device in [&laptop, &phone] {
        assert_eq!(device.ok(&["file", "get"]), "of the laptop");
        assert_eq!(device.json(&["conflicts"]), serde_json::json!([]));
    }
}
