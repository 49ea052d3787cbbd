//! Who uploads straight to the object store is promised room before: what the store took the plan has counted.

use lockstep_api::{
    Code,
    sync::{BlobRef, CompleteBlob, PrepareBlobs, PreparedBlob, PreparedBlobs},
};
use lockstep_events::{BlobHash, canonical::sha256};
use lockstepd::{blobs, config::Layer};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::support::{Mode, Node, Person, body, problem};

const MIB: u64 = 1024 * 1024;
const LIMIT: u64 = 20 * MIB;

async fn start(mode: Mode) -> (Node, Person) {
    let plans = format!("tiny = {{ storage_bytes = {LIMIT} }}");
    let options = Layer {
        plans: Some(plans.parse().unwrap()),
        default_plan: Some("tiny".into()),
        s3_public_endpoint: std::env::var("LOCKSTEP_TEST_S3").ok(),
        ..Layer::default()
    };
    let node = Node::start_with(mode, options).await;
    let ada = Person::register(&node).await;
    (node, ada)
}

fn any_hash() -> BlobHash {
    BlobHash(sha256(Uuid::new_v4().as_bytes()))
}

impl Person {
    async fn prepare(&self, node: &Node, blobs: &[(BlobHash, u64)]) -> Response {
        let blobs = blobs.iter().map(|(hash, size)| BlobRef { hash: *hash, size: *size, attachment: true });
        let body = PrepareBlobs { blobs: blobs.collect() };
        self.post(node, &format!("/v1/vaults/{}/blobs/prepare", self.vault), &body).await
    }

    async fn prepared(&self, node: &Node, blobs: &[(BlobHash, u64)]) -> Vec<PreparedBlob> {
        body::<PreparedBlobs>(self.prepare(node, blobs).await, StatusCode::OK).await.blobs
    }

    /// Sends these bytes straight to the store, for a blob of this hash: the upload and the tags of its parts.
    async fn sent_in_parts(&self, node: &Node, hash: BlobHash, bytes: &[u8]) -> (String, Vec<String>) {
        let Some(PreparedBlob::Parts { upload, part_size, parts, .. }) =
            self.prepared(node, &[(hash, bytes.len() as u64)]).await.pop()
        else {
            panic!("not in parts")
        };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut tags = Vec::new();
        for (part, bytes) in parts.iter().zip(bytes.chunks(usize::try_from(part_size).unwrap())) {
            let mut put = http.put(&part.url).body(bytes.to_vec());
            for (name, value) in &part.headers {
                put = put.header(name, value);
            }
            let stored = put.send().await.unwrap();
            tags.push(stored.headers()["etag"].to_str().unwrap().to_owned());
        }
        (upload, tags)
    }

