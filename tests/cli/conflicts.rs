//! Two devices that change the same entry apart.

use std::{os::unix::fs::PermissionsExt, process::Stdio};

use crate::{
    device::{Device, answer},
    mode::Mode,
    server::Server,
};

in_both_modes! {
    without_a_choice_the_sides_are_shown_masked_and_the_code_is_5,
    keeping_one_side_leaves_one_head_on_both_devices_and_the_other_in_the_history,
    a_merge_takes_what_only_one_side_changed_and_keeps_the_other_password_among_the_old_ones,
    a_merge_has_the_addresses_that_each_side_added_and_a_field_from_the_side_that_was_asked_for,
    keeping_both_makes_two_entries,
    deleting_a_divergent_entry_names_all_its_heads_and_deletes_exactly_those,
    what_comes_back_after_a_deletion_is_the_side_that_was_shown_and_the_other_is_named,
    restoring_an_older_version_over_open_ones_names_them_and_asks,
    a_conflict_in_another_vault_is_named_with_that_vault,
    while_an_editor_is_open_ctrl_c_is_its_affair_and_whatever_ends_the_command_no_text_stays,
    deleted_here_and_edited_there_is_a_conflict_in_which_the_entry_stays_visible,
    a_change_of_what_another_device_has_changed_says_so_without_a_terminal_too,
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

fn what_comes_back_after_a_deletion_is_the_side_that_was_shown_and_the_other_is_named(mode: Mode) {
    let Apart { laptop, phone, _server } = apart(mode);
    // The side that is shown is the first by its branch, and not the last in the log.
    let shown = laptop.ok(&["get", "mail", "password"]);
    assert_eq!(shown, "laptop\n");
    laptop.ok(&["rm", "mail", "--yes"]);
    phone.ok(&["sync"]);
    let restored = phone.run(&["restore", "mail"]);
    assert_eq!(restored.code, 0, "{}", restored.err);
    let named = "version 2 comes back; also open was version 3";
    assert!(restored.err.contains(named), "{}", restored.err);
    laptop.ok(&["sync"]);
    for device in [&laptop, &phone] {
        assert_eq!(device.ok(&["get", "mail", "password"]), shown);
    }
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
    // No clock of its author is known of it: when it arrived is no time at which it was made.
    assert!(gone["time"] == 0 && gone["arrived"].as_i64().unwrap() > 0, "{gone}");
    let listed = laptop.ok(&["conflicts"]);
    assert!(listed.contains("deleted, arrived 20") && listed.contains("changed 20"), "{listed}");
    let resolved = laptop.run(&["resolve", "mail", "--keep", &gone["side"].to_string()]);
    assert_eq!(resolved.code, 0, "{}", resolved.err);
    assert!(resolved.err.contains("  mail: deleted; back with: lockstep restore "), "{}", resolved.err);
    phone.ok(&["sync"]);
    assert_eq!(phone.json(&["list"]), serde_json::json!([]));
}

fn restoring_an_older_version_over_open_ones_names_them_and_asks(mode: Mode) {
    let Apart { laptop, phone, _server } = apart(mode);
    let refused = laptop.run(&["restore", "mail", "1"]);
    assert_eq!(refused.code, 5, "{}", refused.err);
    for said in ["all 2 open versions", "\n  1  changed", "\n  2  changed", "--yes"] {
        assert!(refused.err.contains(said), "{said}: {}", refused.err);
    }
    assert_eq!(laptop.json(&["conflicts"]).as_array().unwrap().len(), 1, "it is open still");
    let restored = laptop.run(&["restore", "mail", "1", "--yes"]);
    assert_eq!(restored.code, 0, "{}", restored.err);
    assert!(restored.err.contains("all 2 open versions"), "{}", restored.err);
    phone.ok(&["sync"]);
    assert_eq!(phone.json(&["conflicts"]), serde_json::json!([]));
    assert_eq!(phone.ok(&["get", "mail", "password"]), "first\n");
    // One that was not changed apart is restored unasked.
    phone.ok(&["edit", "mail", "--set", "password=second"]);
    phone.ok(&["restore", "mail", "1"]);
}

fn a_conflict_in_another_vault_is_named_with_that_vault(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    laptop.ok(&["vault", "create", "Old work"]);
    laptop.ok(&["--vault", "Old work", "add", "mail", "--set", "password=first"]);
    let phone = Device::logged_in(&server);
    for (device, password) in [(&laptop, "password=laptop"), (&phone, "password=phone")] {
        device.ok(&["--offline", "--vault", "Old work", "edit", "mail", "--set", password]);
    }
    laptop.ok(&["sync"]);
    phone.ok(&["sync"]);
    let synced = laptop.run(&["sync"]);
    assert!(synced.err.contains("lockstep --vault 'Old work' conflicts"), "{}", synced.err);
    let here = laptop.run(&["conflicts"]);
    assert!(here.err.contains("No conflicts.") && here.out.is_empty(), "{here:?}");
    assert!(here.err.contains("lockstep --vault 'Old work' conflicts"), "{}", here.err);
    assert!(laptop.ok(&["--vault", "Old work", "conflicts"]).contains("password"));
    laptop.ok(&["--vault", "Old work", "resolve", "mail", "--keep", "1"]);
    assert!(!laptop.run(&["conflicts"]).err.contains("another vault"));
}

/// What an editor is to do with the file, as a shell reads it; `$PPID` is the command that started it.
fn edited(device: &Device, script: &str) -> (crate::device::Answer, String) {
    let (editor, seen) = (device.home().join("editor"), device.home().join("seen"));
    std::fs::write(
        &editor,
        format!("#!/bin/sh\nenv > {0}.env\necho \"$1\" > {0}\n{script}\n", seen.display()),
    )
    .unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = device.command(&["resolve", "mail", "--edit"]);
    command.env("EDITOR", &editor).env_remove("VISUAL").env("LOCKSTEP_CODE", "123456");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let answer = answer(&command.spawn().unwrap().wait_with_output().unwrap());
    let path = std::fs::read_to_string(&seen).unwrap();
    assert!(!std::path::Path::new(path.trim()).parent().unwrap().exists(), "{path}");
    (answer, std::fs::read_to_string(seen.with_extension("env")).unwrap())
}

fn while_an_editor_is_open_ctrl_c_is_its_affair_and_whatever_ends_the_command_no_text_stays(mode: Mode) {
    let Apart { laptop, phone: _phone, _server } = apart(mode);
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        // The editor ends only after the command: its output is a pipe that would be waited for.
        let (ended, _) = edited(&laptop, &format!("exec >/dev/null 2>&1\nkill -{signal} $PPID\nsleep 2"));
        assert_eq!(ended.code, code, "{}", ended.err);
        assert_eq!(laptop.json(&["conflicts"]).as_array().unwrap().len(), 1);
    }
    let script = "kill -INT $PPID\nsleep 1\nprintf 'name = \"mail\"\\npassword = \"by hand\"\\n' > \"$1\"";
    let (saved, environment) = edited(&laptop, script);
    assert_eq!(saved.code, 0, "{}", saved.err);
    assert_eq!(laptop.ok(&["get", "mail", "password"]), "by hand\n");
    for secret in ["LOCKSTEP_PASSWORD", "LOCKSTEP_CODE"] {
        assert!(!environment.contains(secret), "{environment}");
    }
}

