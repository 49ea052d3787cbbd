//! The index of blobs: which vault has which, and where; what nobody names, and objects in which nothing lies.

use std::sync::Arc;

use lockstep_events::{BlobHash, Micros, VaultId};
use lockstepd::blobs::{BlobIndex, BlobPlace, Held};
use uuid::Uuid;

use crate::over_every_adapter;

over_every_adapter! { sqlite = crate::open::sqlite_index, postgres = crate::open::postgres_index; {
    a_new_index_finds_nothing;
    a_blob_is_found_where_it_was_entered;
    a_blob_keeps_its_first_place;
    a_blob_belongs_to_its_vault_alone;
    the_blobs_of_a_vault_are_told_page_by_page_named_or_not;
    naming_finds_what_finding_finds;
    hundreds_of_blobs_are_entered_and_found_in_one_call;
    many_enter_the_same_blobs_at_the_same_time;
    a_removed_blob_is_not_found_and_its_object_is_empty;
    an_object_in_which_another_blob_lies_is_not_empty;
    removing_what_is_not_there_empties_nothing;
    an_unnamed_blob_goes_when_it_was_seen_twice_far_enough_apart;
    a_young_blob_is_not_swept_however_often_it_is_seen;
    a_named_blob_is_never_swept;
    a_blob_that_is_named_after_it_was_seen_stays;
    an_object_without_a_blob_is_an_orphan_when_it_is_seen_again_later;
    an_object_with_a_blob_is_no_orphan;
    an_object_that_got_a_blob_after_it_was_seen_is_no_orphan;
    a_forgotten_orphan_is_seen_as_if_for_the_first_time;
    the_mark_of_a_blob_rises_whenever_it_is_named;
    a_blob_that_was_named_since_its_mark_was_read_is_not_removed;
    two_who_take_out_the_last_two_blobs_of_an_object_leave_it_to_exactly_one;
    into_a_doomed_object_no_blob_is_entered;
    objects_are_told_page_by_page_with_what_lies_in_them;
    a_doomed_object_is_told_until_it_is_forgotten;
    of_a_removal_and_a_naming_at_the_same_time_one_comes_first;
}}

fn vault(n: u128) -> VaultId {
    VaultId(Uuid::from_u128(n))
}

fn hash(n: u32) -> BlobHash {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    BlobHash(bytes)
}

fn place(pack: &str, offset: u64, length: u64) -> BlobPlace {
    BlobPlace { pack: pack.to_owned(), offset, length }
}

fn objects(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Enters blobs 1, 2, … of vault 1 into one object, ten bytes each.
async fn pack(index: &dyn BlobIndex, object: &str, blobs: std::ops::Range<u32>, at: i64) {
    let places: Vec<_> = blobs.map(|n| (hash(n), place(object, u64::from(n) * 10, 10))).collect();
    index.insert(vault(1), &places, Micros(at)).await.unwrap();
}

/// Takes blobs out, as they are now.
async fn remove(index: &dyn BlobIndex, of: u128, blobs: &[u32]) -> Vec<String> {
    let hashes: Vec<_> = blobs.iter().map(|n| hash(*n)).collect();
    let marks = index.marks(vault(of), &hashes).await.unwrap();
    index.remove(vault(of), &marks, Micros(i64::MAX), Micros(1)).await.unwrap()
}

async fn there(index: &dyn BlobIndex, n: u32) -> bool {
    !index.find(vault(1), &[hash(n)]).await.unwrap().is_empty()
}

async fn a_new_index_finds_nothing(index: Arc<dyn BlobIndex>) {
    assert_eq!(index.find(vault(1), &[hash(1)]).await.unwrap(), []);
    assert_eq!(index.name(vault(1), &[hash(1)], Micros(1)).await.unwrap(), []);
    assert_eq!(index.find(vault(1), &[]).await.unwrap(), []);
}

async fn a_blob_is_found_where_it_was_entered(index: Arc<dyn BlobIndex>) {
    let huge = place("packs/b", u64::from(u32::MAX) * 4, 100 * 1024 * 1024);
    let blobs = [(hash(1), place("packs/a", 0, 5)), (hash(2), huge.clone())];
    index.insert(vault(1), &blobs, Micros(1)).await.unwrap();
    assert_eq!(index.find(vault(1), &[hash(2), hash(3)]).await.unwrap(), [(hash(2), huge)]);
    assert_eq!(index.find(vault(1), &[hash(1), hash(2)]).await.unwrap().len(), 2);
}

async fn a_blob_keeps_its_first_place(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..2, 1).await;
    pack(&*index, "packs/b", 1..3, 2).await;
    let found = index.find(vault(1), &[hash(1)]).await.unwrap();
    assert_eq!(found[0].1.pack, "packs/a");
    assert_eq!(index.find(vault(1), &[hash(2)]).await.unwrap()[0].1.pack, "packs/b");
}

