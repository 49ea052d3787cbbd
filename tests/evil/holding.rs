//! After an alarm a device reads on and works, and says nothing until a person has looked.

use std::process::{Command, Output, Stdio};

use lockstep_client::{
    Client, Error, Follow,
    model::{AlarmKind, Link},
};
use serde_json::Value;

use crate::{
    account::none,
    ground::{Ground, entry, nothing_secret},
    lies::last_version,
    people::{Device, PASSWORD, contents, heard, password, until},
};

/// A device that follows, has met a lie, has something to say, and has read the truth since.
async fn lied_to() -> (Ground, Device, Device, Follow) {
    let (ground, first, second) = Ground::with_news(&["three"]).await;
    ground.proxy.tell(last_version(|added| added.signature.0[5] ^= 1));
    let mut following = second.follow();
    heard(&mut following, AlarmKind::Signature).await;
    second.add(b"unsaid").await.unwrap();
    until("it is told again", || async { ground.proxy.told() > 1 }).await;
    let (_, after) = ground.proxy.honest();
    nothing_secret(&after.into_iter().filter(|asked| asked.method != "LIVE").collect::<Vec<_>>());
    until("the truth is read", || async { second.contents().await == ["one", "three", "two", "unsaid"] })
        .await;
    (ground, first, second, following)
}

#[tokio::test]
async fn what_a_device_has_to_say_waits_until_a_person_has_seen_the_alarm() {
    let (_ground, first, second, _following) = lied_to().await;
    let synced = second.sync().await;
    assert!(matches!(synced, Err(Error::Held(AlarmKind::Signature))), "{synced:?}");
    let status = second.status().await.unwrap();
    assert_eq!((status.waiting, status.held), (1, Some(AlarmKind::Signature)));
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["one", "three", "two"]);
    // One that a person was not shown stays.
    second.acknowledge(&[]).await.unwrap();
    assert!(second.sync().await.is_err());
    let shown = second.alarms().await.unwrap();
    second.acknowledge(&shown).await.unwrap();
    until("it goes out", || async { second.status().await.unwrap().waiting == 0 }).await;
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["one", "three", "two", "unsaid"]);
}