    /// How much is used by the refusal of one more blob.
    async fn used_when_asked_for(&self, node: &Node, bytes: u64) -> u64 {
        let refused = problem(self.prepare(node, &[(any_hash(), bytes)]).await).await;
        assert_eq!(refused.code, Code::QuotaExceeded);
        refused.facts.unwrap()["used"].as_u64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presigned_uploads_that_each_fit_and_together_do_not_are_refused() {
    let (node, ada) = start(Mode::Distributed).await;
    let server = &node.running().server;
    let small: Vec<_> = (0..3).map(|_| (any_hash(), MIB)).collect();
    for prepared in ada.prepared(&node, &small).await {
        assert!(matches!(prepared, PreparedBlob::Put { url, .. } if url.starts_with("http")));
    }
    let large = (any_hash(), 9 * MIB);
    let parts = ada.prepared(&node, &[large]).await;
    assert_eq!(ada.used_when_asked_for(&node, 9 * MIB).await, 12 * MIB);
    // Begun again it is the same room, and at the store it is one upload.
    assert_ne!(ada.prepared(&node, &[large]).await, parts);
    assert_eq!(server.shelf.index.uploads_under(&format!("large/{}/", ada.vault)).await.unwrap(), 1);
    ada.prepared(&node, &[small[0], (any_hash(), 8 * MIB)]).await;
    assert_eq!(ada.used_when_asked_for(&node, 1).await, LIMIT);
    let other = node.second().await;
    assert_eq!(ada.used_when_asked_for(&other, 1).await, LIMIT, "every node counts the same");
    // Nothing came of any of it within a day.
    node.clock.pass(25 * 3600);
    blobs::sweep(&server.shelf, &*server.log).await.unwrap();
    let ada = ada.again(&node).await;
    assert_eq!(ada.prepared(&node, &[large, (any_hash(), 11 * MIB)]).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_store_is_counted_until_it_is_deleted() {
    let (node, ada) = start(Mode::Distributed).await;
    let shelf = &node.running().server.shelf;
    let hash = any_hash();
    let direct = blobs::direct_key(ada.vault, &hash);
    ada.prepared(&node, &[(hash, 8 * MIB)]).await;
    shelf.store.put(&direct, vec![7; 8 * 1024 * 1024].into()).await.unwrap();
    for _ in 0..2 {
        node.clock.pass(25 * 3600);
        let ada = ada.again(&node).await;
        assert_eq!(ada.used_when_asked_for(&node, 13 * MIB).await, 8 * MIB);
        blobs::sweep(shelf, &*node.running().server.log).await.unwrap();
    }
    let ada = ada.again(&node).await;
    assert_eq!(ada.prepared(&node, &[(any_hash(), LIMIT)]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_of_another_hash_is_deleted_and_takes_no_room() {
    let (node, ada) = start(Mode::Distributed).await;
    let shelf = &node.running().server.shelf;
    let bytes = vec![7_u8; usize::try_from(9 * MIB).unwrap()];
    let hash = any_hash();
    let (upload, tags) = ada.sent_in_parts(&node, hash, &bytes).await;
    let path = format!("/v1/vaults/{}/blobs/{hash}/complete", ada.vault);
    let complete = CompleteBlob { size: 9 * MIB, upload, tags };
    assert_eq!(problem(ada.post(&node, &path, &complete).await).await.code, Code::HashMismatch);
    let under = format!("large/{}/", ada.vault);
    assert!(shelf.store.list(&under, None, 10).await.unwrap().is_empty());
    assert_eq!(ada.prepared(&node, &[(any_hash(), LIMIT)]).await.len(), 1);
}

/// All parts are at the store, and who ends the upload is wrong about what it is: whoever ends it rightly at that moment
/// has its bytes there all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_an_upload_by_a_wrong_hash_or_length_takes_nothing_from_who_ends_it_rightly() {
    let (node, ada) = start(Mode::Distributed).await;
    let bytes = vec![7_u8; usize::try_from(9 * MIB).unwrap()];
    let hash = BlobHash(sha256(&bytes));
    let (upload, tags) = ada.sent_in_parts(&node, hash, &bytes).await;
    let complete = async |hash: BlobHash, size: u64| {
        let path = format!("/v1/vaults/{}/blobs/{hash}/complete", ada.vault);
        let body = CompleteBlob { size, upload: upload.clone(), tags: tags.clone() };
        ada.post(&node, &path, &body).await
    };
    assert_eq!(problem(complete(any_hash(), 9 * MIB).await).await.code, Code::UploadGone);
    assert_eq!(problem(complete(hash, 9 * MIB - 1).await).await.code, Code::HashMismatch);
    for _ in 0..2 {
        assert_eq!(complete(hash, 9 * MIB).await.status(), StatusCode::NO_CONTENT);
    }
    let found = node.running().server.shelf.lengths(ada.vault, &[hash]).await.unwrap();
    assert_eq!(found[&hash], 9 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_through_the_server_takes_its_room_when_it_comes() {
    let (node, ada) = start(Mode::Embedded).await;
    for _ in 0..3 {
        ada.prepared(&node, &[(any_hash(), LIMIT)]).await;
    }
    assert_eq!(ada.used_when_asked_for(&node, LIMIT + 1).await, 0);
}
