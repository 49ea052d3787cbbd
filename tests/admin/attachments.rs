//! What attachments take up counts in the plan: each once for its entry, as long as a version keeps it.

use lockstep_api::{
    Code,
    plan::Quota,
    sync::{Purge, Purged, PushItem, PushOutcome, PushResult},
};
use lockstep_events::{BlobHash, Epoch, VersionKind, canonical::sha256, header::sign_version};
use lockstepd::config::Layer;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    in_both_modes,
    support::{Mode, Node, Person, assert_problem, body, problem},
};

in_both_modes! {
    an_attachment_counts_once_for_its_entry_until_it_is_purged;
    no_upload_is_taken_that_the_plan_has_no_room_for;
    quota_race_of_attachments;
    uploads_that_each_fit_and_together_do_not_are_refused_until_some_are_named_or_swept;
    what_waits_is_counted_once_however_often_it_comes;
    a_version_that_is_refused_does_not_hide_its_upload_from_the_plan;
}

const LIMIT: u64 = 10_000;

async fn node(mode: Mode) -> Node {
    let plans = format!("tiny = {{ storage_bytes = {LIMIT} }}");
    let options =
        Layer { plans: Some(plans.parse().unwrap()), default_plan: Some("tiny".into()), ..Layer::default() };
    Node::start_with(mode, options).await
}

impl Person {
    /// Uploads a file of so many bytes.
    async fn upload(&self, node: &Node, length: usize) -> BlobHash {
        let bytes = file(length);
        let sent = self.try_upload(node, &bytes).await;
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
        BlobHash(sha256(&bytes))
    }

    async fn try_upload(&self, node: &Node, bytes: &[u8]) -> reqwest::Response {
        let (hash, length) = (BlobHash(sha256(bytes)), bytes.len());
        self.put_blob(node, &hash, length, bytes.to_vec()).await
    }

    async fn put_blob(&self, node: &Node, hash: &BlobHash, size: usize, body: Vec<u8>) -> reqwest::Response {
        let path = format!("/v1/vaults/{}/blobs/{hash}?size={size}&attachment=true", self.vault);
        let sent = node.request("PUT", &path).bearer_auth(&self.tokens.access_token);
        sent.header("content-type", "application/octet-stream").body(body).send().await.unwrap()
    }

    /// Uploads several blobs at once.
    async fn upload_pack(&self, node: &Node, blobs: &[&[u8]]) -> reqwest::Response {
        let frame = |bytes: &&[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            [&sha256(bytes)[..], &length[..], bytes].concat()
        };
        let frames: Vec<u8> = blobs.iter().flat_map(frame).collect();
        let post = node.request("POST", &format!("/v1/vaults/{}/blobs", self.vault)).body(frames);
        let post = post.header("content-type", "application/octet-stream");
        post.bearer_auth(&self.tokens.access_token).send().await.unwrap()
    }

    fn with(&self, attachments: &[BlobHash]) -> PushItem {
        PushItem { attachments: attachments.to_vec(), ..self.entry(Uuid::new_v4().as_bytes()) }
    }

    /// The next version of an entry, with these attachments.
    fn next(&self, of: &PushItem, attachments: &[BlobHash]) -> PushItem {
        let mut item = self.with(attachments);
        (item.header.entry, item.header.parents) = (of.header.entry, vec![of.header.version_id()]);
        assert_eq!(item.header.kind, VersionKind::Edit);
        item.signature = sign_version(&self.device_key, &item.header.version_id());
        item
    }

    async fn push_one(&self, node: &Node, epoch: Epoch, item: &PushItem) -> PushResult {
        self.push(node, epoch, vec![item.clone()]).await.remove(0)
    }

    /// What the plan says is used.
    async fn used(&self, node: &Node) -> u64 {
        lockstepd::commands::account::caught_up(&node.running().server).await.unwrap();
        self.plan(node).await.limits.iter().find(|measure| measure.what == "storage_bytes").unwrap().used
    }
}

fn file(length: usize) -> Vec<u8> {
    Uuid::new_v4().as_bytes().iter().copied().cycle().take(length).collect()
}

/// What is used by the answer to an upload that the plan has no room for.
async fn used_at_upload(refused: reqwest::Response) -> u64 {
    let refused = problem(refused).await;
    assert_eq!(refused.code, Code::QuotaExceeded);
    let quota: Quota = serde_json::from_value(refused.facts.unwrap()).unwrap();
    assert_eq!((quota.what.as_str(), quota.limit), ("storage_bytes", LIMIT));
    quota.used
}

