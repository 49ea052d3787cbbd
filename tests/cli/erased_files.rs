//! The sealed files of what was erased go from every device.

use std::{fs, path::Path};

use crate::{device::Device, server::Server};

/// The sealed files in a profile, by name.
fn sealed(device: &Device) -> Vec<String> {
    let folder = fs::read_dir(device.home().join("attachments")).unwrap();
    let mut names: Vec<String> =
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn attach(device: &Device, entry: &str, content: &[u8]) {
    let added = device.run_with(&["attachment", "add", entry, "-", "--name", "scan"], content);
    assert_eq!(added.code, 0, "{}", added.err);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn the_files_of_a_purged_entry_go_from_each_device_that_hears_of_it_and_those_of_others_stay() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    for entry in ["passport", "licence"] {
        laptop.ok(&["add", entry, "--type", "note"]);
        attach(&laptop, entry, entry.as_bytes());
    }
    // A version that only chooses another names its files, too.
    laptop.ok(&["rm", "passport", "--yes"]);
    laptop.ok(&["restore", "passport"]);
    let phone = Device::logged_in(&server);
    for entry in ["passport", "licence"] {
        assert_eq!(phone.ok(&["attachment", "get", entry, "scan"]), entry);
    }
    let both = sealed(&laptop);
    assert_eq!((both.len(), &sealed(&phone)), (2, &both));
    let before = phone.home().join("before");
    copy(&phone.home().join("attachments"), &before);

    laptop.ok(&["purge", "passport", "--yes"]);
    let left = sealed(&laptop);
    assert!(left.len() == 1 && both.contains(&left[0]), "{left:?}");
    phone.ok(&["sync"]);
    assert_eq!(sealed(&phone), left);
    assert_eq!(phone.ok(&["--offline", "attachment", "get", "licence", "scan"]), "licence");

    // As if the phone had been cut off between hearing of it and deleting.
    fs::remove_dir_all(phone.home().join("attachments")).unwrap();
    fs::rename(before, phone.home().join("attachments")).unwrap();
    phone.ok(&["sync"]);
    assert_eq!(sealed(&phone), left);
}

#[test]
fn a_file_that_was_never_sent_stays_when_its_entry_is_purged_until_it_is_given_up() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let id = laptop.json(&["add", "passport", "--type", "note"])["entry"].as_str().unwrap().to_owned();
    let phone = Device::logged_in(&server);
    let added =
        phone.run_with(&["--offline", "attachment", "add", "passport", "-", "--name", "scan"], b"only here");
    assert_eq!(added.code, 0, "{}", added.err);
    laptop.ok(&["purge", "passport", "--yes"]);
    phone.run(&["sync"]);
    assert_eq!(sealed(&phone).len(), 1, "the server refused it, and nobody else has it");
    phone.ok(&["sync", "--discard", &id]);
    phone.ok(&["sync"]);
    assert_eq!(sealed(&phone), [""; 0]);
}
