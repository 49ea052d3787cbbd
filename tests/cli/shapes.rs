//! What `--json` promises to programs.

use serde_json::{Value, json};

use crate::{device::Device, server::Server};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn every_document_has_its_keys() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let added = laptop.json(&["add", "mail", "--username", "ada", "--set", "password=x", "--folder", "Work"]);
    assert_eq!(keys(&added), ["divergent", "entry", "sent", "version"]);
    assert_eq!(added["sent"], true);
    let list = laptop.json(&["list"]);
    let shown = [
        "conflict",
        "deleted",
        "favourite",
        "folder",
        "heads",
        "id",
        "name",
        "type",
        "uris",
        "username",
        "waiting",
    ];
    assert_eq!(keys(&list[0]), shown);
    assert!(!list.to_string().contains("\"x\""), "a list holds no secret");
    let item = laptop.json(&["get", "mail"]);
    assert_eq!(keys(&item), ["conflict", "fields", "id", "item", "name", "type"]);
    assert_eq!(
        laptop.json(&["get", "mail", "username"]),
        json!({ "conflict": false, "field": "username", "value": "ada" })
    );
    let edited = laptop.json(&["edit", "mail", "--generate=32"]);
    assert_eq!(keys(&edited), ["divergent", "entry", "sent", "version"]);
    assert_eq!(laptop.ok(&["get", "mail", "password"]).trim_end().chars().count(), 32);
    let history = laptop.json(&["history", "mail"]);
    assert_eq!(history["versions"][1]["head"], true);
    assert_eq!(history["versions"][1]["parents"][0], history["versions"][0]["version"]);
    assert_eq!(
        keys(&laptop.json(&["sync"])),
        [
            "conflicts",
            "fileless",
            "forked",
            "no_room",
            "notices",
            "pulled",
            "pushed",
            "quarantined",
            "waiting"
        ]
    );
    let status = laptop.json(&["status"]);
    for key in [
        "account",
        "device",
        "server",
        "fingerprint",
        "entries",
        "waiting",
        "conflicts",
        "key_generation",
        "locked",
        "alarm_list",
    ] {
        assert!(!status[key].is_null(), "{key}");
    }
    assert_eq!(laptop.json(&["devices"])[0]["current"], true);
    assert_eq!(laptop.json(&["api", "GET", "/v1/streams"])["streams"].as_array().unwrap().len(), 2);
    assert_eq!(laptop.run(&["api", "GET", "/v1/nothing"]).code, 3);
    assert_eq!(keys(&laptop.json(&["rm", "mail", "--yes"])), ["deleted", "sent"]);
}

#[test]
fn an_ambiguous_name_lists_its_candidates_and_an_unknown_one_ends_with_3() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["--offline", "add", "mail", "--username", "ada"]);
    laptop.ok(&["--offline", "add", "mail", "--username", "grace"]);
    let ambiguous = laptop.run(&["--json", "get", "mail", "username"]);
    assert_eq!(ambiguous.code, 9);
    let error: Value = serde_json::from_str(&ambiguous.err).unwrap();
    let candidates = error["error"]["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 2);
    let id = &candidates[0]["id"].as_str().unwrap()[..8];
    assert_eq!(laptop.ok(&["get", id, "username"]).trim_end(), candidates[0]["username"].as_str().unwrap());
    assert_eq!(laptop.run(&["get", "bank"]).code, 3);
    assert_eq!(laptop.run(&["get", id, "pin"]).code, 3);
}

#[test]
fn a_command_line_that_is_not_right_is_one_line_of_json_like_every_other_error() {
    let device = Device::empty();
    for args in [&["--json", "get"][..], &["sync", "--dicard", "--json"], &["--json"], &["--json", "frob"]] {
        let answer = device.run(args);
        assert_eq!((answer.code, answer.out.as_str(), answer.err.lines().count()), (2, "", 1), "{args:?}");
        let error: Value = serde_json::from_str(&answer.err).unwrap();
        assert_eq!(keys(&error["error"]), ["advice", "code", "exit", "message"]);
        assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&json!("usage"), &json!(2)));
    }
    let text = device.run(&["get"]);
    assert!(text.code == 2 && text.err.starts_with("error: "), "{}", text.err);
    let help = device.run(&["--json", "--help"]);
    assert!(help.code == 0 && help.out.contains("Usage:"), "{}", help.err);
}

