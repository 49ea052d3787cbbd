//! The index of blobs: a naming begins before its event is appended, and ends when it is known whether the event stands.

use std::sync::Arc;

use lockstep_events::{BlobHash, Micros, VaultId};
use lockstepd::blobs::{BlobIndex, BlobPlace, Promise, Settled};
use uuid::Uuid;

use crate::over_every_adapter;

over_every_adapter! { sqlite = crate::open::sqlite_index, postgres = crate::open::postgres_index; {
    a_blob_waits_until_a_naming_of_it_has_ended_well;
    a_blob_whose_naming_ended_badly_is_as_it_was_before;
    a_blob_that_somebody_is_naming_is_not_swept_however_long_it_takes;
    of_two_namings_one_that_ends_badly_takes_nothing_from_the_other;
    a_naming_that_does_not_end_is_told_after_its_time_and_once_it_is_settled_no_more;
    what_is_named_again_meanwhile_is_not_settled;
    a_blob_that_came_after_its_version_waits_and_is_not_swept_until_a_version_counts_it;
    a_blob_that_came_after_its_version_is_removed_like_any_other;
    a_blob_that_somebody_is_naming_is_not_removed_but_told_a_day_later;
    a_naming_that_ended_since_the_mark_was_read_keeps_the_blob;
    many_who_name_the_same_blobs_in_any_order_do_not_stand_in_each_others_way;
}}

fn vault(n: u128) -> VaultId {
    VaultId(Uuid::from_u128(n))
}

fn hash(n: u8) -> BlobHash {
    BlobHash([n; 32])
}

/// A blob of vault 1 of ten bytes in an object of its own.
async fn enter(index: &dyn BlobIndex, n: u8) {
    let place = BlobPlace { pack: format!("packs/{n}"), offset: 0, length: 10 };
    index.insert(vault(1), &[(hash(n), place)], Micros(10)).await.unwrap();
}

async fn begin(index: &dyn BlobIndex, n: u8, now: i64) {
    assert_eq!(index.name(vault(1), &[hash(n)], Micros(now)).await.unwrap().len(), 1);
}

async fn end(index: &dyn BlobIndex, n: u8, stands: bool) {
    index.naming_ended(vault(1), &[hash(n)], stands).await.unwrap();
}

async fn there(index: &dyn BlobIndex, n: u8) -> bool {
    !index.find(vault(1), &[hash(n)]).await.unwrap().is_empty()
}

/// How many bytes wait for a version that names them.
async fn waiting(index: &dyn BlobIndex) -> u64 {
    let (vaults, blobs) = ([vault(1)], [(hash(255), 1)]);
    let asked =
        Promise { vaults: &vaults, vault: vault(1), blobs: &blobs, room: 0, keep: false, now: Micros(1) };
    index.promise(&asked).await.unwrap().unwrap_err()
}

/// Two sweeps far enough apart.
async fn swept(index: &dyn BlobIndex) -> u64 {
    index.sweep_unnamed(Micros(50), Micros(50), Micros(100)).await.unwrap();
    index.sweep_unnamed(Micros(50), Micros(101), Micros(200)).await.unwrap()
}

async fn told(index: &dyn BlobIndex, before: i64) -> Vec<(VaultId, BlobHash)> {
    let endless = index.endless(Micros(before), None, 10).await.unwrap();
    endless.into_iter().map(|(vault, hash, _)| (vault, hash)).collect()
}

async fn a_blob_waits_until_a_naming_of_it_has_ended_well(index: Arc<dyn BlobIndex>) {
    enter(&*index, 1).await;
    begin(&*index, 1, 20).await;
    assert_eq!(waiting(&*index).await, 10, "its event may still be refused");
    end(&*index, 1, true).await;
    assert_eq!(waiting(&*index).await, 0);
    assert!(told(&*index, 1000).await.is_empty());
    assert_eq!(swept(&*index).await, 0);
    // Once more for another version, which is refused.
    begin(&*index, 1, 30).await;
    end(&*index, 1, false).await;
    assert_eq!((waiting(&*index).await, swept(&*index).await), (0, 0));
}

