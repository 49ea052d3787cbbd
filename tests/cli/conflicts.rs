//! Two devices that change the same entry apart.

use crate::{device::Device, mode::Mode, server::Server};

in_both_modes! {
    without_a_choice_the_sides_are_shown_masked_and_the_code_is_5,
    keeping_one_side_leaves_one_head_on_both_devices_and_the_other_in_the_history,
    a_merge_takes_what_only_one_side_changed_and_keeps_the_other_password_among_the_old_ones,
    a_merge_has_the_addresses_that_each_side_added_and_a_field_from_the_side_that_was_asked_for,
    keeping_both_makes_two_entries,
    deleting_a_divergent_entry_names_all_its_heads_and_deletes_exactly_those,
    deleted_here_and_edited_there_is_a_conflict_in_which_the_entry_stays_visible,
}

struct Apart {
    laptop: Device,
    phone: Device,
    _server: Server,
}

/// An entry "mail" whose password both devices changed.
fn apart(mode: Mode) -> Apart {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--username", "ada", "--set", "password=first"]);
    let phone = Device::logged_in(&server);
    laptop.ok(&["--offline", "edit", "mail", "--set", "password=laptop"]);
    phone.ok(&["--offline", "edit", "mail", "--set", "password=phone", "--set", "uri=https://mail.example"]);
    laptop.ok(&["sync"]);
    phone.ok(&["sync"]);
    laptop.ok(&["sync"]);
    Apart { laptop, phone, _server: server }
}

fn without_a_choice_the_sides_are_shown_masked_and_the_code_is_5(mode: Mode) {
    let Apart { laptop, phone: _phone, _server } = apart(mode);
    let shown = laptop.run(&["resolve", "mail"]);
    assert_eq!(shown.code, 5);
    assert!(
        shown.out.contains("password") && shown.out.contains("••••") && !shown.out.contains("laptop"),
        "{}",
        shown.out
    );
    assert!(shown.err.contains("--keep"), "{}", shown.err);
    let revealed = laptop.run(&["resolve", "mail", "--reveal"]);
    for value in ["first", "laptop", "phone"] {
        assert!(revealed.out.contains(value), "{}", revealed.out);
    }
    let merge = laptop.run(&["--json", "resolve", "mail", "--merge"]);
    assert_eq!(merge.code, 5);
    let error: serde_json::Value = serde_json::from_str(&merge.err).unwrap();
    assert_eq!(error["error"]["contested"], serde_json::json!(["password"]));
}

fn keeping_one_side_leaves_one_head_on_both_devices_and_the_other_in_the_history(mode: Mode) {
    let Apart { laptop, phone, _server } = apart(mode);
    let kept = laptop.ok(&["get", "mail", "password"]);
    laptop.ok(&["resolve", "mail", "--keep", "1"]);
    phone.ok(&["sync"]);
    for device in [&laptop, &phone] {
        assert_eq!(device.json(&["conflicts"]), serde_json::json!([]));
        assert_eq!(device.ok(&["get", "mail", "password"]), kept);
    }
    let history = phone.json(&["history", "mail"]);
    assert_eq!(history["versions"].as_array().unwrap().len(), 4);
    assert_eq!(
        laptop.run(&["resolve", "mail", "--keep", "1"]).code,
        0,
        "a second time there is nothing to do"
    );
}

fn a_merge_takes_what_only_one_side_changed_and_keeps_the_other_password_among_the_old_ones(mode: Mode) {
    let Apart { laptop, phone, _server } = apart(mode);
    laptop.ok(&["resolve", "mail", "--merge-set", "password=both"]);
    phone.ok(&["sync"]);
    let item = phone.json(&["get", "mail"]);
    assert_eq!(item["fields"]["password"], "both");
    assert_eq!(item["fields"]["uri"], "https://mail.example");
    let old = item["item"]["history"].to_string();
    assert!(["first", "laptop", "phone"].iter().all(|password| old.contains(password)), "{old}");
}

