//! The main job: a large import, followed live, edited apart, resolved, and still there after a kill.

use serde_json::Value;

use crate::{
    device::{Device, answer},
    mode::Mode,
    server::Server,
};

in_both_modes! {
    three_thousand_items_are_imported_followed_live_edited_apart_resolved_and_survive_a_kill,
}

const ITEMS: usize = 3000;

fn three_thousand_items_are_imported_followed_live_edited_apart_resolved_and_survive_a_kill(mode: Mode) {
    let mut server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    let file = laptop.home().join("export.json");
    let file = file.to_str().unwrap();
    laptop.ok(&["fixtures", "--items", &ITEMS.to_string(), "--seed", "11", "--out", file]);

    // Followed live: every entry arrives at the phone as a change, while the laptop imports.
    let watch = phone.start(&["--json", "watch", "--count", &ITEMS.to_string(), "--seconds", "900"]);
    let imported = laptop.json(&["import", file]);
    assert_eq!((imported["items"].as_u64(), imported["sent"].as_bool()), (Some(ITEMS as u64), Some(true)));
    let watched = answer(&watch.wait_with_output().unwrap());
    assert_eq!(watched.code, 0, "{}", watched.err);
    let seen = watched.out.lines().filter(|line| line.contains("\"change\":\"version\"")).count();
    assert_eq!(seen, ITEMS);
    let exported = |device: &Device| device.ok(&["export", "--plain", "-"]);
    assert_eq!(exported(&laptop), exported(&phone));

    // Edited apart on both, without the server.
    server.kill();
    let list = laptop.json(&["list"]);
    let entry = list[0]["id"].as_str().unwrap().to_owned();
    laptop.ok(&["edit", &entry, "--set", "password=of the laptop"]);
    phone.ok(&["edit", &entry, "--set", "password=of the phone", "--set", "notes=from the train"]);
    server.start_again();
    laptop.ok(&["sync"]);
    phone.ok(&["sync"]);
    laptop.ok(&["sync"]);
    for device in [&laptop, &phone] {
        let conflicts = device.json(&["conflicts"]);
        assert_eq!(conflicts.as_array().unwrap().len(), 1);
        assert_eq!(conflicts[0]["heads"].as_array().unwrap().len(), 2);
    }

    // Resolved on the phone, by hand.
    let side = side_with(&phone.run(&["--json", "resolve", &entry, "--reveal"]).json(), "of the laptop");
    phone.ok(&["resolve", &entry, "--merge-from", &format!("password={side}")]);
    laptop.ok(&["sync"]);
    for device in [&laptop, &phone] {
        assert_eq!(device.json(&["conflicts"]), serde_json::json!([]));
        assert_eq!(device.ok(&["get", &entry, "password"]), "of the laptop\n");
        assert_eq!(device.ok(&["get", &entry, "notes"]), "from the train\n");
    }

    // Killed once more: a third device finds everything.
    server.kill();
    server.start_again();
    let tablet = Device::logged_in(&server);
    assert_eq!(tablet.json(&["list"]).as_array().unwrap().len(), ITEMS);
    assert_eq!(exported(&tablet), exported(&laptop));
    assert_eq!(exported(&tablet), exported(&phone));
}

/// The number of the side whose password is this one.
fn side_with(comparison: &Value, password: &str) -> String {
    let fields = comparison["fields"].as_array().unwrap();
    let row = fields.iter().find(|row| row["field"] == "password").unwrap();
    let at = row["sides"].as_array().unwrap().iter().position(|side| side == password).unwrap();
    (at + 1).to_string()
}