async fn a_blob_whose_naming_ended_badly_is_as_it_was_before(index: Arc<dyn BlobIndex>) {
    enter(&*index, 1).await;
    begin(&*index, 1, 20).await;
    end(&*index, 1, false).await;
    assert_eq!(waiting(&*index).await, 10);
    assert!(told(&*index, 1000).await.is_empty());
    assert_eq!(swept(&*index).await, 1);
    assert!(!there(&*index, 1).await);
}

async fn a_blob_that_somebody_is_naming_is_not_swept_however_long_it_takes(index: Arc<dyn BlobIndex>) {
    enter(&*index, 1).await;
    begin(&*index, 1, 20).await;
    assert_eq!(swept(&*index).await, 0);
    assert!(there(&*index, 1).await);
}

async fn of_two_namings_one_that_ends_badly_takes_nothing_from_the_other(index: Arc<dyn BlobIndex>) {
    for (n, first_stands) in [(1, true), (2, false)] {
        enter(&*index, n).await;
        begin(&*index, n, 20).await;
        begin(&*index, n, 21).await;
        end(&*index, n, first_stands).await;
        assert_eq!(swept(&*index).await, 0, "one of them has not ended");
        end(&*index, n, !first_stands).await;
        assert_eq!((waiting(&*index).await, swept(&*index).await), (0, 0));
        assert!(there(&*index, n).await && told(&*index, 1000).await.is_empty());
    }
}

async fn a_naming_that_does_not_end_is_told_after_its_time_and_once_it_is_settled_no_more(
    index: Arc<dyn BlobIndex>,
) {
    for n in [3, 1, 2, 4] {
        enter(&*index, n).await;
    }
    for (n, now) in [(1, 20), (2, 21), (3, 30), (1, 22)] {
        begin(&*index, n, now).await;
    }
    assert_eq!(told(&*index, 21).await, [], "the last naming of a blob counts");
    let endless = index.endless(Micros(30), None, 10).await.unwrap();
    assert_eq!(endless, [(vault(1), hash(1), 2), (vault(1), hash(2), 1)]);
    let pages = [None, Some((vault(1), hash(1))), Some((vault(1), hash(2)))];
    for (after, expected) in pages.into_iter().zip([vec![1], vec![2], vec![]]) {
        let page = index.endless(Micros(30), after, 1).await.unwrap();
        assert_eq!(page.iter().map(|(_, hash, _)| hash.0[0]).collect::<Vec<_>>(), expected);
    }
    index.naming_settled(vault(1), &[(hash(1), 2)], Settled::Named).await.unwrap();
    index.naming_settled(vault(1), &[(hash(2), 1)], Settled::Unnamed).await.unwrap();
    assert!(told(&*index, 30).await.is_empty());
    assert_eq!(told(&*index, 31).await, [(vault(1), hash(3))]);
    // 2 and 4 are named by nobody, 3 not yet.
    assert_eq!((waiting(&*index).await, swept(&*index).await), (30, 2));
    assert!(there(&*index, 1).await && there(&*index, 3).await);
}

async fn what_is_named_again_meanwhile_is_not_settled(index: Arc<dyn BlobIndex>) {
    enter(&*index, 1).await;
    begin(&*index, 1, 20).await;
    let (_, hash, mark) = index.endless(Micros(30), None, 10).await.unwrap()[0];
    begin(&*index, 1, 40).await;
    index.naming_settled(vault(1), &[(hash, mark)], Settled::Unnamed).await.unwrap();
    assert_eq!(swept(&*index).await, 0);
    end(&*index, 1, true).await;
    assert_eq!((waiting(&*index).await, there(&*index, 1).await), (0, true));
}

async fn late(index: &dyn BlobIndex, n: u8) {
    enter(index, n).await;
    begin(index, n, 20).await;
    index.naming_settled(vault(1), &[(hash(n), 1)], Settled::Late).await.unwrap();
}

