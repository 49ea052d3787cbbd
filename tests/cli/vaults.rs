//! The end of a vault, its name that two devices gave, and its beginning that was cut off.

use serde_json::{Value, json};

use crate::{
    device::{Device, NAME},
    mode::Mode,
    proxy::Relay,
    server::Server,
};

in_both_modes! {
    a_deleted_vault_is_deleted_on_every_device_and_is_named_again_and_restored,
    what_another_device_wrote_in_a_vault_while_it_was_deleted_stays_live_and_is_told_of,
    a_vault_that_was_deleted_here_and_renamed_there_keeps_its_name_until_a_person_chooses,
    two_names_that_were_given_apart_are_both_shown_until_one_is_given,
    a_vault_whose_making_was_cut_off_anywhere_is_made_once_and_has_its_name,
    a_deleted_vault_makes_room_for_another,
}

/// Two devices with a vault "Work" that has an entry.
fn work(server: &Server) -> (Device, Device, String) {
    let laptop = Device::registered(server);
    let made = laptop.json(&["vault", "create", "Work"]);
    laptop.ok(&["--vault", "Work", "add", "mail", "--set", "password=one"]);
    let phone = Device::logged_in(server);
    (laptop, phone, made["vault"].as_str().unwrap().to_owned())
}

/// What a device says of a vault.
fn listed(device: &Device, vault: &str) -> Value {
    let all = device.json(&["--offline", "vault"]);
    all.as_array().unwrap().iter().find(|listed| listed["vault"] == vault).unwrap().clone()
}

fn synced(devices: &[&Device]) {
    for device in devices {
        device.ok(&["sync"]);
    }
}

