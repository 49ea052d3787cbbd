//! What becomes of a pushed version.

use lockstep_api::{
    Code, Problem,
    account::{Account, RevokeDevice},
    sync::{Purged, Push, PushOutcome, Pushed},
};
use lockstep_events::{Seq, VersionId, graph::MAX_BRANCHES, header::sign_version, roster::Claim};

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry, id},
        mode::Mode,
    },
};

in_both_modes! {
    an_edit_is_accepted_its_rival_becomes_a_branch_and_a_retry_is_recognised;
    a_resolution_removes_exactly_the_heads_it_names;
    a_group_stands_together_or_not_at_all;
    of_two_resolutions_that_expect_the_same_heads_one_is_accepted;
    past_the_limit_of_branches_only_resolutions_are_accepted;
    a_purged_entry_takes_nothing_more_and_a_retried_purge_answers_the_same;
    a_device_signs_for_another_only_to_give_back_what_one_wrote_that_was_revoked;
    what_names_more_of_its_vault_than_there_is_is_not_taken_unless_it_is_offered_again;
}

async fn an_edit_is_accepted_its_rival_becomes_a_branch_and_a_retry_is_recognised(mode: Mode) {
    let ground = Ground::new(mode).await;
    let (laptop, phone) = (&ground.device, ground.device.another().await);
    let of = entry();
    let root = laptop.edit(of, &[], b"root");
    let result = laptop.push(vec![root.clone()]).await.remove(0);
    assert_eq!((result.outcome, result.branch), (PushOutcome::Accepted, Some(0)));
    let (a, b) = (laptop.edit(of, &[id(&root)], b"a"), phone.edit(of, &[id(&root)], b"b"));
    assert_eq!(laptop.push(vec![a.clone()]).await[0].outcome, PushOutcome::Accepted);
    let rival = phone.push(vec![b.clone()]).await.remove(0);
    assert_eq!((rival.outcome, rival.branch), (PushOutcome::AcceptedForked, Some(1)));
    let heads: Vec<VersionId> = rival.heads.unwrap().iter().map(|head| head.version).collect();
    assert_eq!(heads, [id(&a), id(&b)]);
    let tail = laptop.seq().await;
    let again = phone.push(vec![b]).await.remove(0);
    assert_eq!((again.outcome, again.seq), (PushOutcome::Duplicate, rival.seq));
    assert_eq!(laptop.seq().await, tail);
}

/// An entry with two heads.
async fn fork(device: &Device) -> (lockstep_events::EntryId, VersionId, VersionId) {
    let of = entry();
    let (a, b) = (device.edit(of, &[], b"a"), device.edit(of, &[], b"b"));
    device.push(vec![a.clone(), b.clone()]).await;
    (of, id(&a), id(&b))
}

async fn a_resolution_removes_exactly_the_heads_it_names(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let (of, a, b) = fork(device).await;
    let third = device.edit(of, &[], b"arrived during the resolution");
    device.push(vec![third.clone()]).await;
    let mut shown = [a, b];
    shown.sort_unstable();
    let adopt = device.adopt(of, &shown, a);
    let result = device.push(vec![adopt.clone()]).await.remove(0);
    let heads: Vec<VersionId> = result.heads.unwrap().iter().map(|head| head.version).collect();
    assert_eq!(heads, [id(&adopt), id(&third)]);
    // The same choice on another device is the same version.
    let phone = device.another().await;
    assert_eq!(phone.push(vec![phone.adopt(of, &shown, a)]).await[0].outcome, PushOutcome::Duplicate);
    let gone = device.tombstone(of, &[id(&third)]);
    assert_eq!(device.push(vec![gone]).await[0].outcome, PushOutcome::Accepted);
}

async fn a_group_stands_together_or_not_at_all(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let missing = VersionId([9; 32]);
    let items = vec![
        device.edit(entry(), &[], b"a"),
        device.edit(entry(), &[missing], b"b"),
        device.edit(entry(), &[], b"c"),
    ];
    let tail = device.seq().await;
    let mut push = device.batch(items);
    push.groups = vec![vec![0, 1]];
    let pushed: lockstep_api::sync::Pushed = device.post(&device.push_path(), &push).await.json();
    let outcomes: Vec<_> = pushed.results.iter().map(|result| result.outcome).collect();
    assert_eq!(outcomes, [PushOutcome::NotAttempted, PushOutcome::MissingParents, PushOutcome::Accepted]);
    assert_eq!(pushed.results[1].missing, [missing]);
    assert_eq!(device.seq().await, tail + 1);
}

async fn of_two_resolutions_that_expect_the_same_heads_one_is_accepted(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let (of, a, b) = fork(device).await;
    let mut shown = vec![a, b];
    shown.sort_unstable();
    let resolution = |text: &str| {
        let mut item = device.edit(of, &shown, text.as_bytes());
        item.expect_heads = Some(shown.clone());
        vec![item]
    };
    let (one, other) = tokio::join!(device.push(resolution("one")), device.push(resolution("other")));
    let mut outcomes = [one[0].outcome, other[0].outcome];
    outcomes.sort_unstable_by_key(|outcome| *outcome != PushOutcome::Accepted);
    assert_eq!(outcomes, [PushOutcome::Accepted, PushOutcome::PreconditionFailed]);
    let refused = if one[0].outcome == PushOutcome::Accepted { &other } else { &one };
    assert_eq!(refused[0].heads.as_ref().unwrap().len(), 1);
}

