//! A log that does something around each append (fails, waits) and counts what is read. For tests of what stands on a log.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    envelope::{Recorded, Sealed},
    ids::{AccountId, BlobHash, Chain, Epoch, EventId, Position, Seq, StreamId, SubjectId},
    log::{Contents, EventLog, Filter, LogError, Outcome, SealedParts, StreamHead, Tail, Unit},
    time::Micros,
};

/// What a hook answers: go on, or fail with this.
pub type Verdict = Pin<Box<dyn Future<Output = Result<(), LogError>> + Send>>;

type Hook = Box<dyn Fn(&[Unit]) -> Verdict + Send + Sync>;

type Looked = Box<dyn Fn(StreamId, SubjectId) -> Verdict + Send + Sync>;

/// A real log behind hooks: before an append reaches it, after it was committed but not yet answered, and after a subject
/// was read but not yet answered.
pub struct HookedLog {
    inner: Arc<dyn EventLog>,
    before: Hook,
    after: Hook,
    looked: Looked,
    reads: AtomicUsize,
    read: AtomicUsize,
}

impl HookedLog {
    /// A log whose appends pass through.
    pub fn new(inner: Arc<dyn EventLog>) -> Self {
        let pass = || -> Hook { Box::new(|_| Box::pin(async { Ok(()) })) };
        let looked: Looked = Box::new(|_, _| Box::pin(async { Ok(()) }));
        let (reads, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { inner, before: pass(), after: pass(), looked, reads, read }
    }

    /// With a hook before each append.
    #[must_use]
    pub fn before(mut self, hook: impl Fn(&[Unit]) -> Verdict + Send + Sync + 'static) -> Self {
        self.before = Box::new(hook);
        self
    }

    /// With a hook between each commit and its answer.
    #[must_use]
    pub fn after(mut self, hook: impl Fn(&[Unit]) -> Verdict + Send + Sync + 'static) -> Self {
        self.after = Box::new(hook);
        self
    }

    /// With a hook between each look at a subject and its answer.
    #[must_use]
    pub fn looked(mut self, hook: impl Fn(StreamId, SubjectId) -> Verdict + Send + Sync + 'static) -> Self {
        self.looked = Box::new(hook);
        self
    }

    /// How often the log was asked for anything, and how many events it answered with.
    pub fn reads(&self) -> (usize, usize) {
        (self.reads.load(Ordering::SeqCst), self.read.load(Ordering::SeqCst))
    }

    /// Counts a question and its answer.
    fn counted<T>(&self, answer: Result<Vec<T>, LogError>) -> Result<Vec<T>, LogError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.read.fetch_add(answer.as_ref().map_or(0, Vec::len), Ordering::SeqCst);
        answer
    }
}

#[async_trait]
impl EventLog for HookedLog {
    async fn append(&self, units: &[Unit], now: Micros) -> Result<Vec<Outcome>, LogError> {
        (self.before)(units).await?;
        let outcomes = self.inner.append(units, now).await?;
        (self.after)(units).await?;
        Ok(outcomes)
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
        filter: &Filter,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        self.counted(self.inner.read_all(after, limit, filter, contents).await)
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        self.counted(self.inner.read_stream(stream, after, limit, contents).await)
    }

    async fn read_subject(
        &self,
        stream: StreamId,
        subject: SubjectId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let found = self.inner.read_subject(stream, subject, after, limit).await;
        (self.looked)(stream, subject).await?;
        self.counted(found)
    }

    async fn find(&self, ids: &[EventId]) -> Result<Vec<Recorded>, LogError> {
        self.counted(self.inner.find(ids).await)
    }

    async fn tail(&self) -> Result<Tail, LogError> {
        self.inner.tail().await
    }

    async fn stream_heads(&self, streams: &[StreamId]) -> Result<Vec<StreamHead>, LogError> {
        self.counted(self.inner.stream_heads(streams).await)
    }

    async fn chain_at(&self, stream: StreamId, seq: Seq) -> Result<Option<Chain>, LogError> {
        self.inner.chain_at(stream, seq).await
    }

    async fn contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, Vec<u8>)>, LogError> {
        self.counted(self.inner.contents(stream, hashes).await)
    }

    async fn erase_contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
        seen: Seq,
    ) -> Result<u64, LogError> {
        self.inner.erase_contents(stream, hashes, seen).await
    }

    async fn came_with_content(&self, ids: &[EventId]) -> Result<Vec<EventId>, LogError> {
        self.inner.came_with_content(ids).await
    }

    async fn sealed_parts(&self, ids: &[EventId]) -> Result<Vec<(EventId, Sealed)>, LogError> {
        self.inner.sealed_parts(ids).await
    }

    async fn sealed_about(
        &self,
        subject: AccountId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<(EventId, Sealed)>, LogError> {
        self.inner.sealed_about(subject, after, limit).await
    }

    async fn erase_sealed(&self, which: &SealedParts) -> Result<u64, LogError> {
        self.inner.erase_sealed(which).await
    }

    async fn renew_epoch(&self, stream: StreamId, epoch: Epoch) -> Result<(), LogError> {
        self.inner.renew_epoch(stream, epoch).await
    }

    async fn log_id(&self) -> Result<Uuid, LogError> {
        self.inner.log_id().await
    }
}
