//! Whole backups: every vault, its files and the one file, out of an account and back, once or again.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    device::{Answer, Device, answer},
    server::Server,
};

const ARCHIVE: &str = "violet anchor mumbles archive";

fn run(device: &Device, args: &[&str]) -> Answer {
    let mut command = device.command(&[&["--json"], args].concat());
    answer(&command.env("LOCKSTEP_ARCHIVE_PASSWORD", ARCHIVE).output().unwrap())
}

#[track_caller]
fn done(device: &Device, args: &[&str]) -> Value {
    let answer = run(device, args);
    assert_eq!(answer.code, 0, "{args:?}: {}", answer.err);
    answer.json()
}

fn registered(server: &Server, name: &str) -> Device {
    let device = Device::empty();
    device.ok(&device.enter("register", server, name));
    device
}

fn path(device: &Device, name: &str) -> String {
    device.home().join(name).to_str().unwrap().to_owned()
}

#[track_caller]
fn put(device: &Device, args: &[&str], content: &[u8]) {
    let answer = device.run_with(args, content);
    assert_eq!(answer.code, 0, "{args:?}: {}", answer.err);
}

/// An account with three vaults, a file in one, and the one file.
fn full(server: &Server) -> Device {
    let laptop = Device::registered(server);
    laptop.ok(&["add", "mail", "--set", "username=ada", "--set", "password=one"]);
    for vault in ["Work", "Empty"] {
        laptop.ok(&["vault", "create", vault]);
    }
    laptop.ok(&["--vault", "Work", "add", "desk", "--set", "password=two", "--set", "folder=Office"]);
    put(&laptop, &["--vault", "Work", "attachment", "add", "desk", "-", "--name", "scan.pdf"], b"a scan");
    put(&laptop, &["file", "put", "-"], b"the one file");
    laptop
}

fn names(device: &Device, vault: &[&str]) -> Vec<String> {
    let list = device.json(&[vault, &["list"]].concat());
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

fn vaults(device: &Device) -> Vec<Value> {
    let all = device.json(&["vault"]);
    all.as_array().unwrap().iter().map(|vault| vault["name"].clone()).collect()
}

#[test]
fn an_archive_brings_every_vault_with_its_files_and_the_one_file_to_another_account() {
    let server = Server::start();
    let laptop = full(&server);
    laptop.ok(&["vault", "rename", laptop.json(&["vault"])[0]["vault"].as_str().unwrap(), "Private"]);
    let archive = path(&laptop, "all.lockstep");
    let exported = done(&laptop, &["export", &archive]);
    let counts = (&exported["items"], &exported["attachments"], &exported["one_file"]);
    assert_eq!(counts, (&json!(2), &json!(1), &json!(12)), "{exported}");
    assert_eq!((&exported["left_out"], exported["vaults"].as_array().unwrap().len()), (&json!([]), 3));
    assert_eq!(exported["vaults"][1]["name"], json!("Work"));

    let other = registered(&server, "grace@example.org");
    let dry = done(&other, &["import", &archive, "--dry-run"]);
    assert_eq!((&dry["items"], &dry["file"], &dry["imported"]), (&json!(2), &json!("put"), &json!(false)));
    assert_eq!((&dry["vaults"][0]["new"], &dry["vaults"][1]["new"]), (&json!(false), &json!(true)), "{dry}");
    assert_eq!((vaults(&other), names(&other, &[])), (vec![Value::Null], vec![]), "it only says so");
    let offline = run(&other, &["--offline", "import", &archive]);
    assert!(offline.code == 6 && offline.err.contains("no entry was imported"), "{}", offline.err);
    assert_eq!(names(&other, &[]), [] as [&str; 0]);

    let imported = done(&other, &["import", &archive]);
    assert_eq!((&imported["items"], &imported["sent"]), (&json!(2), &json!(true)), "{imported}");
    let phone = Device::empty();
    phone.ok(&phone.enter("login", &server, "grace@example.org"));
    assert_eq!(vaults(&phone), ["Private", "Work"], "of an empty vault there is nothing to put back");
    assert_eq!(
        (names(&phone, &[]), names(&phone, &["--vault", "Work"])),
        (vec!["mail".into()], vec!["desk".into()])
    );
    assert_eq!(phone.ok(&["--vault", "Work", "get", "desk", "folder"]), "Office\n");
    assert_eq!(phone.ok(&["--vault", "Work", "attachment", "get", "desk", "scan.pdf"]), "a scan");
    assert_eq!(phone.ok(&["file", "get"]), "the one file");
    let copy = path(&phone, "copy");
    std::fs::write(&copy, "edited here").unwrap();
    let refused = phone.run(&["file", "get", "--out", &copy]);
    assert!(refused.code == 1 && refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "edited here");
    phone.ok(&["file", "get", "--out", &copy, "--force"]);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "the one file");
}

