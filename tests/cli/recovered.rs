//! A new password by the recovery code, where nobody hears what came of it.

use std::process::Command;

use crate::{
    device::{Answer, Device, NAME, PASSWORD, answer},
    passwords::{UNHEARD, behind_a_proxy, given_up},
    proxy::Proxy,
    server::Server,
};

const NEW: [&str; 2] = ["seven lanterns drift southward", "eleven kettles hum northward"];
const PERHAPS: &str = "perhaps the new password counts already";

/// A device makes a code, and keeps it in a file.
fn written(device: &Device, password: &str) -> String {
    let mut new = device.command(&["recovery", "new"]);
    let made = answer(&new.env("LOCKSTEP_PASSWORD", password).output().unwrap());
    assert_eq!(made.code, 0, "{}", made.err);
    let file = device.home().join("code.txt");
    std::fs::write(&file, made.out).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A command of a device that comes to the account with a password.
fn coming(device: &Device, proxy: &Proxy, verb: &[&str], password: &str) -> Command {
    let url = format!("https://{}", proxy.addr);
    let place = ["--server", &url, "--email", NAME, "--fingerprint", &proxy.fingerprint];
    let mut command = device.command(&[verb, &place].concat());
    command.env("LOCKSTEP_PASSWORD", password).env("LOCKSTEP_NEW_PASSWORD", password);
    command
}

fn comes(device: &Device, proxy: &Proxy, verb: &[&str], password: &str) -> Answer {
    answer(&coming(device, proxy, verb, password).output().unwrap())
}

#[test]
fn a_recovery_whose_answer_is_lost_on_the_way_is_followed_by_a_login_with_the_new_password() {
    let server = Server::start_plain();
    let (proxy, mut device) = behind_a_proxy(&server);
    device.ok(&["add", "mail"]);
    device.ok(&["sync"]);
    let mut password = PASSWORD;
    for (new, unheard) in NEW.into_iter().zip(UNHEARD) {
        let file = written(&device, password);
        let (recovery, other) = (["recovery", "use", "--code", &file], Device::empty());
        proxy.answer_new_secrets(unheard);
        let ended = comes(&other, &proxy, &recovery, new);
        assert_eq!(ended.code, 6, "{}", ended.err);
        assert!(ended.err.contains(PERHAPS) && ended.err.contains("lockstep login"), "{}", ended.err);
        proxy.let_new_secrets_be_answered();
        let again = comes(&other, &proxy, &recovery, new);
        assert!(again.code == 4 && again.err.contains("each works once"), "{}", again.err);
        assert!(again.err.contains("lockstep login"), "{}", again.err);
        assert!(!again.err.contains("nothing was changed") && !again.err.contains(PERHAPS), "{}", again.err);
        let back = comes(&other, &proxy, &["login"], new);
        assert_eq!(back.code, 0, "{}", back.err);
        assert!(comes(&device, &proxy, &["login"], password).code == 4, "the one before counts no more");
        (device, password) = (other, new);
    }
    let mut list = device.command(&["list"]);
    assert!(answer(&list.env("LOCKSTEP_PASSWORD", password).output().unwrap()).out.contains("mail"));
}

#[test]
fn ctrl_c_while_a_recovery_is_on_its_way_says_that_the_new_password_may_count() {
    let server = Server::start_plain();
    let (proxy, laptop) = behind_a_proxy(&server);
    let (file, other) = (written(&laptop, PASSWORD), Device::empty());
    let weak = comes(&other, &proxy, &["recovery", "use", "--code", &file], "passwordpassword");
    assert!(weak.code == 2 && !weak.err.contains(PERHAPS), "{}", weak.err);
    let ended = given_up(&proxy, coming(&other, &proxy, &["recovery", "use", "--code", &file], NEW[0]));
    assert!(ended.err.contains(PERHAPS) && ended.err.contains("lockstep login"), "{}", ended.err);
}
