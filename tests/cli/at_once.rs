//! Commands of one profile that run at the same time: each stands on what the others wrote.

use std::{io::Write, process::Stdio};

use crate::{
    device::{Device, answer},
    server::Server,
};

/// A device that asks for no password, and an entry on it.
fn opened(server: &Server) -> Device {
    let laptop = Device::registered(server);
    laptop.ok(&["unlock", "--keep", "file"]);
    laptop.ok(&["--offline", "add", "mail", "--set", "password=x"]);
    laptop
}

/// How many open versions the entry has.
fn heads(device: &Device, entry: &str) -> usize {
    let list = device.json(&["--offline", "list"]);
    let found = list.as_array().unwrap().iter().find(|shown| shown["name"] == entry).unwrap();
    found["heads"].as_array().unwrap().len()
}

#[test]
fn edits_of_one_profile_at_once_end_with_one_head_that_has_them_all() {
    let server = Server::start();
    let laptop = opened(&server);
    for round in 0..8 {
        let sets: Vec<String> = (0..3).map(|nth| format!("f{round}-{nth}=v{nth}")).collect();
        let running: Vec<_> =
            sets.iter().map(|set| laptop.start(&["--offline", "edit", "mail", "--set", set])).collect();
        for command in running {
            let ended = answer(&command.wait_with_output().unwrap());
            assert_eq!(ended.code, 0, "{}", ended.err);
        }
        assert_eq!(heads(&laptop, "mail"), 1, "round {round}");
        for nth in 0..3 {
            assert_eq!(laptop.ok(&["get", "mail", &format!("f{round}-{nth}")]), format!("v{nth}\n"));
        }
    }
    // And the server is given one line of versions.
    assert_eq!(laptop.json(&["sync"])["forked"], 0);
    assert_eq!(laptop.json(&["conflicts"]).as_array().unwrap().len(), 0);
}

#[test]
fn an_edit_that_took_its_time_stands_on_what_was_written_meanwhile() {
    let server = Server::start();
    let laptop = opened(&server);
    laptop.run_with(&["--offline", "attachment", "add", "mail", "-", "--name", "a.txt"], b"a");
    // These have read the entry, and wait for their input.
    let slow = [
        &["--offline", "edit", "mail", "--stdin", "pin"][..],
        &["--offline", "attachment", "add", "mail", "-", "--name", "b.txt"],
    ];
    let slow = slow.map(|args| {
        let mut command = laptop.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    laptop.ok(&["--offline", "edit", "mail", "--set", "username=ada"]);
    laptop.ok(&["--offline", "attachment", "rm", "mail", "a.txt"]);
    for mut command in slow {
        command.stdin.take().unwrap().write_all(b"1234").unwrap();
        let ended = answer(&command.wait_with_output().unwrap());
        assert_eq!(ended.code, 0, "{}", ended.err);
    }
    assert_eq!(heads(&laptop, "mail"), 1);
    assert_eq!(laptop.ok(&["get", "mail", "pin"]), "1234\n");
    assert_eq!(laptop.ok(&["get", "mail", "username"]), "ada\n");
    let files = laptop.json(&["attachment", "list", "mail"]);
    assert_eq!((files.as_array().unwrap().len(), &files[0]["name"]), (1, &"b.txt".into()));
}

#[test]
fn of_merges_of_one_conflict_on_one_profile_at_once_one_is_made() {
    let server = Server::start();
    let laptop = opened(&server);
    laptop.ok(&["sync"]);
    let phone = Device::logged_in(&server);
    for round in 0..4 {
        laptop.ok(&["--offline", "edit", "mail", "--set", &format!("password=laptop {round}")]);
        phone.ok(&["--offline", "edit", "mail", "--set", &format!("password=phone {round}")]);
        for device in [&laptop, &phone, &laptop] {
            device.ok(&["sync"]);
        }
        assert_eq!(heads(&laptop, "mail"), 2);
        let running = ["one", "two", "three"].map(|text| {
            let set = format!("password={text} {round}");
            laptop.start(&["--offline", "resolve", "mail", "--merge-set", &set])
        });
        let codes = running.map(|command| answer(&command.wait_with_output().unwrap()).code);
        assert_eq!(heads(&laptop, "mail"), 1, "round {round}: {codes:?}");
        assert!(codes.contains(&0) && codes.iter().all(|code| [0, 5].contains(code)), "{codes:?}");
        laptop.ok(&["sync"]);
        phone.ok(&["sync"]);
    }
}

#[test]
fn the_one_file_that_is_put_twice_at_once_has_one_version_in_force() {
    let server = Server::start();
    let laptop = opened(&server);
    for round in 0..4 {
        let running = ["one", "two"].map(|text| {
            let file = server.data().join(format!("{text}.txt"));
            std::fs::write(&file, text).unwrap();
            laptop.start(&["--offline", "file", "put", file.to_str().unwrap()])
        });
        for command in running {
            assert!(command.wait_with_output().unwrap().status.success());
        }
        let got = laptop.run(&["--offline", "file", "get"]);
        assert!(!got.err.contains("apart"), "round {round}: {}", got.err);
        assert!(["one", "two"].contains(&got.out.as_str()));
    }
}

#[test]
fn who_deletes_unasked_deletes_what_was_written_meanwhile_and_an_edit_then_says_so() {
    let server = Server::start();
    let laptop = opened(&server);
    for round in 0..6 {
        let name = format!("entry {round}");
        laptop.ok(&["--offline", "add", &name]);
        let edit = laptop.start(&["--offline", "edit", &name, "--set", "pin=1"]);
        let delete = laptop.start(&["--offline", "rm", &name, "--yes"]);
        let edited = answer(&edit.wait_with_output().unwrap());
        let deleted = answer(&delete.wait_with_output().unwrap());
        assert_eq!(deleted.code, 0, "{}", deleted.err);
        assert!([0, 3].contains(&edited.code), "{}", edited.err);
        let list = laptop.json(&["--offline", "list", "--deleted"]);
        let gone = list.as_array().unwrap().iter().find(|shown| shown["name"] == name.as_str());
        assert_eq!(gone.map(|shown| &shown["conflict"]), Some(&false.into()), "round {round}");
    }
}
