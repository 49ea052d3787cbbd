//! What must hold in the end, by the names of sync.md §10.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::sync::Streams;
use lockstep_client::model::VersionView;
use lockstep_events::{EntryId, Seq, VersionId};

use crate::{
    device::{Device, Told},
    people::text,
    world::World,
};

/// All versions of all entries, oldest first.
type Histories = BTreeMap<EntryId, Vec<VersionView>>;

pub async fn hold(world: &World<'_>) {
    let (gone, insiders): (Vec<&Device>, Vec<&Device>) =
        world.devices.iter().partition(|device| device.revoked);
    let held = insiders[0].held().await;
    assert_eq!(held["counts"], ["0 wait, 0 refused, 0 alarms"]);
    let histories = histories(insiders[0]).await;
    for device in &insiders {
        assert_eq!(device.held().await, held, "L1: devices show different things");
        same(&histories, &self::histories(device).await);
    }
    gapless(insiders[0], &histories).await;
    heads(insiders[0], &histories).await;
    for device in &insiders {
        device.told.iter().for_each(|told| stands(told, &histories));
        nothing_comes_back(device, &histories);
    }
    for device in gone {
        what_a_revoked_device_wrote(device, &histories).await;
    }
}

async fn histories(device: &Device) -> Histories {
    let mut all = Histories::new();
    for entries in [device.client.entries().await.unwrap(), device.client.deleted().await.unwrap()] {
        for entry in entries {
            all.insert(entry.entry, device.client.history(entry.entry).await.unwrap());
        }
    }
    all
}

/// L1: the same versions with the same places and parents; and the same contents, where both have them.
fn same(one: &Histories, other: &Histories) {
    assert!(one.keys().eq(other.keys()), "L1: devices know different entries");
    for (entry, versions) in one {
        let plain = |version: &VersionView| {
            (
                version.version,
                version.kind,
                version.parents.clone(),
                version.content_of,
                version.device,
                version.seq,
            )
        };
        let (left, right): (Vec<_>, Vec<_>) =
            (versions.iter().map(plain).collect(), other[entry].iter().map(plain).collect());
        assert_eq!(left, right, "L1: devices have different versions of {entry}");
        for (left, right) in versions.iter().zip(&other[entry]) {
            if let (Some(left), Some(right)) = (left.content.bytes(), right.content.bytes()) {
                assert_eq!(left, right, "L1: devices read different contents");
            }
        }
    }
}

/// S2, S3: every version has one place, and the server has no event that this device has not.
async fn gapless(device: &Device, histories: &Histories) {
    let places: Vec<Seq> = histories.values().flatten().map(|version| version.seq.unwrap()).collect();
    let distinct: BTreeSet<_> = places.iter().collect();
    assert_eq!(distinct.len(), places.len(), "S3: two versions in one place");
    let streams: Streams = device.client.fetch("/v1/streams").await.unwrap();
    for place in device.client.status().await.unwrap().streams {
        let head = streams.streams.iter().find(|info| info.stream == place.stream).unwrap().head;
        assert_eq!(place.seq, head, "S2: a device that is up to date stands where the stream ends");
    }
}

/// S5: heads are the versions that are nobody's parent.
async fn heads(device: &Device, histories: &Histories) {
    for (entry, versions) in histories {
        let parents: BTreeSet<_> = versions.iter().flat_map(|version| &version.parents).collect();
        let childless = versions.iter().map(|version| version.version).filter(|id| !parents.contains(id));
        let shown: BTreeSet<_> = device.client.get(*entry).await.unwrap().head_ids().into_iter().collect();
        assert_eq!(shown, childless.collect(), "S5: heads of {entry}");
    }
}

/// C2: what a person was told is saved stands, and says what was written.
fn stands(told: &Told, histories: &Histories) {
    let found = found(told.version, told.entry, histories);
    let found = found.unwrap_or_else(|| panic!("C2: {told:?} is gone"));
    if let Some(written) = &told.text {
        assert_eq!(&text(found), written, "C2: {} says something else", told.version);
    }
}

fn found(version: VersionId, entry: EntryId, histories: &Histories) -> Option<&VersionView> {
    histories.get(&entry)?.iter().find(|one| one.version == version)
}

/// C4: what a person saw and deleted is no head.
fn nothing_comes_back(device: &Device, histories: &Histories) {
    let parents: BTreeSet<_> = histories.values().flatten().flat_map(|version| &version.parents).collect();
    for (tombstone, shown) in &device.deletes {
        let back = shown.iter().find(|version| !parents.contains(version));
        assert!(back.is_none(), "C4: {back:?} is a head again after {tombstone}");
    }
}

/// What a device pushed before it was revoked stays; what it could not push is still on it, and nowhere else.
async fn what_a_revoked_device_wrote(device: &Device, histories: &Histories) {
    let mut unsent = 0;
    for (number, told) in device.told.iter().enumerate() {
        if found(told.version, told.entry, histories).is_some() {
            assert!(!told.late || told.text.is_none(), "A1: {told:?} was taken after the revocation");
            stands(told, histories);
            continue;
        }
        assert!(number >= device.acknowledged, "S1: {told:?} was acknowledged and is gone");
        let own = device.client.history(told.entry).await.unwrap();
        let kept = own.iter().find(|version| version.version == told.version);
        let kept = kept.unwrap_or_else(|| panic!("C2: {told:?} vanished from the device that was revoked"));
        if let Some(written) = &told.text {
            assert_eq!((&text(kept), kept.seq), (written, None));
        }
        unsent += 1;
    }
    assert!(device.client.status().await.unwrap().waiting >= unsent, "C2: it says that nothing waits");
}
