//! Small ciphertexts beside the events, and sealed parts.

use super::*;
use crate::{
    AccountId, BlobHash, DeviceId, NewEvent, Sealed, Seq, canonical::sha256, log::SealedParts,
    testing::build::*,
};
use uuid::Uuid;

fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(sha256(bytes))
}

/// Up to the end of any stream.
const ALL: Seq = Seq(u64::MAX);

async fn contents_of(log: &dyn EventLog, most: Contents) -> Vec<Option<Vec<u8>>> {
    let events = log.read_all(Position(0), 100, &Filter::default(), most).await.unwrap();
    events.into_iter().map(|event| event.content).collect()
}

pub async fn a_content_is_read_with_its_event(log: &dyn EventLog) {
    let big = vec![0xab; 16 * 1024];
    let events = vec![event(1, stream(1)).with_content(&big), event(2, stream(1))];
    append_one(log, unit(events)).await;
    assert_eq!(contents_of(log, Contents::UpTo(1 << 20)).await, [Some(big.clone()), None]);
    let read = log.read_stream(stream(1), Seq(0), 10, Contents::UpTo(1 << 20)).await.unwrap();
    assert_eq!(read[0].content.as_deref(), Some(big.as_slice()));
    assert_eq!(log.contents(stream(1), &[hash(&big)]).await.unwrap(), [(hash(&big), big)]);
}

pub async fn a_read_brings_only_contents_up_to_its_limit(log: &dyn EventLog) {
    let events = vec![event(1, stream(1)).with_content(b"four"), event(2, stream(1)).with_content(b"fives")];
    append_one(log, unit(events)).await;
    assert_eq!(contents_of(log, Contents::No).await, [None, None]);
    assert_eq!(contents_of(log, Contents::UpTo(3)).await, [None, None]);
    assert_eq!(contents_of(log, Contents::UpTo(4)).await, [Some(b"four".to_vec()), None]);
    assert_eq!(contents_of(log, Contents::UpTo(5)).await, [Some(b"four".to_vec()), Some(b"fives".to_vec())]);
}

pub async fn a_read_for_a_device_leaves_out_what_came_from_it(log: &dyn EventLog) {
    let device = |n| DeviceId(Uuid::from_u128(n));
    let from = |n, by: Option<u128>| {
        let event = event(n, stream(1)).with_content(n.to_string().as_bytes());
        NewEvent { device: by.map(device), ..event }
    };
    append_one(log, unit(vec![from(1, Some(1)), from(2, Some(2)), from(3, None)])).await;
    let read = |by, most| contents_of(log, Contents::ForDevice(device(by), most));
    let some = |n: &str| Some(n.as_bytes().to_vec());
    assert_eq!(read(1, 9).await, [None, some("2"), some("3")]);
    assert_eq!(read(2, 9).await, [some("1"), None, some("3")]);
    assert_eq!(read(9, 9).await, [some("1"), some("2"), some("3")]);
    assert_eq!(read(1, 0).await, vec![None; 3]);
    let read = log.read_stream(stream(1), Seq(0), 9, Contents::ForDevice(device(1), 9)).await;
    assert_eq!(
        read.unwrap().iter().map(|event| event.content.is_some()).collect::<Vec<_>>(),
        [false, true, true]
    );
}

pub async fn a_content_is_kept_once_in_a_stream(log: &dyn EventLog) {
    let same = |n| event(n, stream(1)).with_content(b"same");
    append_one(log, unit(vec![same(1), same(2)])).await;
    append_one(log, unit(vec![same(3)])).await;
    assert_eq!(contents_of(log, Contents::UpTo(9)).await, vec![Some(b"same".to_vec()); 3]);
    assert_eq!(log.erase_contents(stream(1), &[hash(b"same")], ALL).await.unwrap(), 1);
    assert_eq!(contents_of(log, Contents::UpTo(9)).await, vec![None; 3]);
}

pub async fn a_content_belongs_to_its_stream(log: &dyn EventLog) {
    let same = |n| event(n, stream(n)).with_content(b"same");
    append_one(log, unit(vec![same(1), same(2)])).await;
    assert_eq!(log.erase_contents(stream(1), &[hash(b"same")], ALL).await.unwrap(), 1);
    assert!(log.contents(stream(1), &[hash(b"same")]).await.unwrap().is_empty());
    assert_eq!(log.contents(stream(2), &[hash(b"same")]).await.unwrap().len(), 1);
    assert!(log.contents(stream(3), &[hash(b"same")]).await.unwrap().is_empty());
}

