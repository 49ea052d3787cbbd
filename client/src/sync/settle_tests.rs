use lockstep_api::sync::{PushOutcome, PushResult, Pushed};
use lockstep_events::{Event, Seq, event::VaultEvent};

use super::*;
use crate::{
    account::testing::{EPOCH, TestDevice, two_devices},
    store::streams,
};

/// Everything that waits on a device.
async fn batch(device: &TestDevice) -> Batch {
    let mut db = device.store.begin().await.unwrap();
    let mut batch = Vec::new();
    for waiting in outbox::first(&mut db, device.vault(), 9).await.unwrap() {
        let version = versions::get(&mut db, waiting.version).await.unwrap().unwrap();
        batch.push((waiting, version));
    }
    batch
}

/// What a server says of each of them.
fn answer(batch: &Batch, outcomes: &[PushOutcome]) -> Pushed {
    let result = |((_, version), outcome): (&(Waiting, versions::Kept), &PushOutcome)| PushResult {
        version_id: version.id,
        outcome: *outcome,
        seq: None,
        branch: None,
        heads: None,
        missing: Vec::new(),
        reason: None,
        error: None,
        quota: None,
    };
    Pushed { epoch: EPOCH, head: Seq(1), results: batch.iter().zip(outcomes).map(result).collect() }
}

#[tokio::test]
async fn a_refused_version_goes_into_quarantine_and_hinders_no_other() {
    let (a, _, _, _) = two_devices().await;
    let refused = a.add(b"refused").await.unwrap();
    a.add(b"accepted").await.unwrap();
    let batch = batch(&a).await;
    let answer = answer(&batch, &[PushOutcome::QuotaExceeded, PushOutcome::Accepted]);
    let report = a.settle(&batch, &answer).await.unwrap();
    assert_eq!((report.pushed, report.quarantined), (1, 1));
    assert_eq!(a.waiting().await.unwrap(), 0);
    let quarantine = a.quarantine().await.unwrap();
    assert_eq!(quarantine.iter().map(|q| q.entry).collect::<Vec<_>>(), [refused]);
    a.release(quarantine[0].version, false).await.unwrap();
    assert_eq!(a.waiting().await.unwrap(), 1);
    let mut swapped = answer;
    swapped.results.swap(0, 1);
    assert!(matches!(a.settle(&batch, &swapped).await, Err(Error::Protocol(_))));
}

/// An entry that was edited on both devices, as the first sees it.
async fn divergent() -> (TestDevice, lockstep_events::EntryId, Vec<VersionId>) {
    let (a, b, _, mut vault) = two_devices().await;
    let entry = a.add(b"first").await.unwrap();
    vault.accept_all(&a).await;
    for (device, content) in [(&a, b"one"), (&b, b"two")] {
        device.apply(&vault.page(0)).await.unwrap();
        let heads = device.entry(entry).await.unwrap().head_ids();
        device.edit(entry, &heads, content).await.unwrap();
    }
    vault.accept_all(&a).await;
    vault.accept_all(&b).await;
    a.apply(&vault.page(1)).await.unwrap();
    let heads = a.entry(entry).await.unwrap().head_ids();
    assert_eq!(heads.len(), 2);
    (a, entry, heads)
}

#[tokio::test]
async fn a_choice_that_was_refused_goes_out_if_it_is_made_again() {
    use crate::model::Resolution;
    let (a, entry, heads) = divergent().await;
    let chosen = a.resolve(entry, &heads, &Resolution::KeepBoth(heads[0])).await.unwrap();
    let both = batch(&a).await;
    assert_eq!(both.len(), 2, "the choice, and what it made an entry of its own");
    let other = both.iter().position(|(_, version)| version.id != chosen).unwrap();
    let mut outcomes = [PushOutcome::NotAttempted; 2];
    outcomes[other] = PushOutcome::Forbidden;
    a.settle(&both, &answer(&both, &outcomes)).await.unwrap();
    assert_eq!((a.waiting().await.unwrap(), a.quarantine().await.unwrap().len()), (0, 2));
    assert_eq!(a.resolve(entry, &heads, &Resolution::Keep(heads[0])).await.unwrap(), chosen);
    let waiting: Vec<VersionId> = batch(&a).await.iter().map(|(_, version)| version.id).collect();
    assert_eq!(waiting, [chosen]);
    assert_eq!(a.entry(entry).await.unwrap().head_ids(), [chosen]);
}

#[tokio::test]
async fn a_choice_of_what_the_server_pruned_is_refused_and_does_not_wait_for_ever() {
    use crate::model::Resolution;
    let (a, entry, heads) = divergent().await;
    a.resolve(entry, &heads, &Resolution::Keep(heads[0])).await.unwrap();
    let one = batch(&a).await;
    let report = a.settle(&one, &answer(&one, &[PushOutcome::BlobMissing])).await.unwrap();
    assert_eq!((report.quarantined, a.waiting().await.unwrap()), (1, 0));
    assert_eq!(a.entry(entry).await.unwrap().head_ids().len(), 2, "both are heads again");
}

