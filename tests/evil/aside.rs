//! A version that a device of the account did sign, and that is wrong: its app may be, and the server took it, as it must.
//! No other device reads its vault past it, until a person who looked sets exactly that aside.

use lockstep_api::sync::Push;
use lockstep_client::{Error, model::AlarmKind};
use serde_json::Value;

use crate::{
    ground::{Ground, alarmed, change, entry},
    history::apart,
    holding::{lockstep, run},
    lies::last_version,
    people::Device,
    proxy::Mistake,
};

/// An app that says that its keys are of a generation that nobody ever stated.
fn under_generation_9() -> Option<Mistake> {
    Some(Box::new(|asked| {
        let Ok(mut push) = serde_json::from_slice::<Push>(&asked.body) else { return };
        for key in push.items.iter_mut().filter_map(|item| item.wrapped_key.as_mut()) {
            key.replace_range(..8, "00000009");
        }
        asked.body = serde_json::to_vec(&push).unwrap();
    }))
}

/// What the one alarm that nobody has seen is about.
async fn about(device: &Device) -> Value {
    let (code, status, _) = lockstep(device, &["status"]).await;
    assert_eq!(code, 0);
    let [alarm] = &status["alarm_list"].as_array().unwrap()[..] else { panic!("{status}") };
    alarm["about"].clone()
}

/// The beginning of the version that an alarm is about, as a person types it.
fn version(about: &Value) -> &str {
    &about["version"].as_str().unwrap()[..12]
}

#[tokio::test]
async fn a_version_that_names_what_its_device_did_not_see_is_set_aside_by_a_person_and_its_vault_read_on() {
    let (ground, first, second) = apart(b"wrong").await;
    first.name_device(second.status().await.unwrap().device, "telephone").await.unwrap();
    first.add(b"unsaid").await.unwrap();
    // Whatever a person has seen, it is read no further, and sends nothing.
    for _ in 0..2 {
        let (code, _, said) = lockstep(&first, &["sync"]).await;
        assert_eq!(code, 7, "{said}");
        assert_eq!(lockstep(&first, &["status", "--seen"]).await.0, 0);
        assert_eq!(first.status().await.unwrap().waiting, 1);
    }
    assert_eq!(first.contents().await, ["hidden", "one", "two", "unsaid"]);
    assert_eq!(lockstep(&first, &["sync"]).await.0, 7);
    let about = about(&first).await;
    assert_eq!(about["device"], second.status().await.unwrap().device.to_string());
    assert_eq!((&about["device_name"], &about["entry_name"]), (&"telephone".into(), &Value::Null));
    let (code, _, said) = lockstep(&first, &["status", "--accept", "0123456789ab"]).await;
    assert_eq!(code, 3, "{said}");
    let (code, status, _) = lockstep(&first, &["status", "--accept", version(&about)]).await;
    assert_eq!((code, &status["held"], &status["alarms"]), (0, &Value::Null, &0.into()));
    assert_eq!(status["set_aside_list"][0]["about"]["version"], about["version"]);
    let (code, report, said) = lockstep(&first, &["sync"]).await;
    assert_eq!((code, &report["pushed"]), (0, &1.into()), "{said}");
    assert_eq!(first.contents().await, ["beside it", "hidden", "one", "two", "unsaid", "wrong"]);
    assert_eq!(alarmed(&first).await, []);
    // Nothing else is excused: the fork is found where it was told, and a lie about the next version here.
    let fork = second.sync().await;
    assert!(matches!(fork, Err(Error::Alarm(AlarmKind::Chain))), "{fork:?}");
    ground.proxy.tell(last_version(|added| added.signature.0[5] ^= 1));
    first.add(b"later").await.unwrap();
    let forged = first.sync().await;
    assert!(matches!(forged, Err(Error::Alarm(AlarmKind::Signature))), "{forged:?}");
}