pub async fn erasing_a_content_changes_no_event(log: &dyn EventLog) {
    let contents: Vec<Vec<u8>> = (0..150_u8).map(|n| vec![n; 10]).collect();
    let events = contents.iter().zip(0..).map(|(bytes, n)| event(n, stream(1)).with_content(bytes));
    append_one(log, unit(events.collect())).await;
    let before = log.read_all(Position(0), 1000, &Filter::default(), Contents::No).await.unwrap();
    let hashes: Vec<_> = contents.iter().map(|bytes| hash(bytes)).collect();
    assert_eq!(log.erase_contents(stream(1), &hashes[..149], ALL).await.unwrap(), 149);
    assert_eq!(log.erase_contents(stream(1), &hashes[..149], ALL).await.unwrap(), 0);
    assert_eq!(log.contents(stream(1), &hashes).await.unwrap(), [(hashes[149], contents[149].clone())]);
    assert_eq!(log.read_all(Position(0), 1000, &Filter::default(), Contents::No).await.unwrap(), before);
    assert_sound(log).await;
}

pub async fn a_retry_does_not_bring_an_erased_content_back(log: &dyn EventLog) {
    let one = unit(vec![event(1, stream(1)).with_content(b"gone")]);
    append_one(log, one.clone()).await;
    log.erase_contents(stream(1), &[hash(b"gone")], ALL).await.unwrap();
    assert!(placed(&append_one(log, one).await)[0].duplicate);
    assert_eq!(contents_of(log, Contents::UpTo(9)).await, [None]);
}

pub async fn a_new_event_may_bring_an_erased_content_back(log: &dyn EventLog) {
    let with = |n| unit(vec![event(n, stream(1)).with_content(b"back")]);
    append_one(log, with(1)).await;
    log.erase_contents(stream(1), &[hash(b"back")], ALL).await.unwrap();
    append_one(log, with(2)).await;
    assert_eq!(log.contents(stream(1), &[hash(b"back")]).await.unwrap().len(), 1);
}

pub async fn a_content_that_came_again_after_what_was_seen_is_not_erased(log: &dyn EventLog) {
    let with = |n, on, bytes: &[u8]| unit(vec![event(n, stream(on)).with_content(bytes)]);
    for (n, on, bytes) in [(1, 1, b"same"), (2, 1, b"once"), (3, 1, b"same"), (4, 2, b"once")] {
        append_one(log, with(n, on, bytes)).await;
    }
    let hashes = [hash(b"same"), hash(b"once")];
    let left = async || {
        let left = log.contents(stream(1), &hashes).await.unwrap();
        left.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>()
    };
    assert_eq!(log.erase_contents(stream(1), &hashes, Seq(0)).await.unwrap(), 0);
    assert_eq!(log.erase_contents(stream(1), &hashes, Seq(2)).await.unwrap(), 1);
    assert_eq!(left().await, [b"same".to_vec()]);
    assert_eq!(log.erase_contents(stream(1), &hashes, Seq(3)).await.unwrap(), 1);
    assert!(left().await.is_empty());
}

pub async fn contents_come_in_the_order_asked(log: &dyn EventLog) {
    let events = (1..=3_u8).map(|n| event(n.into(), stream(1)).with_content(&[n]));
    append_one(log, unit(events.collect())).await;
    let asked = [hash(&[3]), hash(&[9]), hash(&[1]), hash(&[2])];
    let kept = log.contents(stream(1), &asked).await.unwrap();
    assert_eq!(kept, [(hash(&[3]), vec![3]), (hash(&[1]), vec![1]), (hash(&[2]), vec![2])]);
    assert!(log.contents(stream(1), &[]).await.unwrap().is_empty());
    assert_eq!(log.erase_contents(stream(1), &[], ALL).await.unwrap(), 0);
}

pub async fn events_that_came_with_a_content_are_known_when_it_is_erased(log: &dyn EventLog) {
    let with = |n: u128| event(n, stream(1)).with_content(&n.to_be_bytes());
    append_one(log, unit(vec![with(1), event(2, stream(1)), with(3)])).await;
    log.erase_contents(stream(1), &[hash(&1_u128.to_be_bytes())], ALL).await.unwrap();
    assert_eq!(log.came_with_content(&[id(3), id(9), id(2), id(1)]).await.unwrap(), [id(3), id(1)]);
    assert!(log.came_with_content(&[]).await.unwrap().is_empty());
}

