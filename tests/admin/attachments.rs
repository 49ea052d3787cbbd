//! What attachments take up counts in the plan: each once for its entry, as long as a version keeps it.

use lockstep_api::{
    Code,
    sync::{Purge, Purged, PushItem, PushOutcome, PushResult},
};
use lockstep_events::{BlobHash, Epoch, VersionKind, canonical::sha256, header::sign_version};
use lockstepd::config::Layer;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    in_both_modes,
    support::{Mode, Node, Person, assert_problem, body},
};

in_both_modes! {
    an_attachment_counts_once_for_its_entry_until_it_is_purged;
    no_upload_is_taken_that_the_plan_has_no_room_for;
    quota_race_of_attachments;
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
        let bytes: Vec<u8> = Uuid::new_v4().as_bytes().iter().copied().cycle().take(length).collect();
        let hash = BlobHash(sha256(&bytes));
        let path = format!("/v1/vaults/{}/blobs/{hash}?size={length}&attachment=true", self.vault);
        let sent = node.request("PUT", &path).bearer_auth(&self.tokens.access_token);
        let sent = sent.header("content-type", "application/octet-stream").body(bytes).send().await.unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
        hash
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
        (ada.upload(&node, 4000).await, ada.upload(&node, 3000).await, ada.upload(&node, 5000).await);
    assert_eq!(ada.used(&node).await, 0, "what no version names is not counted");
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
    let purge = Purge { expect_heads: vec![third.header.version_id()] };
    let path = format!("/v1/vaults/{}/entries/{}/purge", ada.vault, first.header.entry);
    let request = node.post(&path, &purge).bearer_auth(&ada.tokens.access_token);
    let purged = request.header("idempotency-key", "purge").send().await.unwrap();
    let _: Purged = body(purged, StatusCode::OK).await;
    assert_eq!(ada.used(&node).await, 0);
    let file = ada.upload(&node, 9984).await;
    assert_eq!(ada.push_one(&node, epoch, &ada.with(&[file])).await.outcome, PushOutcome::Accepted);
    assert_eq!(ada.used(&node).await, LIMIT, "exactly full");
}

async fn no_upload_is_taken_that_the_plan_has_no_room_for(mode: Mode) {
    let node = node(mode).await;
    let ada = Person::register(&node).await;
    let long = [7; 6000];
    let fits = ada.upload_pack(&node, &[&long, &[8; 4000]]).await;
    assert_eq!(fits.status(), StatusCode::NO_CONTENT);
    assert_problem(ada.upload_pack(&node, &[&[9; 6000], &[10; 4001]]).await, Code::QuotaExceeded).await;
    let again = ada.upload_pack(&node, &[&long, &[11; 9000]]).await;
    assert_eq!(again.status(), StatusCode::NO_CONTENT, "what is there needs no room");
}

async fn quota_race_of_attachments(mode: Mode) {
    let node = node(mode).await;
    let ada = Person::register(&node).await;
    let epoch = ada.epoch(&node).await;
    let files = futures_util::future::join_all((0..30).map(|_| ada.upload(&node, 984))).await;
    let items: Vec<PushItem> = files.iter().map(|file| ada.with(&[*file])).collect();
    let pushes = items.iter().map(|item| ada.push_one(&node, epoch, item));
    let answers = futures_util::future::join_all(pushes).await;
    let accepted = answers.iter().filter(|result| result.outcome == PushOutcome::Accepted).count();
    assert_eq!(accepted, 10);
    assert!(
        answers.iter().filter(|r| r.outcome != PushOutcome::Accepted).all(|r| used_at_refusal(r) == LIMIT)
    );
    assert_eq!(ada.used(&node).await, LIMIT);
}