#[tokio::test]
async fn a_group_whose_parents_go_first_stays_together_behind_them() {
    use crate::model::Resolution;
    let (a, entry, heads) = divergent().await;
    let chosen = a.resolve(entry, &heads, &Resolution::KeepBoth(heads[0])).await.unwrap();
    let later = a.add(b"later").await.unwrap();
    let three = batch(&a).await;
    let mut said = answer(&three, &[PushOutcome::NotAttempted; 3]);
    let result = said.results.iter_mut().find(|result| result.version_id == chosen).unwrap();
    (result.outcome, result.missing) = (PushOutcome::MissingParents, heads.clone());
    a.settle(&three, &said).await.unwrap();
    let waiting = batch(&a).await;
    assert_eq!(waiting[0].1.header.entry, later);
    let ids: Vec<VersionId> = waiting.iter().map(|(_, version)| version.id).collect();
    assert_eq!(ids.len(), 5);
    assert!(heads.iter().all(|parent| ids[1..3].contains(parent)));
    let unit = waiting[3].0.unit;
    assert!(unit.is_some() && unit == waiting[4].0.unit && ids[3..].contains(&chosen));
}

/// As a server says that demands what it has pruned.
#[tokio::test]
async fn of_a_file_that_the_server_had_it_is_not_said_that_this_device_lost_it() {
    use crate::store::attachments;
    use lockstep_events::BlobHash;
    let (a, _, _, mut vault) = two_devices().await;
    let entry = a.add(b"with a file").await.unwrap();
    let first = a.entry(entry).await.unwrap().head_ids();
    let name = async |version, hash: u8| {
        let mut db = a.store.begin().await.unwrap();
        attachments::put(&mut db, version, &[BlobHash([hash; 32])]).await.unwrap();
        db.commit().await.unwrap();
    };
    vault.accept_all(&a).await;
    a.apply(&vault.page(0)).await.unwrap();
    name(first[0], 1).await;
    for (hash, reason) in
        [(1, "the server keeps an attachment no longer"), (2, "lost or damaged on this device")]
    {
        let entry = if hash == 1 { entry } else { a.add(b"another").await.unwrap() };
        let base = a.entry(entry).await.unwrap().head_ids();
        let version = if hash == 1 { a.edit(entry, &base, b"later").await.unwrap() } else { base[0] };
        name(version, hash).await;
        let one = batch(&a).await;
        a.settle(&one, &answer(&one, &[PushOutcome::BlobMissing])).await.unwrap();
        let refused = a.quarantine().await.unwrap().into_iter().find(|one| one.version == version).unwrap();
        assert!(refused.reason.contains(reason), "{}", refused.reason);
    }
}

#[tokio::test]
async fn what_is_offered_again_and_waits_for_a_file_of_another_device_waits_behind_the_rest() {
    let (a, _, _, _) = two_devices().await;
    a.add(b"with a file").await.unwrap();
    let mut one = batch(&a).await;
    one[0].0.reoffer = true;
    let new = a.add(b"new").await.unwrap();
    let report = a.settle(&one, &answer(&one, &[PushOutcome::BlobMissing])).await.unwrap();
    assert_eq!(report.fileless, BTreeSet::from([one[0].1.id]));
    assert_eq!(batch(&a).await[0].1.header.entry, new);
}

#[tokio::test]
async fn what_had_its_place_once_or_another_device_signed_is_released_as_something_offered_again() {
    use crate::sync::reset::Life;
    use lockstep_events::{Chain, Epoch};
    let (a, b, _, mut vault) = two_devices().await;
    a.add(b"on the server").await.unwrap();
    vault.accept_all(&a).await;
    for device in [&a, &b] {
        device.apply(&vault.page(0)).await.unwrap();
        device.add(b"never sent").await.unwrap();
        // The server is put back to a time before, and refuses both for a while.
        let place = streams::get(&mut device.store.begin().await.unwrap(), vault.id).await.unwrap().unwrap();
        let common = (Seq(0), Chain::ZERO);
        let life = Life { epoch: Epoch([9; 16]), common, entries: Vec::new(), versions: Vec::new() };
        device.begin_life(&place, &life).await.unwrap();
        let Event::Vault(VaultEvent::VersionAdded(added)) = vault.events[0].event().unwrap() else {
            panic!()
        };
        device.offer_again(&place, &[added.header.version_id()]).await.unwrap();
        let both = batch(device).await;
        device.settle(&both, &answer(&both, &[PushOutcome::QuotaExceeded; 2])).await.unwrap();
        for (_, version) in &both {
            device.release(version.id, false).await.unwrap();
        }
        let released = batch(device).await;
        assert_eq!(released.iter().map(|(w, _)| w.version).collect::<Vec<_>>(), [both[0].1.id, both[1].1.id]);
        assert_eq!(released.iter().map(|(w, _)| w.reoffer).collect::<Vec<_>>(), [true, false]);
    }
}
