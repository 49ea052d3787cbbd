//! A store and an index that stop answering after so many calls: as if the process had died there. The last call may
//! have had its effect or not.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use lockstep_events::{BlobHash, Micros, VaultId};
use lockstepd::blobs::{
    BlobError, BlobIndex, BlobPlace, BlobStore, Held, Listed, Lying, Parts, Presigned, Promise, Settled,
};

type Result<T> = std::result::Result<T, BlobError>;

/// Blows once, at a call that was set; from then on nothing answers until it is mended.
#[derive(Default)]
pub struct Fuse(Mutex<State>, AtMost);

/// How many calls were under way at the same time, now and at most.
#[derive(Default)]
pub struct AtMost {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Whole,
    /// So many calls are still answered; whether the one after them has its effect.
    Left(usize, bool),
    Blown,
}

enum Call {
    Answered,
    DoneAndLost,
    NotDone,
}

impl Fuse {
    pub fn set(&self, calls: usize, after_effect: bool) {
        *self.0.lock().unwrap() = State::Left(calls, after_effect);
    }

    /// How many calls were under way at the same time at most.
    pub fn most_at_once(&self) -> usize {
        self.1.most.load(Ordering::SeqCst)
    }

    pub fn mend(&self) {
        *self.0.lock().unwrap() = State::Whole;
    }

    fn call(&self) -> Call {
        let mut state = self.0.lock().unwrap();
        match *state {
            State::Whole => Call::Answered,
            State::Left(0, after_effect) => {
                *state = State::Blown;
                if after_effect { Call::DoneAndLost } else { Call::NotDone }
            }
            State::Left(calls, after_effect) => {
                *state = State::Left(calls - 1, after_effect);
                Call::Answered
            }
            State::Blown => Call::NotDone,
        }
    }