fn used_at_refusal(refused: &PushResult) -> u64 {
    assert_eq!(refused.outcome, PushOutcome::QuotaExceeded, "{refused:?}");
    let quota = refused.quota.clone().unwrap();
    assert_eq!((quota.what.as_str(), quota.limit), ("storage_bytes", LIMIT));
    quota.used
}

/// Each version has a ciphertext of 16 bytes.
async fn an_attachment_counts_once_for_its_entry_until_it_is_purged(mode: Mode) {
    let node = node(mode).await;
    let ada = Person::register(&node).await;
    let epoch = ada.epoch(&node).await;
    let (scan, photo, large) =
        (ada.upload(&node, 4000).await, ada.upload(&node, 3000).await, ada.upload(&node, 2985).await);
    assert_eq!(ada.used(&node).await, 0, "a version is what people are told of");
    let first = ada.with(&[scan]);
    assert_eq!(ada.push_one(&node, epoch, &first).await.outcome, PushOutcome::Accepted);
    // At once again: no read model has heard of the first yet.
    let second = ada.next(&first, &[scan, photo]);
    assert_eq!(ada.push_one(&node, epoch, &second).await.outcome, PushOutcome::Accepted);
    assert_eq!(used_at_refusal(&ada.push_one(&node, epoch, &ada.with(&[large])).await), 7032);
    assert_eq!(ada.used(&node).await, 7032);
    // Of the same entry a version with the same files needs only its own bytes: there is room for that.
    let third = ada.next(&second, &[photo, scan]);
    assert_eq!(ada.push_one(&node, epoch, &third).await.outcome, PushOutcome::Accepted);
    assert_eq!(used_at_refusal(&ada.push_one(&node, epoch, &ada.next(&third, &[large])).await), 7048);
    // Another entry that names the same blob keeps it for itself.
    let other = ada.with(&[photo]);
    assert_eq!(used_at_refusal(&ada.push_one(&node, epoch, &other).await), 7048);
    let deletion = ada.tombstone(&third);
    let purge = Purge { expect_heads: vec![deletion.header.version_id()] };
    ada.push_one(&node, epoch, &deletion).await;
    let path = format!("/v1/vaults/{}/entries/{}/purge", ada.vault, first.header.entry);
    let request = node.post(&path, &purge).bearer_auth(&ada.tokens.access_token);
    let purged = request.header("idempotency-key", "purge").send().await.unwrap();
    let _: Purged = body(purged, StatusCode::OK).await;
    assert_eq!(ada.used(&node).await, 0);
    let file = ada.upload(&node, 6999).await;
    let last = ada.with(&[file, large]);
    assert_eq!(ada.push_one(&node, epoch, &last).await.outcome, PushOutcome::Accepted);
    assert_eq!(ada.used(&node).await, LIMIT, "exactly full");
}

async fn no_upload_is_taken_that_the_plan_has_no_room_for(mode: Mode) {
    let node = node(mode).await;
    let ada = Person::register(&node).await;
    let long = [7; 6000];
    let fits = ada.upload_pack(&node, &[&long, &[8; 4000]]).await;
    assert_eq!(fits.status(), StatusCode::NO_CONTENT);
    assert_problem(ada.upload_pack(&node, &[&[9; 6000], &[10; 4001]]).await, Code::QuotaExceeded).await;
    let again = ada.upload_pack(&node, &[&long, &[8; 4000]]).await;
    assert_eq!(again.status(), StatusCode::NO_CONTENT, "what is there needs no room");
}

