//! Lies about single versions, told so that the history around them fits.

use lockstep_client::model::AlarmKind;
use lockstep_events::DeviceId;
use uuid::Uuid;

use crate::{
    ground::Ground,
    lies::{last_version, places, versions},
};

#[tokio::test]
async fn e03_ciphertexts_that_were_swapped_are_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    first.add(b"three").await.unwrap();
    first.add(b"four").await.unwrap();
    first.sync().await.unwrap();
    let swapped = versions(|page, _| {
        let [one, .., other] = places(page)[..] else { return false };
        let content = page.events[one].content.take();
        page.events[one].content = page.events[other].content.take();
        page.events[other].content = content;
        true
    });
    ground.caught(&second, AlarmKind::ContentHash, swapped).await;
    second.sync().await.unwrap();
    assert_eq!(second.contents().await, ["four", "one", "three", "two", "unsaid"]);
}

#[tokio::test]
async fn e10_a_history_in_another_order_is_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    first.add(b"three").await.unwrap();
    first.add(b"four").await.unwrap();
    first.sync().await.unwrap();
    let reordered = versions(|page, _| {
        let [one, .., other] = places(page)[..] else { return false };
        page.events.swap(one, other);
        let seq = page.events[one].seq;
        page.events[one].seq = page.events[other].seq;
        page.events[other].seq = seq;
        true
    });
    ground.caught(&second, AlarmKind::Chain, reordered).await;
    second.sync().await.unwrap();
    assert_eq!(second.contents().await, ["four", "one", "three", "two", "unsaid"]);
}

#[tokio::test]
async fn e13_a_version_that_no_device_of_the_account_signed_is_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    first.add(b"three").await.unwrap();
    first.sync().await.unwrap();
    let unsigned = last_version(|added| added.signature.0 = [0; 64]);
    ground.caught(&second, AlarmKind::Signature, unsigned).await;
    let stranger = last_version(|added| {
        added.signer = DeviceId(Uuid::from_u128(13));
        added.header.author_device = added.signer;
    });
    ground.caught(&second, AlarmKind::Signature, stranger).await;
    second.sync().await.unwrap();
    assert_eq!(second.contents().await, ["one", "three", "two", "unsaid"]);
}
