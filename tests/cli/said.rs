//! What a command says where it cannot do what was typed: what is the matter, and what to type next.

use crate::{
    device::{Device, NAME, answer},
    mode::Mode,
    server::Server,
};

in_both_modes! {
    a_device_that_logs_out_unheard_says_so_and_the_others_see_who_has_logged_out,
    what_an_administrator_names_by_the_beginning_of_its_id_or_in_vain,
}

const WHY: &str = "--reason=asked by telephone";

fn id_of(device: &Device) -> String {
    device.json(&["status"])["device"].as_str().unwrap().to_owned()
}

fn a_device_that_logs_out_unheard_says_so_and_the_others_see_who_has_logged_out(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let (heard, unheard, cut_off) =
        (Device::logged_in(&server), Device::logged_in(&server), Device::logged_in(&server));
    let ids = [&heard, &unheard, &cut_off].map(id_of);
    let revoke = |id: &str| format!("lockstep devices revoke {}", &id[..8]);
    let state = |id: &str| {
        let listed = laptop.ok(&["devices"]);
        let line = listed.lines().find(|line| line.starts_with(&id[..8])).unwrap();
        line.rsplit('\t').next().unwrap().to_owned()
    };
    assert_eq!(ids.each_ref().map(|id| state(id)), ["", "", ""]);
    let told = heard.run(&["logout"]);
    assert!(told.code == 0 && !told.err.contains("warning"), "{}", told.err);
    let offline = unheard.run(&["--offline", "logout"]);
    assert!(offline.code == 0 && offline.err.contains(&revoke(&ids[1])), "{}", offline.err);
    assert_eq!(ids.each_ref().map(|id| state(id)), ["logged out", "", ""]);
    let devices = laptop.json(&["devices"]);
    let of = |id: &str| devices.as_array().unwrap().iter().find(|device| device["device"] == id).unwrap();
    assert_eq!((&of(&ids[0])["logged_in"], &of(&ids[1])["logged_in"]), (&false.into(), &true.into()));
    drop(server);
    let gone = cut_off.run(&["--json", "logout"]);
    assert!(gone.code == 0 && gone.json()["told"] == false, "{gone:?}");
    for device in [&heard, &unheard, &cut_off] {
        assert!(!device.home().join("vault.db").exists());
    }
}

fn what_an_administrator_names_by_the_beginning_of_its_id_or_in_vain(mode: Mode) {
    let server = Server::start_in(mode);
    let ada = Device::registered(&server);
    let refused = ada.run(&["admin", "user", "list"]);
    assert_eq!(refused.code, 8);
    assert!(refused.err.contains("for the administrators of the server"), "{}", refused.err);
    let root = Device::empty();
    root.ok(&root.enter("register", &server, "root@example.org"));
    let first = server.bootstrap_token();
    root.ok(&["admin", "bootstrap", first.trim()]);
    let again = root.run(&["admin", "bootstrap", first.trim()]);
    assert!(again.code != 0 && !again.err.contains("What was expected"), "{}", again.err);
    assert!(root.ok(&["admin", "user", "show", NAME, WHY]).contains("state\tactive"));
    let nobody = "6f0b7c5e-9d0d-4f43-8a39-5b6f6c1f2a11";
    for args in [
        &["admin", "user", "show", "nobody@example.org", WHY][..],
        &["admin", "user", "disable", "nobody@example.org", WHY],
        &["admin", "user", "show", nobody, WHY],
        &["admin", "user", "sessions", nobody, WHY],
        &["admin", "user", "disable", nobody, WHY],
    ] {
        let none = root.run(args);
        assert!(none.code == 3 && none.err.contains("no account has"), "{args:?}: {}", none.err);
        assert!(none.err.contains("lockstep admin user list"), "{}", none.err);
    }
    let invitation = root.json(&["admin", "invitation", "add", WHY]);
    let (id, token) = (invitation["invitation"].as_str().unwrap(), invitation["token"].as_str().unwrap());
    for wanted in [nobody, &nobody[..8], "", &id[..3]] {
        let none = root.run(&["admin", "invitation", "revoke", wanted, WHY]);
        assert!(none.code == 3 && none.err.contains("invitation"), "{wanted}: {}", none.err);
        let none = root.run(&["admin", "proposal", "approve", wanted, WHY]);
        assert!(none.code == 3 && none.err.contains("proposal"), "{wanted}: {}", none.err);
    }
    root.ok(&["admin", "invitation", "revoke", &id[..8], WHY]);
    let late = Device::empty();
    let enter = late.enter("register", &server, "late@example.org");
    let late = late.run(&[&enter[..], &["--invitation", token]].concat());
    assert!(late.code == 8 && late.err.contains("this invitation is not valid"), "{}", late.err);
}

