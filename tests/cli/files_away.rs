//! Where the server keeps long files is away, or has lost them: what needs none of them goes on, and a device that has
//! them brings them back.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    device::{Device, PASSWORD, answer},
    s3_process::S3Process,
    server::Server,
};

/// A file beside the profile, too long to stand in the log.
fn long_file(device: &Device) -> String {
    let path = device.home().join("scan.pdf");
    fs::write(&path, vec![7; 300_000]).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A server whose long ciphertexts lie in an object store, which can be stopped.
fn beside_a_store() -> (S3Process, Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(S3Process::start());
    let s3 = store.options();
    let server = Server::start_with(&[
        ("LOCKSTEP_BLOBS", &format!("s3://{}", s3.bucket)),
        ("LOCKSTEP_S3_ENDPOINT", &s3.endpoint),
        ("LOCKSTEP_S3_ACCESS_KEY", &s3.access_key),
        ("LOCKSTEP_S3_SECRET_KEY", &s3.secret_key),
    ]);
    (store, server)
}

#[test]
fn an_edit_behind_a_file_that_the_store_does_not_take_goes_out_and_the_file_follows_when_it_is_back() {
    let (mut store, server) = beside_a_store();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "passport", "--type", "note"]);
    laptop.ok(&["add", "bank", "--set", "username=anna"]);
    let phone = Device::logged_in(&server);
    store.stop();
    let added = laptop.json(&["attachment", "add", "passport", &long_file(&laptop)]);
    assert_eq!(added["sent"], json!(false));
    let edited = laptop.json(&["edit", "bank", "--set", "username=bea"]);
    assert_eq!(edited["sent"], json!(true), "{edited}");
    assert_eq!(laptop.json(&["status"])["waiting"], 1, "the file alone waits");
    phone.ok(&["sync"]);
    assert_eq!(phone.ok(&["get", "bank", "username"]).trim(), "bea");
    store.start_again();
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["waiting"], 0);
    phone.ok(&["sync"]);
    let got = phone.command(&["attachment", "get", "passport", "scan.pdf"]).output().unwrap();
    assert_eq!((got.status.code(), got.stdout.len()), (Some(0), 300_000));
}

#[test]
fn what_a_device_writes_goes_out_though_the_store_is_away_that_has_a_long_text_which_it_lacks() {
    let (mut store, server) = beside_a_store();
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    laptop.ok(&["add", "diary", "--type", "note", "--set", &format!("notes={}", "long ".repeat(8_000))]);
    store.stop();
    let added = phone.json(&["add", "bank", "--set", "username=anna"]);
    assert_eq!(added["sent"], json!(true), "{added}");
    assert_ne!(phone.run(&["sync"]).code, 0, "and it says that something is missing");
    laptop.ok(&["sync"]);
    assert_eq!(laptop.ok(&["get", "bank", "username"]).trim(), "anna");
    store.start_again();
    phone.ok(&["sync"]);
    assert!(phone.ok(&["get", "diary", "notes"]).len() > 39_000);
}

fn forget_all(folder: &Path) -> usize {
    let mut gone = 0;
    for item in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if item.path().is_dir() {
            gone += forget_all(&item.path());
        } else {
            fs::remove_file(item.path()).unwrap();
            gone += 1;
        }
    }
    gone
}

#[test]
fn a_file_that_the_server_lost_comes_back_with_an_edit_on_a_device_that_has_it() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "passport", "--type", "note"]);
    laptop.ok(&["attachment", "add", "passport", &long_file(&laptop)]);
    let phone = Device::logged_in(&server);
    phone.ok(&["sync"]);
    assert!(forget_all(&server.data().join("blobs")) > 0);
    let lost = phone.run(&["attachment", "get", "passport", "scan.pdf"]);
    assert_ne!(lost.code, 0);
    assert!(lost.err.contains("the server has lost this file"), "{}", lost.err);
    laptop.ok(&["edit", "passport", "--set", "notes=still here"]);
    let got = phone.command(&["attachment", "get", "passport", "scan.pdf"]).output().unwrap();
    assert_eq!((got.status.code(), got.stdout.len()), (Some(0), 300_000));
}

#[test]
fn an_entry_whose_text_is_not_here_yet_is_not_said_to_be_none_and_an_export_without_it_is_offered() {
    let (mut store, server) = beside_a_store();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "passport", "--type", "note"]);
    laptop.ok(&["attachment", "add", "passport", &long_file(&laptop)]);
    let tablet = Device::logged_in(&server);
    laptop.ok(&["add", "diary", "--type", "note", "--set", &format!("notes={}", "long ".repeat(8_000))]);
    store.stop();
    let phone = Device::logged_in(&server);
    for args in [&["get", "diary"][..], &["edit", "diary", "--set", "notes=x"], &["history", "diary"]] {
        let absent = phone.run(args);
        assert_eq!(absent.code, 6, "{args:?}: {}", absent.err);
        for wanted in ["no entry matches \"diary\"", "1 entry is not on this device yet", "lockstep sync"] {
            assert!(absent.err.contains(wanted), "{wanted}: {}", absent.err);
        }
    }
    assert_eq!(phone.run(&["get", "passport"]).code, 0, "what is here is found");
    // A device that has every text, and lacks a file.
    let archive = tablet.home().join("all.lockstep");
    let mut export = tablet.command(&["export", archive.to_str().unwrap()]);
    let failed = answer(&export.env("LOCKSTEP_ARCHIVE_PASSWORD", PASSWORD).output().unwrap());
    assert!(failed.code == 6 && failed.err.contains("lockstep export --offline FILE"), "{}", failed.err);
    let mut export = tablet.command(&["--offline", "export", archive.to_str().unwrap()]);
    let written = answer(&export.env("LOCKSTEP_ARCHIVE_PASSWORD", PASSWORD).output().unwrap());
    assert!(written.code == 1 && written.err.contains("a file is not in it"), "{}", written.err);
    store.start_again();
    phone.ok(&["sync"]);
    assert!(phone.ok(&["get", "diary", "notes"]).len() > 39_000);
    assert_eq!(phone.run(&["get", "nobody"]).code, 3);
}
