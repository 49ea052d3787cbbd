//! The object store goes away and comes back: what needs it is told to come back too, everything else goes on.

use std::time::{Duration, Instant};

use lockstep_api::sync::{PreparedBlob, PushItem, PushOutcome};
use serde_json::{Value, json};

use crate::{
    Ground,
    blobs::{OCTETS, frame, hash, long, one, prepare, upload, without_bytes},
    support::{
        device::{Device, entry, id},
        mode::Mode,
        s3_process::S3Process,
        wire::Reply,
    },
};

async fn ground() -> (Ground, S3Process) {
    let store = S3Process::start().await;
    let mut options = Mode::Distributed.options().await;
    store.instead(&mut options);
    (Ground::with_options(options).await, store)
}

fn come_back(reply: &Reply, what: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (503, "blobs_unavailable"), "{what}");
    assert_eq!(reply.header("retry-after"), Some("1"), "{what}");
}

async fn put(device: &Device, bytes: &[u8]) -> Reply {
    let path = format!("/v1/vaults/{}/blobs/{}?size={}", device.vault, hash(bytes), bytes.len());
    device.send("PUT", &path, &OCTETS, bytes).await
}

/// The node serves all the time, and says this of the blobs as soon as it has asked the store again.
async fn blobs_become(device: &Device, state: &str) {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let reply = device.get("/health/ready").await;
        let blobs = reply.json::<Value>()["ports"]["blobs"].clone();
        assert_eq!(reply.status, 200, "the node serves on");
        if blobs == json!(state) {
            return;
        }
        assert!(Instant::now() < until, "{blobs}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A version whose ciphertext stands in the log.
async fn goes_on(device: &Device) -> PushItem {
    let item = device.edit(entry(), &[], b"short");
    assert_eq!(device.push(vec![item.clone()]).await[0].outcome, PushOutcome::Accepted);
    item
}

#[tokio::test]
async fn without_the_object_store_blobs_are_told_to_come_back_and_entries_go_on() {
    let (ground, mut store) = ground().await;
    let device = &ground.device;
    let (kept, new) = (long(1), long(2));
    upload(device, prepare(device, &kept).await, &kept).await;
    let named = without_bytes(device, &kept);
    assert_eq!(device.push(vec![named.clone()]).await[0].outcome, PushOutcome::Accepted);
    store.stop();

    come_back(&put(device, &new).await, "upload");
    let packs = format!("/v1/vaults/{}/blobs", device.vault);
    come_back(&device.send("POST", &packs, &OCTETS, &frame(&hash(&new), &new)).await, "upload of several");
    come_back(&one(device, &hash(&kept)).await, "download");
    let hashes = json!({ "hashes": [hash(&kept)] });
    come_back(&device.post(&format!("{packs}/get"), &hashes).await, "download of several");
    let unknown = device.batch(vec![without_bytes(device, &new)]);
    come_back(&device.post(&device.push_path(), &unknown).await, "a version whose blob may have arrived");
    blobs_become(device, "degraded").await;

    // What is short, and what names a blob that is known, needs no object store.
    let short = goes_on(device).await;
    let over = device.edit(named.header.entry, &[id(&named)], b"short again");
    let adopted = device.adopt(named.header.entry, &[id(&over)], id(&named));
    let results = device.push(vec![over, adopted]).await;
    assert!(results.iter().all(|result| result.outcome == PushOutcome::Accepted), "{results:?}");
    assert_eq!(one(device, &hash(b"short")).await.body, b"short");

    store.start_again();
    assert_eq!(one(device, &hash(&kept)).await.body, kept, "the same bytes come out");
    blobs_become(device, "ok").await;
    // What came while the store was away need not come again.
    let PreparedBlob::Put { offset, .. } = prepare(device, &new).await else { panic!("it is not there yet") };
    assert_eq!(offset, new.len() as u64);
    upload(device, prepare(device, &new).await, &new).await;
    assert_eq!(device.push(vec![without_bytes(device, &new)]).await[0].outcome, PushOutcome::Accepted);
    assert_eq!(one(device, &hash(&new)).await.body, new);
    assert_eq!(device.push(vec![short]).await[0].outcome, PushOutcome::Duplicate);
}

#[tokio::test]
async fn an_object_store_that_comes_and_goes_while_many_write_loses_nothing_that_was_acknowledged() {
    let (ground, mut store) = ground().await;
    let device = ground.device.clone();
    let writing = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for n in 0..60_u32 {
            let bytes = [&n.to_be_bytes()[..], &long(3)].concat();
            if put(&device, &bytes).await.status != 204 {
                // A refusal takes no time: all of them would be over before the store is back.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
            let push = device.batch(vec![without_bytes(&device, &bytes)]);
            let reply = device.post(&device.push_path(), &push).await;
            if reply.status == 200 {
                acknowledged.push(bytes);
            } else {
                come_back(&reply, "push");
            }
            goes_on(&device).await;
        }
        acknowledged
    });
    for _ in 0..4 {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        store.stop();
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        store.start_again();
    }
    let acknowledged = writing.await.unwrap();
    assert!(!acknowledged.is_empty());
    for bytes in acknowledged {
        assert!(one(&ground.device, &hash(&bytes)).await.body == bytes);
    }
}