async fn past_the_limit_of_branches_only_resolutions_are_accepted(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let of = entry();
    let roots: Vec<_> = (0..MAX_BRANCHES).map(|n| device.edit(of, &[], format!("{n}").as_bytes())).collect();
    assert!(device.push(roots.clone()).await.iter().all(|result| result.outcome.stands()));
    let one_more = device.edit(of, &[], b"one more");
    assert_eq!(device.push(vec![one_more.clone()]).await[0].outcome, PushOutcome::TooManyBranches);
    let mut two = [id(&roots[0]), id(&roots[1])];
    two.sort_unstable();
    let adopt = device.adopt(of, &two, id(&roots[0]));
    assert_eq!(device.push(vec![adopt]).await[0].outcome, PushOutcome::Accepted);
    assert_eq!(device.push(vec![one_more]).await[0].outcome, PushOutcome::AcceptedForked);
}

async fn a_purged_entry_takes_nothing_more_and_a_retried_purge_answers_the_same(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let of = entry();
    let root = device.edit(of, &[], b"to be erased");
    device.push(vec![root.clone()]).await;
    let path = format!("/v1/vaults/{}/entries/{of}/purge", device.vault);
    let json = ("content-type", "application/json");
    let body =
        |heads: &[VersionId]| serde_json::to_vec(&serde_json::json!({ "expect_heads": heads })).unwrap();
    let purge = async |key: &str, heads: &[VersionId]| {
        device.send("POST", &path, &[json, ("idempotency-key", key)], &body(heads)).await
    };
    assert_eq!(purge("a", &[VersionId([1; 32])]).await.code(), "precondition_failed");
    assert_eq!(device.send("POST", &path, &[json], &body(&[id(&root)])).await.code(), "invalid_header");
    let alive = purge("c", &[id(&root)]).await;
    assert_eq!(alive.code(), "precondition_failed");
    assert!(String::from_utf8_lossy(&alive.body).contains("not deleted"));
    let deleted = device.tombstone(of, &[id(&root)]);
    device.push(vec![deleted.clone()]).await;
    let done = purge("b", &[id(&deleted)]).await;
    assert_eq!(done.status, 200);
    let seq = done.json::<Purged>().seq;
    assert_eq!(purge("b", &[id(&deleted)]).await.json::<Purged>().seq, seq);
    assert_eq!(purge("b", &[VersionId([2; 32])]).await.code(), "idempotency_key_reused");
    assert_eq!(device.seq().await, seq.0);
    let late = device.edit(of, &[id(&deleted)], b"late");
    assert_eq!(device.push(vec![late]).await[0].outcome, PushOutcome::EntryPurged);
    let hash = root.header.content_hash.unwrap();
    let blob = device.get(&format!("/v1/vaults/{}/blobs/{hash}", device.vault)).await;
    assert_eq!(blob.code(), "not_found");
}

async fn a_device_signs_for_another_only_to_give_back_what_one_wrote_that_was_revoked(mode: Mode) {
    let ground = Ground::new(mode).await;
    let (author, bringer) = (&ground.device, ground.device.another().await);
    let mut item = author.edit(entry(), &[], b"by its author");
    (item.signer, item.signature) = (bringer.device, sign_version(&bringer.key, &id(&item)));
    let brought = async |reoffer| {
        let push = Push { reoffer, ..bringer.batch(vec![item.clone()]) };
        bringer.post(&bringer.push_path(), &push).await.json::<Pushed>().results[0].outcome
    };
    assert_eq!(brought(false).await, PushOutcome::Forbidden);
    assert_eq!(brought(true).await, PushOutcome::Forbidden, "its author can bring it");
    let account: Account = bringer.get("/v1/account").await.json();
    let statement = bringer.state(&account, Claim::DeviceRevoked { device: author.device });
    let path = format!("/v1/devices/{}/revoke", author.device);
    assert!(bringer.post(&path, &RevokeDevice { statement }).await.status < 300);
    assert_eq!(brought(false).await, PushOutcome::Forbidden);
    assert_eq!(brought(true).await, PushOutcome::Accepted);
    // Under the author's own signature nobody brings it: it may have been made yesterday.
    let late = author.edit(entry(), &[], b"signed by its author");
    let push = Push { reoffer: true, ..bringer.batch(vec![late]) };
    let answer: Pushed = bringer.post(&bringer.push_path(), &push).await.json();
    assert_eq!(answer.results[0].outcome, PushOutcome::Forbidden);
}

/// What stood there would stop every other device at it, as at a lie of the server's.
async fn what_names_more_of_its_vault_than_there_is_is_not_taken_unless_it_is_offered_again(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let head = device.seq().await;
    let seen = |seq: u64| {
        let mut item = device.edit(entry(), &[], b"seen");
        item.header.observed_seq = Seq(seq);
        item.signature = device.signed(item.header.clone()).signature;
        item
    };
    for ahead in [head + 1, head + 50] {
        // Not even what is right goes with it.
        let push = device.batch(vec![seen(head), seen(ahead)]);
        let refused = device.post(&device.push_path(), &push).await;
        assert_eq!((refused.status, refused.json::<Problem>().code), (409, Code::EpochMismatch));
    }
    assert_eq!(device.seq().await, head, "nothing was written");
    assert_eq!(device.push(vec![seen(head)]).await[0].outcome, PushOutcome::Accepted);
    let again = Push { reoffer: true, ..device.batch(vec![seen(head + 50)]) };
    let pushed: Pushed = device.post(&device.push_path(), &again).await.json();
    assert_eq!(pushed.results[0].outcome, PushOutcome::Accepted);
}