#[test]
fn the_help_that_is_named_is_of_the_verb_that_was_typed() {
    let empty = Device::empty();
    for verb in ["register", "login"] {
        let missing = empty.run(&[verb]);
        assert!(
            missing.code == 2 && missing.err.contains(&format!("lockstep help {verb}")),
            "{}",
            missing.err
        );
    }
}

#[test]
fn a_provider_that_the_server_does_not_know_is_refused_before_anything_is_asked_for() {
    let server = Server::start();
    let device = Device::registered(&server);
    for args in [&["login", "--oidc", "google"][..], &["identities", "link", "google"]] {
        let unknown = device.run(args);
        assert_eq!(unknown.code, 3, "{}", unknown.err);
        assert!(unknown.err.contains("no identity provider \"google\""), "{}", unknown.err);
        assert!(unknown.err.contains("it knows none"), "{}", unknown.err);
    }
}

#[test]
fn what_cannot_be_a_value_or_is_given_twice_is_said_and_nothing_is_saved() {
    let server = Server::start();
    let device = Device::registered(&server);
    let binary = device.run_with(&["add", "github", "--stdin", "notes"], b"a\xff");
    assert_eq!(binary.code, 1, "{}", binary.err);
    assert!(binary.err.contains("UTF-8") && binary.err.contains("attachment add"), "{}", binary.err);
    for given in [&["--ask", "password"][..], &["--set", "password=x"], &["--stdin", "Password"]] {
        let twice = device.run(&[&["add", "github", "--generate"], given].concat());
        assert!(twice.code == 2 && twice.err.contains("--generate, or the other"), "{}", twice.err);
    }
    assert_eq!(device.json(&["list"]).as_array().unwrap().len(), 0);
    device.ok(&["add", "github", "--generate", "--set", "pin=1"]);
}

#[test]
fn an_app_that_is_set_in_a_pipe_is_confirmed_by_what_stands_there() {
    let server = Server::start();
    let device = Device::registered(&server);
    let made = answer(&device.command(&["--quiet", "factors", "totp"]).output().unwrap());
    let lines: Vec<&str> = made.out.lines().collect();
    assert_eq!(lines.len(), 2, "{made:?}");
    assert!(lines[1].len() == 36 && lines[1].matches('-').count() == 4, "{made:?}");
    // A code of another secret: the factor is known.
    let wrong = device.run(&["factors", "confirm", lines[1], "000000"]);
    assert!(wrong.code == 4 || wrong.code == 0, "{}", wrong.err);
}

#[test]
fn the_fingerprint_is_shown_in_the_same_words_when_an_account_is_made_and_with_its_recovery_code() {
    let server = Server::start();
    let device = Device::empty();
    let registered = device.run(&device.enter("register", &server, NAME));
    let status = device.ok(&["status"]);
    let words = status.lines().find_map(|line| line.strip_prefix("in words\t")).unwrap();
    assert_eq!(words.split(' ').count(), 12, "{words}");
    assert!(registered.err.contains(words), "{}", registered.err);
    let recovery = device.run(&["recovery", "new"]);
    assert!(recovery.code == 0 && recovery.err.contains(words), "{}", recovery.err);
}
