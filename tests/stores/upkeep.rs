//! The index of blobs: what its upkeep needs. Shares of objects, other places, unfinished uploads, turns.

use std::sync::Arc;

use lockstep_events::{BlobHash, Micros, VaultId};
use lockstepd::blobs::{BlobIndex, BlobPlace, Lying};
use uuid::Uuid;

use crate::over_every_adapter;

over_every_adapter! { sqlite = crate::open::sqlite_index, postgres = crate::open::postgres_index; {
    the_used_bytes_of_objects_are_those_of_their_blobs;
    the_blobs_in_an_object_are_told_whoever_owns_them;
    relocated_blobs_are_found_at_their_new_place;
    a_blob_that_lies_elsewhere_or_nowhere_is_not_relocated;
    of_two_relocations_each_blob_follows_the_first;
    a_relocated_blob_stays_named;
    uploads_that_were_begun_long_ago_are_told_until_they_end;
    a_turn_is_taken_once_in_its_time;
    a_turn_that_a_clock_far_ahead_has_taken_is_not_waited_for;
    of_many_who_take_a_turn_exactly_one_has_it;
}}

fn vault(n: u128) -> VaultId {
    VaultId(Uuid::from_u128(n))
}

fn hash(n: u8) -> BlobHash {
    BlobHash([n; 32])
}

fn lying(of: u128, n: u8, offset: u64, length: u64) -> Lying {
    Lying { vault: vault(of), hash: hash(n), offset, length }
}

async fn enter(index: &dyn BlobIndex, object: &str, blob: Lying) {
    let place = BlobPlace { pack: object.to_owned(), offset: blob.offset, length: blob.length };
    index.insert(blob.vault, &[(blob.hash, place)], Micros(1)).await.unwrap();
}

async fn place(index: &dyn BlobIndex, of: u128, n: u8) -> (String, u64, u64) {
    let found = index.find(vault(of), &[hash(n)]).await.unwrap().remove(0).1;
    (found.pack, found.offset, found.length)
}

fn at(pack: &str, offset: u64, length: u64) -> (String, u64, u64) {
    (pack.to_owned(), offset, length)
}

async fn the_used_bytes_of_objects_are_those_of_their_blobs(index: Arc<dyn BlobIndex>) {
    enter(&*index, "packs/a", lying(1, 1, 0, 5_000_000_000)).await;
    enter(&*index, "packs/a", lying(1, 2, 10, 7)).await;
    enter(&*index, "packs/b", lying(2, 1, 0, 3)).await;
    let objects = ["packs/a", "packs/b", "packs/c"].map(str::to_owned);
    let mut used = index.used(&objects).await.unwrap();
    used.sort();
    assert_eq!(used, [("packs/a".to_owned(), 5_000_000_007), ("packs/b".to_owned(), 3)]);
    assert!(index.used(&[]).await.unwrap().is_empty());
}

async fn the_blobs_in_an_object_are_told_whoever_owns_them(index: Arc<dyn BlobIndex>) {
    let all = [lying(1, 1, 0, 5), lying(1, 2, 5, 6), lying(2, 1, 11, 7)];
    for blob in all {
        enter(&*index, "packs/a", blob).await;
    }
    enter(&*index, "packs/b", lying(1, 3, 0, 1)).await;
    let mut found = index.lying_in("packs/a").await.unwrap();
    found.sort_by_key(|blob| blob.offset);
    assert_eq!(found, all);
    assert!(index.lying_in("packs/c").await.unwrap().is_empty());
}

async fn relocated_blobs_are_found_at_their_new_place(index: Arc<dyn BlobIndex>) {
    for blob in [lying(1, 1, 0, 5), lying(1, 2, 5, 6), lying(2, 1, 11, 7)] {
        enter(&*index, "packs/a", blob).await;
    }
    let moved = [lying(1, 2, 0, 6), lying(2, 1, 6, 7)];
    index.relocate("packs/a", "packs/b", &moved).await.unwrap();
    assert_eq!(place(&*index, 1, 1).await, at("packs/a", 0, 5));
    assert_eq!(place(&*index, 1, 2).await, at("packs/b", 0, 6));
    assert_eq!(place(&*index, 2, 1).await, at("packs/b", 6, 7));
}

async fn a_blob_that_lies_elsewhere_or_nowhere_is_not_relocated(index: Arc<dyn BlobIndex>) {
    enter(&*index, "packs/c", lying(1, 1, 9, 5)).await;
    index.relocate("packs/a", "packs/b", &[lying(1, 1, 0, 5), lying(1, 2, 5, 5)]).await.unwrap();
    assert_eq!(place(&*index, 1, 1).await, at("packs/c", 9, 5));
    assert!(index.find(vault(1), &[hash(2)]).await.unwrap().is_empty());
}