#[test]
fn with_a_vault_named_only_that_one_is_exported_and_all_of_an_archive_goes_into_one() {
    let server = Server::start();
    let laptop = full(&server);
    let (all, work) = (path(&laptop, "all.lockstep"), path(&laptop, "work.lockstep"));
    done(&laptop, &["export", &all]);
    let exported = done(&laptop, &["--vault", "Work", "export", &work]);
    assert_eq!((&exported["items"], &exported["one_file"]), (&json!(1), &json!(null)), "{exported}");
    let left_out = json!([{ "vault": laptop.json(&["vault"])[0]["vault"], "name": null, "entries": 1 },
        { "file": true, "bytes": 12 }]);
    assert_eq!(exported["left_out"], left_out);
    let light = done(&laptop, &["export", "--force", &work, "--without-attachments"]);
    assert_eq!(light["left_out"], json!([{ "attachments": 1, "bytes": 6 }]));

    let other = registered(&server, "grace@example.org");
    other.ok(&["vault", "create", "Old"]);
    done(&other, &["--vault", "Old", "import", &all]);
    assert_eq!(vaults(&other), [Value::Null, json!("Old")]);
    assert_eq!(
        (names(&other, &[]).len(), names(&other, &["--vault", "Old"])),
        (0, vec!["desk".into(), "mail".into()])
    );
}

#[test]
fn an_archive_of_the_first_form_is_still_imported() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("client/testdata/archive-1.lockstep");
    let imported = done(&laptop, &["import", old.to_str().unwrap()]);
    assert_eq!((&imported["items"], &imported["attachments"]), (&json!(2), &json!(1)), "{imported}");
    assert_eq!(names(&laptop, &[]), ["mail", "passport"]);
    assert_eq!(laptop.ok(&["attachment", "get", "passport", "scan.txt"]), "scan of a passport");
}

#[test]
fn an_import_that_is_repeated_adds_only_what_is_not_there_and_says_so() {
    let server = Server::start();
    let laptop = full(&server);
    let (archive, csv) = (path(&laptop, "all.lockstep"), path(&laptop, "logins.csv"));
    done(&laptop, &["export", &archive]);
    std::fs::write(&csv, "name,username,password\nbank,ada,1\nshop,ada,2\nshop,ada,2\n").unwrap();
    let counts = |told: &Value| (told["items"].as_u64().unwrap(), told["already_there"].as_u64().unwrap());

    // Of its own account nothing is missing, whatever its vaults are called meanwhile.
    laptop.ok(&["vault", "rename", "Work", "Office"]);
    let again = done(&laptop, &["import", &archive]);
    assert_eq!((counts(&again), &again["file"]), ((0, 2), &json!("already_there")), "{again}");
    assert_eq!(vaults(&laptop), [Value::Null, json!("Office"), json!("Empty")]);
    assert!(again["notes"][0].as_str().unwrap().contains("2 entries were there already"), "{again}");
    // A file that changed is another one, though its name and length are the same.
    let force = ["--vault", "Office", "attachment", "add", "desk", "-", "--name", "scan.pdf", "--force"];
    put(&laptop, &force, b"A SCAN");
    let again = done(&laptop, &["import", &archive, "--dry-run"]);
    assert_eq!(counts(&again), (1, 1), "{again}");
    laptop.ok(&["edit", "mail", "--set", "password=three"]);
    assert_eq!(counts(&done(&laptop, &["import", &archive])), (2, 0));
    assert_eq!(counts(&done(&laptop, &["import", &archive])), (0, 2));

    // What the file has twice is there twice, and no more than that.
    assert_eq!(counts(&done(&laptop, &["import", &csv])), (3, 0));
    assert_eq!(counts(&done(&laptop, &["import", &csv, "--dry-run"])), (0, 3));
    let quiet = laptop.run(&["--quiet", "import", &csv]);
    assert!(
        quiet.err.contains("3 entries were there already") && quiet.err.contains("--again"),
        "{}",
        quiet.err
    );
    laptop.ok(&["rm", "bank", "--yes"]);
    assert_eq!(counts(&done(&laptop, &["import", &csv])), (1, 2));
    assert_eq!(counts(&done(&laptop, &["import", &csv, "--folder", "Old"])), (3, 0));
    assert_eq!(counts(&done(&laptop, &["import", &csv, "--again"])), (3, 0));
    assert_eq!(names(&laptop, &[]).len(), 2 + 3 + 3 + 3, "mail twice, and the others");
    // Another device that has not heard of it yet looks before it adds.
    let phone = Device::logged_in(&server);
    std::fs::write(&csv, "name,password\nnew,1\n").unwrap();
    done(&laptop, &["import", &csv]);
    assert_eq!(counts(&done(&phone, &["import", &csv])), (0, 1));
}