async fn a_blob_belongs_to_its_vault_alone(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..2, 1).await;
    assert_eq!(index.find(vault(2), &[hash(1)]).await.unwrap(), []);
    assert_eq!(index.name(vault(2), &[hash(1)], Micros(1)).await.unwrap(), []);
    index.insert(vault(2), &[(hash(1), place("packs/b", 0, 10))], Micros(1)).await.unwrap();
    assert_eq!(remove(&*index, 2, &[1]).await, ["packs/b"]);
    assert!(there(&*index, 1).await);
}

async fn the_blobs_of_a_vault_are_told_page_by_page_named_or_not(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..6, 1).await;
    index.insert(vault(2), &[(hash(9), place("packs/b", 0, 10))], Micros(1)).await.unwrap();
    index.name(vault(1), &[hash(2)], Micros(1)).await.unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = index.of_vault(vault(1), after, 2).await.unwrap();
        after = page.last().copied();
        all.extend(page);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, [1, 2, 3, 4, 5].map(hash));
}

async fn naming_finds_what_finding_finds(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..3, 1).await;
    let wanted = [hash(1), hash(2), hash(3)];
    let mut named = index.name(vault(1), &wanted, Micros(1)).await.unwrap();
    let mut found = index.find(vault(1), &wanted).await.unwrap();
    named.sort_unstable_by_key(|(hash, _)| *hash);
    found.sort_unstable_by_key(|(hash, _)| *hash);
    assert_eq!((named.len(), &named), (2, &found));
}

async fn hundreds_of_blobs_are_entered_and_found_in_one_call(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 0..600, 1).await;
    let all: Vec<_> = (0..600).map(hash).collect();
    let found = index.find(vault(1), &all).await.unwrap();
    assert_eq!(found.len(), 600);
    assert!(found.iter().all(|(_, place)| place.pack == "packs/a" && place.length == 10));
}

async fn many_enter_the_same_blobs_at_the_same_time(index: Arc<dyn BlobIndex>) {
    let entering = (0..8).map(|n| {
        let index = Arc::clone(&index);
        tokio::spawn(async move { pack(&*index, &format!("packs/{n}"), 0..20, 1).await })
    });
    for one in entering.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let all: Vec<_> = (0..20).map(hash).collect();
    assert_eq!(index.find(vault(1), &all).await.unwrap().len(), 20);
}

async fn a_removed_blob_is_not_found_and_its_object_is_empty(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..3, 1).await;
    index.name(vault(1), &[hash(1)], Micros(1)).await.unwrap();
    assert_eq!(remove(&*index, 1, &[1, 2]).await, ["packs/a"]);
    assert!(!there(&*index, 1).await && !there(&*index, 2).await);
}

async fn an_object_in_which_another_blob_lies_is_not_empty(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..3, 1).await;
    assert!(remove(&*index, 1, &[1]).await.is_empty());
    assert!(there(&*index, 2).await);
    assert_eq!(remove(&*index, 1, &[2]).await, ["packs/a"]);
}

async fn removing_what_is_not_there_empties_nothing(index: Arc<dyn BlobIndex>) {
    assert!(remove(&*index, 1, &[1]).await.is_empty());
    assert!(remove(&*index, 1, &[]).await.is_empty());
}

async fn an_unnamed_blob_goes_when_it_was_seen_twice_far_enough_apart(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..2, 10).await;
    assert_eq!(index.sweep_unnamed(Micros(11), Micros(50), Micros(100)).await.unwrap(), 0);
    // Seen at 100, and that is not before 100.
    assert_eq!(index.sweep_unnamed(Micros(11), Micros(100), Micros(150)).await.unwrap(), 0);
    assert!(there(&*index, 1).await);
    assert_eq!(index.sweep_unnamed(Micros(11), Micros(101), Micros(200)).await.unwrap(), 1);
    assert!(!there(&*index, 1).await);
}

