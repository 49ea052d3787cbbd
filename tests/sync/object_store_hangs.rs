//! An object store that takes connections and says nothing, and one that is named wrongly: it is noticed at the start
//! and told to whoever operates the server, and nobody waits for it.

use std::{net::TcpListener, time::Duration};

use lockstep_api::sync::PushOutcome;
use serde_json::json;

use crate::{
    blobs::{OCTETS, frame, hash, long, one, without_bytes},
    support::{
        device::{Device, entry},
        port::Port,
        s3_process::S3Process,
        told::Told,
        wire::Reply,
    },
};

/// So many questions whether the server serves are answered together within this time; a request to the store that hangs
/// was waited for 2 s by each.
const QUESTIONS: usize = 15;
const ALL_OF_THEM: Duration = Duration::from_secs(25);
const NOTICED: &str = "long ciphertexts cannot be stored or read";
/// The server itself asks for less; a request to the store that hangs would be waited for 12 s and more.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A service whose connections are taken by the system and whose requests nobody reads.
fn hung() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

/// A server whose long ciphertexts lie in a bucket.
fn told(endpoint: &str, bucket: &str, secret: &str) -> Told {
    let bucket = format!("s3://{bucket}");
    Told::start(&[
        ("BLOBS", &bucket),
        ("S3_ENDPOINT", endpoint),
        ("S3_ACCESS_KEY", "a-test"),
        ("S3_SECRET_KEY", secret),
    ])
}

async fn refused_at_once(what: &str, answer: impl Future<Output = Reply>) {
    let reply = tokio::time::timeout(AT_ONCE, answer).await.unwrap_or_else(|_| panic!("{what} waits"));
    assert_eq!((reply.status, reply.code().as_str()), (503, "blobs_unavailable"), "{what}");
    assert_eq!(reply.header("retry-after"), Some("1"), "{what}");
}

#[tokio::test]
async fn whoever_asks_whether_a_server_serves_does_not_wait_for_an_object_store_that_hangs() {
    let (listener, endpoint) = hung();
    let told = told(&endpoint, "blobs", "a-secret");
    let asked = async {
        // Before it was noticed, and after it.
        for _ in 0..QUESTIONS {
            assert_eq!(told.health().await.0, 200);
        }
        told.says(NOTICED).await;
        for _ in 0..QUESTIONS {
            let (status, ports) = told.health().await;
            assert_eq!((status, &ports["blobs"]), (200, &json!("degraded")), "{ports}");
        }
    };
    tokio::time::timeout(ALL_OF_THEM, asked).await.expect("a proxy would have taken this node out");
    drop(listener);
}

#[tokio::test]
async fn nobody_waits_for_an_object_store_that_hangs_and_what_needs_none_is_taken() {
    let (listener, endpoint) = hung();
    let told = told(&endpoint, "blobs", "a-secret");
    let device = Device::register(told.server.addr).await;
    let cause = told.says(NOTICED).await;
    assert!(cause.contains("WARN") && cause.contains("does not answer within"), "{cause}");
    assert!(told.metrics().await.contains("\nlockstep_blobs_connected 0"));

    let new = long(1);
    let blobs = format!("/v1/vaults/{}/blobs", device.vault);
    let wanted = json!({ "blobs": [{ "hash": hash(&new), "size": new.len() }] });
    refused_at_once("preparing", device.post(&format!("{blobs}/prepare"), &wanted)).await;
    let put = format!("{blobs}/{}?size={}", hash(&new), new.len());
    refused_at_once("an upload", device.send("PUT", &put, &OCTETS, &new)).await;
    refused_at_once("several", device.send("POST", &blobs, &OCTETS, &frame(&hash(&new), &new))).await;
    let unknown = device.batch(vec![without_bytes(&device, &new)]);
    refused_at_once("a version with a long one", device.post(&device.push_path(), &unknown)).await;
    let short = device.push(vec![device.edit(entry(), &[], b"short")]).await;
    assert_eq!(short[0].outcome, PushOutcome::Accepted);
    assert_eq!(one(&device, &hash(b"short")).await.body, b"short");
    drop(listener);
}