    async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let blown = || BlobError::Unavailable("the fuse has blown".into());
        self.1.most.fetch_max(self.1.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Whoever else wants to be under way now comes to it.
        tokio::task::yield_now().await;
        let answer = match self.call() {
            Call::Answered => work.await,
            Call::DoneAndLost => work.await.and_then(|_| Err(blown())),
            Call::NotDone => Err(blown()),
        };
        self.1.now.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

pub struct FusedStore {
    pub store: Arc<dyn BlobStore>,
    pub fuse: Arc<Fuse>,
}

pub struct FusedIndex {
    pub index: Arc<dyn BlobIndex>,
    pub fuse: Arc<Fuse>,
}

#[async_trait]
impl BlobStore for FusedStore {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.fuse.run(self.store.put(key, bytes)).await
    }
    async fn put_file(&self, key: &str, file: &Path) -> Result<()> {
        self.fuse.run(self.store.put_file(key, file)).await
    }
    async fn get(&self, key: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.fuse.run(self.store.get(key, offset, length)).await
    }
    async fn length(&self, key: &str) -> Result<u64> {
        self.fuse.run(self.store.length(key)).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.fuse.run(self.store.delete(key)).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>> {
        self.fuse.run(self.store.list(prefix, after, limit)).await
    }
    async fn presign_put(
        &self,
        key: &str,
        length: u64,
        sha256: &[u8; 32],
        s: u32,
    ) -> Result<Option<Presigned>> {
        self.fuse.run(self.store.presign_put(key, length, sha256, s)).await
    }
    async fn start_parts(&self, key: &str, lengths: &[u64], s: u32) -> Result<Option<Parts>> {
        self.fuse.run(self.store.start_parts(key, lengths, s)).await
    }
    async fn finish_parts(&self, key: &str, upload: &str, tags: &[String]) -> Result<()> {
        self.fuse.run(self.store.finish_parts(key, upload, tags)).await
    }
    async fn abort_parts(&self, key: &str, upload: &str) -> Result<()> {
        self.fuse.run(self.store.abort_parts(key, upload)).await
    }
    async fn ready(&self) -> Result<()> {
        self.fuse.run(self.store.ready()).await
    }
}

#[async_trait]
impl BlobIndex for FusedIndex {
    async fn find(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Vec<(BlobHash, BlobPlace)>> {
        self.fuse.run(self.index.find(vault, hashes)).await
    }
    async fn name(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
        now: Micros,
    ) -> Result<Vec<(BlobHash, BlobPlace)>> {
        self.fuse.run(self.index.name(vault, hashes, now)).await
    }
    async fn naming_ended(&self, vault: VaultId, hashes: &[BlobHash], stands: bool) -> Result<()> {
        self.fuse.run(self.index.naming_ended(vault, hashes, stands)).await
    }
    async fn endless(
        &self,
        before: Micros,
        after: Option<(VaultId, BlobHash)>,
        limit: usize,
    ) -> Result<Vec<(VaultId, BlobHash, u64)>> {
        self.fuse.run(self.index.endless(before, after, limit)).await
    }
    async fn naming_settled(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        settled: Settled,
    ) -> Result<()> {
        self.fuse.run(self.index.naming_settled(vault, blobs, settled)).await
    }
    async fn insert(&self, vault: VaultId, blobs: &[(BlobHash, BlobPlace)], now: Micros) -> Result<()> {
        self.fuse.run(self.index.insert(vault, blobs, now)).await
    }
    async fn marks(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Vec<(BlobHash, u64)>> {
        self.fuse.run(self.index.marks(vault, hashes)).await
    }
    async fn remove(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        named_since: Micros,
        now: Micros,
    ) -> Result<Vec<String>> {
        self.fuse.run(self.index.remove(vault, blobs, named_since, now)).await
    }
    async fn of_vault(&self, vault: VaultId, after: Option<BlobHash>, limit: usize) -> Result<Vec<BlobHash>> {
        self.fuse.run(self.index.of_vault(vault, after, limit)).await
    }
    async fn sweep_unnamed(&self, added: Micros, seen: Micros, now: Micros) -> Result<u64> {
        self.fuse.run(self.index.sweep_unnamed(added, seen, now)).await
    }
    async fn orphans(&self, objects: &[String], seen: Micros, now: Micros) -> Result<Vec<String>> {
        self.fuse.run(self.index.orphans(objects, seen, now)).await
    }
    async fn doomed(&self, limit: usize) -> Result<Vec<String>> {
        self.fuse.run(self.index.doomed(limit)).await
    }
    async fn forget_orphans(&self, objects: &[String]) -> Result<()> {
        self.fuse.run(self.index.forget_orphans(objects)).await
    }
    async fn used(&self, objects: &[String]) -> Result<Vec<(String, u64)>> {
        self.fuse.run(self.index.used(objects)).await
    }
    async fn objects(&self, after: Option<&str>, limit: usize) -> Result<Vec<Held>> {
        self.fuse.run(self.index.objects(after, limit)).await
    }
    async fn lying_in(&self, object: &str) -> Result<Vec<Lying>> {
        self.fuse.run(self.index.lying_in(object)).await
    }
    async fn relocate(&self, from: &str, to: &str, blobs: &[Lying]) -> Result<()> {
        self.fuse.run(self.index.relocate(from, to, blobs)).await
    }
    async fn upload_started(&self, object: &str, upload: &str, now: Micros) -> Result<()> {
        self.fuse.run(self.index.upload_started(object, upload, now)).await
    }
    async fn upload_to(&self, object: &str) -> Result<Option<String>> {
        self.fuse.run(self.index.upload_to(object)).await
    }
    async fn uploads_before(&self, time: Micros, limit: usize) -> Result<Vec<(String, String)>> {
        self.fuse.run(self.index.uploads_before(time, limit)).await
    }
    async fn uploads_under(&self, prefix: &str) -> Result<u64> {
        self.fuse.run(self.index.uploads_under(prefix)).await
    }
    async fn upload_ended(&self, object: &str) -> Result<()> {
        self.fuse.run(self.index.upload_ended(object)).await
    }
    async fn promise(&self, asked: &Promise<'_>) -> Result<std::result::Result<(), u64>> {
        self.fuse.run(self.index.promise(asked)).await
    }
    async fn promised_at(&self, vault: VaultId, hash: BlobHash, object: &str) -> Result<Option<String>> {
        self.fuse.run(self.index.promised_at(vault, hash, object)).await
    }
    async fn break_promise(&self, vault: VaultId, hash: BlobHash) -> Result<()> {
        self.fuse.run(self.index.break_promise(vault, hash)).await
    }
    async fn forget_promises(&self, vault: VaultId) -> Result<()> {
        self.fuse.run(self.index.forget_promises(vault)).await
    }
    async fn sweep_promises(&self, before: Micros) -> Result<u64> {
        self.fuse.run(self.index.sweep_promises(before)).await
    }
    async fn take_turn(&self, name: &str, last_before: Micros, now: Micros) -> Result<bool> {
        self.fuse.run(self.index.take_turn(name, last_before, now)).await
    }
}
