//! What another device did to the ways into the account is told by whatever command hears of it, once.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::{
    access::code,
    device::{Device, PASSWORD, answer},
    mode::Mode,
    server::Server,
};

const NEW: &str = "seven lanterns drift southward";

fn what_another_device_did_to_the_ways_in_is_told_once_and_nothing_of_ones_own(mode: Mode) {
    let server = Server::start_in(mode);
    let (laptop, phone) = (Device::registered(&server), Device::logged_in(&server));
    laptop.ok(&["sync"]);
    let by = phone.json(&["status"])["device"].as_str().unwrap().to_owned();
    let short = &by[..8];

    phone.ok(&["recovery", "new"]);
    let told = laptop.json(&["sync"])["notices"].clone();
    let [notice] = told.as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!((&notice["notice"], &notice["device"]), (&"recovery_code_made".into(), &by.clone().into()));
    assert!(notice["text"].as_str().unwrap().contains(&format!("devices revoke {short}")), "{notice}");
    assert_eq!(laptop.json(&["sync"])["notices"], Value::Array(Vec::new()), "once");

    let mut watching = laptop.start(&["--json", "watch"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("\"link\":\"live\"")));
    phone.ok(&["recovery", "new"]);
    let line = lines.find(|line| line.contains("\"notice\"")).unwrap();
    let change: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&change["what"], &change["notice"]["notice"]),
        (&"ark/recovery".into(), &"recovery_code_made".into())
    );
    watching.kill().unwrap();
    watching.wait().unwrap();

    let made = phone.json(&["factors", "totp"]);
    let (factor, secret) = (made["factor"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let set = phone.json(&["factors", "confirm", factor, &code(secret, 0)]);
    // Whatever is typed next.
    let told = laptop.run(&["add", "github"]);
    let line = format!("device {short} added a second factor");
    assert!(told.err.contains(&line) && told.err.contains("If it was not you"), "{}", told.err);
    assert!(!told.err.contains("new codes"), "those come with it: {}", told.err);
    let again = laptop.run(&["sync"]);
    assert!(again.code == 0 && !again.err.contains("second factor"), "{}", again.err);

    let mut passwd = phone.command(&["passwd"]);
    passwd.env("LOCKSTEP_NEW_PASSWORD", NEW).env("LOCKSTEP_CODE", code(secret, 1));
    let changed = answer(&passwd.output().unwrap());
    assert_eq!(changed.code, 0, "{}", changed.err);
    assert!(!changed.err.contains("If it was not you"), "its own doing: {}", changed.err);
    let mut login = laptop.command(&["login"]);
    login.env("LOCKSTEP_PASSWORD", NEW).env("LOCKSTEP_EARLIER_PASSWORD", PASSWORD);
    let back = answer(&login.env("LOCKSTEP_CODE", set["codes"][0].as_str().unwrap()).output().unwrap());
    let line = format!("device {short} changed the password of this account");
    assert!(back.code == 0 && back.err.contains(&line), "{}", back.err);
    let quiet = phone.command(&["sync"]).env("LOCKSTEP_PASSWORD", NEW).output().unwrap();
    let quiet = answer(&quiet);
    assert!(quiet.code == 0 && !quiet.err.contains("If it was not you"), "{}", quiet.err);
}

in_both_modes!(what_another_device_did_to_the_ways_in_is_told_once_and_nothing_of_ones_own);
