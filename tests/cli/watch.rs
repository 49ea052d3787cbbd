//! `watch` says how fresh it is, and shows changes as they arrive.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::{
    device::{Device, NAME},
    mode::Mode,
    proxy::Proxy,
    server::Server,
};

in_both_modes! {
    watch_turns_live_shows_a_change_turns_stale_and_comes_back,
}

fn watch_turns_live_shows_a_change_turns_stale_and_comes_back(mode: Mode) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let mut watch = phone.start(&["--json", "watch", "--seconds", "120"]);
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let (mut link, mut seen) = (Value::Null, Vec::new());
    let mut until = |what: &str, key: &str, value: &str| {
        // It may be stale already when the server dies, on its way to a vault that is new: it says so once.
        if key == "link" && link == value {
            return Value::Null;
        }
        let found = lines.find(|line| {
            seen.push(line.clone());
            link = line.get("link").unwrap_or(&link).clone();
            line[key] == value
        });
        found.unwrap_or_else(|| panic!("{what} never came: {seen:?}"))
    };
    until("live", "link", "live");
    laptop.ok(&["add", "mail", "--set", "password=x"]);
    let change = until("the change", "change", "version");
    assert_eq!((change["name"].as_str(), change["kind"].as_str()), (Some("mail"), Some("edit")));
    laptop.ok(&["vault", "create", "Work"]);
    let called = until("the name of a vault", "name", "Work");
    assert_eq!(called["vault_name"], true);
    server.kill();
    until("stale", "link", "stale");
    server.start_again();
    until("live again", "link", "live");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn watch_says_polling_while_a_proxy_lets_no_websocket_through_and_live_when_it_does() {
    let server = Server::start_plain();
    let proxy = Proxy::start(server.url.strip_prefix("http://").unwrap().parse().unwrap());
    let url = format!("https://{}", proxy.addr);
    let enter = |verb: &str| {
        let device = Device::empty();
        device.ok(&[verb, "--server", &url, "--email", NAME, "--fingerprint", &proxy.fingerprint]);
        device
    };
    let (laptop, phone) = (enter("register"), enter("login"));
    let mut watch = phone.start(&["--json", "watch", "--seconds", "180"]);
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut until = |what: &str, key: &str, value: &str| {
        lines.find(|line| line[key] == value).unwrap_or_else(|| panic!("{what} never came"))
    };
    until("polling", "link", "polling");
    laptop.ok(&["add", "mail", "--set", "password=x"]);
    until("the change", "change", "version");
    proxy.refuse(false);
    until("live", "link", "live");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn the_word_for_how_fresh_a_device_is_is_coloured_and_nothing_of_it_is_garbled() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let watched = laptop.run(&["--color", "always", "watch", "--seconds", "2"]);
    assert_eq!(watched.code, 0, "{}", watched.err);
    assert!(watched.err.contains("\u{1b}[3") && !watched.err.contains('\u{fffd}'), "{:?}", watched.err);
}