async fn a_blob_that_came_after_its_version_waits_and_is_not_swept_until_a_version_counts_it(
    index: Arc<dyn BlobIndex>,
) {
    for n in [1, 2] {
        late(&*index, n).await;
    }
    assert_eq!((waiting(&*index).await, swept(&*index).await), (20, 0));
    assert_eq!(told(&*index, 1000).await, [], "the log was asked");
    for n in [1, 2] {
        begin(&*index, n, 30).await;
        end(&*index, n, n == 1).await;
    }
    assert_eq!((waiting(&*index).await, swept(&*index).await), (10, 0));
    let asked = [(vault(1), hash(1)), (vault(1), hash(2))];
    assert_eq!(told(&*index, 1000).await, asked, "what somebody named since is asked of the log again");
    index.naming_settled(vault(1), &[(hash(1), 3)], Settled::Named).await.unwrap();
    index.naming_settled(vault(1), &[(hash(2), 2)], Settled::Unnamed).await.unwrap();
    assert_eq!((waiting(&*index).await, swept(&*index).await), (10, 1));
    assert!(there(&*index, 1).await && !there(&*index, 2).await);
}

async fn a_blob_that_came_after_its_version_is_removed_like_any_other(index: Arc<dyn BlobIndex>) {
    late(&*index, 1).await;
    let marks = index.marks(vault(1), &[hash(1)]).await.unwrap();
    // Nobody has been naming it since then.
    assert_eq!(index.remove(vault(1), &marks, Micros(20), Micros(40)).await.unwrap(), ["packs/1"]);
    assert_eq!((waiting(&*index).await, there(&*index, 1).await), (0, false));
}

async fn a_blob_that_somebody_is_naming_is_not_removed_but_told_a_day_later(index: Arc<dyn BlobIndex>) {
    enter(&*index, 1).await;
    begin(&*index, 1, 20).await;
    end(&*index, 1, true).await;
    begin(&*index, 1, 30).await;
    let marks = index.marks(vault(1), &[hash(1)]).await.unwrap();
    let removed = index.remove(vault(1), &marks, Micros(30), Micros(35)).await.unwrap();
    assert!(removed.is_empty() && there(&*index, 1).await);
    // Its event is refused; that of before was let go.
    end(&*index, 1, false).await;
    assert_eq!(told(&*index, 36).await, [(vault(1), hash(1))]);
    // Who began long ago is dead.
    assert_eq!(index.remove(vault(1), &marks, Micros(36), Micros(40)).await.unwrap(), ["packs/1"]);
    assert!(!there(&*index, 1).await && told(&*index, 1000).await.is_empty());
}

async fn a_naming_that_ended_since_the_mark_was_read_keeps_the_blob(index: Arc<dyn BlobIndex>) {
    enter(&*index, 1).await;
    begin(&*index, 1, 20).await;
    let marks = index.marks(vault(1), &[hash(1)]).await.unwrap();
    end(&*index, 1, true).await;
    assert!(index.remove(vault(1), &marks, Micros(i64::MAX), Micros(30)).await.unwrap().is_empty());
    assert!(there(&*index, 1).await);
}

async fn many_who_name_the_same_blobs_in_any_order_do_not_stand_in_each_others_way(
    index: Arc<dyn BlobIndex>,
) {
    for n in 0..20 {
        enter(&*index, n).await;
    }
    let naming = (0..8).map(|turn| {
        let index = Arc::clone(&index);
        let mut hashes: Vec<_> = (0..20).map(hash).collect();
        hashes.rotate_left(turn);
        tokio::spawn(async move {
            for _ in 0..5 {
                index.name(vault(1), &hashes, Micros(20)).await.unwrap();
                hashes.reverse();
                index.naming_ended(vault(1), &hashes, turn == 0).await.unwrap();
            }
        })
    });
    for one in naming.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert!(told(&*index, 1000).await.is_empty());
    assert_eq!(index.marks(vault(1), &[hash(7)]).await.unwrap(), [(hash(7), 45)]);
}
