//! What a device says whose session has ended, or that was revoked; and commands that nobody can answer.

use serde_json::Value;

use crate::{
    device::{Answer, Device, NAME, PASSWORD, answer},
    mode::Mode,
    server::Server,
};

fn id(device: &Device) -> String {
    device.json(&["status"])["device"].as_str().unwrap().to_owned()
}

/// Each command that needs the server fails with code 4 and says this.
#[track_caller]
fn all_say(device: &Device, wanted: &[&str]) {
    for args in [&["sync"][..], &["watch", "--seconds", "30"], &["devices"], &["--json", "sync"]] {
        let Answer { code, err, .. } = device.run(args);
        assert_eq!(code, 4, "{args:?}: {err}");
        for wanted in wanted {
            assert!(err.contains(wanted), "{args:?} does not say \"{wanted}\": {err}");
        }
    }
}

fn a_revoked_device_says_so_with_the_time_stays_readable_and_offers_no_new_session(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "github", "--set", "username=ada"]);
    let phone = Device::logged_in(&server);
    laptop.ok(&["devices", "revoke", &id(&phone)[..8], "--yes"]);
    all_say(&phone, &["this device was revoked (20", "another --home", "export --offline"]);
    let error: Value = serde_json::from_str(&phone.run(&["--json", "sync"]).err).unwrap();
    assert_eq!(error["error"]["ended"]["reason"], "device_revoked");
    assert!(phone.ok(&["list"]).contains("github"), "what is on it stays readable");
    let added = phone.run(&["add", "example"]);
    assert!(added.code == 0 && added.err.contains("on this device only"), "{}", added.err);
    assert!(!added.err.contains("next sync"), "there is none: {}", added.err);
    let status = phone.json(&["status"]);
    assert_eq!((&status["logged_in"], &status["ended"]["reason"]), (&false.into(), &"device_revoked".into()));
    let shown = phone.run(&["status"]);
    assert!(shown.out.contains("this device was revoked (20"), "{}", shown.out);
    assert!(!shown.err.contains("lockstep login"), "{}", shown.err);
    assert_eq!(phone.run(&["login"]).code, 4);
    let kept = phone.run(&["logout"]);
    assert!(kept.code == 8 && !kept.err.contains("lockstep sync"), "nothing sends them: {}", kept.err);
    for wanted in ["1 change waits", "lockstep export --offline", "logout --discard"] {
        assert!(kept.err.contains(wanted), "{wanted}: {}", kept.err);
    }
    all_say(&phone, &["this device was revoked (20"]);
}

fn what_is_on_a_revoked_device_is_exported_and_a_file_that_is_only_elsewhere_is_named(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    for (entry, name, content) in
        [("passport", "scan.pdf", b"elsewhere"), ("mail", "photo.jpg", b"was here!")]
    {
        laptop.ok(&["add", entry, "--type", "note"]);
        let added = laptop.run_with(&["attachment", "add", entry, "-", "--name", name], content);
        assert_eq!(added.code, 0, "{}", added.err);
    }
    let phone = Device::logged_in(&server);
    let output = phone.command(&["attachment", "get", "mail", "photo.jpg"]).output().unwrap();
    assert_eq!(output.stdout, b"was here!");
    laptop.ok(&["devices", "revoke", &id(&phone)[..8], "--yes"]);
    assert_eq!(phone.run(&["sync"]).code, 4);
    for way in [&["--offline"][..], &[]] {
        let archive = phone.home().join(format!("all-{}.lockstep", way.len()));
        let args = [way, &["--json", "export", archive.to_str().unwrap()]].concat();
        let mut export = phone.command(&args);
        let exported = answer(&export.env("LOCKSTEP_ARCHIVE_PASSWORD", PASSWORD).output().unwrap());
        assert_eq!(exported.code, 1, "{way:?}: {}", exported.err);
        assert!(exported.err.contains("passport: a file is not in it: \"scan.pdf\""), "{}", exported.err);
        let written = exported.json();
        assert_eq!((&written["items"], &written["attachments"]), (&2.into(), &1.into()), "{written}");
        assert_eq!(written["left_out"][0]["attachment"], "scan.pdf", "{written}");
        assert!(std::fs::metadata(archive).unwrap().len() > 0);
    }
    let absent = phone.run(&["--offline", "attachment", "get", "passport", "scan.pdf"]);
    assert_eq!(absent.code, 6, "{}", absent.err);
    let names = ["\"scan.pdf\" is not on this device", "another --home", "export --offline"];
    assert!(names.iter().all(|name| absent.err.contains(name)), "{}", absent.err);
    assert!(!absent.err.contains("it is fetched"), "nothing is, to this device: {}", absent.err);
    let absent = laptop.run(&["--offline", "attachment", "get", "passport", "scan.pdf"]);
    assert_eq!(absent.code, 0, "it has it: {}", absent.err);
}

