//! A server that does not cheat, and is late or full: that is no alarm, and what can go on goes on.

use lockstep_api::{
    account::Account,
    problem::{Code, Problem},
};
use lockstep_events::roster::vault_key_name;
use serde_json::json;

use crate::{
    ground::{Ground, alarmed},
    holding::lockstep,
    lies::{about, raw},
};

#[tokio::test]
async fn a_key_that_comes_a_moment_after_it_was_stated_is_no_alarm() {
    let (ground, first, second) = Ground::two().await;
    let vault = first.status().await.unwrap().vault;
    first.rotate_vault_key(vault).await.unwrap();
    let mut late = true;
    ground.proxy.tell(about("/v1/account", move |account: &mut Account| {
        let before = account.wraps.len();
        account.wraps.retain(|wrap| !late || wrap.name != vault_key_name(vault, 2));
        let told = account.wraps.len() < before;
        late &= !told;
        told
    }));
    second.add(b"three").await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(ground.proxy.honest().0, 1, "it was not asked for while it was late");
    assert_eq!(alarmed(&second).await, []);
    assert_eq!(second.status().await.unwrap().waiting, 0);
    ground.recovers(&first, &["one", "three", "two"]).await;
}

#[tokio::test]
async fn an_entry_behind_a_file_for_which_the_blob_store_has_no_room_goes_out() {
    let (ground, first, second) = Ground::two().await;
    let added = lockstep(&first, &["add", "passport", "--type", "note"]).await;
    assert_eq!(added.0, 0, "{}", added.2);
    ground.proxy.tell(raw("/blobs/prepare", |answer| {
        answer.status = Code::NoRoom.status();
        answer.headers.retain(|(name, _)| name != "content-type");
        answer.headers.push(("content-type".to_owned(), "application/problem+json".to_owned()));
        answer.body = serde_json::to_vec(&Problem::new(Code::NoRoom)).unwrap();
    }));
    let file = first.home.path().join("scan.pdf");
    std::fs::write(&file, vec![7; 300_000]).unwrap();
    let (code, added, said) =
        lockstep(&first, &["attachment", "add", "passport", file.to_str().unwrap()]).await;
    assert_eq!((code, &added["sent"]), (0, &json!(false)), "{said}");
    let (code, added, said) = lockstep(&first, &["add", "bank", "--set", "username=anna"]).await;
    assert_eq!((code, &added["sent"]), (0, &json!(true)), "{said}");
    assert!(!said.contains("Saved on this device"), "{said}");
    assert_eq!(first.status().await.unwrap().waiting, 1, "the file alone waits");
    assert!(ground.proxy.honest().0 > 0);
    second.sync().await.unwrap();
    let (code, got, said) = lockstep(&second, &["get", "bank"]).await;
    assert_eq!((code, &got["fields"]["username"]), (0, &json!("anna")), "{said}");
    // With room it follows.
    first.sync().await.unwrap();
    assert_eq!(first.status().await.unwrap().waiting, 0);
}