#[test]
fn a_revoked_device_is_told_so_and_its_own_copy_stays_readable() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=x"]);
    let phone = Device::logged_in(&server);
    let id = phone.json(&["status"])["device"].as_str().unwrap().to_owned();
    assert_eq!(laptop.run(&["devices", "revoke", &id[..8]]).code, 2, "not unasked");
    let revoked = laptop.run(&["devices", "revoke", &id[..8], "--yes"]);
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    assert!(revoked.err.contains("The vault's key is generation 2."), "{}", revoked.err);
    let told = phone.run(&["sync"]);
    assert_eq!(told.code, 4, "{}", told.err);
    assert_eq!(phone.ok(&["get", "mail", "password"]), "x\n");
}

#[test]
fn a_vaults_key_is_rotated_by_hand_and_what_was_written_before_is_read() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=x"]);
    let listed = laptop.json(&["vault"]);
    let named =
        ["also", "current", "deleted", "divergent", "due", "key_generation", "left", "name", "vault", "was"];
    assert_eq!(keys(&listed[0]), named);
    assert_eq!((&listed[0]["key_generation"], &listed[0]["due"]), (&json!(1), &json!(false)));
    let vault = listed[0]["vault"].as_str().unwrap();
    assert_eq!(laptop.json(&["vault", "rotate"]), json!({ "key_generation": 2, "vault": vault }));
    let told = laptop.run(&["vaults", "rotate", &vault[..8]]);
    assert!(told.code == 0 && told.err.contains("generation 3"), "{}", told.err);
    assert_eq!(laptop.run(&["vault", "rotate", "00000000"]).code, 3, "no vault begins so");
    assert_eq!(laptop.run(&["--offline", "vault", "rotate"]).code, 2);
    let listed = laptop.ok(&["--offline", "vault", "list"]);
    assert!(listed.contains(vault) && listed.contains('3'), "{listed}");
    assert_eq!(laptop.json(&["status"])["key_generation"], 3);
    laptop.ok(&["add", "bank", "--set", "password=y"]);
    let phone = Device::logged_in(&server);
    assert_eq!(phone.ok(&["get", "mail", "password"]), "x\n");
    assert_eq!(phone.ok(&["get", "bank", "password"]), "y\n");
    assert_eq!(phone.json(&["vault"])[0]["key_generation"], 3);
    let id = phone.json(&["status"])["device"].as_str().unwrap().to_owned();
    let revoked = laptop.json(&["devices", "revoke", &id[..8], "--yes"]);
    assert_eq!(revoked, json!({ "keys_rotated": true, "revoked": id }));
    assert_eq!(laptop.json(&["vault"])[0]["key_generation"], 4);
}

#[test]
fn vaults_are_made_named_chosen_and_worked_with_by_name() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=home"]);
    let made = laptop.json(&["vault", "create", "Work"]);
    assert_eq!(made["name"], "Work");
    let work = made["vault"].as_str().unwrap();
    assert_eq!(laptop.run(&["vault", "create", "work"]).code, 2, "the name means a vault already");
    laptop.ok(&["--vault", "work", "add", "mail", "--set", "password=office"]);
    assert_eq!(laptop.ok(&["get", "mail", "password"]), "home\n");
    assert_eq!(laptop.ok(&["get", "mail", "password", "--vault", &work[..8]]), "office\n");
    assert_eq!(laptop.run(&["--vault", "nowhere", "list"]).code, 3);
    // Another device knows it without being told of it.
    let phone = Device::logged_in(&server);
    assert_eq!(phone.ok(&["--vault", "Work", "get", "mail", "password"]), "office\n");
    laptop.ok(&["vault", "create", "Play"]);
    phone.ok(&["--vault", "Play", "add", "chess", "--set", "password=e4"]);
    assert_eq!(keys(&phone.json(&["vault", "use", "Play"])), ["name", "vault"]);
    assert_eq!(phone.ok(&["get", "chess", "password"]), "e4\n");
    assert_eq!(phone.json(&["status"])["entries"], 1);
    // The one file is the account's, not a vault's.
    phone.run_with(&["file", "put", "-"], b"notes");
    assert_eq!(laptop.ok(&["file", "get"]), "notes");
    // A name is changed without a server, and goes out with the next sync.
    laptop.ok(&["--offline", "vault", "rename", "Work", "Old work"]);
    laptop.ok(&["sync"]);
    phone.ok(&["sync"]);
    let listed = phone.json(&["vault", "list"]);
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|vault| vault["name"].clone()).collect();
    assert_eq!(names, [Value::Null, json!("Old work"), json!("Play")]);
    assert_eq!((&listed[0]["current"], &listed[2]["current"]), (&json!(false), &json!(true)));
    assert_eq!(laptop.run(&["--offline", "vault", "create", "More"]).code, 2);
    assert_eq!(laptop.run(&["vault", "create", "two\nlines"]).code, 2);
}
