//! A log that can be switched off or damaged, and counts how often its streams' heads are read, and how many events of streams.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use lockstep_events::{
    AccountId, BlobHash, Chain, Epoch, EventId, EventLog, LogError, Micros, Outcome, Position, Recorded,
    Sealed, Seq, StreamId, SubjectId, Unit,
    log::{Contents, Filter, SealedParts, StreamHead, Tail},
    testing::MemoryLog,
};
use tokio::sync::oneshot;
use uuid::Uuid;

/// The in-memory log behind a switch.
pub struct Flaky {
    log: MemoryLog,
    down: AtomicBool,
    unread: AtomicBool,
    heads: AtomicUsize,
    events: AtomicUsize,
    claimed: Mutex<Option<Position>>,
    held: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
    damaged: Mutex<Option<(StreamId, Seq)>>,
}

impl Flaky {
    /// An empty log that answers.
    pub fn new() -> Self {
        let log = MemoryLog::new(Uuid::from_u128(1));
        Self {
            log,
            down: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            heads: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            claimed: Mutex::default(),
            held: Mutex::default(),
            damaged: Mutex::default(),
        }
    }

    /// From now on the chain of this event is read with a wrong bit.
    pub fn damage(&self, stream: StreamId, seq: Seq) {
        *self.damaged.lock().unwrap() = Some((stream, seq));
    }

    /// Holds back the answer of the next read of heads: the first end hears that it is read, the second lets it go.
    pub fn hold_heads(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((read, is_read), (go, may_go)) = (oneshot::channel(), oneshot::channel());
        *self.held.lock().unwrap() = Some((read, may_go));
        (is_read, go)
    }

    /// Switches reading off or on. Appends always work, as if another node made them.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Of all streams together no events can be read, or they can again. Where the log ends is told.
    pub fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::SeqCst);
    }

    /// Once the log is said to end here, as one did whose standby never had that end.
    pub fn claim_tail(&self, position: Position) {
        *self.claimed.lock().unwrap() = Some(position);
    }

    /// Whether that was told.
    pub fn claim_was_told(&self) -> bool {
        self.claimed.lock().unwrap().is_none()
    }

    /// How often heads were read.
    pub fn head_reads(&self) -> usize {
        self.heads.load(Ordering::SeqCst)
    }

    /// How many events of streams were read.
    pub fn event_reads(&self) -> usize {
        self.events.load(Ordering::SeqCst)
    }

    fn up(&self) -> Result<&MemoryLog, LogError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("switched off".into()));
        }
        Ok(&self.log)
    }
}

#[async_trait]
impl EventLog for Flaky {
    async fn append(&self, units: &[Unit], now: Micros) -> Result<Vec<Outcome>, LogError> {
        self.log.append(units, now).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
        filter: &Filter,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        if self.unread.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable("nothing but the end can be read".into()));
        }
        self.up()?.read_all(after, limit, filter, contents).await
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        // As a log that waits for its disk: others go on meanwhile.
        tokio::task::yield_now().await;
        let mut page = self.up()?.read_stream(stream, after, limit, contents).await?;
        self.events.fetch_add(page.len(), Ordering::SeqCst);
        let damaged = *self.damaged.lock().unwrap();
        for event in page.iter_mut().filter(|event| damaged == Some((event.stream, event.seq))) {
            event.chain.0[0] ^= 1;
        }
        Ok(page)
    }

    async fn read_subject(
        &self,
        stream: StreamId,
        subject: SubjectId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        self.up()?.read_subject(stream, subject, after, limit).await
    }

    async fn find(&self, ids: &[EventId]) -> Result<Vec<Recorded>, LogError> {
        self.up()?.find(ids).await
    }

    async fn tail(&self) -> Result<Tail, LogError> {
        let tail = self.up()?.tail().await?;
        let claimed = self.claimed.lock().unwrap().take();
        Ok(Tail { position: claimed.unwrap_or(tail.position), ..tail })
    }

    async fn stream_heads(&self, streams: &[StreamId]) -> Result<Vec<StreamHead>, LogError> {
        self.heads.fetch_add(1, Ordering::SeqCst);
        let heads = self.up()?.stream_heads(streams).await;
        let held = self.held.lock().unwrap().take();
        if let Some((read, may_go)) = held {
            // Whoever holds it may be gone.
            let _ = read.send(());
            let _ = may_go.await;
        }
        heads
    }

    async fn chain_at(&self, stream: StreamId, seq: Seq) -> Result<Option<Chain>, LogError> {
        self.up()?.chain_at(stream, seq).await
    }

    async fn contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, Vec<u8>)>, LogError> {
        self.up()?.contents(stream, hashes).await
    }

    async fn erase_contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
        seen: Seq,
    ) -> Result<u64, LogError> {
        self.log.erase_contents(stream, hashes, seen).await
    }

    async fn came_with_content(&self, ids: &[EventId]) -> Result<Vec<EventId>, LogError> {
        self.up()?.came_with_content(ids).await
    }

    async fn sealed_parts(&self, ids: &[EventId]) -> Result<Vec<(EventId, Sealed)>, LogError> {
        self.up()?.sealed_parts(ids).await
    }

    async fn sealed_about(
        &self,
        subject: AccountId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<(EventId, Sealed)>, LogError> {
        self.up()?.sealed_about(subject, after, limit).await
    }

    async fn erase_sealed(&self, which: &SealedParts) -> Result<u64, LogError> {
        self.log.erase_sealed(which).await
    }

    async fn renew_epoch(&self, stream: StreamId, epoch: Epoch) -> Result<(), LogError> {
        self.log.renew_epoch(stream, epoch).await
    }

    async fn log_id(&self) -> Result<Uuid, LogError> {
        self.log.log_id().await
    }
}
