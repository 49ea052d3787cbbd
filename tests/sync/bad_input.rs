//! Every bad input of a push has its own answer and changes nothing.

use lockstep_api::{
    MAX_PUSH_BYTES,
    sync::{ForbiddenReason, PushItem, PushOutcome, Pushed},
};
use lockstep_events::{AccountId, BlobHash, EntryId, Epoch, Seq, VaultId, VersionId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry, id},
        mode::Mode,
        wire::Wire,
    },
};

in_both_modes! {
    a_request_that_is_not_right_is_refused_as_a_whole;
    an_item_that_is_not_right_is_refused_by_itself_and_says_what_it_breaks;
    a_batch_that_is_repeated_with_another_body_is_refused_and_changes_nothing;
}

async fn a_request_that_is_not_right_is_refused_as_a_whole(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let good = serde_json::to_value(device.batch(vec![device.edit(entry(), &[], b"x")])).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        serde_json::to_vec(&body).unwrap()
    };
    let epoch = Epoch([9; 16]);
    let of_another_stream = device.stream(device.account.into()).await.epoch;
    let json = "application/json";
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("invalid_field", json, with(&|b| b["unknown"] = json!(1))),
        ("invalid_field", json, with(&|b| b["items"][0]["header"]["unknown"] = json!(1))),
        ("invalid_field", json, with(&|b| b["items"] = json!("text"))),
        ("invalid_field", json, with(&|b| drop(b.as_object_mut().unwrap().remove("epoch")))),
        ("invalid_field", json, with(&|b| b["items"] = json!([]))),
        ("invalid_field", json, with(&|b| b["groups"] = json!([[1]]))),
        ("invalid_field", json, with(&|b| b["groups"] = json!([[0], [0]]))),
        ("epoch_mismatch", json, with(&|b| b["epoch"] = json!(epoch))),
        ("epoch_mismatch", json, with(&|b| b["epoch"] = json!(of_another_stream))),
        ("invalid_json", json, b"{".to_vec()),
        ("invalid_json", json, vec![b'{', 0xff, b'}']),
        ("unsupported_media_type", "text/plain", with(&|_| ())),
    ];
    let tail = device.seq().await;
    for (code, content_type, body) in cases {
        let reply = device.send("POST", &device.push_path(), &[("content-type", content_type)], &body).await;
        assert_eq!(reply.code(), code, "{}", String::from_utf8_lossy(&body[..body.len().min(300)]));
    }
    // All of it is sent before the answer is read: the connection stays until it was.
    let long = vec![b' '; 3 * MAX_PUSH_BYTES];
    let reply = device.send("POST", &device.push_path(), &[("content-type", json)], &long).await;
    assert_eq!(reply.code(), "body_too_large");
    // Refused by the length that it announces: nothing of it is read, so nothing of it is sent.
    let path = device.push_path();
    let bearer = device.token.as_str();
    let length = MAX_PUSH_BYTES + 1;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {json}\r\nauthorization: Bearer {bearer}\r\n\
         content-length: {length}\r\n\r\n"
    );
    let mut wire = Wire::connect(device.addr).await.unwrap();
    assert_eq!(wire.exchange(head.as_bytes()).await.unwrap().code(), "body_too_large");
    let mut nobody = device.clone();
    nobody.token.push('x');
    assert_eq!(nobody.post(&device.push_path(), &good).await.code(), "unauthenticated");
    assert_eq!(device.post("/v1/vaults/no-uuid/versions", &good).await.code(), "invalid_parameter");
    let nowhere = format!("/v1/vaults/{}/versions", Uuid::new_v4());
    assert_eq!(device.post(&nowhere, &good).await.code(), "not_found");
    assert_eq!(device.seq().await, tail);
}

/// So many ids in ascending order.
fn parents(number: u8) -> Vec<VersionId> {
    (0..number).map(|n| VersionId([n; 32])).collect()
}

fn resigned(device: &Device, item: &PushItem, change: impl Fn(&mut PushItem)) -> PushItem {
    let mut item = item.clone();
    change(&mut item);
    item.signature = device.signed(item.header.clone()).signature;
    item
}

