use lockstep_events::{Event, Seq, VersionId, event::VaultEvent, graph::MAX_BRANCHES};

use crate::{
    account::testing::{Stream, TestDevice, two_devices},
    error::Error,
    model::AlarmKind,
    store::entries,
    sync::apply::{Applied, Page},
};

use super::*;

fn added(stream: &Stream, at: usize) -> VersionAdded {
    match stream.events[at].event().unwrap() {
        Event::Vault(VaultEvent::VersionAdded(added)) => *added,
        other => panic!("not a version: {other:?}"),
    }
}

/// The third event alone.
fn cut(vault: &Stream) -> Page {
    let mut page = vault.page(2);
    page.events.truncate(1);
    page.set_digest = None;
    page
}

async fn heads(device: &TestDevice) -> Vec<Vec<VersionId>> {
    device.entries().await.unwrap().iter().map(crate::model::Entry::head_ids).collect()
}

/// Everything after a seq is refused, with the chain as it must be; nothing has changed.
async fn refused(device: &TestDevice, stream: &Stream, from: u64) {
    let before = heads(device).await;
    let answer = device.apply(&stream.page(from)).await;
    assert!(matches!(answer, Err(Error::Alarm(AlarmKind::Header))), "{answer:?}");
    assert_eq!(heads(device).await, before);
}

/// The history of an entry that was edited once, on both devices.
async fn edited() -> (TestDevice, TestDevice, Stream) {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"first").await.unwrap();
    let first = a.entry(entry).await.unwrap().head_ids();
    a.edit(entry, &first, b"second").await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    (a, b, vault)
}

#[tokio::test]
async fn a_version_stands_once() {
    let (_, b, mut vault) = edited().await;
    b.apply(&vault.page(0)).await.unwrap();
    vault.accept(&added(&vault, 0), vault.events[0].content.clone());
    refused(&b, &vault, 2).await;
}

#[tokio::test]
async fn a_child_before_its_parent_is_refused_and_the_parent_after_it_too() {
    let (_, b, vault) = edited().await;
    let mut turned = Stream::new(vault.id, vault.kind);
    for at in [1, 0] {
        turned.accept(&added(&vault, at), vault.events[at].content.clone());
    }
    refused(&b, &turned, 0).await;
    // A device that does not know whether it holds everything notices it when the parent comes.
    let mut tx = b.store.begin().await.unwrap();
    let place = streams::get(&mut tx, vault.id).await.unwrap().unwrap();
    streams::put(&mut tx, &Place { digest: None, ..place }).await.unwrap();
    tx.commit().await.unwrap();
    refused(&b, &turned, 0).await;
    assert_eq!(b.apply(&vault.page(0)).await.unwrap(), Applied::Done(2));
}

#[tokio::test]
async fn a_snapshot_may_have_brought_a_child_whose_parent_is_still_to_come() {
    let (a, b, vault) = edited().await;
    // A page of a snapshot that was read when the edit stood already: the edit, and not what it builds on.
    let child = added(&vault, 1).header.version_id();
    let (mut from, mut to) = (a.store.begin().await.unwrap(), b.store.begin().await.unwrap());
    let kept = versions::get(&mut from, child).await.unwrap().unwrap();
    let row = entries::accepted(&mut from, a.vault(), kept.header.entry).await.unwrap();
    versions::insert(&mut to, &kept).await.unwrap();
    entries::put(&mut to, &row).await.unwrap();
    let place = streams::get(&mut to, vault.id).await.unwrap().unwrap();
    streams::put(&mut to, &Place { digest: None, ..place }).await.unwrap();
    to.commit().await.unwrap();
    assert_eq!(b.apply(&vault.page(0)).await.unwrap(), Applied::Done(2));
    assert_eq!(heads(&b).await, [vec![child]]);
}

