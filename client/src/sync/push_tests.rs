use super::*;
use lockstep_events::{
    AccountId, BlobHash, Chain, DeviceId, EntryId, Header, Seq, VaultId, VersionKind, ids::Signature,
};
use uuid::Uuid;

use crate::store::versions::ContentState;

fn waiting(n: u128, unit: Option<i64>, len: usize) -> (Waiting, Kept) {
    let header = Header {
        format: 1,
        account: AccountId(Uuid::from_u128(1)),
        vault: VaultId(Uuid::from_u128(2)),
        entry: EntryId(Uuid::from_u128(n)),
        kind: VersionKind::Edit,
        parents: vec![],
        content_of: None,
        key_id: Uuid::from_u128(n),
        content_hash: Some(BlobHash([1; 32])),
        content_len: u32::try_from(len).unwrap(),
        author_device: DeviceId(Uuid::from_u128(4)),
        observed_seq: Seq(u64::MAX),
        observed_chain: Chain([0xff; 32]),
        client_time: i64::MIN,
    };
    let kept = Kept {
        n: 0,
        id: header.version_id(),
        header,
        parents: vec![],
        signer: DeviceId(Uuid::from_u128(4)),
        signature: Signature([0xff; 64]),
        wrapped_key: Some(vec![0xff; 108]),
        ciphertext: Some(vec![7; len]),
        content: ContentState::Here,
        seq: None,
        accepted_at: None,
    };
    (Waiting { version: kept.id, unit, reoffer: false }, kept)
}

#[test]
fn a_batch_has_at_most_256_items_and_never_half_a_group() {
    let singles: Vec<_> = (0..300).map(|n| waiting(n, None, 100)).collect();
    assert_eq!(cut(singles, &Attached::new()).len(), 256);
    let mut mixed: Vec<_> = (0..200).map(|n| waiting(n, None, 100)).collect();
    mixed.extend((200..300).map(|n| waiting(n, Some(1), 100)));
    assert_eq!(cut(mixed, &Attached::new()).len(), 200);
}

#[test]
fn a_batch_of_the_longest_items_stays_under_the_limit_of_bytes() {
    let batch = cut((0..256).map(|n| waiting(n, None, MAX_INLINE)).collect(), &Attached::new());
    let push = Push {
        epoch: lockstep_events::Epoch([0xff; 16]),
        batch_id: BatchId(Uuid::max()),
        items: batch.iter().map(|(_, version)| item(version, None, None)).collect(),
        groups: groups(&batch),
        reoffer: true,
    };
    let bytes = serde_json::to_vec(&push).unwrap().len();
    assert!(bytes <= MAX_PUSH_BYTES && bytes > MAX_PUSH_BYTES * 9 / 10, "{bytes}");
}

#[test]
fn groups_name_their_items_and_a_group_of_one_is_none() {
    let batch =
        vec![waiting(1, Some(5), 9), waiting(2, None, 9), waiting(3, Some(6), 9), waiting(4, Some(6), 9)];
    assert_eq!(groups(&batch), [vec![2, 3]]);
}

#[test]
fn a_ciphertext_that_is_too_long_for_a_push_goes_as_a_blob() {
    assert!(item(&waiting(1, None, MAX_INLINE).1, None, None).inline.is_some());
    assert!(item(&waiting(1, None, MAX_INLINE + 1).1, None, None).inline.is_none());
}

#[test]
fn what_is_offered_again_goes_by_itself_and_everything_in_its_order() {
    let mut all: Vec<_> = (0..6).map(|n| waiting(n, None, 9)).collect();
    for again in [0, 1, 4] {
        all[again].0.reoffer = true;
    }
    let mut batches = Vec::new();
    while !all.is_empty() {
        let batch = cut(all.clone(), &Attached::new());
        let sent: Vec<_> = all.drain(..batch.len()).map(|(waiting, _)| waiting.version).collect();
        assert_eq!(batch.iter().map(|(waiting, _)| waiting.version).collect::<Vec<_>>(), sent);
        batches.push(batch.iter().map(|(waiting, _)| waiting.reoffer).collect::<Vec<_>>());
    }
    assert_eq!(batches, [vec![true, true], vec![false, false], vec![true], vec![false]]);
}

#[test]
fn only_one_whole_group_of_new_entries_says_how_many_it_makes() {
    let group = |unit| (0..5).map(|n| waiting(n, Some(unit), 100)).collect::<Batch>();
    assert_eq!(makes(&group(1)), Some(5));
    assert_eq!(makes(&[group(1), group(2)].concat()), None);
    assert_eq!(makes(&vec![waiting(1, None, 100)]), None, "singles are asked for, each by itself");
    let mut with_an_edit = group(1);
    with_an_edit[3].1.header.parents = vec![VersionId([1; 32])];
    assert_eq!(makes(&with_an_edit), None);
    assert_eq!(makes(&Batch::new()), None);
}