fn a_merge_has_the_addresses_that_each_side_added_and_a_field_from_the_side_that_was_asked_for(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "uri=https://a", "--set", "uri2=https://b", "--set", "pin=0"]);
    let phone = Device::logged_in(&server);
    laptop.ok(&["--offline", "edit", "mail", "--set", "uri3=https://c", "--set", "pin=1"]);
    phone.ok(&["--offline", "edit", "mail", "--set", "uri2=", "--set", "pin=2"]);
    laptop.ok(&["sync"]);
    phone.ok(&["sync"]);
    laptop.ok(&["sync"]);
    let refused = laptop.run(&["--json", "resolve", "mail", "--merge"]);
    assert_eq!(refused.code, 5);
    let error: serde_json::Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!(error["error"]["contested"], serde_json::json!(["pin"]));
    let shown = laptop.run(&["--json", "resolve", "mail"]).json();
    let pins = shown["fields"].as_array().unwrap().iter().find(|row| row["field"] == "pin").unwrap();
    let side = 1 + pins["sides"].as_array().unwrap().iter().position(|pin| pin == "2").unwrap();
    laptop.ok(&["resolve", "mail", "--merge-from", &format!("PIN={side}")]);
    phone.ok(&["sync"]);
    let item = phone.json(&["get", "mail"]);
    let uris = &item["item"]["body"]["login"]["uris"];
    assert_eq!(*uris, serde_json::json!([{ "uri": "https://a" }, { "uri": "https://c" }]), "{item}");
    assert_eq!(item["fields"]["pin"], "2");
}

fn keeping_both_makes_two_entries(mode: Mode) {
    let Apart { laptop, phone, _server } = apart(mode);
    laptop.ok(&["resolve", "mail", "--keep-both"]);
    phone.ok(&["sync"]);
    for device in [&laptop, &phone] {
        assert_eq!(device.json(&["list"]).as_array().unwrap().len(), 2);
        assert_eq!(device.json(&["conflicts"]), serde_json::json!([]));
    }
}

fn deleting_a_divergent_entry_names_all_its_heads_and_deletes_exactly_those(mode: Mode) {
    let Apart { laptop, phone, _server } = apart(mode);
    let refused = laptop.run(&["rm", "mail"]);
    assert_eq!(refused.code, 2, "without a terminal nothing is deleted unasked");
    let deleted = laptop.run(&["rm", "mail", "--yes"]);
    assert_eq!(deleted.code, 0);
    assert!(deleted.err.contains("all 2 open versions"), "{}", deleted.err);
    phone.ok(&["sync"]);
    assert_eq!(phone.json(&["list"]), serde_json::json!([]));
    assert_eq!(phone.json(&["list", "--deleted"])[0]["name"], "mail");
    phone.ok(&["restore", "mail"]);
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["list"])[0]["name"], "mail");
}

fn deleted_here_and_edited_there_is_a_conflict_in_which_the_entry_stays_visible(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=first"]);
    let phone = Device::logged_in(&server);
    laptop.ok(&["--offline", "rm", "mail", "--yes"]);
    phone.ok(&["--offline", "edit", "mail", "--set", "password=second"]);
    laptop.ok(&["sync"]);
    phone.ok(&["sync"]);
    laptop.ok(&["sync"]);
    assert_eq!(laptop.ok(&["get", "mail", "password"]), "second\n");
    assert_eq!(laptop.json(&["conflicts"]).as_array().unwrap().len(), 1);
    // Keep the deletion: it is the side without content.
    let sides = laptop.run(&["--json", "resolve", "mail"]).json();
    let gone = sides["sides"].as_array().unwrap().iter().find(|side| side["kind"] == "tombstone").unwrap();
    laptop.ok(&["resolve", "mail", "--keep", &gone["side"].to_string()]);
    phone.ok(&["sync"]);
    assert_eq!(phone.json(&["list"]), serde_json::json!([]));
}