#[tokio::test]
async fn an_object_store_that_is_named_wrongly_is_told_at_the_start_with_what_to_do_and_without_the_secret() {
    let store = S3Process::start().await;
    let right = store.options();
    let (endpoint, bucket, secret) = (&right.endpoint, &right.bucket, &right.secret_key);
    let closed = Port::reserve();
    let nobody = format!("http://{}", closed.addr());
    let wrong = [
        (endpoint, "no-such-bucket", secret.as_str(), "there is no bucket no-such-bucket: make it"),
        (endpoint, "Not_A_Name", secret.as_str(), "see the name in blobs, and s3_region"),
        (endpoint, bucket, "not-the-secret", "see s3_access_key, s3_secret_key"),
        (&nobody, bucket, secret.as_str(), "see whether the service runs, and s3_endpoint"),
    ];
    for (endpoint, bucket, secret, advice) in wrong {
        let told = told(endpoint, bucket, secret);
        let said = told.says(NOTICED).await;
        assert!(said.contains("WARN") && said.contains(advice), "{said}");
        let all = std::fs::read_to_string(&told.log).unwrap();
        assert!(!all.contains(secret), "{all}");
    }
}

#[tokio::test]
async fn an_object_store_that_comes_back_is_told_and_used() {
    let mut store = S3Process::start().await;
    let right = store.options();
    store.stop();
    let told = told(&right.endpoint, &right.bucket, &right.secret_key);
    told.says(NOTICED).await;
    store.start_again();
    told.says("the blob store answers again").await;
    assert!(told.metrics().await.contains("\nlockstep_blobs_connected 1"));
    let device = Device::register(told.server.addr).await;
    let new = long(1);
    let put = format!("/v1/vaults/{}/blobs/{}?size={}", device.vault, hash(&new), new.len());
    assert_eq!(device.send("PUT", &put, &OCTETS, &new).await.status, 204);
}

#[tokio::test]
async fn keys_that_the_object_store_takes_no_more_are_told_once_and_answered_as_a_store_that_is_away() {
    let mut store = S3Process::start().await;
    let right = store.options();
    let told = told(&right.endpoint, &right.bucket, &right.secret_key);
    let device = Device::register(told.server.addr).await;
    let (kept, new) = (long(1), long(2));
    let put = |bytes: &[u8]| {
        let path = format!("/v1/vaults/{}/blobs/{}?size={}", device.vault, hash(bytes), bytes.len());
        let (device, bytes) = (device.clone(), bytes.to_vec());
        async move { device.send("PUT", &path, &OCTETS, &bytes).await }
    };
    assert_eq!(put(&kept).await.status, 204);

    store.stop();
    store.start_with("another-secret");
    refused_at_once("an upload", put(&new)).await;
    refused_at_once("a download", one(&device, &hash(&kept))).await;
    let said = told.says(NOTICED).await;
    assert!(said.contains("WARN") && said.contains("see s3_access_key, s3_secret_key"), "{said}");
    assert!(told.metrics().await.contains("\nlockstep_blobs_connected 0"));
    assert_eq!(
        told.health().await,
        (
            200,
            json!({
                "blobs": "degraded", "bus": "ok", "clock": "ok", "credentials": "ok", "log": "ok",
                "reads": "ok",
            })
        )
    );
    let short = device.push(vec![device.edit(entry(), &[], b"short")]).await;
    assert_eq!(short[0].outcome, PushOutcome::Accepted);

    store.stop();
    store.start_again();
    told.says("the blob store answers again").await;
    assert_eq!(one(&device, &hash(&kept)).await.body, kept);
    assert_eq!(put(&new).await.status, 204);
    assert_eq!(told.lines(NOTICED).len(), 1);
    assert!(told.lines(" ERROR ").is_empty(), "{:?}", told.lines(" ERROR "));
}