fn part(n: u128, person: u128, purpose: &str, period: &str) -> NewEvent {
    let sealed = Sealed {
        subject: AccountId(Uuid::from_u128(person)),
        purpose: purpose.into(),
        period: period.into(),
        bytes: format!("sealed {n}").into_bytes(),
    };
    event(n, stream(1)).with_sealed(sealed)
}

async fn parts_left(log: &dyn EventLog, among: std::ops::RangeInclusive<u128>) -> Vec<u128> {
    let ids: Vec<_> = among.map(id).collect();
    let left = log.sealed_parts(&ids).await.unwrap();
    left.iter().map(|(event, _)| event.0.as_u128() - id(0).0.as_u128()).collect()
}

pub async fn a_sealed_part_is_committed_to_by_its_hash(log: &dyn EventLog) {
    let with = part(1, 1, "identity", "");
    append_one(log, unit(vec![with.clone(), event(2, stream(1))])).await;
    assert!(placed(&append_one(log, unit(vec![with])).await)[0].duplicate);
    let hashes: Vec<_> = all(log).await.iter().map(|event| event.sealed_hash.map(|hash| hash.0)).collect();
    assert_eq!(hashes, [Some(sha256(b"sealed 1")), None]);
    assert_sound(log).await;
}

pub async fn a_sealed_part_is_read_by_its_event_and_by_its_person(log: &dyn EventLog) {
    let people = [1, 2, 1, 1];
    let events: Vec<_> = (1..).zip(people).map(|(n, who)| part(n, who, "telemetry", "2026-11")).collect();
    append_one(log, unit(events.clone())).await;
    let asked = [id(4), id(9), id(2)];
    let read = log.sealed_parts(&asked).await.unwrap();
    let expected = |n: usize| (events[n].event_id, events[n].sealed.clone().unwrap());
    assert_eq!(read, [expected(3), expected(1)]);
    let person = AccountId(Uuid::from_u128(1));
    assert_eq!(log.sealed_about(person, None, 2).await.unwrap(), [expected(0), expected(2)]);
    assert_eq!(log.sealed_about(person, Some(id(3)), 2).await.unwrap(), [expected(3)]);
    assert!(log.sealed_about(AccountId(Uuid::from_u128(3)), None, 9).await.unwrap().is_empty());
    assert!(log.sealed_parts(&[]).await.unwrap().is_empty());
}

pub async fn erasing_a_persons_sealed_parts_leaves_all_others_and_every_event(log: &dyn EventLog) {
    let events = vec![
        part(1, 1, "identity", ""),
        part(2, 1, "billing", "2026-11"),
        part(3, 2, "identity", ""),
        part(4, 1, "telemetry", "2026-11"),
    ];
    append_one(log, unit(events.clone())).await;
    let before = all(log).await;
    let which = SealedParts::Of(AccountId(Uuid::from_u128(1)), vec!["identity".into(), "telemetry".into()]);
    assert_eq!(log.erase_sealed(&which).await.unwrap(), 2);
    assert_eq!(log.erase_sealed(&which).await.unwrap(), 0);
    assert_eq!(parts_left(log, 1..=4).await, [2, 3]);
    assert_eq!(all(log).await, before);
    assert!(placed(&append_one(log, unit(events)).await).iter().all(|placed| placed.duplicate));
    assert_eq!(parts_left(log, 1..=4).await, [2, 3], "a retry brings nothing back");
    assert_sound(log).await;
}

pub async fn erasing_sealed_parts_by_age_leaves_later_periods_and_those_without(log: &dyn EventLog) {
    let events = vec![
        part(1, 1, "telemetry", "2026-09"),
        part(2, 2, "telemetry", "2026-10"),
        part(3, 1, "telemetry", ""),
        part(4, 1, "audit", "2026-09"),
        part(5, 2, "telemetry", "2025-12"),
    ];
    append_one(log, unit(events)).await;
    let which = SealedParts::Before { purpose: "telemetry".into(), period: "2026-10".into() };
    assert_eq!(log.erase_sealed(&which).await.unwrap(), 2);
    assert_eq!(parts_left(log, 1..=5).await, [2, 3, 4]);
    assert_sound(log).await;
}
