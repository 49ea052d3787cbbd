//! Fields of an entry as a person names them: several at once, hidden ones, slips.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::{
    device::{Device, answer},
    server::Server,
};

#[test]
fn several_addresses_are_removed_and_set_by_the_names_that_were_listed() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let uris = || laptop.json(&["get", "mail"])["item"]["body"]["login"]["uris"].clone();
    let all = ["a", "b", "c", "d"].map(|uri| ["--uri", uri]).concat();
    laptop.ok(&[&["--offline", "add", "mail"], &all[..]].concat());
    laptop.ok(&["--offline", "edit", "mail", "--unset", "uri", "--unset", "uri2"]);
    assert_eq!(uris(), json!([{ "uri": "c" }, { "uri": "d" }]));
    laptop.ok(&["--offline", "edit", "mail", "--set", "uri=", "--set", "uri2=D", "--set", "uri3=e"]);
    assert_eq!(uris(), json!([{ "uri": "D" }, { "uri": "e" }]));
    let slip = laptop.run(&["--offline", "edit", "mail", "--unset", "url2", "--set", "notes=x"]);
    assert_eq!(slip.code, 3, "{}", slip.err);
    assert!(slip.err.contains("no field \"url2\"") && slip.err.contains("uri2"), "{}", slip.err);
    assert_eq!(laptop.run(&["--offline", "get", "mail", "notes"]).code, 3, "nothing was saved");
    // What is empty already may be removed.
    laptop.ok(&["--offline", "edit", "mail", "--unset", "totp"]);
}

#[test]
fn a_field_of_ones_own_is_hidden_if_asked_for_and_a_built_in_one_is_known_in_other_spellings() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["--offline", "add", "router", "--hidden", "pin=4711", "--set", "place=attic"]);
    laptop.ok(&["--offline", "edit", "router", "--set", "pin=4712"]);
    let shown = laptop.ok(&["--offline", "get", "router"]);
    assert!(shown.contains("attic") && shown.contains("pin") && !shown.contains("4712"), "{shown}");
    assert_eq!(laptop.ok(&["--offline", "get", "router", "pin"]), "4712\n");
    assert_eq!(laptop.json(&["--offline", "search", "4712"]), json!([]), "a search reads what is shown");
    laptop.ok(&["--offline", "add", "server", "--type", "ssh-key", "--set", "privateKey=secret"]);
    let key = laptop.json(&["--offline", "get", "server"]);
    assert_eq!(key["item"]["body"]["ssh_key"]["private_key"], "secret", "{key}");
    assert!(!laptop.ok(&["--offline", "get", "server"]).contains("secret"));
}

#[test]
fn an_export_says_what_is_not_in_it_and_earlier_passwords_have_a_date() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=one"]);
    laptop.ok(&["edit", "mail", "--set", "password=two"]);
    let plain = laptop.run(&["export", "--plain", "-"]);
    assert!(!plain.err.contains("not in it"), "{}", plain.err);
    let old = &plain.json()["items"][0]["passwordHistory"][0];
    assert_eq!(old["password"], "one");
    assert!(old["lastUsedDate"].as_str().unwrap().ends_with('Z'), "{old}");
    let put = laptop.run_with(&["file", "put", "-"], b"x");
    assert!(put.err.contains("1 byte put"), "{}", put.err);
    let plain = laptop.run(&["export", "--plain", "-"]);
    assert!(plain.err.contains("lockstep file get"), "{}", plain.err);
    let file = laptop.home().join("vault.lockstep");
    let mut command = laptop.command(&["export", file.to_str().unwrap()]);
    let archive = command.env("LOCKSTEP_ARCHIVE_PASSWORD", "violet anchor mumbles archive").output().unwrap();
    assert!(!answer(&archive).err.contains("not in it"), "an archive is whole");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_one_time_code_of_this_moment_is_printed_and_a_secret_that_gives_none_says_why() {
    let server = Server::start();
    let device = Device::registered(&server);
    let secret = "totp=otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&digits=8&period=86400";
    device.ok(&["--offline", "add", "mail", "--set", secret]);
    // A day long the same, unless this runs at midnight.
    let code = || device.ok(&["--offline", "get", "mail", "code"]);
    let (before, shown) = (code(), device.json(&["--offline", "get", "mail", "code"]));
    let value = shown["value"].as_str().unwrap();
    assert!(before.trim_end() == value || code().trim_end() == value, "{shown}");
    assert!(value.len() == 8 && value.bytes().all(|digit| digit.is_ascii_digit()), "{shown}");
    assert!((1..=86400).contains(&shown["seconds_left"].as_u64().unwrap()), "{shown}");
    assert_eq!(shown["period"], 86400);
    // A field of that name is the person's own; the code has another name then.
    device.ok(&["--offline", "edit", "mail", "--set", "code=1234"]);
    assert_eq!(device.ok(&["--offline", "get", "mail", "code"]), "1234\n");
    assert_eq!(device.ok(&["--offline", "get", "mail", "otp"]).trim_end().len(), 8);
    device.ok(&["--offline", "add", "bank", "--set", "totp=not-a-secret!"]);
    let wrong = device.run(&["--offline", "get", "bank", "code"]);
    assert!(wrong.code == 1 && wrong.err.contains("base32"), "{}", wrong.err);
    assert!(!wrong.err.contains("not-a-secret"), "{}", wrong.err);
    device.ok(&["--offline", "add", "none"]);
    let none = device.run(&["--offline", "get", "none", "code"]);
    assert!(none.code == 3 && none.err.contains("--ask totp"), "{}", none.err);
}
