//! What the server holds about a person, and the end of it.

use crate::{device::Device, server::Server};

#[test]
fn everything_about_a_person_is_written_to_a_new_file_with_a_signed_manifest() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "github", "--generate"]);
    laptop.ok(&["sync"]);
    let file = laptop.home().join("everything.jsonl");
    let told = laptop.json(&["account", "export", file.to_str().unwrap()]);
    let text = std::fs::read_to_string(&file).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    assert_eq!(told["lines"].as_u64().unwrap(), text.lines().count() as u64 - 1);
    assert!(text.lines().next().unwrap().starts_with(r#"{"part":"begin""#));
    assert!(text.lines().last().unwrap().starts_with(r#"{"part":"manifest""#));
    assert!(text.contains(r#""kind":"entry.version_added""#));
    let again = laptop.run(&["account", "export", file.to_str().unwrap()]);
    assert_ne!(again.code, 0, "a file is not overwritten");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn an_account_is_deleted_after_a_time_to_call_it_off() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    assert_eq!(laptop.run(&["account", "keep"]).code, 3, "nothing to call off");
    assert_eq!(laptop.run(&["account", "delete"]).code, 2, "nobody was asked");
    let first = laptop.json(&["account", "delete", "--yes"]);
    let again = laptop.json(&["account", "delete", "--yes"]);
    assert_eq!(first["due_at"], again["due_at"], "asking again puts nothing off");
    assert_eq!(laptop.json(&["--offline", "status"])["erasure_due_at"], first["due_at"], "it asked");
    let told = phone.run(&["sync"]).err;
    assert!(told.contains("going to be erased"), "{told}");
    let tablet = Device::logged_in(&server);
    for other in [&phone, &tablet] {
        let told = other.run(&["--quiet", "sync"]).err;
        assert!(
            told.contains("going to be erased at 20") && told.contains("account keep"),
            "not once: {told}"
        );
        assert_eq!(other.json(&["--offline", "status"])["erasure_due_at"], first["due_at"]);
        assert!(other.ok(&["status"]).contains("to be erased\t20"));
    }
    assert!(laptop.run(&["account", "keep"]).code == 0);
    assert_eq!(laptop.json(&["--offline", "status"])["erasure_due_at"], serde_json::Value::Null);
    let told = phone.run(&["sync"]).err;
    assert!(told.contains("called off") && !told.contains("going to be erased"), "{told}");
    for device in [&laptop, &phone] {
        let told = device.run(&["sync"]).err;
        assert!(!told.contains("erased"), "{told}");
        assert_eq!(device.json(&["status"])["erasure_due_at"], serde_json::Value::Null);
    }
    assert_eq!(laptop.run(&["account", "keep"]).code, 3);
    laptop.ok(&["status"]);
}
