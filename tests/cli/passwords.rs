//! Bad passwords and names, and what is never shown.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    device::{Answer, Device, NAME, PASSWORD, answer},
    proxy::Proxy,
    server::Server,
};

#[test]
fn wrong_weak_and_taken_end_with_their_own_codes_and_change_nothing() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let other = Device::empty();
    let with = |verb, password: &str| {
        let mut command = other.command(&other.enter(verb, &server, NAME));
        crate::device::answer(&command.env("LOCKSTEP_PASSWORD", password).output().unwrap())
    };
    let weak = with("register", "passwordpassword");
    assert_eq!(weak.code, 2);
    assert!(weak.err.contains("lockstep generate"), "{}", weak.err);
    assert_eq!(with("register", "short").code, 2);
    assert_eq!(with("register", PASSWORD).code, 8, "the name is taken");
    let wrong = with("login", "violet anchor mumbles eighteen");
    assert_eq!(wrong.code, 4);
    assert!(!wrong.err.contains("eighteen"));
    assert!(!other.home().join("profile.json").exists());

    let mut command = laptop.command(&["list"]);
    let locked = crate::device::answer(
        &command.env("LOCKSTEP_PASSWORD", "violet anchor mumbles eighteen").output().unwrap(),
    );
    assert_eq!((locked.code, locked.out.as_str()), (4, ""));
    let again = laptop.run(&laptop.enter("register", &server, "eve@example.org"));
    assert_eq!(again.code, 2, "a profile is not overwritten");
}

#[test]
fn without_a_terminal_and_without_a_password_nothing_waits_and_the_code_is_4() {
    let server = Server::start();
    let mut laptop = Device::registered(&server);
    laptop.forget_password();
    let locked = laptop.run(&["list"]);
    assert_eq!(locked.code, 4);
    assert!(locked.err.contains("--password-stdin"), "{}", locked.err);
    let open = laptop.run_with(&["--password-stdin", "--json", "list"], format!("{PASSWORD}\n").as_bytes());
    assert_eq!(open.json(), serde_json::json!([]));
    let status = laptop.json(&["status"]);
    assert_eq!(status["locked"], true);
    assert_eq!(status["name"], NAME);
}

#[test]
fn another_certificate_than_the_pinned_one_is_an_alarm() {
    let server = Server::start();
    let device = Device::empty();
    let wrong = "ab".repeat(32);
    let answer = device.run(&["register", "--server", &server.url, "--email", NAME, "--fingerprint", &wrong]);
    assert_eq!(answer.code, 7, "{}", answer.err);
    assert!(!device.home().join("profile.json").exists());
}

#[test]
fn the_passwords_line_on_standard_input_is_never_taken_for_content_though_it_was_not_needed() {
    let server = Server::start();
    let mut laptop = Device::registered(&server);
    laptop.forget_password();
    let with = |args: &[&str], rest: &str| {
        let all = [&["--password-stdin"], args].concat();
        let answer = laptop.run_with(&all, format!("{PASSWORD}\n{rest}").as_bytes());
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.err);
        answer.out
    };
    // Locked first, when the file was read before the password, and then with the key of the agent.
    let csv = "sep=;\nname;password\nshop;x\n";
    with(&["import", "-"], csv);
    with(&["unlock"], "");
    with(&["import", "-", "--folder", "again"], csv);
    with(&["add", "mail", "--stdin", "notes"], "one\ntwo\n");
    with(&["add", "bank", "--stdin", "notes"], "three\n");
    with(&["edit", "bank", "--stdin", "notes"], "four\n");
    with(&["attachment", "add", "mail", "-", "--name", "a.txt"], "five\n");
    with(&["file", "put", "-"], "six\n");
    assert_eq!(laptop.ok(&["get", "mail", "notes"]), "one\ntwo\n");
    assert_eq!(laptop.ok(&["get", "bank", "notes"]), "four\n");
    assert_eq!(laptop.ok(&["attachment", "get", "mail", "a.txt"]), "five\n");
    assert_eq!(laptop.ok(&["file", "get"]), "six\n");
    assert_eq!(laptop.json(&["list"]).as_array().unwrap().len(), 4);
    assert!(!laptop.ok(&["export", "--plain", "-"]).contains(PASSWORD));
}

/// A device whose server is heard through a proxy.
pub fn behind_a_proxy(server: &Server) -> (Proxy, Device) {
    let proxy = Proxy::start(server.url.strip_prefix("http://").unwrap().parse().unwrap());
    let (laptop, url) = (Device::empty(), format!("https://{}", proxy.addr));
    laptop.ok(&["register", "--server", &url, "--email", NAME, "--fingerprint", &proxy.fingerprint]);
    (proxy, laptop)
}