async fn a_young_blob_is_not_swept_however_often_it_is_seen(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..2, 10).await;
    for now in 100..104 {
        assert_eq!(index.sweep_unnamed(Micros(10), Micros(now), Micros(now)).await.unwrap(), 0);
    }
    assert!(there(&*index, 1).await);
}

async fn a_named_blob_is_never_swept(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..3, 10).await;
    index.name(vault(1), &[hash(1)], Micros(1)).await.unwrap();
    index.naming_ended(vault(1), &[hash(1)], true).await.unwrap();
    for now in 100..104 {
        index.sweep_unnamed(Micros(50), Micros(now), Micros(now)).await.unwrap();
    }
    assert!(there(&*index, 1).await && !there(&*index, 2).await);
}

async fn a_blob_that_is_named_after_it_was_seen_stays(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..2, 10).await;
    index.sweep_unnamed(Micros(50), Micros(50), Micros(100)).await.unwrap();
    index.name(vault(1), &[hash(1)], Micros(1)).await.unwrap();
    assert_eq!(index.sweep_unnamed(Micros(50), Micros(150), Micros(200)).await.unwrap(), 0);
    assert!(there(&*index, 1).await);
}

async fn an_object_without_a_blob_is_an_orphan_when_it_is_seen_again_later(index: Arc<dyn BlobIndex>) {
    let object = objects(&["packs/a", "packs/b"]);
    assert!(index.orphans(&object, Micros(50), Micros(100)).await.unwrap().is_empty());
    assert!(index.orphans(&object, Micros(100), Micros(150)).await.unwrap().is_empty());
    assert_eq!(index.orphans(&object[..1], Micros(101), Micros(200)).await.unwrap(), ["packs/a"]);
    assert_eq!(index.orphans(&object, Micros(101), Micros(200)).await.unwrap(), object);
}

async fn an_object_with_a_blob_is_no_orphan(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..2, 1).await;
    for now in [100, 200, 300] {
        let orphans = index.orphans(&objects(&["packs/a"]), Micros(now), Micros(now)).await.unwrap();
        assert!(orphans.is_empty());
    }
}

async fn an_object_that_got_a_blob_after_it_was_seen_is_no_orphan(index: Arc<dyn BlobIndex>) {
    let object = objects(&["packs/a"]);
    index.orphans(&object, Micros(50), Micros(100)).await.unwrap();
    pack(&*index, "packs/a", 1..2, 150).await;
    assert!(index.orphans(&object, Micros(200), Micros(200)).await.unwrap().is_empty());
}

async fn a_forgotten_orphan_is_seen_as_if_for_the_first_time(index: Arc<dyn BlobIndex>) {
    let object = objects(&["packs/a"]);
    index.orphans(&object, Micros(50), Micros(100)).await.unwrap();
    index.forget_orphans(&object).await.unwrap();
    assert!(index.orphans(&object, Micros(150), Micros(150)).await.unwrap().is_empty());
    assert_eq!(index.orphans(&object, Micros(151), Micros(160)).await.unwrap(), object);
}

async fn the_mark_of_a_blob_rises_whenever_it_is_named(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..3, 1).await;
    let marks = || async { index.marks(vault(1), &[hash(1), hash(9)]).await.unwrap() };
    assert_eq!(marks().await, [(hash(1), 0)]);
    for mark in 1..4 {
        index.name(vault(1), &[hash(1), hash(9)], Micros(1)).await.unwrap();
        assert_eq!(marks().await, [(hash(1), mark)]);
    }
    assert_eq!(index.marks(vault(1), &[hash(2)]).await.unwrap(), [(hash(2), 0)]);
}

async fn a_blob_that_was_named_since_its_mark_was_read_is_not_removed(index: Arc<dyn BlobIndex>) {
    pack(&*index, "packs/a", 1..3, 1).await;
    let marks = index.marks(vault(1), &[hash(1), hash(2)]).await.unwrap();
    index.name(vault(1), &[hash(1)], Micros(1)).await.unwrap();
    assert!(index.remove(vault(1), &marks, Micros(i64::MAX), Micros(1)).await.unwrap().is_empty());
    assert!(there(&*index, 1).await && !there(&*index, 2).await);
}