#[tokio::test]
async fn nobody_but_its_author_says_what_a_version_builds_on() {
    let (a, b, mut vault) = edited().await;
    b.apply(&vault.page(0)).await.unwrap();
    let entry = a.entries().await.unwrap().remove(0);
    for device in [&a, &b] {
        device.edit(entry.entry, &entry.head_ids(), b"apart").await.unwrap();
    }
    vault.accept_all(&a).await;
    vault.accept_all(&b).await;
    let honest = added(&vault, 3);
    a.apply(&Page { to: Seq(3), chain: vault.events[2].chain, ..cut(&vault) }).await.unwrap();
    assert_eq!(heads(&a).await[0].len(), 1);
    let swallowing = VersionAdded {
        parent_inferred: true,
        inferred_parents: vec![added(&vault, 1).header.version_id(), added(&vault, 2).header.version_id()],
        ..honest.clone()
    };
    let cut_off = VersionAdded { parent_inferred: true, ..honest.clone() };
    let beside = VersionAdded { inferred_parents: vec![added(&vault, 2).header.version_id()], ..honest };
    for forgery in [swallowing, cut_off, beside] {
        let mut forged = Stream::new(vault.id, vault.kind);
        forged.events = vault.events[..3].to_vec();
        forged.accept(&forgery, vault.events[3].content.clone());
        refused(&a, &forged, 3).await;
    }
    a.apply(&vault.page(3)).await.unwrap();
    assert_eq!(heads(&a).await[0].len(), 2, "two branches");
    let mut unnamed = added(&vault, 0).header;
    assert!(inferred(&unnamed, true, &[VersionId([1; 32])]).is_ok(), "a client that has seen nothing");
    unnamed.observed_seq = Seq(1);
    assert!(inferred(&unnamed, true, &[VersionId([1; 32])]).is_err());
}

#[tokio::test]
async fn an_entry_has_no_more_branches_than_there_may_be() {
    let (a, b, mut vault) = edited().await;
    b.apply(&vault.page(0)).await.unwrap();
    let entry = a.entries().await.unwrap().remove(0);
    let parents = entry.head_ids();
    for n in 0..=MAX_BRANCHES {
        a.edit(entry.entry, &parents, format!("branch {n}").as_bytes()).await.unwrap();
    }
    vault.accept_all(&a).await;
    refused(&b, &vault, 2).await;
}

#[tokio::test]
async fn what_was_said_to_stand_in_a_place_stands_there() {
    let (a, b, mut vault) = edited().await;
    b.apply(&vault.page(0)).await.unwrap();
    // An answer that was ahead of the feed said that it stands at 3; there stands something else.
    let taken = b.add(b"taken").await.unwrap();
    let id = b.entry(taken).await.unwrap().head_ids()[0];
    let mut tx = b.store.begin().await.unwrap();
    versions::place(&mut tx, id, (Seq(3), lockstep_events::Micros(1)), &[]).await.unwrap();
    tx.commit().await.unwrap();
    a.add(b"another").await.unwrap();
    vault.accept_all(&a).await;
    let answer = b.apply(&vault.page(2)).await;
    assert!(matches!(answer, Err(Error::Alarm(AlarmKind::Page))), "{answer:?}");
}

#[tokio::test]
async fn heads_follow_from_the_history_and_not_from_what_a_server_says_they_are() {
    let (_, _, vault) = edited().await;
    let shown = |at: usize| {
        let added = added(&vault, at);
        SnapshotVersion {
            header: added.header,
            signer: added.signer,
            signature: added.signature,
            wrapped_key: added.wrapped_key.map(|key| key.to_string()),
            seq: Seq(at as u64 + 1),
            branch: 0,
            accepted_at: lockstep_events::Micros(1),
            parent_inferred: false,
            inferred_parents: Vec::new(),
            content_gone: false,
            content: None,
            attachments: Vec::new(),
        }
    };
    let heads = heads_of(&[shown(1), shown(0)]);
    assert_eq!(heads.ids(), [added(&vault, 1).header.version_id()]);
    assert_eq!((heads.next_branch, heads.last_seq), (1, Seq(2)));
}
