//! Addresses of the object store that a device was given before its access ended. The store knows nothing of sessions:
//! such an address lives on, for a stated time, and what comes by it is nothing to anybody.

use std::collections::BTreeMap;

use lockstep_api::{
    Code,
    sync::{BlobRef, CompleteBlob, PrepareBlobs, PreparedBlob, PreparedBlobs, Push, PushItem},
};
use lockstep_events::{BatchId, BlobHash, canonical::sha256};
use lockstepd::{blobs, config::Layer};
use reqwest::{Response, StatusCode};
use url::Url;
use uuid::Uuid;

use crate::support::{Mode, Node, Person, assert_problem, body};

/// For so many seconds an address is good: `docs/operating.md` says so.
const LIFE_S: u32 = 900;
const MIB: usize = 1024 * 1024;

/// Options of a server whose clients reach its object store.
pub fn with_addresses() -> Layer {
    Layer { s3_public_endpoint: std::env::var("LOCKSTEP_TEST_S3").ok(), ..Layer::default() }
}

/// Asks where to bring these blobs.
pub async fn prepare(node: &Node, person: &Person, blobs: &[(BlobHash, usize)]) -> Response {
    let blobs =
        blobs.iter().map(|(hash, size)| BlobRef { hash: *hash, size: *size as u64, attachment: true });
    let body = PrepareBlobs { blobs: blobs.collect() };
    person.post(node, &format!("/v1/vaults/{}/blobs/prepare", person.vault), &body).await
}

/// An address of the object store is good for no longer than is said.
pub fn is_bounded(address: &str, expires_in: u32) {
    let url = Url::parse(address).unwrap();
    let life = url.query_pairs().find(|(name, _)| name == "X-Amz-Expires").expect("it has no end").1;
    assert_eq!((life.parse::<u32>().unwrap(), expires_in), (LIFE_S, LIFE_S));
}

async fn put(address: &str, headers: &BTreeMap<String, String>, bytes: Vec<u8>) -> StatusCode {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let put =
        headers.iter().fold(http.put(address).body(bytes), |put, (name, value)| put.header(name, value));
    put.send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_an_address_from_before_is_named_and_ended_by_nobody_whose_access_has_ended_and_swept()
{
    let node = Node::start_with(Mode::Distributed, with_addresses()).await;
    let server = &node.running().server;
    let person = Person::register(&node).await;
    let lost = person.enrol(&node).await;
    let (epoch, bytes, long) = (person.epoch(&node).await, vec![7; 100_000], vec![8; 9 * MIB]);
    let (hash, of_long) = (BlobHash(sha256(&bytes)), BlobHash(sha256(&long)));
    let wished = [(hash, bytes.len()), (of_long, long.len())];
    let prepared: PreparedBlobs = body(prepare(&node, &lost, &wished).await, StatusCode::OK).await;
    let [
        PreparedBlob::Put { url, headers, expires_in, .. },
        PreparedBlob::Parts { upload, part_size, parts, expires_in: of_parts, .. },
    ] = prepared.blobs.as_slice()
    else {
        panic!("{prepared:?}")
    };
    is_bounded(url, *expires_in);
    parts.iter().for_each(|part| is_bounded(&part.url, *of_parts));
    let of_part = |at: usize| long.chunks(usize::try_from(*part_size).unwrap()).nth(at).unwrap().to_vec();

    assert!(person.revoke(&node, lost.device).await.status().is_success());
    assert!(put(url, headers, bytes.clone()).await.is_success(), "the store knows nothing of it");
    assert!(put(&parts[0].url, &parts[0].headers, of_part(0)).await.is_success());
    let blobs = format!("/v1/vaults/{}/blobs", lost.vault);
    let complete = CompleteBlob {
        size: long.len() as u64,
        upload: upload.clone(),
        tags: vec![String::new(); parts.len()],
    };
    let path = format!("{blobs}/{of_long}/complete");
    assert_problem(lost.post(&node, &path, &complete).await, Code::Revoked).await;
    let items = vec![PushItem { inline: None, ..lost.entry(&bytes) }];
    let push = Push { epoch, batch_id: BatchId(Uuid::new_v4()), items, groups: Vec::new(), reoffer: false };
    let path = format!("/v1/vaults/{}/versions", lost.vault);
    assert_problem(lost.post(&node, &path, &push).await, Code::Revoked).await;
    assert_problem(lost.get(&node, &format!("{blobs}/{hash}")).await, Code::Revoked).await;
    assert_problem(person.get(&node, &format!("{blobs}/{hash}")).await, Code::NotFound).await;

    for _ in 0..2 {
        node.clock.pass(25 * 3600);
        blobs::sweep(&server.shelf, &*server.log).await.unwrap();
    }
    let direct = blobs::direct_key(lost.vault, &hash);
    assert!(server.shelf.store.list(&direct, None, 10).await.unwrap().is_empty());
    let large = format!("large/{}/", lost.vault);
    assert_eq!(server.shelf.index.uploads_under(&large).await.unwrap(), 0);
    assert!(!put(&parts[1].url, &parts[1].headers, of_part(1)).await.is_success(), "the upload is given up");
}