#[test]
fn the_one_file_that_is_there_stays_until_it_is_told_to_give_way() {
    let server = Server::start();
    let laptop = full(&server);
    let archive = path(&laptop, "all.lockstep");
    done(&laptop, &["export", &archive]);
    put(&laptop, &["file", "put", "-"], b"a newer one");
    let kept = done(&laptop, &["import", &archive]);
    assert_eq!(kept["file"], json!("left_out"));
    let said = |note: &Value| note.as_str().unwrap().contains("--replace-file");
    assert!(kept["notes"].as_array().unwrap().iter().any(said), "{kept}");
    assert_eq!(laptop.ok(&["file", "get"]), "a newer one");
    assert_eq!(done(&laptop, &["import", &archive, "--replace-file"])["file"], json!("put"));
    assert_eq!(laptop.ok(&["file", "get"]), "the one file");
    let list = laptop.json(&["file", "list"]);
    assert_eq!((list.as_array().unwrap().len(), &list[1]["bytes"]), (3, &json!(11)), "what gave way is kept");
}

#[test]
fn an_archive_that_is_cut_or_has_no_room_for_its_vaults_imports_nothing() {
    let plans = [
        ("LOCKSTEP_PLANS", "one = { vaults = 1 }\nthree = { vaults = 3 }"),
        ("LOCKSTEP_DEFAULT_PLAN", "three"),
    ];
    let mut server = Server::start_with(&plans);
    let laptop = full(&server);
    let archive = path(&laptop, "all.lockstep");
    done(&laptop, &["export", &archive]);
    let other = registered(&server, "grace@example.org");
    for name in ["One", "Two"] {
        other.ok(&["vault", "create", name]);
    }
    let refused = run(&other, &["import", &archive]);
    assert_eq!(refused.code, 8, "{}", refused.err);
    for part in ["the vault Work cannot be made", "no entry was imported", "--vault"] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    let cut = run(&other, &["import", &archive]);
    assert!(cut.code == 4 && cut.err.contains("changed or cut"), "{}", cut.err);
    assert_eq!(other.run(&["file", "get"]).code, 3);
    server.kill();
    assert_eq!((names(&other, &[]).len(), other.json(&["status"])["waiting"].clone()), (0, json!(0)));
    std::fs::write(&archive, whole).unwrap();
    assert_eq!(done(&other, &["--vault", "One", "import", &archive])["items"], json!(2));
}

#[test]
fn a_plain_export_of_several_vaults_shows_them_as_folders_and_is_put_back_into_vaults() {
    let server = Server::start();
    let laptop = full(&server);
    let file = path(&laptop, "all.json");
    let exported = laptop.run(&["--json", "export", "--plain", &file]);
    for said in ["1 attachment is left out", "one encrypted file is not in it"] {
        assert!(exported.err.contains(said), "{said}: {}", exported.err);
    }
    assert_eq!(exported.json()["left_out"].as_array().unwrap().len(), 2);
    let text: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(text["folders"][0]["name"], "Work/Office");
    // In its own account all of it is there, though an export has no files.
    let again = done(&laptop, &["import", &file]);
    assert_eq!((&again["items"], &again["already_there"]), (&json!(0), &json!(2)), "{again}");
    let other = registered(&server, "grace@example.org");
    done(&other, &["import", &file]);
    assert_eq!(
        (names(&other, &[]), names(&other, &["--vault", "Work"])),
        (vec!["mail".into()], vec!["desk".into()])
    );
    assert_eq!(other.ok(&["--vault", "Work", "get", "desk", "folder"]), "Office\n");
}
