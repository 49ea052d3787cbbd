//! Another password, the recovery code, sessions, and approval of a new device, as a person types them.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

use lockstepd::auth::totp;

use crate::{
    device::{Device, NAME, PASSWORD, answer},
    mode::Mode,
    server::Server,
};

const NEW: &str = "seven lanterns drift southward";

fn after_passwd_the_new_password_opens_and_another_device_needs_both_once(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "github", "--set", "username=ada"]);
    laptop.ok(&["sync"]);
    let phone = Device::logged_in(&server);
    let changed = answer(&laptop.command(&["passwd"]).env("LOCKSTEP_NEW_PASSWORD", NEW).output().unwrap());
    assert_eq!(changed.code, 0, "{}", changed.err);
    assert_eq!(laptop.run(&["list"]).code, 4, "the old password opens nothing");
    let with_new = |device: &Device, args: &[&str]| {
        answer(&device.command(args).env("LOCKSTEP_PASSWORD", NEW).output().unwrap())
    };
    let listed = with_new(&laptop, &["list"]);
    assert!(listed.out.contains("github"), "{}", listed.err);
    assert_eq!(with_new(&laptop, &["sync"]).code, 0);
    assert_eq!(phone.run(&["sync"]).code, 4, "its session has ended");
    assert_eq!(phone.run(&["list"]).code, 0, "what is on it opens with its own password still");
    let mut login = phone.command(&["login"]);
    login.env("LOCKSTEP_PASSWORD", NEW).env("LOCKSTEP_EARLIER_PASSWORD", PASSWORD);
    let back = answer(&login.output().unwrap());
    assert_eq!(back.code, 0, "{}", back.err);
    assert_eq!(with_new(&phone, &["sync"]).code, 0);
    assert_eq!(phone.run(&["list"]).code, 4);
}

fn a_weak_new_password_and_a_wrong_old_one_change_nothing(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let weak = answer(
        &laptop.command(&["passwd"]).env("LOCKSTEP_NEW_PASSWORD", "passwordpassword").output().unwrap(),
    );
    assert_eq!(weak.code, 2, "{}", weak.err);
    let mut wrong = laptop.command(&["passwd"]);
    wrong.env("LOCKSTEP_PASSWORD", "violet anchor mumbles eighteen").env("LOCKSTEP_NEW_PASSWORD", NEW);
    assert_eq!(answer(&wrong.output().unwrap()).code, 4);
    assert_eq!(laptop.run(&["sync"]).code, 0);
}

fn a_recovery_code_is_printed_once_and_brings_everything_back_with_a_new_password(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "github", "--set", "username=ada"]);
    laptop.ok(&["sync"]);
    let code = laptop.ok(&["recovery", "new"]);
    assert_eq!(code.trim().len(), 39, "{code}");
    let device = Device::empty();
    let file = laptop.home().join("code.txt");
    std::fs::write(&file, &code).unwrap();
    let file = file.to_str().unwrap();
    let usage =
        ["recovery", "use", "--server", &server.url, "--email", NAME, "--fingerprint", &server.fingerprint];
    let args = [&usage[..], &["--code", file]].concat();
    let with_new = |args: &[&str]| {
        let mut command = device.command(args);
        answer(&command.env("LOCKSTEP_PASSWORD", NEW).env("LOCKSTEP_NEW_PASSWORD", NEW).output().unwrap())
    };
    let back = with_new(&args);
    assert_eq!(back.code, 0, "{}", back.err);
    let listed = with_new(&["list"]);
    assert!(listed.out.contains("github"), "{}", listed.err);
    assert_eq!(laptop.run(&["sync"]).code, 4, "every session has ended");
    let other = Device::empty();
    let again = answer(&other.command(&args).env("LOCKSTEP_NEW_PASSWORD", NEW).output().unwrap());
    assert_eq!(again.code, 4, "a code works once: {}", again.err);
    assert!(again.err.contains("recovery code") && again.err.contains("each works once"), "{}", again.err);
    assert!(!again.err.contains(code.trim()), "the code is never shown again");
}