async fn an_item_that_is_not_right_is_refused_by_itself_and_says_what_it_breaks(mode: Mode) {
    let ground = Ground::new(mode).await;
    let (device, other) = (&ground.device, ground.device.another().await);
    let elsewhere = device.edit(entry(), &[], b"elsewhere");
    device.push(vec![elsewhere.clone()]).await;
    let good = device.edit(entry(), &[], b"x");
    let with = |change: fn(&mut PushItem)| {
        let mut item = good.clone();
        change(&mut item);
        item
    };
    let signed = |change: fn(&mut PushItem)| resigned(device, &good, change);
    let parent = id(&elsewhere);
    let forbidden = [
        // The server makes the id of the header, so another id is a signature of something else.
        ("id does not recompute", with(|i| i.header.client_time = 7), ForbiddenReason::Signature),
        ("signature by another device", resigned(&other, &good, |_| ()), ForbiddenReason::Signature),
        ("another device's version", other.edit(entry(), &[], b"y"), ForbiddenReason::Signer),
        (
            "foreign account",
            signed(|i| i.header.account = AccountId(Uuid::from_u128(1))),
            ForbiddenReason::Account,
        ),
        ("foreign vault", signed(|i| i.header.vault = VaultId(Uuid::from_u128(1))), ForbiddenReason::Vault),
        ("no entry", signed(|i| i.header.entry = EntryId::NIL), ForbiddenReason::Header),
        ("content of no length", signed(|i| i.header.content_len = 0), ForbiddenReason::Header),
        ("parent of another entry", device.edit(entry(), &[parent], b"z"), ForbiddenReason::ForeignParent),
        ("65 parents", signed(|i| i.header.parents = parents(65)), ForbiddenReason::TooManyParents),
        ("64 parents of an edit", signed(|i| i.header.parents = parents(64)), ForbiddenReason::Header),
        ("no wrapped key", with(|i| i.wrapped_key = None), ForbiddenReason::WrappedKey),
        (
            "33 attachments",
            with(|i| i.attachments = (0..33).map(|n| BlobHash([n; 32])).collect()),
            ForbiddenReason::Attachments,
        ),
        ("17 KiB inline", device.edit(entry(), &[], &[7; 17 * 1024]), ForbiddenReason::Content),
        (
            "inferred for somebody who has seen the vault",
            signed(|i| (i.infer_parents, i.header.observed_seq) = (true, Seq(1))),
            ForbiddenReason::InferredParents,
        ),
    ];
    let others = [
        (
            "ciphertext of another hash",
            with(|i| i.inline = Some(b"y".to_vec().into())),
            PushOutcome::HashMismatch,
        ),
        ("no ciphertext", with(|i| i.inline = None), PushOutcome::BlobMissing),
        ("missing parent", device.edit(entry(), &[VersionId([3; 32])], b"z"), PushOutcome::MissingParents),
    ];
    let forbidden = forbidden.map(|(what, item, reason)| (what, item, PushOutcome::Forbidden, Some(reason)));
    let others = others.map(|(what, item, outcome)| (what, item, outcome, None));
    let tail = device.seq().await;
    for (what, item, outcome, reason) in forbidden.into_iter().chain(others) {
        let result = device.push(vec![item]).await.remove(0);
        assert_eq!((result.outcome, result.reason), (outcome, reason), "{what}: {result:?}");
        assert_eq!(result.error.is_some(), reason.is_some(), "{what}");
    }
    assert_eq!(device.seq().await, tail);
    assert_eq!(device.push(vec![good]).await[0].outcome, PushOutcome::Accepted);
}

async fn a_batch_that_is_repeated_with_another_body_is_refused_and_changes_nothing(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let push = device.batch(vec![device.edit(entry(), &[], b"first"), device.edit(entry(), &[], b"second")]);
    let first: Pushed = device.post(&device.push_path(), &push).await.json();
    let tail = device.seq().await;
    let mut others = [push.clone(), push.clone(), push.clone(), push.clone()];
    others[0].items[0] = device.edit(entry(), &[], b"another");
    others[1].items.swap(0, 1);
    others[2].items.truncate(1);
    others[3].groups = vec![vec![0, 1]];
    for other in others {
        assert_eq!(device.post(&device.push_path(), &other).await.code(), "idempotency_key_reused");
    }
    assert_eq!(device.seq().await, tail);
    let again: Pushed = device.post(&device.push_path(), &push).await.json();
    for (one, two) in first.results.iter().zip(&again.results) {
        assert_eq!((two.outcome, two.seq), (PushOutcome::Duplicate, one.seq));
    }
    // Another device's batches are its own.
    let phone = device.another().await;
    let mut same = phone.batch(vec![phone.edit(entry(), &[], b"phone")]);
    same.batch_id = push.batch_id;
    assert_eq!(
        phone.post(&phone.push_path(), &same).await.json::<Pushed>().results[0].outcome,
        PushOutcome::Accepted
    );
}