async fn uploads_that_each_fit_and_together_do_not_are_refused_until_some_are_named_or_swept(mode: Mode) {
    let node = node(mode).await;
    let ada = Person::register(&node).await;
    let epoch = ada.epoch(&node).await;
    let files: Vec<_> = (0..30).map(|_| file(984)).collect();
    let sent = futures_util::future::join_all(files.iter().map(|file| ada.try_upload(&node, file))).await;
    let (taken, refused): (Vec<_>, Vec<_>) =
        files.iter().zip(sent).partition(|(_, s)| s.status().is_success());
    assert_eq!((taken.len(), refused.len()), (10, 20), "exactly as many as there is room for");
    for (_, refused) in refused {
        assert_eq!(used_at_upload(refused).await, 9840);
    }
    // An upload that broke off takes its room as well, and gives it back with what is thrown away.
    let begun = file(160);
    assert_eq!(used_at_upload(ada.try_upload(&node, &file(161)).await).await, 9840);
    let hash = BlobHash(sha256(&begun));
    let broken = problem(ada.put_blob(&node, &hash, 160, begun[..80].to_vec()).await).await;
    assert_eq!(broken.code, Code::OffsetMismatch);
    assert_eq!(used_at_upload(ada.try_upload(&node, &file(1)).await).await, LIMIT);
    let wrong = problem(ada.put_blob(&node, &hash, 160, vec![0; 160]).await).await;
    assert_eq!(wrong.code, Code::HashMismatch);
    assert_eq!(used_at_upload(ada.try_upload(&node, &file(161)).await).await, 9840);

    // Named, it counts where it is named, and no more with what waits.
    let first = ada.with(&[BlobHash(sha256(taken[0].0))]);
    assert_eq!(ada.push_one(&node, epoch, &first).await.outcome, PushOutcome::Accepted);
    assert_eq!(used_at_upload(ada.try_upload(&node, &file(145)).await).await, 9856);
    // What nobody named within a day is swept, and there is room again.
    node.clock.pass(25 * 3600);
    let shelf = &node.running().server.shelf;
    let log = &*node.running().server.log;
    lockstepd::blobs::sweep(shelf, log).await.unwrap();
    node.clock.pass(5 * 3600);
    assert_eq!(lockstepd::blobs::sweep(shelf, log).await.unwrap().blobs, 9);
    let ada = ada.again(&node).await;
    ada.upload(&node, 9000).await;
    assert_eq!(used_at_upload(ada.try_upload(&node, &file(1)).await).await, LIMIT);
}

async fn what_waits_is_counted_once_however_often_it_comes(mode: Mode) {
    let node = node(mode).await;
    let ada = Person::register(&node).await;
    let long = file(6000);
    let objects = async || node.running().server.shelf.store.list("packs/", None, 100).await.unwrap().len();
    let hash = BlobHash(sha256(&long));
    for at in [2000, 4000] {
        let broken = problem(ada.put_blob(&node, &hash, 6000, long[..at].to_vec()).await).await;
        assert_eq!(broken.code, Code::OffsetMismatch);
    }
    for _ in 0..2 {
        assert_eq!(ada.try_upload(&node, &long).await.status(), StatusCode::NO_CONTENT);
        assert_eq!(ada.upload_pack(&node, &[&long]).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(objects().await, 1, "what is there is not stored again");
    assert_eq!(used_at_upload(ada.try_upload(&node, &file(4001)).await).await, 6000);
    ada.upload(&node, 4000).await;
}

async fn a_version_that_is_refused_does_not_hide_its_upload_from_the_plan(mode: Mode) {
    let node = node(mode).await;
    let ada = Person::register(&node).await;
    let epoch = ada.epoch(&node).await;
    assert_eq!(ada.push_one(&node, epoch, &ada.entry(&[1; 3000])).await.outcome, PushOutcome::Accepted);
    let scan = ada.upload(&node, 7000).await;
    // With its own ciphertext it would be over the limit.
    assert_eq!(used_at_refusal(&ada.push_one(&node, epoch, &ada.with(&[scan])).await), 3000);
    assert_eq!(used_at_upload(ada.try_upload(&node, &file(1)).await).await, LIMIT);
}

async fn quota_race_of_attachments(mode: Mode) {
    let node = node(mode).await;
    let ada = Person::register(&node).await;
    let epoch = ada.epoch(&node).await;
    let files = futures_util::future::join_all((0..10).map(|_| ada.upload(&node, 984))).await;
    // Each entry keeps what it names for itself.
    let items: Vec<PushItem> = (0..30).map(|n| ada.with(&[files[n % 10]])).collect();
    let pushes = items.iter().map(|item| ada.push_one(&node, epoch, item));
    let answers = futures_util::future::join_all(pushes).await;
    let accepted = answers.iter().filter(|result| result.outcome == PushOutcome::Accepted).count();
    assert_eq!(accepted, 10);
    assert!(
        answers.iter().filter(|r| r.outcome != PushOutcome::Accepted).all(|r| used_at_refusal(r) == LIMIT)
    );
    assert_eq!(ada.used(&node).await, LIMIT);
}