fn a_change_of_what_another_device_has_changed_says_so_without_a_terminal_too(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let file = laptop.home().join("scan.pdf");
    std::fs::write(&file, b"a scan").unwrap();
    let all = ["edited", "attached", "restored", "deleted"];
    for name in all {
        laptop.ok(&["add", name, "--set", "password=first"]);
        laptop.ok(&["edit", name, "--set", "password=second"]);
    }
    let phone = Device::logged_in(&server);
    let changes = [
        &["edit", "edited", "--set", "password=third"][..],
        &["attachment", "add", "attached", file.to_str().unwrap()],
        &["restore", "restored", "1"],
        &["rm", "deleted", "--yes"],
    ];
    for (name, change) in all.iter().zip(changes) {
        phone.ok(&["edit", name, "--set", "notes=by telephone"]);
        let changed = laptop.run(&[&["--json", "--quiet"], change].concat());
        assert_eq!(changed.code, 0, "{}", changed.err);
        let said = changed.json();
        let one = if *name == "deleted" { &said["deleted"][0] } else { &said };
        assert_eq!((&one["divergent"], &said["sent"]), (&true.into(), &true.into()), "{said}");
        let line = format!("warning: {name} was changed on another device, too");
        assert!(changed.err.contains(&line) && changed.err.contains("lockstep resolve "), "{}", changed.err);
    }
    assert_eq!(laptop.json(&["conflicts"]).as_array().unwrap().len(), 4);
    laptop.ok(&["add", "alone", "--set", "password=first"]);
    let alone = laptop.run(&["--json", "edit", "alone", "--set", "password=second"]);
    assert!(alone.json()["divergent"] == false && !alone.err.contains("warning"), "{alone:?}");
}
