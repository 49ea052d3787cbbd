//! The index of blobs: room for what is still to come, and what waits for a version that names it.

use std::sync::Arc;

use lockstep_events::{BlobHash, Micros, VaultId};
use lockstepd::blobs::{BlobIndex, BlobPlace, Promise};
use uuid::Uuid;

use crate::over_every_adapter;

over_every_adapter! { sqlite = crate::open::sqlite_index, postgres = crate::open::postgres_index; {
    what_waits_is_what_was_promised_or_came_and_is_not_named;
    a_promise_is_kept_once_for_a_blob_and_only_where_it_is_asked_for;
    of_many_who_ask_at_the_same_time_no_more_are_promised_than_there_is_room;
    a_promise_is_broken_unless_its_bytes_may_lie_in_an_object;
    the_object_of_before_is_told_to_whoever_names_another_one;
    an_old_promise_is_swept_but_not_while_its_bytes_lie_in_an_orphan;
    a_vault_forgets_its_promises_and_no_others;
}}

fn vault(n: u128) -> VaultId {
    VaultId(Uuid::from_u128(n))
}

fn hash(n: u8) -> BlobHash {
    BlobHash([n; 32])
}

/// Asks for room for a blob of vault 1, of an account that has vault 2 too.
async fn promise(index: &dyn BlobIndex, n: u8, bytes: u64, room: u64) -> Result<(), u64> {
    let (vaults, blobs) = ([vault(1), vault(2)], [(hash(n), bytes)]);
    let asked =
        Promise { vaults: &vaults, vault: vault(1), blobs: &blobs, room, keep: true, now: Micros(10) };
    index.promise(&asked).await.unwrap()
}

/// How many bytes wait.
async fn waiting(index: &dyn BlobIndex) -> u64 {
    promise(index, 255, 1_000_000, 0).await.unwrap_err()
}

async fn enter(index: &dyn BlobIndex, of: u128, n: u8, object: &str, length: u64) {
    let place = BlobPlace { pack: object.to_owned(), offset: 0, length };
    index.insert(vault(of), &[(hash(n), place)], Micros(10)).await.unwrap();
}

async fn what_waits_is_what_was_promised_or_came_and_is_not_named(index: Arc<dyn BlobIndex>) {
    let index = &*index;
    promise(index, 1, 30, 100).await.unwrap();
    enter(index, 2, 2, "packs/b", 20).await;
    enter(index, 3, 3, "packs/c", 1000).await;
    assert_eq!(waiting(index).await, 50);
    assert_eq!(promise(index, 4, 51, 100).await, Err(50));
    assert_eq!(promise(index, 4, 50, 100).await, Ok(()));
    // It comes: the promise is over, and the blob waits in its stead.
    enter(index, 1, 4, "packs/a", 50).await;
    assert_eq!(waiting(index).await, 100);
    index.name(vault(1), &[hash(4)], Micros(10)).await.unwrap();
    assert_eq!(waiting(index).await, 100, "its version may still be refused");
    index.naming_ended(vault(1), &[hash(4)], true).await.unwrap();
    assert_eq!(waiting(index).await, 50);
}

async fn a_promise_is_kept_once_for_a_blob_and_only_where_it_is_asked_for(index: Arc<dyn BlobIndex>) {
    let index = &*index;
    for bytes in [60, 80, 70] {
        assert_eq!(promise(index, 1, bytes, 100).await, Ok(()));
    }
    assert_eq!(waiting(index).await, 80);
    let (vaults, blobs) = ([vault(1), vault(2)], [(hash(2), 20)]);
    let asked =
        Promise { vaults: &vaults, vault: vault(2), blobs: &blobs, room: 100, keep: false, now: Micros(10) };
    assert_eq!(index.promise(&asked).await.unwrap(), Ok(()));
    assert_eq!(waiting(index).await, 80);
}

async fn of_many_who_ask_at_the_same_time_no_more_are_promised_than_there_is_room(index: Arc<dyn BlobIndex>) {
    let asking = (0..30).map(|n| {
        let index = Arc::clone(&index);
        tokio::spawn(async move { promise(&*index, n, 10, 100).await })
    });
    let mut promised = 0;
    for one in asking.collect::<Vec<_>>() {
        promised += u32::from(one.await.unwrap().is_ok());
    }
    assert_eq!((promised, waiting(&*index).await), (10, 100));
}

async fn a_promise_is_broken_unless_its_bytes_may_lie_in_an_object(index: Arc<dyn BlobIndex>) {
    let index = &*index;
    promise(index, 1, 10, 100).await.unwrap();
    promise(index, 2, 20, 100).await.unwrap();
    assert_eq!(index.promised_at(vault(1), hash(2), "direct/a").await.unwrap(), None);
    for n in [1, 2] {
        index.break_promise(vault(1), hash(n)).await.unwrap();
    }
    assert_eq!(waiting(index).await, 20);
    // The object is gone, and with it what waits.
    index.forget_orphans(&["direct/a".to_owned()]).await.unwrap();
    assert_eq!(waiting(index).await, 0);
}

async fn the_object_of_before_is_told_to_whoever_names_another_one(index: Arc<dyn BlobIndex>) {
    let index = &*index;
    assert_eq!(index.promised_at(vault(1), hash(1), "large/a").await.unwrap(), None, "nothing was promised");
    promise(index, 1, 10, 100).await.unwrap();
    assert_eq!(index.promised_at(vault(1), hash(1), "large/a").await.unwrap(), None);
    assert_eq!(index.promised_at(vault(1), hash(1), "large/a").await.unwrap(), None);
    assert_eq!(index.promised_at(vault(1), hash(1), "large/b").await.unwrap().as_deref(), Some("large/a"));
    // Another hash than was promised: what came is what lies there.
    enter(index, 1, 7, "large/b", 9).await;
    assert_eq!(waiting(index).await, 9);
}

async fn an_old_promise_is_swept_but_not_while_its_bytes_lie_in_an_orphan(index: Arc<dyn BlobIndex>) {
    let index = &*index;
    for (n, object) in [(1, None), (2, Some("direct/a")), (3, Some("direct/b"))] {
        promise(index, n, 10, 100).await.unwrap();
        if let Some(object) = object {
            index.promised_at(vault(1), hash(n), object).await.unwrap();
        }
    }
    index.orphans(&["direct/b".to_owned()], Micros(0), Micros(11)).await.unwrap();
    assert_eq!(index.sweep_promises(Micros(10)).await.unwrap(), 0, "none is old enough");
    assert_eq!(index.sweep_promises(Micros(11)).await.unwrap(), 2);
    assert_eq!(waiting(index).await, 10);
}

async fn a_vault_forgets_its_promises_and_no_others(index: Arc<dyn BlobIndex>) {
    let index = &*index;
    promise(index, 1, 10, 100).await.unwrap();
    index.forget_promises(vault(2)).await.unwrap();
    assert_eq!(waiting(index).await, 10);
    index.forget_promises(vault(1)).await.unwrap();
    assert_eq!(waiting(index).await, 0);
}
