//! What is wrong with a command line is said before the password is asked for.

use crate::{device::Device, server::Server};

#[test]
fn what_can_be_told_from_the_command_line_and_the_files_is_told_before_the_password_is_asked_for() {
    let server = Server::start();
    let mut device = Device::registered(&server);
    device.ok(&["add", "mail", "--set", "password=x"]);
    device.forget_password();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (there, long, gone) = (path("there"), path("long"), path("gone"));
    std::fs::write(&there, "mine").unwrap();
    std::fs::write(&long, vec![7; 60 * 1024]).unwrap();
    let long_name = "x".repeat(65);
    let account = "3f1c0a52-7e1d-4c0b-9a53-6d2b8f04c1e7";
    for (code, args) in [
        (2, &["email", "set", "bad"][..]),
        (2, &["email", "set", "ada@"]),
        (2, &["email", "set", "ada lovelace@example.org"]),
        (2, &["devices", "name", "81d2aa0b", " "]),
        (2, &["vault", "create", ""]),
        (2, &["vault", "rename", "Work", &long_name]),
        (2, &["add", "bank", "--set", "password"]),
        (2, &["add", "bank", "--generate=1"]),
        (2, &["add", "visa", "--type", "card", "--set", "favourite=perhaps"]),
        (2, &["edit", "mail"]),
        (2, &["edit", "mail", "--set", "=x"]),
        (2, &["resolve", "mail", "--merge-set", "password"]),
        (2, &["factors", "confirm", account, "12345"]),
        (2, &["admin", "user", "disable", account, "--reason", " "]),
        (2, &["admin", "proposal", "approve", account, "--reason", ""]),
        (3, &["attachment", "add", "mail", &gone]),
        (3, &["attachment", "add", "mail", &there, &gone]),
        (1, &["attachment", "get", "mail", "scan.pdf", "--out", &there]),
        (3, &["file", "put", &gone]),
        (8, &["file", "put", &long]),
        (1, &["file", "get", "--out", &there]),
        (1, &["export", &there]),
        (1, &["account", "export", &there]),
    ] {
        let told = device.run(args);
        assert_eq!(told.code, code, "{args:?}: {}", told.err);
        assert!(!told.err.to_lowercase().contains("no terminal"), "{args:?}: {}", told.err);
    }
    assert_eq!(std::fs::read(&there).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left of what was tried");
    // What is right is asked for it.
    for args in [&["email", "set", "ada@example.org"][..], &["file", "put", &there], &["export", &gone]] {
        let asked = device.run(args);
        assert!(asked.code == 4 && asked.err.contains("no terminal to ask for: password"), "{}", asked.err);
    }
}
