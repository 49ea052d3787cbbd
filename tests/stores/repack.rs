//! Sweeping and rewriting, with crashes between any two steps: what is named is never lost, and what nobody names goes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use lockstep_events::{BlobHash, Clock, Micros, VaultId, canonical::sha256, testing::MemoryLog};
use lockstepd::blobs::{BlobError, BlobIndex, BlobStore, LIVE_SHARE, Shelf, SweepReport, direct_key, sweep};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::{
    fuse::{Fuse, FusedIndex, FusedStore},
    open,
};

const HOUR: i64 = 3600;
const VAULT: VaultId = VaultId(Uuid::from_u128(1));

#[derive(Default)]
struct TestClock(AtomicI64);

impl TestClock {
    fn pass(&self, hours: i64) {
        self.0.fetch_add(hours * HOUR * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Micros {
        Micros(1_700_000_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

/// A shelf whose store and index stop answering when the fuse blows.
struct World {
    store: Arc<dyn BlobStore>,
    index: Arc<dyn BlobIndex>,
    shelf: Arc<Shelf>,
    clock: Arc<TestClock>,
    fuse: Arc<Fuse>,
    _keep: Vec<Box<dyn std::any::Any + Send>>,
}

impl World {
    fn new(store: open::Opened<dyn BlobStore>, index: open::Opened<dyn BlobIndex>) -> Self {
        let (fuse, clock) = (Arc::new(Fuse::default()), Arc::new(TestClock::default()));
        let shelf = Arc::new(Shelf {
            store: Arc::new(FusedStore { store: store.port.clone(), fuse: fuse.clone() }),
            index: Arc::new(FusedIndex { index: index.port.clone(), fuse: fuse.clone() }),
            clock: clock.clone(),
        });
        let keep = vec![store._keep, index._keep];
        Self { store: store.port, index: index.port, shelf, clock, fuse, _keep: keep }
    }

    async fn embedded() -> Self {
        Self::new(open::filesystem().await, open::sqlite_index().await)
    }

    async fn distributed() -> Self {
        Self::new(open::s3().await, open::postgres_index().await)
    }

    /// Every one of these blobs can be read, byte for byte.
    async fn assert_there(&self, named: &BTreeMap<BlobHash, Vec<u8>>, when: &str) {
        let hashes: Vec<_> = named.keys().copied().collect();
        let found = self.shelf.get(VAULT, &hashes, u64::MAX).await.unwrap();
        for (hash, bytes) in named {
            let found = found.get(hash).and_then(Option::as_ref);
            assert_eq!(found.map(|bytes| &bytes[..]), Some(&bytes[..]), "{when}");
        }
    }

    /// No version stands in this log: what is named has ended its naming.
    async fn sweep(&self) -> Result<SweepReport, BlobError> {
        sweep(&self.shelf, &MemoryLog::new(Uuid::nil())).await
    }

    /// Sweeps until nothing is left to do.
    async fn settle(&self) {
        for _ in 0..5 {
            self.clock.pass(25);
            self.sweep().await.unwrap();
        }
        assert_eq!(self.sweep().await.unwrap(), SweepReport::default());
    }

    async fn objects(&self) -> BTreeMap<String, u64> {
        let listed = self.store.list("", None, 1000).await.unwrap();
        listed.into_iter().map(|object| (object.key, object.length)).collect()
    }

    /// Nothing is kept that nobody names, but for less than what makes an object worth rewriting.
    async fn assert_tidy(&self, named: &BTreeMap<BlobHash, Vec<u8>>) {
        let objects = self.objects().await;
        let keys: Vec<_> = objects.keys().cloned().collect();
        let used: BTreeMap<_, _> = self.index.used(&keys).await.unwrap().into_iter().collect();
        assert_eq!(used.len(), objects.len(), "an object in which no blob lies is left");
        for (object, length) in &objects {
            assert!(used[object] * 100 > length * LIVE_SHARE, "{} of {length} bytes are used", used[object]);
        }
        assert_eq!(used.values().sum::<u64>(), named.values().map(|bytes| bytes.len() as u64).sum::<u64>());
        assert!(self.index.doomed(1).await.unwrap().is_empty());
    }
}

fn blob(rng: &mut StdRng) -> (BlobHash, Bytes) {
    let mut bytes = vec![0; rng.gen_range(50..400)];
    rng.fill(&mut bytes[..]);
    (BlobHash(sha256(&bytes)), bytes.into())
}

/// One pack of four blobs, of which one stays.
async fn three_of_four_removed(world: &World) -> BTreeMap<BlobHash, Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(1);
    let blobs: Vec<_> = (0..4).map(|_| blob(&mut rng)).collect();
    let hashes: Vec<_> = blobs.iter().map(|(hash, _)| *hash).collect();
    world.shelf.put(VAULT, &blobs).await.unwrap();
    world.shelf.name(VAULT, &hashes).await.unwrap();
    world.shelf.naming_ended(VAULT, &hashes, true).await;
    world.shelf.remove(VAULT, &hashes[1..]).await.unwrap();
    BTreeMap::from([(hashes[0], blobs[0].1.to_vec())])
}

async fn an_object_of_which_little_is_used_is_rewritten(world: World) {
    let named = three_of_four_removed(&world).await;
    let before = world.objects().await;
    let report = world.sweep().await.unwrap();
    assert_eq!((report.repacked, report.objects), (1, 0));
    world.assert_there(&named, "after rewriting").await;
    let between = world.objects().await;
    assert!(between.len() == 2 && between.keys().any(|key| before.contains_key(key)), "the old one waits");
    world.clock.pass(23);
    assert_eq!(world.sweep().await.unwrap().objects, 0, "someone may be reading it");
    world.clock.pass(2);
    assert_eq!(world.sweep().await.unwrap().objects, 1);
    world.assert_there(&named, "after deleting").await;
    world.assert_tidy(&named).await;
}

async fn a_sweep_that_dies_at_any_step_loses_nothing_and_the_next_ones_finish_it(world: World) {
    let mut steps = 0;
    for after_effect in [false, true] {
        for step in 0.. {
            let named = three_of_four_removed(&world).await;
            world.fuse.set(step, after_effect);
            let died = world.sweep().await.is_err();
            world.fuse.mend();
            world
                .assert_there(&named, &format!("died at step {step}, after its effect: {after_effect}"))
                .await;
            world.clock.pass(25);
            world.fuse.set(step, after_effect);
            let died_again = world.sweep().await.is_err();
            world.fuse.mend();
            world.assert_there(&named, &format!("died twice at step {step}")).await;
            world.settle().await;
            world.assert_there(&named, "settled").await;
            world.assert_tidy(&named).await;
            for hash in named.keys() {
                world.shelf.remove(VAULT, &[*hash]).await.unwrap();
            }
            if !died && !died_again {
                break;
            }
            steps += 1;
        }
    }
    assert!(steps > 10, "a sweep has more steps than {steps}");
}

/// Random histories: blobs are put, named and removed, time passes, sweeps run, and everything may die anywhere.
async fn in_random_histories_with_crashes_no_named_blob_is_ever_lost(world: World, seeds: u64, steps: usize) {
    for seed in 0..seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut known: Vec<(BlobHash, Bytes)> = Vec::new();
        let mut named = BTreeMap::new();
        for step in 0..steps {
            if rng.gen_bool(0.3) {
                world.fuse.set(rng.gen_range(0..12), rng.gen_bool(0.5));
            }
            match rng.gen_range(0..10) {
                0..=2 => {
                    let blobs: Vec<_> = (0..rng.gen_range(1..6)).map(|_| blob(&mut rng)).collect();
                    let _ = world.shelf.put(VAULT, &blobs).await;
                    known.extend(blobs);
                }
                3..=5 => name(&world, &known, &mut named, &mut rng).await,
                6 => remove(&world, &mut known, &mut named, &mut rng).await,
                7 => world.clock.pass(rng.gen_range(1..30)),
                _ => {
                    let (one, two) = tokio::join!(world.sweep(), world.sweep());
                    let _ = (one, two);
                }
            }
            world.fuse.mend();
            world.assert_there(&named, &format!("seed {seed}, step {step}")).await;
        }
        world.settle().await;
        world.assert_there(&named, &format!("seed {seed}, settled")).await;
        world.assert_tidy(&named).await;
        let all: Vec<_> = named.keys().copied().collect();
        world.shelf.remove(VAULT, &all).await.unwrap();
    }
}

/// An event names what the shelf says it has; an answer that did not come names nothing.
async fn name(
    world: &World,
    known: &[(BlobHash, Bytes)],
    named: &mut BTreeMap<BlobHash, Vec<u8>>,
    rng: &mut StdRng,
) {
    let wanted: Vec<_> = known.iter().filter(|_| rng.gen_bool(0.3)).collect();
    let hashes: Vec<_> = wanted.iter().map(|(hash, _)| *hash).collect();
    match world.shelf.name(VAULT, &hashes).await {
        Ok(found) => {
            let there: Vec<_> = found.keys().copied().collect();
            world.index.naming_ended(VAULT, &there, true).await.unwrap();
            let found = wanted.into_iter().filter(|(hash, _)| found.contains_key(hash));
            named.extend(found.map(|(hash, bytes)| (*hash, bytes.to_vec())));
        }
        // A naming may have begun that nobody ends; no event follows.
        Err(_) => {
            world.fuse.mend();
            let unnamed: Vec<_> = hashes.into_iter().filter(|hash| !named.contains_key(hash)).collect();
            world.shelf.remove(VAULT, &unnamed).await.unwrap();
            let named: Vec<_> = named.keys().copied().collect();
            world.index.naming_ended(VAULT, &named, true).await.unwrap();
        }
    }
}

/// Events say that these are needed no more; what a crash leaves of them is taken away later.
async fn remove(
    world: &World,
    known: &mut Vec<(BlobHash, Bytes)>,
    named: &mut BTreeMap<BlobHash, Vec<u8>>,
    rng: &mut StdRng,
) {
    let gone: Vec<_> = named.keys().filter(|_| rng.gen_bool(0.5)).copied().collect();
    named.retain(|hash, _| !gone.contains(hash));
    known.retain(|(hash, _)| !gone.contains(hash));
    if world.shelf.remove(VAULT, &gone).await.is_err() {
        world.fuse.mend();
        world.shelf.remove(VAULT, &gone).await.unwrap();
    }
}

mod embedded {
    use super::World;

    #[tokio::test]
    async fn an_object_of_which_little_is_used_is_rewritten() {
        super::an_object_of_which_little_is_used_is_rewritten(World::embedded().await).await;
    }

    #[tokio::test]
    async fn a_sweep_that_dies_at_any_step_loses_nothing_and_the_next_ones_finish_it() {
        let world = World::embedded().await;
        super::a_sweep_that_dies_at_any_step_loses_nothing_and_the_next_ones_finish_it(world).await;
    }

    #[tokio::test]
    async fn in_random_histories_with_crashes_no_named_blob_is_ever_lost() {
        let world = World::embedded().await;
        super::in_random_histories_with_crashes_no_named_blob_is_ever_lost(world, 12, 60).await;
    }
}

mod distributed {
    use super::World;

    #[tokio::test]
    async fn an_object_of_which_little_is_used_is_rewritten() {
        super::an_object_of_which_little_is_used_is_rewritten(World::distributed().await).await;
    }

    #[tokio::test]
    async fn a_sweep_that_dies_at_any_step_loses_nothing_and_the_next_ones_finish_it() {
        let world = World::distributed().await;
        super::a_sweep_that_dies_at_any_step_loses_nothing_and_the_next_ones_finish_it(world).await;
    }

    #[tokio::test]
    async fn in_random_histories_with_crashes_no_named_blob_is_ever_lost() {
        let world = World::distributed().await;
        super::in_random_histories_with_crashes_no_named_blob_is_ever_lost(world, 4, 50).await;
    }
}

#[tokio::test]
async fn a_damaged_object_is_left_as_it_is() {
    let world = World::embedded().await;
    let named = three_of_four_removed(&world).await;
    let (object, length) = world.objects().await.pop_first().unwrap();
    world.store.delete(&object).await.unwrap();
    world.store.put(&object, vec![0_u8; usize::try_from(length).unwrap()].into()).await.unwrap();
    assert_eq!(world.sweep().await.unwrap().repacked, 0);
    assert_eq!(world.objects().await, BTreeMap::from([(object, length)]));
    assert_eq!(named.len(), 1);
}

#[tokio::test]
async fn uploads_that_went_straight_to_the_store_are_looked_for_several_at_once_and_not_all() {
    let world = World::embedded().await;
    let mut rng = StdRng::seed_from_u64(1);
    let blobs: Vec<_> = (0..40).map(|_| blob(&mut rng)).collect();
    for (hash, bytes) in &blobs[..30] {
        world.store.put(&direct_key(VAULT, hash), bytes.clone()).await.unwrap();
    }
    let hashes: Vec<_> = blobs.iter().map(|(hash, _)| *hash).collect();
    let lengths = world.shelf.lengths(VAULT, &hashes).await.unwrap();
    let arrived: BTreeMap<_, _> =
        blobs[..30].iter().map(|(hash, bytes)| (*hash, bytes.len() as u64)).collect();
    assert_eq!(lengths.into_iter().collect::<BTreeMap<_, _>>(), arrived);
    assert_eq!(world.fuse.most_at_once(), 8);
}
