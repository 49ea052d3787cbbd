//! Which entry a word means: the whole name of one, be it deleted, and never a part of the name of another where
//! something is changed.

use serde_json::Value;

use crate::{device::Device, mode::Mode, server::Server};

in_both_modes! { purging_what_was_deleted_erases_that_and_not_another_of_whose_name_it_is_a_part }

/// Ids of the entries that are not deleted.
fn id(device: &Device, name: &str) -> String {
    let all = device.json(&["list"]);
    let mut all = all.as_array().unwrap().iter();
    all.find(|entry| entry["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
}

fn purging_what_was_deleted_erases_that_and_not_another_of_whose_name_it_is_a_part(mode: Mode) {
    let server = Server::start_in(mode);
    let device = Device::registered(&server);
    device.ok(&["add", "bank old", "--set", "password=one"]);
    device.ok(&["add", "bank old savings", "--set", "password=two"]);
    let (old, savings) = (id(&device, "bank old"), id(&device, "bank old savings"));
    device.ok(&["rm", "bank old", "--yes"]);
    let twice = device.run(&["rm", "bank old", "--yes"]);
    assert!(twice.code == 3 && twice.err.contains(&savings[..8]), "{}", twice.err);
    // What it was is read under its own name, too, and it comes back as itself.
    assert_eq!(device.json(&["history", "bank old"])["entry"], old.as_str());
    assert_eq!(device.json(&["restore", "bank old", "1"])["entry"], old.as_str());
    device.ok(&["rm", "bank old", "--yes"]);
    assert_eq!(device.json(&["purge", "bank old", "--yes"])["purged"], old.as_str());
    let again = device.run(&["purge", "bank old", "--yes"]);
    assert!(again.code == 3 && again.err.contains(&savings[..8]), "{}", again.err);
    assert_eq!(device.ok(&["get", "bank old savings", "password"]), "two\n");
    let history = device.json(&["history", &savings]);
    assert_eq!(history["versions"].as_array().unwrap().len(), 1, "{history}");
}

#[test]
fn nothing_is_changed_by_a_part_of_a_name_and_the_entry_is_named() {
    let server = Server::start();
    let device = Device::registered(&server);
    device.ok(&["vault", "create", "Work"]);
    device.ok(&["add", "alpha7 backup", "--set", "password=one"]);
    device.run_with(&["attachment", "add", "alpha7 backup", "-", "--name", "scan"], b"a scan");
    let id = id(&device, "alpha7 backup");
    let before = device.json(&["history", &id]);
    for args in [
        &["rm", "alpha7", "--yes"][..],
        &["rm", "alpha7 backup", "alpha7", "--yes"],
        &["purge", "alpha7", "--yes"],
        &["restore", "alpha7", "1"],
        &["restore", "alpha7", "1", "--yes"],
        &["edit", "alpha7", "--set", "password=two"],
        &["mv", "alpha7", "--to", "Work"],
        &["resolve", "alpha7", "--keep", "1"],
        &["attachment", "add", "alpha7", "/dev/null"],
        &["attachment", "rm", "alpha7", "scan"],
        &["sync", "--discard", "alpha7"],
    ] {
        let refused = device.run(args);
        assert_eq!(refused.code, 3, "{args:?}: {}", refused.err);
        assert!(refused.err.contains(&id[..8]) && refused.err.contains("alpha7 backup"), "{}", refused.err);
        let told = device.run(&[&["--json"], args].concat());
        let told: Value = serde_json::from_str(told.err.lines().last().unwrap()).unwrap();
        assert_eq!(told["error"]["candidates"][0]["id"], id.as_str(), "{args:?}: {told}");
    }
    assert_eq!(device.json(&["history", &id]), before);
    // To look at one it is enough.
    assert_eq!(device.ok(&["get", "alpha7", "password"]), "one\n");
    assert_eq!(device.json(&["history", "alpha7"])["entry"], id.as_str());
    assert_eq!(device.ok(&["attachment", "get", "alpha7", "scan"]), "a scan");
    // The whole name is, however it is written, and so are the address and the beginning of the id.
    device.ok(&["edit", "Alpha7 Backup", "--set", "uri=https://seven.example/login"]);
    device.ok(&["edit", "seven.example", "--set", "username=ada"]);
    device.ok(&["rm", &id[..8], "--yes"]);
}

#[test]
fn of_a_deleted_entry_and_a_new_one_of_the_same_name_a_change_says_which() {
    let server = Server::start();
    let device = Device::registered(&server);
    device.ok(&["add", "mail", "--set", "password=one"]);
    let old = id(&device, "mail");
    device.ok(&["rm", "mail", "--yes"]);
    device.ok(&["add", "mail", "--set", "password=two"]);
    let new = id(&device, "mail");
    for args in [&["purge", "mail", "--yes"][..], &["restore", "mail"], &["restore", "mail", "1"]] {
        let refused = device.run(args);
        assert_eq!(refused.code, 9, "{args:?}: {}", refused.err);
        assert!(refused.err.contains(&new[..8]), "{}", refused.err);
        assert!(refused.err.contains(&format!("{}  mail (deleted)", &old[..8])), "{}", refused.err);
    }
    // Looked at, and changed by what knows nothing of deleted ones, is the one that is there.
    assert_eq!(device.json(&["history", "mail"])["entry"], new.as_str());
    device.ok(&["edit", "mail", "--set", "password=three"]);
    device.ok(&["purge", &old, "--yes"]);
    assert_eq!(device.ok(&["get", "mail", "password"]), "three\n");
    assert_eq!(device.json(&["purge", "mail", "--yes"])["purged"], new.as_str());
}