/// Runs `lockstep` on a device.
pub async fn run(device: &Device, arguments: &[&str]) -> Output {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_lockstepd")).with_file_name("lockstep");
    let mut command = Command::new(program);
    command.args(arguments).env("LOCKSTEP_HOME", device.home.path());
    command.env("LOCKSTEP_PASSWORD", PASSWORD).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The same for a program: the exit code, the document, and what was said beside it.
pub async fn lockstep(device: &Device, arguments: &[&str]) -> (i32, Value, String) {
    let Output { status, stdout, stderr } = run(device, &[&["--json"], arguments].concat()).await;
    let said = String::from_utf8(stderr).unwrap();
    let shown = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    (status.code().unwrap(), shown, said)
}

#[tokio::test]
async fn the_command_says_why_nothing_is_sent_and_how_it_goes_on() {
    let (_ground, first, second, following) = lied_to().await;
    drop(following);
    let (code, _, said) = lockstep(&second, &["sync"]).await;
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("\"alarm\":\"signature\"") && said.contains("lockstep status --seen"), "{said}");
    // Working goes on.
    let (code, _, said) = lockstep(&second, &["add", "github", "--set", "username=ada"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("saved on this device only"), "{said}");
    let (code, status, _) = lockstep(&second, &["status"]).await;
    assert_eq!((code, &status["held"], &status["waiting"]), (0, &"signature".into(), &2.into()));
    assert_eq!(status["alarm_list"].as_array().unwrap().len(), 1, "the same one is kept once");
    let (code, ..) = lockstep(&second, &["status", "--seen"]).await;
    assert_eq!(code, 0);
    let (code, report, said) = lockstep(&second, &["sync"]).await;
    assert_eq!((code, &report["pushed"], &report["waiting"]), (0, &2.into(), &0.into()), "{said}");
    first.sync().await.unwrap();
    assert_eq!(first.entries().await.unwrap().len(), 5);
}

#[tokio::test]
async fn what_cannot_be_erased_now_is_not_deleted_meanwhile() {
    let (_ground, _first, second, following) = lied_to().await;
    drop(following);
    let before = second.contents().await;
    let wanted = entry(&second, "one").await.entry.to_string();
    let (code, shown, said) = lockstep(&second, &["purge", &wanted, "--yes"]).await;
    assert_eq!((code, shown), (7, Value::Null), "{said}");
    assert!(said.contains("lockstep status --seen"), "{said}");
    assert_eq!(second.contents().await, before);
    assert_eq!(second.status().await.unwrap().waiting, 1, "what waited before");
}

#[tokio::test]
async fn a_server_that_was_just_caught_is_asked_to_erase_nothing_until_its_history_is_believed_again() {
    let (ground, first, second) = Ground::two().await;
    let gone = entry(&first, "one").await;
    first.remove(gone.entry, &gone.head_ids()).await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    second.add(b"three").await.unwrap();
    second.sync().await.unwrap();
    ground.proxy.tell(last_version(|added| added.signature.0[5] ^= 1));
    let erase = ["purge", &gone.entry.to_string(), "--yes"];
    for _ in 0..2 {
        let (code, shown, said) = lockstep(&first, &erase).await;
        assert_eq!((code, shown), (7, Value::Null), "{said}");
        // Whatever a person has seen: it is caught again.
        assert_eq!(lockstep(&first, &["status", "--seen"]).await.0, 0);
    }
    let (told, after) = ground.proxy.honest();
    assert!(told > 1);
    assert!(after.iter().all(|asked| !asked.path.ends_with("/purge")), "{after:?}");
    let (code, shown, said) = lockstep(&first, &erase).await;
    assert_eq!((code, &shown["purged"]), (0, &gone.entry.to_string().into()), "{said}");
}

#[tokio::test]
async fn what_is_asked_of_the_server_at_once_is_held_as_what_waits() {
    let (ground, first, second, following) = lied_to().await;
    drop(following);
    let status = second.status().await.unwrap();
    let held = |what: Result<(), Error>| {
        assert!(matches!(what, Err(Error::Held(AlarmKind::Signature))), "{what:?}");
    };
    held(second.create_vault("Work").await.map(drop));
    held(second.rotate_vault_key(status.vault).await.map(drop));
    let home = tempfile::tempdir().unwrap();
    let _asking = Client::ask_approval(home.path(), &ground.server.address, &ground.name).await.unwrap();
    let asks = second.approvals().await.unwrap().remove(0);
    held(second.approve(&asks, &password(), &mut none).await);
    held(second.name_device(status.device, "telephone").await);
    held(second.new_recovery_code(&password(), &mut none).await.map(drop));
    held(second.erase_account().await.map(drop));
    // Whoever is to have no access any more has none: only the keys turn later.
    let lost = ground.unread().await.status().await.unwrap().device;
    second.revoke_device(lost).await.unwrap();
    assert_eq!(second.status().await.unwrap().key_generation, status.key_generation);
    second.acknowledge_alarms().await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(second.status().await.unwrap().key_generation, status.key_generation + 1);
    second.create_vault("Work").await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(first.vaults().await.unwrap().len(), 2);
}

/// Two devices with two vaults: of the first one the second device has not read the end.
struct TwoVaults {
    ground: Ground,
    first: Device,
    second: Device,
    /// The id of the first vault.
    vault: String,
    /// That of the other.
    work: String,
    of_first: Client,
    of_second: Client,
}

impl TwoVaults {
    async fn with_news() -> Self {
        let (ground, first, second) = Ground::with_news(&["three"]).await;
        let vault = second.status().await.unwrap().vault.to_string();
        let work = second.create_vault("Work").await.unwrap();
        first.sync().await.unwrap();
        let (of_first, of_second) =
            (first.in_vault(work).await.unwrap(), second.in_vault(work).await.unwrap());
        of_second.sync().await.unwrap();
        first.add(b"four").await.unwrap();
        Self { ground, first, second, vault, work: work.to_string(), of_first, of_second }
    }
}

#[tokio::test]
async fn a_lie_about_one_vault_that_a_person_has_seen_keeps_nothing_of_another_back_and_is_fed_nothing() {
    let TwoVaults { ground, first, second, vault, of_first, of_second, .. } = TwoVaults::with_news().await;
    of_first.add(b"elsewhere").await.unwrap();
    first.sync().await.unwrap();
    let mut lie = last_version(|added| added.signature.0[5] ^= 1);
    ground
        .proxy
        .tell(Box::new(move |asked, answer, known| asked.path.contains(&vault) && lie(asked, answer, known)));
    second.add(b"unsaid").await.unwrap();
    of_second.add(b"said").await.unwrap();
    // Until it is seen nothing is sent anywhere, and the other vault is read.
    for _ in 0..2 {
        let synced = second.sync().await;
        assert!(matches!(synced, Err(Error::Alarm(AlarmKind::Signature))), "{synced:?}");
        assert_eq!(second.status().await.unwrap().waiting, 2);
    }
    assert_eq!(contents(&of_second.entries().await.unwrap()), ["elsewhere", "said"]);
    second.acknowledge_alarms().await.unwrap();
    // From then on each vault by itself. The lie is told still, and said still.
    for _ in 0..2 {
        let synced = second.sync().await;
        assert!(matches!(synced, Err(Error::Alarm(AlarmKind::Signature))), "{synced:?}");
        let status = second.status().await.unwrap();
        assert_eq!((status.waiting, status.held), (1, None), "of the other vault nothing waits");
    }
    // Nor does whoever follows send it.
    let following = second.follow();
    second.add(b"unsaid, too").await.unwrap();
    until("it is told again", || async { ground.proxy.told() > 5 }).await;
    assert_eq!(second.status().await.unwrap().waiting, 2);
    drop(following);
    first.sync().await.unwrap();
    assert_eq!(contents(&of_first.entries().await.unwrap()), ["elsewhere", "said"]);
    assert_eq!(first.contents().await, ["four", "one", "three", "two"]);
    // And with the truth everything goes out.
    ground.proxy.honest();
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(first.contents().await, ["four", "one", "three", "two", "unsaid", "unsaid, too"]);
}

#[tokio::test]
async fn whoever_follows_has_a_socket_for_what_is_believed_and_for_the_rest_with_the_truth() {
    let TwoVaults { ground, first, second, vault, work, of_first, of_second } = TwoVaults::with_news().await;
    first.sync().await.unwrap();
    let (mut lie, lied_about) = (last_version(|added| added.signature.0[5] ^= 1), vault.clone());
    ground.proxy.tell(Box::new(move |asked, answer, known| {
        asked.path.contains(&lied_about) && lie(asked, answer, known)
    }));
    let mut following = second.follow();
    heard(&mut following, AlarmKind::Signature).await;
    until("the other vault is followed", || async {
        ground.proxy.heard(|frame| frame.contains("\"hello\"") && frame.contains(&work))
    })
    .await;
    assert!(!ground.proxy.heard(|frame| frame.contains("\"hello\"") && frame.contains(&vault)));
    of_first.add(b"elsewhere").await.unwrap();
    of_first.sync().await.unwrap();
    until("it comes", || async { contents(&of_second.entries().await.unwrap()) == ["elsewhere"] }).await;
    assert_eq!(*following.link.borrow(), Link::Stale, "what is left out may be old");
    assert_eq!(second.status().await.unwrap().alarms, 1);
    ground.proxy.honest();
    until("all of it is live", || async { *following.link.borrow() == Link::Live }).await;
    assert_eq!(second.contents().await, ["four", "one", "three", "two"]);
    first.add(b"five").await.unwrap();
    first.sync().await.unwrap();
    until("it comes, too", || async { second.contents().await.contains(&"five".to_owned()) }).await;
}
