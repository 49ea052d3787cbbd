use lockstep_api::sync::SnapshotEntry;
use lockstep_events::{Chain, EntryId, Event, event::VaultEvent, event::VersionAdded};

use super::*;
use crate::account::testing::{Stream, TestDevice, two_devices};

const FAR: Seq = Seq(1 << 60);

fn added(stream: &Stream, at: usize) -> VersionAdded {
    match stream.events[at].event().unwrap() {
        Event::Vault(VaultEvent::VersionAdded(added)) => *added,
        other => panic!("not a version: {other:?}"),
    }
}

/// An answer that says where a version of a stream stands.
fn said(stream: &Stream, at: usize, seq: Seq) -> SnapshotVersion {
    let added = added(stream, at);
    SnapshotVersion {
        header: added.header,
        signer: added.signer,
        signature: added.signature,
        wrapped_key: added.wrapped_key.map(|key| key.to_string()),
        seq,
        branch: 0,
        accepted_at: lockstep_events::Micros(1),
        parent_inferred: false,
        inferred_parents: Vec::new(),
        content_gone: false,
        content: stream.events[at].content.as_ref().map(|bytes| lockstep_api::Bytes64(bytes.clone())),
        attachments: Vec::new(),
    }
}

async fn place(device: &TestDevice) -> Place {
    streams::get(&mut device.store.begin().await.unwrap(), device.vault().into()).await.unwrap().unwrap()
}

/// A device begins with a snapshot at a place, in which one entry has one head.
async fn begins(device: &TestDevice, stream: &Stream, at: u64, head: SnapshotVersion) {
    let last = usize::try_from(at).unwrap().checked_sub(1);
    let chain = last.map_or(Chain::ZERO, |last| stream.events[last].chain);
    let end = Place { seq: Seq(at), chain, digest: None, ..place(device).await };
    let entry = SnapshotEntry { entry: head.header.entry, next_branch: 1, heads: 1, versions: vec![head] };
    device.take_page(&[entry], Some((end, None))).await.unwrap();
}

/// The heads of an entry as they were accepted: version, branch, place.
async fn accepted(device: &TestDevice, entry: EntryId) -> Vec<(VersionId, u32, Seq)> {
    let mut db = device.store.begin().await.unwrap();
    let row = entries::accepted(&mut db, device.vault(), entry).await.unwrap();
    row.heads.heads.iter().map(|head| (head.version, head.branch, head.seq)).collect()
}

/// What a pull does when it has read a page to the head.
async fn pulls(device: &TestDevice, stream: &Stream) -> Result<(), Error> {
    let told = device.told().await.unwrap();
    let seq = place(device).await.seq;
    device.apply(&crate::sync::apply::Page { set_digest: None, ..stream.page(seq.0) }).await.unwrap();
    device.demand_reached(&told).await
}

fn is_page(answer: &Result<(), Error>) -> bool {
    matches!(answer, Err(Error::Alarm(AlarmKind::Page)))
}

#[tokio::test]
async fn what_was_written_since_a_snapshot_counts_wherever_it_said_that_a_head_stands() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"first").await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    let first = a.entry(entry).await.unwrap().head_ids();
    begins(&b, &vault, 1, said(&vault, 0, FAR)).await;
    a.edit(entry, &first, b"on one branch").await.unwrap();
    a.edit(entry, &first, b"on another").await.unwrap();
    let branches = vault.accept_all(&a).await;
    let answer = pulls(&b, &vault).await;
    assert!(is_page(&answer), "{answer:?}");
    a.apply(&vault.page(1)).await.unwrap();
    assert_eq!(accepted(&b, entry).await, accepted(&a, entry).await);
    assert_eq!(accepted(&b, entry).await, [(branches[0], 0, Seq(2)), (branches[1], 1, Seq(3))]);
    assert_eq!(b.waiting().await.unwrap(), 1, "what stood nowhere goes out again");
    assert_eq!(b.alarms().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_head_that_stood_nowhere_is_one_once_when_the_log_has_it() {
    let (a, b, _, mut vault) = two_devices().await;
    a.add(b"another").await.unwrap();
    vault.accept_all(&a).await;
    let entry = a.add(b"first").await.unwrap();
    let mut withheld = Stream { events: vault.events.clone(), ..Stream::new(vault.id, vault.kind) };
    let first = withheld.accept_all(&a).await.pop().unwrap();
    begins(&b, &vault, 1, said(&withheld, withheld.events.len() - 1, FAR)).await;
    let told = b.told().await.unwrap();
    let answer = b.demand_reached(&told).await;
    assert!(is_page(&answer), "{answer:?}");
    assert_eq!(b.entry(entry).await.unwrap().head_ids(), [first], "it is shown all the same");
    vault.accept(&added(&withheld, withheld.events.len() - 1), None);
    pulls(&b, &vault).await.unwrap();
    let [(head, _, seq)] = accepted(&b, entry).await[..] else { panic!("one head") };
    assert_eq!((head, seq.0), (first, vault.events.len() as u64));
    assert_eq!(b.waiting().await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_snapshot_is_ahead_with_is_no_lie_once_the_feed_has_come_to_it() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"first").await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    a.edit(entry, &a.entry(entry).await.unwrap().head_ids(), b"second").await.unwrap();
    let second = vault.accept_all(&a).await[0];
    begins(&b, &vault, 1, said(&vault, 1, Seq(2))).await;
    pulls(&b, &vault).await.unwrap();
    assert_eq!(accepted(&b, entry).await, [(second, 0, Seq(2))]);
    assert_eq!((b.waiting().await.unwrap(), b.alarms().await.unwrap()), (0, Vec::new()));
}

#[tokio::test]
async fn nothing_stands_before_what_its_author_saw() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"first").await.unwrap();
    vault.accept_all(&a).await;
    for device in [&a, &b] {
        device.apply(&vault.page(0)).await.unwrap();
    }
    a.edit(entry, &a.entry(entry).await.unwrap().head_ids(), b"second").await.unwrap();
    let second = vault.accept_all(&a).await[0];
    let answer = b.take_versions(b.vault(), &[said(&vault, 1, Seq(1))]).await;
    assert!(matches!(answer, Err(Error::Alarm(AlarmKind::Header))), "{answer:?}");
    assert_eq!(versions::get(&mut b.store.begin().await.unwrap(), second).await.unwrap(), None);
    b.take_versions(b.vault(), &[said(&vault, 1, Seq(2))]).await.unwrap();
    pulls(&b, &vault).await.unwrap();
    assert_eq!(accepted(&b, entry).await, [(second, 0, Seq(2))]);
}

#[tokio::test]
async fn what_was_told_in_another_life_is_demanded_of_none() {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"first").await.unwrap();
    vault.accept_all(&a).await;
    begins(&b, &vault, 1, said(&vault, 0, FAR)).await;
    let told = b.told().await.unwrap();
    let now = Place { epoch: Epoch([9; 16]), lives: 2, ..place(&b).await };
    let mut tx = b.store.begin().await.unwrap();
    streams::put(&mut tx, &now).await.unwrap();
    tx.commit().await.unwrap();
    b.demand_reached(&told).await.unwrap();
    assert_eq!(b.alarms().await.unwrap(), []);
    assert_eq!(accepted(&b, entry).await[0].2, FAR);
}
