//! Work without the server.

use crate::{device::Device, server::Server};

#[test]
fn all_that_concerns_entries_works_offline_and_goes_out_later() {
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
    std::fs::write(laptop.home().join("in.csv"), "name,url,username,password\nshop,,ada,three\n").unwrap();
    let (from, to) = (laptop.home().join("in.csv"), laptop.home().join("out.json"));
    laptop.ok(&["import", from.to_str().unwrap()]);
    laptop.ok(&["export", "--plain", to.to_str().unwrap()]);
    assert_eq!(laptop.json(&["conflicts"]), serde_json::json!([]));
    laptop.ok(&["resolve", "bank"]);
    assert_eq!(laptop.run_with(&["file", "put", "-"], b"as a whole").code, 0);
    assert_eq!(laptop.ok(&["file", "get", "--out", "-"]), "as a whole");
    laptop.ok(&["unlock"]);
    laptop.ok(&["lock"]);

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
    assert_eq!(phone.json(&["list"]).as_array().unwrap().len(), 3);
    assert_eq!(phone.ok(&["file", "get", "--out", "-"]), "as a whole");
}

#[test]
fn who_wants_nothing_said_to_the_server_is_refused_what_needs_it_and_nothing_else_asks_it() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=one"]);
    laptop.ok(&["edit", "mail", "--set", "password=two"]);
    for words in [
        "sync",
        "watch",
        "api GET /v1/streams",
        "api --print-token",
        "devices",
        "devices approve",
        "sessions",
        "passwd",
        "factors",
        "recovery new",
        "email",
        "identities",
        "plan",
        "activity",
        "admin user list",
        "account delete",
        "purge mail",
        "vault create Work",
        "vault rotate",
    ] {
        let args: Vec<&str> = ["--offline"].into_iter().chain(words.split(' ')).collect();
        let refused = laptop.run(&args);
        assert_eq!(refused.code, 2, "{words}: {}", refused.err);
        assert!(refused.err.contains("--offline"), "{words}: {}", refused.err);
    }
    // It began with what is shown: what came before, it asks for when somebody looks.
    let phone = Device::logged_in(&server);
    let versions = |args: &[&str]| phone.json(args)["versions"].as_array().unwrap().len();
    assert_eq!(versions(&["--offline", "history", "mail"]), 1);
    assert_eq!(versions(&["history", "mail"]), 2);
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
