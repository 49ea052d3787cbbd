//! One encrypted file for each account.

use lockstep_api::sync::{Push, PushOutcome, Pushed, SnapshotEntry};
use lockstep_events::VersionId;
use lockstepd::http::file::file_entry;

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry},
        mode::Mode,
        wire::Reply,
    },
};

in_both_modes! {
    a_file_is_saved_and_read_whole_and_a_stale_save_becomes_a_branch;
    a_conditional_save_of_a_file_that_stands_is_a_duplicate_when_it_comes_again;
}

async fn save(device: &Device, parents: &[VersionId], text: &str, tag: Option<&str>) -> Reply {
    let item = device.edit(file_entry(device.account), parents, text.as_bytes());
    let body = serde_json::to_vec(&device.batch(vec![item])).unwrap();
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(tag.map(|tag| ("if-match", tag)));
    device.send("PUT", "/v1/file", &headers, &body).await
}

async fn a_file_is_saved_and_read_whole_and_a_stale_save_becomes_a_branch(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    assert_eq!(device.get("/v1/file").await.code(), "not_found");
    let first = save(device, &[], "first", None).await;
    let tag = first.header("etag").unwrap().to_owned();
    let root = first.json::<Pushed>().results[0].version_id;
    let read = device.get("/v1/file").await;
    assert_eq!(read.header("etag"), Some(tag.as_str()));
    assert_eq!(read.json::<SnapshotEntry>().versions[0].content.as_ref().unwrap().0, b"first");
    assert_eq!(save(device, &[root], "second", Some(&tag)).await.status, 200);
    assert_eq!(save(device, &[root], "stale", Some(&tag)).await.code(), "precondition_failed");
    let stale = save(device, &[root], "stale", None).await.json::<Pushed>();
    assert_eq!(stale.results[0].outcome, PushOutcome::AcceptedForked);
    assert_eq!(device.get("/v1/file").await.json::<SnapshotEntry>().versions.len(), 2);
    let tail = device.seq().await;
    let other = device.batch(vec![device.edit(entry(), &[], b"no file")]);
    let body = serde_json::to_vec(&other).unwrap();
    let json = [("content-type", "application/json")];
    assert_eq!(device.send("PUT", "/v1/file", &json, &body).await.code(), "invalid_field");
    assert_eq!(device.seq().await, tail);
}

async fn a_conditional_save_of_a_file_that_stands_is_a_duplicate_when_it_comes_again(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let first = save(device, &[], "first", None).await;
    let tag = first.header("etag").unwrap().to_owned();
    let root = first.json::<Pushed>().results[0].version_id;
    let item = device.edit(file_entry(device.account), &[root], b"second");
    let body = serde_json::to_vec(&device.batch(vec![item])).unwrap();
    let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let mut tags = Vec::new();
    for outcome in [PushOutcome::Accepted, PushOutcome::Duplicate] {
        let reply = device.send("PUT", "/v1/file", &headers, &body).await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        tags.push(reply.header("etag").unwrap().to_owned());
        assert_eq!(reply.json::<Pushed>().results[0].outcome, outcome);
    }
    assert_eq!(tags[0], tags[1]);
    // Also once another save stands over it: then its answer has the tag of that one.
    let second = version(&body);
    let third = save(device, &[second], "third", Some(&tags[0])).await;
    assert_eq!(third.status, 200);
    let again = device.send("PUT", "/v1/file", &headers, &body).await;
    assert_eq!((again.status, again.header("etag")), (200, third.header("etag")));
    assert_eq!(save(device, &[root], "stale", Some(&tag)).await.code(), "precondition_failed");
}

fn version(body: &[u8]) -> VersionId {
    serde_json::from_slice::<Push>(body).unwrap().items[0].header.version_id()
}