fn sessions_are_listed_and_the_others_ended(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let open = laptop.json(&["sessions"]);
    assert_eq!(open.as_array().unwrap().len(), 2);
    let listed = laptop.ok(&["sessions"]);
    let seen: Vec<&str> = listed.lines().map(|line| line.split('\t').nth(3).unwrap()).collect();
    assert!(
        seen.iter().all(|seen| seen.len() == 14 && seen.ends_with('h')),
        "the hour, and no more: {seen:?}"
    );
    assert_eq!(laptop.run(&["sessions", "revoke", "--others"]).code, 2, "nobody can be asked");
    laptop.ok(&["sessions", "revoke", "--others", "--yes"]);
    assert_eq!(phone.run(&["sync"]).code, 4);
    assert_eq!(laptop.json(&["sessions"]).as_array().unwrap().len(), 1);
}

fn a_new_device_is_approved_by_an_enrolled_one_that_shows_the_same_words(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "github", "--set", "username=ada"]);
    laptop.ok(&["sync"]);
    assert_eq!(laptop.run(&["devices", "approve"]).code, 3, "nobody asks");
    let phone = Device::empty();
    let args = [&phone.enter("login", &server, NAME)[..], &["--approve"]].concat();
    let mut asking = phone.start(&args);
    let mut lines = BufReader::new(asking.stderr.take().unwrap()).lines().map_while(Result::ok);
    let words = lines.find(|line| line.split_whitespace().count() == 7 && line.starts_with("  ")).unwrap();
    let wrong = laptop.run(&["devices", "approve", "--words", "a b c d e f g"]);
    assert_eq!(wrong.code, 8, "{}", wrong.err);
    laptop.ok(&["devices", "approve", "--words", words.trim()]);
    assert!(asking.wait().unwrap().success(), "{:?}", lines.collect::<Vec<_>>());
    let listed = phone.run(&["list"]);
    assert!(listed.out.contains("github"), "{}", listed.err);
}

fn a_request_waits_through_a_restart_of_the_server_and_is_approved_after_it(mode: Mode) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::empty();
    let args = [&phone.enter("login", &server, NAME)[..], &["--approve"]].concat();
    let mut asking = phone.start(&args);
    let mut lines = BufReader::new(asking.stderr.take().unwrap()).lines().map_while(Result::ok);
    let words = lines.find(|line| line.split_whitespace().count() == 7 && line.starts_with("  ")).unwrap();
    server.kill();
    // It has asked in vain here.
    drop(TcpListener::bind(server.url.strip_prefix("https://").unwrap()).unwrap().accept().unwrap());
    server.start_again();
    laptop.ok(&["devices", "approve", "--words", words.trim()]);
    assert!(asking.wait().unwrap().success(), "{:?}", lines.collect::<Vec<_>>());
    phone.ok(&["sync"]);
}

fn interrupt(running: &Child) {
    let id = running.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

fn a_person_who_gives_up_waiting_is_offered_to_nobody_and_approved_by_nobody(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::empty();
    let args = [&phone.enter("login", &server, NAME)[..], &["--approve"]].concat();
    let mut asking = phone.start(&args);
    let mut lines = BufReader::new(asking.stderr.take().unwrap()).lines().map_while(Result::ok);
    let words = lines.find(|line| line.split_whitespace().count() == 7 && line.starts_with("  ")).unwrap();
    let listed = || laptop.json(&["api", "GET", "/v1/approvals"])["approvals"].as_array().unwrap().len();
    assert_eq!(listed(), 1);
    interrupt(&asking);
    assert_eq!(asking.wait().unwrap().code(), Some(130));
    let said: Vec<_> = lines.collect();
    assert!(said.iter().any(|line| line.contains("The request is withdrawn")), "{said:?}");
    assert_eq!(listed(), 0);
    let late = laptop.run(&["devices", "approve", "--words", words.trim()]);
    assert!(late.code == 3 && late.err.contains("no device asks"), "{}", late.err);
    assert_eq!(laptop.json(&["devices"]).as_array().unwrap().len(), 1);
    phone.ok(&phone.enter("login", &server, NAME));
}

/// The code that an authenticator app shows now, or a little later.
pub fn code(secret: &str, later: i64) -> String {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in secret.bytes() {
        let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
        held = (held << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).unwrap());
        }
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    totp::code(&bytes.try_into().unwrap(), i64::try_from(now).unwrap() / 30 + later)
}

/// In two groups, with the blank that comes along when it is copied.
fn as_an_app_shows(code: &str) -> String {
    format!("{} {} ", &code[..3], &code[3..])
}