fn a_deleted_vault_is_deleted_on_every_device_and_is_named_again_and_restored(mode: Mode) {
    let server = Server::start_in(mode);
    let (laptop, phone, vault) = work(&server);
    laptop.ok(&["--vault", "Work", "add", "bank"]);
    for device in [&laptop, &phone] {
        device.ok(&["vault", "use", "Work"]);
    }
    let first = laptop.json(&["vault"])[0]["vault"].as_str().unwrap().to_owned();
    let refused = laptop.run(&["vault", "delete", &first[..8], "--yes"]);
    assert!(refused.code == 2 && refused.err.contains("began with"), "{}", refused.err);
    let unasked = laptop.run(&["vault", "delete", "Work"]);
    assert!(unasked.code == 2 && unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(listed(&laptop, &vault)["deleted"], false);
    // It needs no server.
    let deleted = laptop.json(&["--offline", "vault", "delete", "Work", "--yes"]);
    assert_eq!(deleted, json!({ "deleted": vault, "entries": 2, "sent": false }));
    assert_eq!(laptop.json(&["status"])["vault"], first.as_str(), "verbs do not go on writing into it");
    synced(&[&laptop, &phone]);
    for device in [&laptop, &phone] {
        let shown = listed(device, &vault);
        let said = (&shown["deleted"], &shown["name"], &shown["was"], &shown["left"]);
        assert_eq!(said, (&json!(true), &json!(null), &json!("Work"), &json!(0)));
        assert_eq!(device.run(&["--vault", "Work", "list"]).code, 3);
        assert_eq!(device.json(&["--vault", &vault, "list"]), json!([]));
    }
    // The device that works with it is told.
    let told = phone.run(&["list"]);
    assert!(told.code == 0 && told.err.contains("was deleted"), "{}", told.err);
    // A new device begins with it deleted.
    assert_eq!(listed(&Device::logged_in(&server), &vault)["deleted"], true);
    // Its name is free, and it comes back by another.
    laptop.ok(&["vault", "create", "Work"]);
    phone.ok(&["vault", "rename", &vault[..8], "Old work"]);
    phone.ok(&["--vault", "Old work", "restore", "mail"]);
    synced(&[&phone, &laptop]);
    assert_eq!(laptop.ok(&["--vault", "Old work", "get", "mail", "password"]), "one\n");
    assert_eq!(listed(&laptop, &vault)["deleted"], false);
    assert_eq!(laptop.json(&["status"])["alarms"], 0);
}

fn what_another_device_wrote_in_a_vault_while_it_was_deleted_stays_live_and_is_told_of(mode: Mode) {
    let server = Server::start_in(mode);
    let (laptop, phone, vault) = work(&server);
    phone.ok(&["--offline", "--vault", "Work", "edit", "mail", "--set", "password=two"]);
    phone.ok(&["--offline", "--vault", "Work", "add", "new", "--set", "password=three"]);
    laptop.ok(&["vault", "delete", "Work", "--yes"]);
    synced(&[&phone, &laptop, &phone]);
    for device in [&laptop, &phone] {
        let shown = listed(device, &vault);
        assert_eq!((&shown["deleted"], &shown["left"]), (&json!(true), &json!(2)));
        assert!(device.ok(&["vault"]).contains("deleted, but 2 entries are live"));
        for verb in ["status", "sync"] {
            let told = device.run(&[verb]);
            let see = format!(
                "Work was deleted, but 2 entries in it are not; see: lockstep --vault {}",
                &vault[..8]
            );
            assert!(told.err.contains(&see), "{}", told.err);
        }
        assert_eq!(device.ok(&["--vault", &vault, "get", "mail", "password"]), "two\n");
        assert_eq!(device.ok(&["--vault", &vault, "get", "new", "password"]), "three\n");
        assert_eq!(device.json(&["--vault", &vault, "conflicts"]).as_array().unwrap().len(), 1);
    }
    // And is in a backup, where it brings its vault back.
    let archive = laptop.home().join("all.lockstep");
    let mut export = laptop.command(&["--json", "export", archive.to_str().unwrap()]);
    let written = export.env("LOCKSTEP_ARCHIVE_PASSWORD", crate::device::PASSWORD).output().unwrap();
    let written = crate::device::answer(&written).json();
    assert_eq!((&written["vaults"][1]["name"], &written["items"]), (&json!("Work"), &json!(2)), "{written}");
    // Deleted once more, with what was shown this time, nothing is left.
    assert_eq!(phone.json(&["vault", "delete", &vault, "--yes"])["entries"], 2);
    synced(&[&laptop]);
    assert_eq!(listed(&laptop, &vault)["left"], 0);
    assert_eq!(laptop.json(&["--vault", &vault, "conflicts"]), json!([]));
    let mut import = laptop.command(&["import", archive.to_str().unwrap()]);
    let output = import.env("LOCKSTEP_ARCHIVE_PASSWORD", crate::device::PASSWORD).output().unwrap();
    let imported = crate::device::answer(&output);
    assert_eq!(imported.code, 0, "{}", imported.err);
    assert_eq!(laptop.ok(&["--vault", "Work", "get", "mail", "password"]), "two\n");
    assert_eq!(listed(&laptop, &vault)["deleted"], false);
}

fn a_vault_that_was_deleted_here_and_renamed_there_keeps_its_name_until_a_person_chooses(mode: Mode) {
    let server = Server::start_in(mode);
    let (laptop, phone, vault) = work(&server);
    phone.ok(&["--offline", "vault", "rename", "Work", "Office"]);
    laptop.ok(&["vault", "delete", "Work", "--yes"]);
    synced(&[&phone, &laptop]);
    for device in [&laptop, &phone] {
        let shown = listed(device, &vault);
        let said = (&shown["deleted"], &shown["name"], &shown["divergent"]);
        assert_eq!(said, (&json!(false), &json!("Office"), &json!(true)));
        assert!(device.ok(&["vault"]).contains("deleted on one device, named on another"));
    }
    phone.ok(&["vault", "delete", "Office", "--yes"]);
    synced(&[&laptop]);
    let shown = listed(&laptop, &vault);
    assert_eq!((&shown["deleted"], &shown["divergent"]), (&json!(true), &json!(false)));
}

fn two_names_that_were_given_apart_are_both_shown_until_one_is_given(mode: Mode) {
    let server = Server::start_in(mode);
    let (laptop, phone, vault) = work(&server);
    laptop.ok(&["--offline", "vault", "rename", "Work", "Office"]);
    phone.ok(&["--offline", "vault", "rename", "Work", "Job"]);
    synced(&[&laptop, &phone, &laptop]);
    for device in [&laptop, &phone] {
        let shown = listed(device, &vault);
        let said = (&shown["name"], &shown["also"], &shown["divergent"]);
        assert_eq!(said, (&json!("Office"), &json!(["Job"]), &json!(true)), "{shown}");
        assert!(device.ok(&["vault"]).contains("named apart, also Job"));
        // By either name it is meant.
        for name in ["Office", "Job"] {
            assert_eq!(device.ok(&["--vault", name, "get", "mail", "password"]), "one\n");
        }
        assert_eq!(device.json(&["--vault", "Job", "status"])["conflicts"], 1);
        assert!(device.run(&["sync"]).err.contains("lockstep --vault Office conflicts"));
        let conflicts = device.json(&["--vault", "Job", "conflicts"]);
        let (said, names) = (&conflicts[0]["vault_name"], &conflicts[0]["names"]);
        assert_eq!((said, names), (&json!(true), &json!(["Office", "Job"])), "{conflicts}");
        let text = device.ok(&["--vault", "Job", "conflicts"]);
        assert!(text.contains("also Job; lockstep vault rename Office NAME"), "{text}");
        let id = conflicts[0]["id"].as_str().unwrap();
        let advised = device.run(&["--vault", "Job", "resolve", id, "--keep", "1"]);
        assert!(advised.code == 2 && advised.err.contains("vault rename"), "{}", advised.err);
    }
    phone.ok(&["vault", "rename", "Office", "Job"]);
    synced(&[&laptop]);
    for device in [&laptop, &phone] {
        let shown = listed(device, &vault);
        let said = (&shown["name"], &shown["also"], &shown["divergent"]);
        assert_eq!(said, (&json!("Job"), &json!([]), &json!(false)), "{shown}");
        assert_eq!(device.json(&["--vault", "Job", "status"])["conflicts"], 0);
    }
}

/// Cuts the line after ever more bytes, until a vault is made without more.
fn a_vault_whose_making_was_cut_off_anywhere_is_made_once_and_has_its_name(mode: Mode) {
    let server = Server::start_in(mode);
    let line = Relay::start(server.url.strip_prefix("https://").unwrap().parse().unwrap());
    let url = format!("https://{}", line.addr);
    let laptop = Device::empty();
    laptop.ok(&["register", "--server", &url, "--email", NAME, "--fingerprint", &server.fingerprint]);
    laptop.ok(&["unlock", "--keep", "file"]);
    let (mut made, mut unnamed) = (1, 0);
    for round in 0.. {
        let name = format!("Vault {round}");
        line.cut_after(1_000 + round * 300);
        let created = laptop.run(&["vault", "create", &name]);
        line.mend();
        let nameless = |vault: &Value| vault["name"].is_null();
        let after = |verb: &[&str]| {
            laptop.json(verb).as_array().unwrap()[1..].iter().filter(|one| nameless(one)).count()
        };
        unnamed += after(&["--offline", "vault"]);
        // Whichever comes next goes on: the same again, or a sync.
        if round % 2 == 0 {
            laptop.ok(&["sync"]);
            assert_eq!(after(&["--offline", "vault"]), 0, "{name}");
        }
        let again = laptop.run(&["vault", "create", &name]);
        assert!([0, 2].contains(&again.code), "{name}: {}", again.err);
        made += 1;
        let all = laptop.json(&["vault"]);
        let all = all.as_array().unwrap();
        assert_eq!(
            (all.len(), all.last().unwrap()["name"].as_str()),
            (made, Some(name.as_str())),
            "{}",
            created.err
        );
        if created.code == 0 {
            break;
        }
    }
    assert!(unnamed > 0, "the line was never cut between the vault and its name");
    let phone = Device::logged_in(&server);
    laptop.ok(&["sync"]);
    phone.ok(&["sync"]);
    let listed = phone.json(&["vault"]);
    assert!(listed.as_array().unwrap()[1..].iter().all(|vault| !vault["name"].is_null()), "{listed}");
}

fn a_deleted_vault_makes_room_for_another(mode: Mode) {
    const PLANS: [(&str, &str); 2] =
        [("LOCKSTEP_PLANS", "two = { vaults = 2 }"), ("LOCKSTEP_DEFAULT_PLAN", "two")];
    let server = Server::start_in_with(mode, &PLANS);
    let laptop = Device::registered(&server);
    laptop.ok(&["vault", "create", "Work"]);
    let full = laptop.run(&["vault", "create", "Play"]);
    assert!(full.code != 0 && full.err.contains("vault"), "{}", full.err);
    laptop.ok(&["vault", "delete", "Work", "--yes"]);
    laptop.ok(&["vault", "create", "Play"]);
    let plan = laptop.json(&["plan"]);
    let vaults = plan["limits"].as_array().unwrap().iter().find(|limit| limit["what"] == "vaults").unwrap();
    assert_eq!(vaults["used"], 2, "{plan}");
}
