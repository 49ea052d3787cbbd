//! What the plan has no room for is kept, shown, and sent when there is room.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    device::{Device, NAME},
    mode::Mode,
    server::Server,
};

in_both_modes! {
    what_the_plan_has_no_room_for_waits_is_shown_and_is_sent_when_there_is_room,
}

const PLANS: &str = "tiny = { entries = 3, storage_bytes = 200000 }\nroomy = { entries = 100 }";

fn names(device: &Device) -> Vec<String> {
    device.ok(&["sync"]);
    let list = device.json(&["list"]);
    let mut names: Vec<String> =
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn no_room(status: &Value) -> (&Value, &Value, &Value) {
    (&status["no_room"]["what"], &status["no_room"]["limit"], &status["waiting"])
}

fn what_the_plan_has_no_room_for_waits_is_shown_and_is_sent_when_there_is_room(mode: Mode) {
    let server = Server::start_in_with(mode, &[("LOCKSTEP_PLANS", PLANS), ("LOCKSTEP_DEFAULT_PLAN", "tiny")]);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    for name in ["one", "two", "three", "four", "five"] {
        laptop.ok(&["add", name, "--set", "username=ada"]);
    }
    let status = laptop.json(&["status"]);
    assert_eq!(no_room(&status), (&json!("entries"), &json!(3), &json!(2)), "{status}");
    assert_eq!((&status["no_room"]["used"], &status["quarantined"]), (&json!(3), &json!(0)));
    assert!(laptop.ok(&["status"]).contains("2 (over quota: entries, limit 3, used 3)"));
    let synced = laptop.run(&["sync"]);
    assert_eq!(synced.code, 0, "{}", synced.err);
    assert!(synced.err.contains("no room") && synced.err.contains("limit 3"), "{}", synced.err);
    assert_eq!(names(&laptop), ["five", "four", "one", "three", "two"], "nothing is lost here");
    assert_eq!(names(&phone), ["one", "three", "two"]);

    // What is deleted makes room, though it stands behind what waits.
    laptop.ok(&["rm", "two", "--yes"]);
    laptop.ok(&["sync"]);
    assert_eq!(no_room(&laptop.json(&["status"])), (&json!("entries"), &json!(3), &json!(1)));
    let there = names(&phone);
    // Which of the two that waited got the room is nobody's promise.
    assert!(there.len() == 3 && (there[0] == "five" || there[0] == "four"), "{there:?}");

    // A file that is too large waits, and does not stand in the way of an edit.
    let file = laptop.home().join("scan.pdf");
    std::fs::write(&file, vec![7; 250_000]).unwrap();
    let added = laptop.json(&["attachment", "add", "one", file.to_str().unwrap()]);
    assert_eq!(added["sent"], false);
    laptop.ok(&["edit", "three", "--set", "username=grace"]);
    let status = laptop.json(&["status"]);
    assert_eq!((&status["waiting"], &status["quarantined"]), (&json!(2), &json!(0)), "{status}");
    phone.ok(&["sync"]);
    assert_eq!(phone.ok(&["get", "three", "username"]).trim(), "grace");

    // Another plan: whoever is running sends what waits, without being told.
    let root = Device::empty();
    root.ok(&root.enter("register", &server, "root@example.org"));
    root.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    let mut watch = laptop.start(&["--json", "watch", "--seconds", "400"]);
    root.ok(&["admin", "user", "set-plan", NAME, "roomy", "--reason", "paid by invoice"]);
    let since = Instant::now();
    while laptop.json(&["status"])["waiting"] != 0 {
        assert!(since.elapsed() < Duration::from_secs(300), "{}", laptop.json(&["status"]));
        std::thread::sleep(Duration::from_millis(200));
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["no_room"], Value::Null);
    assert_eq!(names(&phone), ["five", "four", "one", "three"]);
    assert_eq!(phone.json(&["attachment", "list", "one"])[0]["size"], json!(250_000));
}