/// One that it does not show for minutes.
fn wrong(secret: &str) -> String {
    let near: Vec<String> = (-5..=5).map(|later| code(secret, later)).collect();
    (0..).map(|guess| format!("{guess:06}")).find(|guess| !near.contains(guess)).unwrap()
}

fn an_authenticator_app_is_asked_for_at_a_login_and_codes_on_paper_stand_in_for_it(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let told = laptop.run(&["factors", "totp"]);
    let unconfirmed = told.err.split("lockstep factors confirm ").nth(1).unwrap_or_default();
    assert_eq!(unconfirmed.find(" CODE"), Some(36), "without a terminal, too: {}", told.err);
    let made = laptop.json(&["factors", "totp"]);
    let (factor, secret) = (made["factor"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let refused = laptop.run(&["factors", "confirm", factor, &wrong(secret)]);
    assert!(refused.code == 4 && refused.err.contains("clock is right"), "{}", refused.err);
    assert!(!refused.err.contains("paper"), "there is none yet: {}", refused.err);
    let set = laptop.json(&["factors", "confirm", factor, &as_an_app_shows(&code(secret, 0))]);
    assert_eq!(set["codes"].as_array().unwrap().len(), 10);
    let phone = Device::empty();
    let enter = phone.enter("login", &server, NAME);
    let without = phone.run(&enter);
    assert_eq!(without.code, 4, "{}", without.err);
    assert!(without.err.contains("second factor"), "{}", without.err);
    let with = |code: &str| answer(&phone.command(&enter).env("LOCKSTEP_CODE", code).output().unwrap());
    assert_eq!(with(&wrong(secret)).code, 4);
    // Each code is taken once: the next one is right already.
    let entered = with(&as_an_app_shows(&code(secret, 1)));
    assert_eq!(entered.code, 0, "{}", entered.err);
    let tablet = Device::empty();
    let mut login = tablet.command(&tablet.enter("login", &server, NAME));
    let paper = set["codes"][0].as_str().unwrap();
    let entered = answer(&login.env("LOCKSTEP_CODE", paper).output().unwrap());
    assert_eq!(entered.code, 0, "{}", entered.err);
    let listed = laptop.ok(&["factors"]);
    assert!(listed.contains("authenticator app") && listed.contains("9 left"), "{listed}");
    // The password was proven before the app was set: that is no proof by it.
    let mut remove = laptop.command(&["factors", "remove", &factor[..8]]);
    let removed = answer(&remove.env("LOCKSTEP_CODE", set["codes"][1].as_str().unwrap()).output().unwrap());
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert_eq!(laptop.json(&["factors"]).as_array().unwrap().len(), 0);
    let kinds = laptop.ok(&["--json", "activity", "--limit", "1000"]);
    assert!(["factor.set", "factor.refused", "factor.removed"].iter().all(|kind| kinds.contains(kind)));
}

fn a_device_has_a_name_that_the_others_read(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let devices = laptop.json(&["devices"]);
    let other = devices.as_array().unwrap().iter().find(|device| device["current"] == false).unwrap();
    let id = other["device"].as_str().unwrap();
    laptop.ok(&["devices", "name", &id[..8], "Zoë's telephone"]);
    assert_eq!(laptop.run(&["devices", "name", &id[..8], "  "]).code, 2);
    assert!(phone.ok(&["devices"]).contains("Zoë's telephone"));
    let devices = phone.json(&["devices"]);
    let own = devices.as_array().unwrap().iter().find(|device| device["current"] == true).unwrap();
    assert_eq!(own["name"], "Zoë's telephone");
    assert!(!own["label"].as_str().unwrap().contains("telephone"));
}

in_both_modes!(
    after_passwd_the_new_password_opens_and_another_device_needs_both_once,
    a_weak_new_password_and_a_wrong_old_one_change_nothing,
    a_recovery_code_is_printed_once_and_brings_everything_back_with_a_new_password,
    sessions_are_listed_and_the_others_ended,
    a_new_device_is_approved_by_an_enrolled_one_that_shows_the_same_words,
    a_request_waits_through_a_restart_of_the_server_and_is_approved_after_it,
    a_person_who_gives_up_waiting_is_offered_to_nobody_and_approved_by_nobody,
    an_authenticator_app_is_asked_for_at_a_login_and_codes_on_paper_stand_in_for_it,
    a_device_has_a_name_that_the_others_read,
);
