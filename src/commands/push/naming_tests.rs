//! Blobs that are named for a version: one that is refused leaves them to the plan and to the sweep, and one that stands
//! keeps them, whatever dies in between.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
};

use lockstep_events::{
    BlobHash, Clock, LogError, Micros,
    canonical::sha256,
    testing::{HookedLog, MemoryLog},
};
use tempfile::TempDir;
use tokio::sync::Barrier;
use uuid::Uuid;

use super::{
    pruned_tests::Later,
    tests::{VAULT, edit, entry, founding, id, node, push},
    *,
};
use crate::{
    blobs::{
        BlobPlace, Keepers, Promise, Shelf, sweep,
        testing::{index_in, no_blobs},
    },
    commands::prune::{Pruner, Retention},
};

#[derive(Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Micros {
        Micros(1_700_000_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

/// A node whose shelf has an index.
struct World {
    log: Arc<dyn EventLog>,
    shelf: Arc<Shelf>,
    clock: Arc<TestClock>,
    _folder: TempDir,
}

impl World {
    async fn over(log: HookedLog) -> Self {
        let log: Arc<dyn EventLog> = Arc::new(log);
        let folder = tempfile::tempdir().unwrap();
        let index = index_in(folder.path()).await;
        let clock = Arc::new(TestClock::default());
        let shelf = Shelf { store: no_blobs().store, index, clock: clock.clone() };
        Self { log, shelf: Arc::new(shelf), clock, _folder: folder }
    }

    fn node(&self) -> Pusher {
        Pusher { shelf: Arc::clone(&self.shelf), ..node(&self.log) }
    }

    /// An upload of so many bytes.
    async fn uploaded(&self, name: &str, length: u64) -> BlobHash {
        let hash = BlobHash(sha256(name.as_bytes()));
        let place = BlobPlace { pack: format!("packs/{name}"), offset: 0, length };
        self.shelf.index.insert(VAULT, &[(hash, place)], self.clock.now()).await.unwrap();
        hash
    }

    async fn has(&self, hash: BlobHash) -> bool {
        !self.shelf.index.find(VAULT, &[hash]).await.unwrap().is_empty()
    }

    /// How many bytes count in the plan because no version names them.
    async fn waiting(&self) -> u64 {
        let (vaults, blobs) = ([VAULT], [(BlobHash([9; 32]), 1)]);
        let asked =
            Promise { vaults: &vaults, vault: VAULT, blobs: &blobs, room: 0, keep: false, now: Micros(1) };
        self.shelf.index.promise(&asked).await.unwrap().unwrap_err()
    }

    /// A day passes, and a sweep, and half a day, and another one.
    async fn sweep(&self) {
        for hours in [25, 12] {
            self.clock.0.fetch_add(hours * 3_600_000_000, Ordering::SeqCst);
            sweep(&self.shelf, &*self.log).await.unwrap();
        }
    }
}

fn memory() -> Arc<MemoryLog> {
    Arc::new(MemoryLog::new(Uuid::nil()))
}

/// A version with an attachment.
fn with(attachment: BlobHash, item: Item) -> Item {
    Item { attachments: vec![attachment], ..item }
}

fn away() -> LogError {
    LogError::Unavailable("away".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pushes_at_once_on_one_entry_the_losers_upload_counts_until_it_is_swept() {
    let (both, appends) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let log = memory();
    log.append(&[founding()], Micros(1)).await.unwrap();
    // Each has named its blob when the first of them is appended.
    let log = HookedLog::new(log).before(move |_| {
        let (both, number) = (Arc::clone(&both), appends.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move {
            if (1..=2).contains(&number) {
                both.wait().await;
            }
            Ok(())
        })
    });
    let world = World::over(log).await;
    let root = edit(1, entry(1), &[], "root");
    world.node().push(push(1, vec![root.clone()])).await.unwrap();
    let hashes = [world.uploaded("one", 4000).await, world.uploaded("two", 5000).await];
    let sending = hashes.map(|hash| {
        let item = with(hash, edit(1, entry(1), &[id(&root)], &hash.to_string()));
        let push = push(1, vec![Item { expect_heads: Some(vec![id(&root)]), ..item }]);
        let node = world.node();
        tokio::spawn(async move { node.push(push).await.unwrap().answers.remove(0).1 })
    });
    let mut taken = HashMap::new();
    for (sending, hash) in sending.into_iter().zip(hashes) {
        let answer = sending.await.unwrap();
        let is_refused = matches!(&answer, Answer::Refused { refusal: Refusal::PreconditionFailed, .. });
        assert!(is_refused || matches!(&answer, Answer::Accepted { .. }), "{answer:?}");
        taken.insert(!is_refused, hash);
    }
    assert_eq!(taken.len(), 2, "exactly one of them loses");
    let (kept, lost) = (taken[&true], taken[&false]);
    assert_eq!(world.waiting().await, if lost == hashes[0] { 4000 } else { 5000 });
    world.sweep().await;
    assert_eq!((world.has(kept).await, world.has(lost).await, world.waiting().await), (true, false, 0));
}

#[tokio::test]
async fn what_was_named_by_a_push_that_died_before_its_append_counts_until_it_is_swept() {
    let log = memory();
    log.append(&[founding()], Micros(1)).await.unwrap();
    let world = World::over(HookedLog::new(log).before(|_| Box::pin(async { Err(away()) }))).await;
    let hash = world.uploaded("one", 4000).await;
    let item = with(hash, edit(1, entry(1), &[], "one"));
    world.node().push(push(1, vec![item])).await.unwrap_err();
    assert_eq!(world.waiting().await, 4000);
    // Not a day old: somebody may still be on the way.
    world.clock.0.fetch_add(23 * 3_600_000_000, Ordering::SeqCst);
    sweep(&world.shelf, &*world.log).await.unwrap();
    assert_eq!((world.has(hash).await, world.waiting().await), (true, 4000));
    world.sweep().await;
    assert_eq!((world.has(hash).await, world.waiting().await), (false, 0));
}

#[tokio::test]
async fn what_a_version_names_whose_push_died_after_its_append_is_never_swept() {
    let log = memory();
    log.append(&[founding()], Micros(1)).await.unwrap();
    let dead = Arc::new(AtomicBool::new(true));
    let dies = Arc::clone(&dead);
    let log = HookedLog::new(log).after(move |_| {
        let dies = dies.load(Ordering::SeqCst);
        Box::pin(async move { if dies { Err(away()) } else { Ok(()) } })
    });
    let world = World::over(log).await;
    let hash = world.uploaded("one", 4000).await;
    let item = with(hash, edit(1, entry(1), &[], "one"));
    world.node().push(push(1, vec![item.clone()])).await.unwrap_err();
    assert_eq!(world.waiting().await, 4000, "nobody has noted that it stands");
    for _ in 0..2 {
        world.sweep().await;
        assert_eq!((world.has(hash).await, world.waiting().await), (true, 0), "the log says that it does");
    }
    dead.store(false, Ordering::SeqCst);
    let answer = world.node().push(push(1, vec![item])).await.unwrap().answers.remove(0).1;
    assert!(matches!(answer, Answer::Duplicate { .. }), "{answer:?}");
}

/// After a restore another device has offered the version without its file, and the owner of the file comes second.
#[tokio::test]
async fn a_file_that_comes_after_its_version_stands_is_never_swept_and_counts_and_one_that_it_does_not_name_is_swept()
 {
    let log = memory();
    log.append(&[founding()], Micros(1)).await.unwrap();
    let world = World::over(HookedLog::new(log)).await;
    let [file, other] = ["file", "other"].map(|name| BlobHash(sha256(name.as_bytes())));
    // One node: it knows the entry, and looks up what comes again.
    let node = world.node();
    let item = with(file, edit(1, entry(1), &[], "one"));
    let again = |item| Push { reoffer: true, ..push(1, vec![item]) };
    let answer = node.push(again(item.clone())).await.unwrap().answers.remove(0).1;
    assert!(matches!(answer, Answer::Accepted { .. }), "it lacks its file: {answer:?}");
    for (name, length) in [("file", 4000), ("other", 5000)] {
        world.uploaded(name, length).await;
    }
    for attachments in [vec![file], vec![other]] {
        let push = again(Item { attachments, ..item.clone() });
        let answer = node.push(push).await.unwrap().answers.remove(0).1;
        assert!(matches!(answer, Answer::Duplicate { .. }), "{answer:?}");
    }
    for _ in 0..2 {
        world.sweep().await;
        let left = (world.has(file).await, world.has(other).await, world.waiting().await);
        assert_eq!(left, (true, false, 4000), "the log has no length for the file: it counts as what waits");
    }
    // The next version of the entry brings its length into the log.
    let next = with(file, edit(1, entry(1), &[id(&item)], "two"));
    let answer = node.push(push(1, vec![next])).await.unwrap().answers.remove(0).1;
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    for _ in 0..2 {
        assert_eq!(world.waiting().await, 0, "it counts where it stands");
        world.sweep().await;
        assert!(world.has(file).await);
    }
}

#[tokio::test]
async fn a_file_without_a_length_in_the_log_counts_again_once_the_other_entry_that_counted_it_lets_it_go() {
    let log = memory();
    log.append(&[founding()], Micros(1)).await.unwrap();
    let world = World::over(HookedLog::new(log)).await;
    let (file, node) = (BlobHash(sha256(b"file")), world.node());
    let lacks_it = with(file, edit(1, entry(1), &[], "one"));
    let has_it = with(file, edit(1, entry(2), &[], "two"));
    let bare = edit(1, entry(2), &[id(&has_it)], "three");
    let send = async |item, reoffer| {
        let push = Push { reoffer, ..push(1, vec![item]) };
        let answer = node.push(push).await.unwrap().answers.remove(0).1;
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    };
    send(lacks_it, true).await;
    world.uploaded("file", 4000).await;
    send(has_it, false).await;
    send(bare, false).await;
    assert_eq!(world.waiting().await, 0, "the second entry counts it");
    let pruner = Pruner {
        log: Arc::clone(&world.log),
        batcher: node.batcher.clone(),
        entries: Arc::clone(&node.entries),
        shelf: Arc::clone(&world.shelf),
        keepers: Keepers::new(Arc::clone(&world.log)),
        clock: Arc::new(Later),
    };
    let keep_one = Retention { versions: 1, days: 0 };
    assert_eq!(pruner.prune(VAULT, entry(2), keep_one).await.unwrap(), 1);
    for _ in 0..2 {
        world.sweep().await;
        assert_eq!((world.has(file).await, world.waiting().await), (true, 4000));
    }
}

/// A node that does not know the entry looks up nothing for a first version: the log tells that it stands.
#[tokio::test]
async fn what_comes_with_a_repeated_version_to_another_node_counts_until_it_is_swept_unless_the_version_names_it()
 {
    let log = memory();
    log.append(&[founding()], Micros(1)).await.unwrap();
    let world = World::over(HookedLog::new(log)).await;
    let [own, other] = [world.uploaded("own", 4000).await, world.uploaded("other", 5000).await];
    let item = with(own, edit(1, entry(1), &[], "one"));
    let answer = world.node().push(push(1, vec![item.clone()])).await.unwrap().answers.remove(0).1;
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    assert_eq!(world.waiting().await, 5000);
    for attachment in [own, other] {
        let again = Item { attachments: vec![attachment], ..item.clone() };
        let answer = world.node().push(push(1, vec![again])).await.unwrap().answers.remove(0).1;
        assert!(matches!(answer, Answer::Duplicate { .. }), "{answer:?}");
        assert_eq!(world.waiting().await, 5000, "{attachment}");
    }
    for _ in 0..2 {
        world.sweep().await;
        assert_eq!((world.has(own).await, world.has(other).await, world.waiting().await), (true, false, 0));
    }
}