/// What a command says that is given up when the server has answered and the answer was not heard.
pub fn given_up(proxy: &Proxy, mut command: Command) -> Answer {
    proxy.hold_new_secrets();
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let since = Instant::now();
    while !proxy.has_held() {
        assert!(since.elapsed() < Duration::from_secs(90), "it was not sent");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap().success());
    let ended = answer(&running.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.err);
    ended
}

#[test]
fn ctrl_c_while_a_new_password_is_on_its_way_says_that_it_may_have_been_changed() {
    const NEW: &str = "seven lanterns drift southward";
    let server = Server::start_plain();
    let (proxy, laptop) = behind_a_proxy(&server);
    let mut passwd = laptop.command(&["passwd"]);
    passwd.env("LOCKSTEP_NEW_PASSWORD", NEW);
    let ended = given_up(&proxy, passwd);
    assert!(ended.err.contains("may have been changed on the server"), "{}", ended.err);
    assert!(ended.err.contains("lockstep login, with the new one"), "{}", ended.err);
    // And it was, there and not here.
    laptop.ok(&["--offline", "list"]);
    let mut login = laptop.command(&["login"]);
    login.env("LOCKSTEP_PASSWORD", NEW).env("LOCKSTEP_EARLIER_PASSWORD", PASSWORD);
    let back = answer(&login.output().unwrap());
    assert_eq!(back.code, 0, "{}", back.err);
}

/// What a proxy says, or does not say, of a server that it does not hear.
pub const UNHEARD: [&str; 2] =
    ["", "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"];

#[test]
fn a_new_password_whose_answer_is_lost_on_the_way_may_have_been_changed_and_one_that_was_refused_was_not() {
    const NEW: [&str; 2] = ["seven lanterns drift southward", "eleven kettles hum northward"];
    let server = Server::start_plain();
    let (proxy, laptop) = behind_a_proxy(&server);
    let passwd = |new: &str| {
        let mut command = laptop.command(&["passwd"]);
        answer(&command.env("LOCKSTEP_NEW_PASSWORD", new).output().unwrap())
    };
    let weak = passwd("passwordpassword");
    assert!(weak.code == 2 && !weak.err.contains("may have been changed"), "{}", weak.err);
    for (new, unheard) in NEW.into_iter().zip(UNHEARD) {
        proxy.answer_new_secrets(unheard);
        let ended = passwd(new);
        assert_eq!(ended.code, 6, "{}", ended.err);
        assert!(ended.err.contains("may have been changed on the server"), "{}", ended.err);
        proxy.let_new_secrets_be_answered();
        // And it was, there and not here: the present one is asked for, and the one before still opens this device.
        laptop.ok(&["--offline", "list"]);
        let wrong = passwd(new);
        assert!(wrong.code == 4 && !wrong.err.contains("may have been changed"), "{}", wrong.err);
        let mut login = laptop.command(&["login"]);
        login.env("LOCKSTEP_PASSWORD", new).env("LOCKSTEP_EARLIER_PASSWORD", PASSWORD);
        let back = answer(&login.output().unwrap());
        assert_eq!(back.code, 0, "{}", back.err);
        let mut back = laptop.command(&["passwd"]);
        back.env("LOCKSTEP_PASSWORD", new).env("LOCKSTEP_NEW_PASSWORD", PASSWORD);
        let back = answer(&back.output().unwrap());
        assert_eq!(back.code, 0, "{}", back.err);
    }
}

#[test]
fn a_recovery_code_whose_answer_is_lost_on_the_way_has_to_be_made_once_more() {
    let server = Server::start_plain();
    let (proxy, laptop) = behind_a_proxy(&server);
    for unheard in UNHEARD {
        proxy.answer_new_secrets(unheard);
        let ended = laptop.run(&["recovery", "new"]);
        assert!(ended.code == 6 && ended.out.is_empty(), "{ended:?}");
        assert!(ended.err.contains("perhaps a new recovery code was made and not shown"), "{}", ended.err);
        proxy.let_new_secrets_be_answered();
    }
    assert!(!laptop.ok(&["recovery", "new"]).is_empty());
}

#[test]
fn ctrl_c_while_a_recovery_code_is_on_its_way_says_that_another_one_has_to_be_made() {
    let server = Server::start_plain();
    let (proxy, laptop) = behind_a_proxy(&server);
    let ended = given_up(&proxy, laptop.command(&["recovery", "new"]));
    assert!(ended.err.contains("perhaps a new recovery code was made and not shown"), "{}", ended.err);
    assert_eq!(ended.out, "");
}
