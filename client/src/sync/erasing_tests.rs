use lockstep_events::{
    Chain, EntryId, Epoch, Micros, Seq, VersionId,
    event::{EntryPurged, VaultEvent},
};

use crate::{
    account::testing::{Stream, TestDevice, two_devices},
    model::AlarmKind,
    store::{outbox, streams, versions},
    sync::reset::Life,
};

async fn begin(device: &TestDevice, life: &Stream) {
    let place = streams::get(&mut device.store.begin().await.unwrap(), life.id).await.unwrap().unwrap();
    let common = (Seq::ZERO, Chain::ZERO);
    let life = Life { epoch: life.epoch, common, entries: Vec::new(), versions: Vec::new() };
    device.begin_life(&place, &life).await.unwrap();
}

fn purge(stream: &mut Stream, entry: EntryId) {
    stream.happen(VaultEvent::Purged(EntryPurged { entry, heads: Vec::new() }));
}

/// What the entries say.
async fn says(device: &TestDevice) -> Vec<String> {
    let all = device.entries().await.unwrap();
    let heads = all.iter().flat_map(|entry| &entry.heads);
    heads.map(|head| String::from_utf8_lossy(head.content.bytes().unwrap_or_default()).into_owned()).collect()
}

async fn kinds(device: &TestDevice) -> Vec<AlarmKind> {
    device.alarms().await.unwrap().into_iter().map(|alarm| alarm.kind).collect()
}

#[tokio::test]
async fn e16_a_server_that_begins_another_life_with_nothing_in_it_erases_nothing() {
    let (a, _, _, mut vault) = two_devices().await;
    let entry = a.add(b"live").await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    let mut other = Stream { epoch: Epoch([9; 16]), ..Stream::new(vault.id, vault.kind) };
    begin(&a, &other).await;
    purge(&mut other, entry);
    a.apply(&other.page(0)).await.unwrap();
    assert_eq!(says(&a).await, ["live"]);
    assert_eq!(kinds(&a).await, [AlarmKind::Content, AlarmKind::Reset]);
}

/// The server says that it took the last that waits, and where it stands.
async fn taken(device: &TestDevice, place: Option<Seq>) -> VersionId {
    let mut tx = device.store.begin().await.unwrap();
    let last = outbox::first(&mut tx, device.vault(), 9).await.unwrap().pop().unwrap().version;
    outbox::remove(&mut tx, last).await.unwrap();
    if let Some(seq) = place {
        let parents = versions::get(&mut tx, last).await.unwrap().unwrap().parents;
        versions::place(&mut tx, last, (seq, Micros(1)), &parents).await.unwrap();
    }
    tx.commit().await.unwrap();
    last
}

/// Whether a content is still here.
async fn keeps(device: &TestDevice, version: VersionId) -> bool {
    let kept = versions::get(&mut device.store.begin().await.unwrap(), version).await.unwrap().unwrap();
    kept.ciphertext.is_some() && kept.wrapped_key.is_some()
}

#[tokio::test]
async fn e16_what_the_server_took_and_never_showed_is_erased_by_no_purge() {
    for place in [None, Some(Seq(1 << 40))] {
        let (a, _, _, mut vault) = two_devices().await;
        let new = a.add(b"new").await.unwrap();
        let version = taken(&a, place).await;
        purge(&mut vault, new);
        a.apply(&vault.page(0)).await.unwrap();
        assert!(keeps(&a, version).await, "{place:?}");
        assert_eq!(kinds(&a).await, [AlarmKind::Content]);
    }
}

#[tokio::test]
async fn e16_an_undeletion_that_was_taken_keeps_its_entry_from_a_purge_wherever_it_is_said_to_stand() {
    for place in [None, Some(Seq(1 << 40))] {
        let (a, _, _, mut vault) = two_devices().await;
        let entry = a.add(b"old").await.unwrap();
        a.remove(entry, &a.entry(entry).await.unwrap().head_ids()).await.unwrap();
        vault.accept_all(&a).await;
        a.apply(&vault.page(0)).await.unwrap();
        a.edit(entry, &a.entry(entry).await.unwrap().head_ids(), b"undeleted").await.unwrap();
        let undeleted = taken(&a, place).await;
        purge(&mut vault, entry);
        a.apply(&vault.page(2)).await.unwrap();
        assert!(keeps(&a, undeleted).await, "{place:?}");
        assert_eq!(kinds(&a).await, [AlarmKind::Content]);
    }
}

#[tokio::test]
async fn what_this_device_chose_and_has_not_sent_needs_what_it_chose() {
    let (a, _, _, mut vault) = two_devices().await;
    let entry = a.add(b"old").await.unwrap();
    let first = a.entry(entry).await.unwrap().head_ids()[0];
    a.remove(entry, &[first]).await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    a.restore(entry, first).await.unwrap();
    purge(&mut vault, entry);
    a.apply(&vault.page(2)).await.unwrap();
    assert_eq!(says(&a).await, ["old"]);
    assert_eq!(kinds(&a).await, [AlarmKind::Content]);
}

#[tokio::test]
async fn e16_a_deletion_that_the_server_refused_deletes_nothing_that_a_purge_erases() {
    let (a, _, _, mut vault) = two_devices().await;
    let entry = a.add(b"live").await.unwrap();
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    let first = a.entry(entry).await.unwrap().head_ids()[0];
    let deletion = a.remove(entry, &[first]).await.unwrap();
    let mut tx = a.store.begin().await.unwrap();
    outbox::quarantine(&mut tx, deletion, "refused", Micros(1)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(says(&a).await, ["live"]);
    purge(&mut vault, entry);
    a.apply(&vault.page(1)).await.unwrap();
    assert!(keeps(&a, first).await);
    assert_eq!(says(&a).await, ["live"]);
    assert_eq!(kinds(&a).await, [AlarmKind::Content]);
}

#[tokio::test]
async fn a_purge_after_a_restore_erases_what_was_deleted_before_it_whether_the_deletion_waits_or_not() {
    for sent in [true, false] {
        let (a, _, _, mut vault) = two_devices().await;
        let entry = a.add(b"old").await.unwrap();
        vault.accept_all(&a).await;
        a.apply(&vault.page(0)).await.unwrap();
        let backup = vault.events.clone();
        let first = a.entry(entry).await.unwrap().head_ids()[0];
        a.remove(entry, &[first]).await.unwrap();
        if sent {
            vault.accept_all(&a).await;
            a.apply(&vault.page(1)).await.unwrap();
        }
        let mut restored =
            Stream { events: backup, epoch: Epoch([9; 16]), ..Stream::new(vault.id, vault.kind) };
        begin(&a, &restored).await;
        purge(&mut restored, entry);
        // What was purged is purged, however often it is said.
        purge(&mut restored, entry);
        a.apply(&restored.page(0)).await.unwrap();
        assert!(!keeps(&a, first).await, "{sent}");
        assert_eq!(kinds(&a).await, [AlarmKind::Reset]);
    }
}