async fn two_who_take_out_the_last_two_blobs_of_an_object_leave_it_to_exactly_one(index: Arc<dyn BlobIndex>) {
    for round in 0..10 {
        let object = format!("packs/{round}");
        pack(&*index, &object, 1..3, 1).await;
        let removing = [1, 2].map(|n| {
            let index = Arc::clone(&index);
            tokio::spawn(async move { remove(&*index, 1, &[n]).await })
        });
        let mut doomed = Vec::new();
        for one in removing {
            doomed.extend(one.await.unwrap());
        }
        assert_eq!(doomed, [object]);
    }
}

async fn into_a_doomed_object_no_blob_is_entered(index: Arc<dyn BlobIndex>) {
    pack(&*index, "direct/a", 1..2, 1).await;
    assert_eq!(remove(&*index, 1, &[1]).await, ["direct/a"]);
    pack(&*index, "direct/a", 1..2, 2).await;
    assert!(!there(&*index, 1).await);
    let object = objects(&["direct/b"]);
    index.orphans(&object, Micros(50), Micros(100)).await.unwrap();
    assert_eq!(index.orphans(&object, Micros(101), Micros(200)).await.unwrap(), object);
    pack(&*index, "direct/b", 1..2, 300).await;
    assert!(!there(&*index, 1).await);
    index.forget_orphans(&object).await.unwrap();
    pack(&*index, "direct/b", 1..2, 400).await;
    assert!(there(&*index, 1).await);
}

async fn a_doomed_object_is_told_until_it_is_forgotten(index: Arc<dyn BlobIndex>) {
    assert!(index.doomed(10).await.unwrap().is_empty());
    pack(&*index, "packs/b", 1..2, 1).await;
    pack(&*index, "packs/a", 2..3, 1).await;
    remove(&*index, 1, &[1, 2]).await;
    index.orphans(&objects(&["packs/c"]), Micros(50), Micros(100)).await.unwrap();
    assert_eq!(index.doomed(10).await.unwrap(), ["packs/a", "packs/b"]);
    assert_eq!(index.doomed(1).await.unwrap(), ["packs/a"]);
    index.forget_orphans(&objects(&["packs/a"])).await.unwrap();
    assert_eq!(index.doomed(10).await.unwrap(), ["packs/b"]);
}

async fn of_a_removal_and_a_naming_at_the_same_time_one_comes_first(index: Arc<dyn BlobIndex>) {
    for round in 0..20 {
        pack(&*index, &format!("packs/{round}"), round..round + 1, 1).await;
        let marks = index.marks(vault(1), &[hash(round)]).await.unwrap();
        let naming = {
            let index = Arc::clone(&index);
            tokio::spawn(async move { index.name(vault(1), &[hash(round)], Micros(1)).await.unwrap() })
        };
        let doomed = index.remove(vault(1), &marks, Micros(i64::MAX), Micros(1)).await.unwrap();
        let named = naming.await.unwrap();
        assert_eq!(named.is_empty(), doomed.len() == 1);
        assert_eq!(there(&*index, round).await, !named.is_empty());
    }
}

async fn objects_are_told_page_by_page_with_what_lies_in_them(index: Arc<dyn BlobIndex>) {
    assert!(index.objects(None, 10).await.unwrap().is_empty());
    pack(&*index, "packs/b", 1..3, 1).await;
    pack(&*index, "packs/a", 5..6, 1).await;
    index.insert(vault(2), &[(hash(1), place("packs/c", 0, 7))], Micros(1)).await.unwrap();
    let held = |object: &str, end, blobs, bytes| Held { object: object.to_owned(), end, blobs, bytes };
    let all = [held("packs/a", 60, 1, 10), held("packs/b", 30, 2, 20), held("packs/c", 7, 1, 7)];
    assert_eq!(index.objects(None, 10).await.unwrap(), all);
    assert_eq!(index.objects(None, 2).await.unwrap(), all[..2]);
    assert_eq!(index.objects(Some("packs/b"), 2).await.unwrap(), all[2..]);
}