async fn of_two_relocations_each_blob_follows_the_first(index: Arc<dyn BlobIndex>) {
    enter(&*index, "packs/a", lying(1, 1, 0, 5)).await;
    index.relocate("packs/a", "packs/b", &[lying(1, 1, 0, 5)]).await.unwrap();
    index.relocate("packs/a", "packs/c", &[lying(1, 1, 0, 5)]).await.unwrap();
    assert_eq!(place(&*index, 1, 1).await, at("packs/b", 0, 5));
    let orphans = ["packs/a", "packs/b", "packs/c"].map(str::to_owned);
    index.orphans(&orphans, Micros(1), Micros(10)).await.unwrap();
    assert_eq!(index.orphans(&orphans, Micros(20), Micros(20)).await.unwrap(), ["packs/a", "packs/c"]);
}

async fn a_relocated_blob_stays_named(index: Arc<dyn BlobIndex>) {
    enter(&*index, "packs/a", lying(1, 1, 0, 5)).await;
    index.name(vault(1), &[hash(1)], Micros(1)).await.unwrap();
    index.naming_ended(vault(1), &[hash(1)], true).await.unwrap();
    index.relocate("packs/a", "packs/b", &[lying(1, 1, 0, 5)]).await.unwrap();
    for now in [100, 200] {
        index.sweep_unnamed(Micros(50), Micros(now), Micros(now)).await.unwrap();
    }
    assert_eq!(place(&*index, 1, 1).await, at("packs/b", 0, 5));
    assert_eq!(index.marks(vault(1), &[hash(1)]).await.unwrap(), [(hash(1), 2)]);
}

async fn uploads_that_were_begun_long_ago_are_told_until_they_end(index: Arc<dyn BlobIndex>) {
    for (object, at) in [("large/a", 30), ("large/b", 10), ("large/c", 20)] {
        index.upload_started(object, &format!("{object}~id"), Micros(at)).await.unwrap();
    }
    let old = |object: &str| (object.to_owned(), format!("{object}~id"));
    assert_eq!(index.uploads_before(Micros(30), 10).await.unwrap(), [old("large/b"), old("large/c")]);
    assert_eq!(index.uploads_before(Micros(30), 1).await.unwrap(), [old("large/b")]);
    let open = async |prefix: &str| index.uploads_under(prefix).await.unwrap();
    assert_eq!([open("large/").await, open("large/b").await, open("large/%").await], [3, 1, 0]);
    assert_eq!(index.upload_to("large/b").await.unwrap().as_deref(), Some("large/b~id"));
    index.upload_ended("large/b").await.unwrap();
    assert_eq!(index.upload_to("large/b").await.unwrap(), None);
    assert_eq!(index.upload_to("large/a").await.unwrap().as_deref(), Some("large/a~id"));
    index.upload_ended("large/b").await.unwrap();
    assert_eq!(index.uploads_before(Micros(31), 10).await.unwrap(), [old("large/c"), old("large/a")]);
}

async fn a_turn_is_taken_once_in_its_time(index: Arc<dyn BlobIndex>) {
    assert!(index.take_turn("sweep", Micros(0), Micros(100)).await.unwrap());
    assert!(!index.take_turn("sweep", Micros(100), Micros(150)).await.unwrap());
    assert!(index.take_turn("prune", Micros(0), Micros(150)).await.unwrap());
    assert!(index.take_turn("sweep", Micros(101), Micros(200)).await.unwrap());
    assert!(!index.take_turn("sweep", Micros(101), Micros(300)).await.unwrap());
}

async fn a_turn_that_a_clock_far_ahead_has_taken_is_not_waited_for(index: Arc<dyn BlobIndex>) {
    let now = Micros(1_800_000_000_000_000);
    let ahead = now.plus_seconds(60 * 24 * 3600);
    assert!(index.take_turn("sweep", Micros(0), ahead).await.unwrap());
    assert!(index.take_turn("sweep", now.plus_seconds(-24 * 3600), now).await.unwrap());
    let slow = now.plus_seconds(-3600);
    assert!(!index.take_turn("sweep", slow.plus_seconds(-24 * 3600), slow).await.unwrap(), "near enough");
    assert!(!index.take_turn("sweep", now.plus_seconds(-24 * 3600), now.plus_seconds(60)).await.unwrap());
}

async fn of_many_who_take_a_turn_exactly_one_has_it(index: Arc<dyn BlobIndex>) {
    for round in 1..4 {
        let taking = (0..8).map(|_| {
            let index = Arc::clone(&index);
            tokio::spawn(async move {
                index.take_turn("sweep", Micros(round * 100), Micros(round * 100)).await.unwrap()
            })
        });
        let mut taken = 0;
        for one in taking.collect::<Vec<_>>() {
            taken += usize::from(one.await.unwrap());
        }
        assert_eq!(taken, 1);
    }
}