fn an_ended_session_says_why_and_the_next_login_forgets_it(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let wait = phone.start(&["watch"]);
    laptop.ok(&["sessions", "revoke", "--others", "--yes"]);
    let watched = answer(&wait.wait_with_output().unwrap());
    let wanted = ["ended from another device of the account (20", "`lockstep login` opens another"];
    assert!(watched.code == 4 && wanted.iter().all(|wanted| watched.err.contains(wanted)), "{}", watched.err);
    all_say(&phone, &wanted);
    phone.ok(&["login"]);
    assert_eq!(phone.json(&["status"])["ended"], Value::Null);
    let new = "seven lanterns drift southward";
    let changed = answer(&laptop.command(&["passwd"]).env("LOCKSTEP_NEW_PASSWORD", new).output().unwrap());
    assert_eq!(changed.code, 0, "{}", changed.err);
    all_say(&phone, &["the password of the account was changed", "with the new password", "recovery use"]);
}

in_both_modes!(
    a_revoked_device_says_so_with_the_time_stays_readable_and_offers_no_new_session,
    what_is_on_a_revoked_device_is_exported_and_a_file_that_is_only_elsewhere_is_named,
    an_ended_session_says_why_and_the_next_login_forgets_it,
);

#[test]
fn what_cannot_be_asked_without_a_terminal_is_said_with_the_option_that_gives_it() {
    let server = Server::start();
    let mut device = Device::registered(&server);
    device.ok(&["add", "github"]);
    let empty = Device::empty();
    let where_ = ["--server", &server.url, "--email", NAME, "--fingerprint", &server.fingerprint];
    let recover = empty.run(&[&["recovery", "use"][..], &where_].concat());
    assert!(
        recover.err.contains("--code FILE") && recover.err.contains("LOCKSTEP_NEW_PASSWORD"),
        "{recover:?}"
    );
    assert!(!recover.err.contains("--password-stdin"), "that is another password: {recover:?}");
    assert!(empty.run(&["login"]).err.contains("LOCKSTEP_EMAIL"));
    assert!(empty.run(&["login", "--email", NAME]).err.contains("LOCKSTEP_SERVER"));
    assert!(device.run(&["edit", "github", "--ask", "pin"]).err.contains("--hidden FIELD=VALUE"));
    assert!(device.run(&["passwd"]).err.contains("LOCKSTEP_NEW_PASSWORD"));
    for args in [&["rm", "github"][..], &["purge", "github"], &["account", "delete"]] {
        let asked = device.run(args);
        assert!(asked.code == 2 && asked.err.contains("--yes"), "{args:?}: {}", asked.err);
    }
    device.forget_password();
    for args in
        [&["list"][..], &["sync"], &["unlock"], &["login"], &["passwd"], &["recovery", "new"], &["logout"]]
    {
        let locked = device.run(args);
        assert!(locked.code == 4 && locked.err.contains("LOCKSTEP_PASSWORD"), "{args:?}: {}", locked.err);
        assert_eq!(locked.err.trim().lines().filter(|line| line.starts_with("error")).count(), 1);
    }
}
