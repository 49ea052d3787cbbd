//! Work without the server.

use crate::{device::Device, server::Server};

#[test]
fn everything_but_register_and_login_works_offline_and_goes_out_later() {
    let mut server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "bank", "--set", "password=one"]);
    server.kill();

    let added = laptop.run(&["add", "mail", "--username", "ada", "--generate"]);
    assert_eq!(added.code, 0, "{}", added.err);
    assert!(added.err.contains("Saved on this device"), "{}", added.err);
    laptop.ok(&["edit", "bank", "--set", "password=two"]);
    laptop.ok(&["rm", "mail", "--yes"]);
    laptop.ok(&["restore", "mail"]);
    assert_eq!(laptop.json(&["list"]).as_array().unwrap().len(), 2);
    assert_eq!(laptop.json(&["search", "ADA"]).as_array().unwrap().len(), 1);
    assert_eq!(laptop.json(&["history", "bank"])["versions"].as_array().unwrap().len(), 2);
    assert_eq!(laptop.ok(&["get", "bank", "password", "--version", "1"]), "one\n");
    let waiting = laptop.json(&["status"])["waiting"].as_u64().unwrap();
    assert!(waiting >= 3, "{waiting}");
    assert_eq!(laptop.json(&["list"])[0]["waiting"], true);

    for online in [&["sync"][..], &["devices"], &["api", "GET", "/v1/streams"]] {
        let answer = laptop.run(online);
        assert_eq!(answer.code, 6, "{online:?}: {}", answer.err);
        assert!(
            answer.err.contains("cannot be reached") && answer.err.lines().count() == 1,
            "{}",
            answer.err
        );
    }
    let nobody = Device::empty();
    assert_eq!(nobody.run(&nobody.enter("login", &server, "ada@example.org")).code, 6);

    server.start_again();
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["waiting"], 0);
    let phone = Device::logged_in(&server);
    assert_eq!(phone.ok(&["get", "bank", "password"]), "two\n");
    assert_eq!(phone.json(&["list"]).as_array().unwrap().len(), 2);
}

#[test]
fn logging_out_refuses_to_lose_what_was_not_sent() {
    let mut server = Server::start();
    let laptop = Device::registered(&server);
    server.kill();
    laptop.ok(&["add", "mail", "--set", "password=x"]);
    let refused = laptop.run(&["logout"]);
    assert_eq!(refused.code, 8);
    for next in ["lockstep sync", "lockstep logout --discard"] {
        assert!(refused.err.contains(next), "{}", refused.err);
    }
    assert!(laptop.ok(&["help", "exit-codes"]).contains("`logout`"), "the code is documented");
    server.start_again();
    laptop.ok(&["sync"]);
    laptop.ok(&["logout"]);
    assert_eq!(laptop.run(&["list"]).code, 4);
    assert!(!laptop.home().join("vault.db").exists());
}
