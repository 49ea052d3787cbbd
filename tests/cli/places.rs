//! An entry goes for good, or to another vault.

use crate::{device::Device, mode::Mode, server::Server};

in_both_modes! {
    what_another_device_changed_meanwhile_is_not_purged,
    what_the_server_refused_for_good_is_shown_by_the_id_that_status_names_and_an_export_says_that_it_lacks_it,
}

#[test]
fn what_is_purged_is_gone_with_its_history_on_every_device_and_nothing_brings_it_back() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=one"]);
    laptop.ok(&["edit", "mail", "--set", "password=two"]);
    laptop.ok(&["add", "bank"]);
    let phone = Device::logged_in(&server);
    assert_eq!(phone.ok(&["get", "mail", "password"]), "two\n");
    assert_eq!(laptop.run(&["--offline", "purge", "mail", "--yes"]).code, 2);
    let unasked = laptop.run(&["purge", "mail"]);
    assert!(unasked.code == 2 && unasked.err.contains("--yes"), "{}", unasked.err);
    let id = laptop.json(&["get", "mail"])["id"].as_str().unwrap().to_owned();
    assert_eq!(laptop.json(&["purge", "mail", "--yes"])["purged"], id.as_str());
    phone.ok(&["sync"]);
    for device in [&laptop, &phone] {
        assert_eq!(device.run(&["get", "mail"]).code, 3);
        assert_eq!(device.run(&["restore", &id]).code, 3, "nothing to restore");
        let left = device.json(&["list", "--deleted"]);
        assert_eq!(left.as_array().unwrap().len(), 0, "{left}");
        let history = device.run(&["--json", "history", &id]);
        assert!(!history.out.contains("\"has_content\":true"), "{}", history.out);
        assert_eq!(device.json(&["status"])["alarms"], 0);
    }
    // One that was deleted before, and one that was never sent.
    laptop.ok(&["rm", "bank", "--yes"]);
    laptop.ok(&["--offline", "add", "draft"]);
    for name in ["bank", "draft"] {
        laptop.ok(&["purge", name, "--yes"]);
        assert_eq!(laptop.run(&["restore", name]).code, 3);
    }
    assert_eq!(laptop.run(&["purge", "bank", "--yes"]).code, 3);
}

fn what_another_device_changed_meanwhile_is_not_purged(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=one"]);
    let phone = Device::logged_in(&server);
    phone.ok(&["edit", "mail", "--set", "password=two"]);
    let refused = laptop.run(&["purge", "mail", "--yes"]);
    assert!(refused.code == 5 && refused.err.contains("lockstep resolve"), "{}", refused.err);
    phone.ok(&["sync"]);
    assert_eq!(phone.ok(&["get", "mail", "password"]), "two\n");
}

fn what_the_server_refused_for_good_is_shown_by_the_id_that_status_names_and_an_export_says_that_it_lacks_it(
    mode: Mode,
) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=one"]);
    let phone = Device::logged_in(&server);
    laptop.ok(&["--offline", "edit", "mail", "--set", "password=two"]);
    phone.ok(&["purge", "mail", "--yes"]);
    laptop.run(&["sync"]);
    let status = laptop.json(&["status"]);
    assert_eq!(status["quarantined"], 1, "{status}");
    let refused = &status["quarantine_list"][0];
    let entry = &refused["entry"].as_str().unwrap()[..8];
    let version = &refused["version"].as_str().unwrap()[..12];
    assert_eq!(laptop.ok(&["get", entry, "password", "--version", version]), "two\n");
    assert_eq!(laptop.ok(&["get", entry, "password"]), "two\n");
    let versions = laptop.json(&["history", entry])["versions"].as_array().unwrap().clone();
    assert!(versions.iter().any(|one| one["version"] == refused["version"]), "{versions:?}");
    assert_eq!(laptop.run(&["get", "ffffffff", "password"]).code, 3);
    let plain = laptop.run(&["export", "--plain", "-"]);
    assert!(plain.code == 0 && plain.err.contains("refused them for good"), "{}", plain.err);
}

#[test]
fn an_entry_is_moved_to_another_vault_with_its_files_and_comes_back_by_its_history() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["vault", "create", "Work"]);
    laptop.ok(&["add", "server", "--set", "password=x", "--set", "pin=1", "--folder", "Office"]);
    assert_eq!(laptop.run_with(&["attachment", "add", "server", "-", "--name", "keys"], b"keys").code, 0);
    assert_eq!(laptop.run(&["mv", "server", "--to", "Nowhere"]).code, 3);
    let id = laptop.json(&["get", "server"])["id"].as_str().unwrap().to_owned();
    let moved = laptop.json(&["mv", "server", "--to", "Work"]);
    assert_eq!((&moved["deleted"], &moved["sent"]), (&id.as_str().into(), &true.into()));
    assert_ne!(moved["entry"], moved["deleted"]);
    let phone = Device::logged_in(&server);
    for device in [&laptop, &phone] {
        let shown = device.json(&["--vault", "Work", "get", "server"]);
        assert_eq!((&shown["fields"]["pin"], &shown["fields"]["folder"]), (&"1".into(), &"Office".into()));
        assert_eq!(device.ok(&["--vault", "Work", "attachment", "get", "server", "keys"]), "keys");
        assert_eq!(device.run(&["get", "server"]).code, 3);
    }
    assert_eq!(laptop.run(&["--vault", "Work", "mv", "server", "--to", "work"]).code, 2);
    laptop.ok(&["restore", &id]);
    assert_eq!(laptop.ok(&["attachment", "get", "server", "keys"]), "keys");
    // Of two halves that wait the server may take the deletion and not the copy.
    let refused = laptop.run(&["--offline", "mv", "server", "--to", "Work"]);
    assert!(refused.code == 2 && refused.err.contains("needs the server"), "{}", refused.err);
    assert_eq!(laptop.json(&["status"])["waiting"], 0);
    assert_eq!(laptop.json(&["list"]).as_array().unwrap().len(), 1);
    laptop.ok(&["mv", "server", "--to", "Work"]);
    phone.ok(&["sync"]);
    assert_eq!(phone.json(&["--vault", "Work", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(phone.json(&["list"]).as_array().unwrap().len(), 0);
}
