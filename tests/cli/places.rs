//! An entry goes for good, or to another vault.

use crate::{device::Device, mode::Mode, server::Server};

in_both_modes! { what_another_device_changed_meanwhile_is_not_purged }

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
    // Without a server both halves wait.
    laptop.ok(&["--offline", "mv", "server", "--to", "Work"]);
    assert_eq!(laptop.json(&["sync"])["waiting"], 0);
    phone.ok(&["sync"]);
    assert_eq!(phone.json(&["--vault", "Work", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(phone.json(&["list"]).as_array().unwrap().len(), 0);
}