#[tokio::test]
async fn a_side_that_nobody_can_open_is_set_aside_and_shown_and_gives_way_to_the_one_that_a_person_keeps() {
    let (ground, first, second) = Ground::two().await;
    let (code, _, said) = lockstep(&first, &["add", "github", "--set", "username=ada"]).await;
    assert_eq!(code, 0, "{said}");
    second.sync().await.unwrap();
    ground.proxy.mistaken(under_generation_9());
    lockstep(&first, &["edit", "github", "--set", "username=wrong"]).await;
    ground.proxy.mistaken(None);
    lockstep(&second, &["--offline", "edit", "github", "--set", "username=right"]).await;
    for _ in 0..2 {
        assert_eq!(lockstep(&second, &["sync"]).await.0, 7);
        second.acknowledge_alarms().await.unwrap();
    }
    let synced = second.sync().await;
    assert!(matches!(synced, Err(Error::Alarm(AlarmKind::Keys))), "{synced:?}");
    let about = about(&second).await;
    assert_eq!(about["entry_name"], "github");
    let shown = String::from_utf8(run(&second, &["status"]).await.stderr).unwrap();
    for words in ["of entry github (", "written by device ", "generation 9", "--accept "] {
        assert!(shown.contains(words), "{shown}");
    }
    assert_eq!(lockstep(&second, &["status", "--accept", version(&about)]).await.0, 0);
    let (code, _, said) = lockstep(&second, &["sync"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(alarmed(&second).await, []);
    let id = about["entry"].as_str().unwrap();
    let (code, sides, said) = lockstep(&second, &["resolve", id]).await;
    let readable: Vec<&Value> =
        sides["sides"].as_array().unwrap().iter().map(|side| &side["readable"]).collect();
    assert_eq!((code, readable), (5, vec![&Value::Bool(false), &Value::Bool(true)]), "{said}");
    let (code, _, said) = lockstep(&second, &["resolve", id, "--merge"]).await;
    assert!(code == 5 && said.contains("side 1 cannot be read"), "{code} {said}");
    let (code, _, said) = lockstep(&second, &["resolve", id, "--keep", "2"]).await;
    assert_eq!(code, 0, "{said}");
    let (_, shown, _) = lockstep(&second, &["get", "github", "username"]).await;
    assert_eq!((&shown["value"], &shown["conflict"]), (&"right".into(), &false.into()));
    let (_, history, _) = lockstep(&second, &["history", id]).await;
    assert_eq!(history["versions"].as_array().unwrap().len(), 4, "nothing of it is hidden");
}

#[tokio::test]
async fn a_device_that_joins_meets_what_was_never_stated_in_the_snapshot_and_a_person_sets_it_aside() {
    let (ground, first, second) = Ground::two().await;
    ground.proxy.mistaken(under_generation_9());
    change(&first, "one", "one by the first").await;
    change(&first, "two", "two by the first").await;
    let _ = first.sync().await;
    ground.proxy.mistaken(None);
    drop(second);
    let third = ground.unread().await;
    for _ in 0..2 {
        let synced = third.sync().await;
        assert!(matches!(synced, Err(Error::Alarm(AlarmKind::Keys))), "{synced:?}");
    }
    let alarms = third.alarms().await.unwrap();
    assert_eq!(alarms.len(), 2, "both are said at once");
    for alarm in &alarms {
        third.set_aside(alarm).await.unwrap();
    }
    third.sync().await.unwrap();
    assert_eq!(third.contents().await, ["Rejected", "Rejected"]);
    assert_eq!(alarmed(&third).await, []);
    // What was there before is still there.
    let first_version = entry(&third, "Rejected").await;
    let history = third.history(first_version.entry).await.unwrap();
    third.restore(first_version.entry, history[0].version).await.unwrap();
    third.sync().await.unwrap();
    assert!(third.contents().await.iter().any(|text| text == "one" || text == "two"));
}

#[tokio::test]
async fn what_is_written_when_the_server_is_caught_is_saved_and_the_command_says_so_beside_the_alarm() {
    let (_ground, first, _second) = apart(b"wrong").await;
    let (code, added, said) = lockstep(&first, &["add", "github", "--set", "username=ada"]).await;
    assert_eq!((code, &added["sent"]), (7, &false.into()), "{said}");
    assert!(said.contains("\"alarm\":\"observed_chain\"") && said.contains("saved on this device"), "{said}");
    assert_eq!(lockstep(&first, &["status", "--seen"]).await.0, 0);
    let id = added["entry"].as_str().unwrap();
    let (code, edited, said) = lockstep(&first, &["edit", id, "--set", "username=eve"]).await;
    assert_eq!((code, &edited["entry"], &edited["sent"]), (7, &added["entry"], &false.into()), "{said}");
    assert_ne!(edited["version"], added["version"]);
    let (_, shown, _) = lockstep(&first, &["--offline", "get", id, "username"]).await;
    assert_eq!(shown["value"], "eve");
    assert_eq!(lockstep(&first, &["status", "--seen"]).await.0, 0);
    let told = run(&first, &["edit", id, "--set", "username=ada"]).await;
    let said = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(7), "{said}");
    let (saved, caught) = (said.find("Changed on this device").unwrap(), said.find("error: ").unwrap());
    assert!(saved < caught && !said.contains("nothing of it was applied"), "{said}");
}
