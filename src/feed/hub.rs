//! A hub: one stream with at least one local listener.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lockstep_api::sync::ResetReason;
use lockstep_events::{
    AccountId, DeviceId, Epoch, EventLog, LogError, Recorded, Seq, StreamId, StreamKind, log::StreamHead,
};
use tokio::sync::OnceCell;

use super::{
    owner,
    ring::{Next, Ring},
    signal::Signal,
};

/// A hub without listeners stays so long, for clients that reconnect.
pub const LINGER: Duration = Duration::from_mins(1);
/// Events that are older are only in the log.
const KEEP: Duration = Duration::from_mins(1);
/// How often a hub asks the log whether its stream began another life, in case the bus lost that news.
const CHECK: Duration = Duration::from_mins(1);

/// One stream: its ring and those who listen to it.
#[derive(Debug)]
pub struct Hub {
    stream: StreamId,
    opened: OnceCell<Opened>,
    inner: Mutex<Inner>,
}

/// What a hub knows of its stream once it is open; none of it ever changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// What the stream is about.
    pub kind: StreamKind,
    /// Whose it is; none for the system stream.
    pub owner: Option<AccountId>,
}

/// That the log is being asked where a stream is: the how manieth time. What was asked for later was read later than the
/// last answer that counts was asked for, so an answer that was held back never takes a stream into its former life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked(u64);

#[derive(Debug)]
struct Inner {
    ring: Ring,
    gone: bool,
    asked: u64,
    /// What the last answer that counts had been asked as.
    told: Asked,
    /// Answers that had been asked for by then do not say whether the stream is still in that life.
    doubted: Asked,
    listeners: HashMap<u64, Arc<Signal>>,
    empty_since: Instant,
    checked: Option<Instant>,
}

impl Hub {
    /// A hub that collects events already but has not asked the log yet.
    pub fn new(stream: StreamId, now: Instant) -> Self {
        let listeners = HashMap::new();
        let inner = Inner {
            ring: Ring::new(stream),
            gone: false,
            asked: 0,
            told: Asked(0),
            doubted: Asked(0),
            listeners,
            empty_since: now,
            checked: Some(now),
        };
        Self { stream, opened: OnceCell::new(), inner: Mutex::new(inner) }
    }

    // Every change is one call under the lock; a panic leaves nothing half-done.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the stream's head and owner, once for all who open it together; none if there is no such stream, which
    /// is asked again the next time.
    pub async fn open(&self, log: &dyn EventLog) -> Result<Option<Opened>, LogError> {
        let opened = self.opened.get_or_try_init(|| async {
            let (ids, asked) = ([self.stream], self.ask());
            let (heads, owner) =
                tokio::try_join!(log.stream_heads(&ids), owner::of_stream(log, self.stream)).map_err(Some)?;
            let head = heads.first().ok_or(None)?;
            self.set_head(asked, head, Instant::now());
            Ok(Opened { kind: head.kind, owner })
        });
        match opened.await {
            Ok(opened) => Ok(Some(*opened)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// The stream's life and last seq, as far as this node knows.
    pub fn head(&self) -> (Epoch, Seq) {
        self.inner().ring.head()
    }

    /// What a listener of another life is told: why, and the present life if there is one.
    pub fn reset(&self) -> (ResetReason, Option<Epoch>, Option<Seq>) {
        let inner = self.inner();
        if inner.gone {
            return (ResetReason::StreamGone, None, None);
        }
        let (epoch, head) = inner.ring.head();
        (ResetReason::EpochChanged, Some(epoch), Some(head))
    }

    /// What there is for a device that has everything up to `after`.
    pub fn next(&self, epoch: Epoch, after: Seq, device: DeviceId) -> Next {
        self.inner().ring.next(epoch, after, device)
    }

    /// The follower brings the next event; the listeners are woken by [`Self::wake`] after the whole batch.
    pub fn push(&self, event: &Recorded, now: Instant) {
        self.inner().ring.push(event, now);
    }

    /// Before the log is asked where the stream is.
    pub fn ask(&self) -> Asked {
        let mut inner = self.inner();
        inner.asked += 1;
        Asked(inner.asked)
    }

    /// The log says where the stream is.
    pub fn set_head(&self, asked: Asked, head: &StreamHead, now: Instant) {
        let mut inner = self.inner();
        if !inner.hears(asked, now) {
            return;
        }
        inner.gone = false;
        if inner.ring.set_head(head) {
            inner.listeners.values().for_each(|listener| listener.wake());
        }
    }

    /// The log was asked and does not have this stream. If it had it before, a backup from before its beginning was
    /// put in its place: whatever life of it a listener knows is over.
    pub fn missing(&self, asked: Asked, now: Instant) {
        let mut inner = self.inner();
        if inner.hears(asked, now) && self.opened.initialized() && !inner.gone {
            inner.gone = true;
            inner.ring = Ring::new(self.stream);
            inner.listeners.values().for_each(|listener| listener.wake());
        }
    }

    /// Whether the stream was there and is no more.
    pub fn is_gone(&self) -> bool {
        self.inner().gone
    }

    /// Tells every listener that there is news.
    pub fn wake(&self) {
        self.inner().listeners.values().for_each(|listener| listener.wake());
    }

    /// Someone listens from now on.
    pub fn add(&self, signal: Arc<Signal>) {
        self.inner().listeners.insert(signal.id, signal);
    }

    /// Someone listens no more.
    pub fn remove(&self, id: u64) {
        let mut inner = self.inner();
        inner.listeners.remove(&id);
        if inner.listeners.is_empty() {
            inner.listeners = HashMap::new();
            inner.empty_since = Instant::now();
        }
    }

    /// Drops what is old; whether anybody still needs this hub.
    pub fn tidy(&self, now: Instant) -> bool {
        let mut inner = self.inner();
        if let Some(oldest) = now.checked_sub(KEEP) {
            inner.ring.forget_before(oldest);
        }
        !inner.listeners.is_empty() || now.duration_since(inner.empty_since) < LINGER
    }

    /// Whether it is time to ask the log where the stream is.
    pub fn wants_check(&self, now: Instant) -> bool {
        let recently = |checked: Instant| now.duration_since(checked) < CHECK;
        self.opened.initialized() && !self.inner().checked.is_some_and(recently)
    }

    /// When the log last said where the stream is; none if that counts no more.
    pub fn checked(&self) -> Option<Instant> {
        self.inner().checked
    }

    /// The log may have been exchanged, or the bus may have lost news: it is time to ask.
    pub fn doubt(&self) {
        let mut inner = self.inner();
        (inner.checked, inner.doubted) = (None, Asked(inner.asked));
    }
}

impl Inner {
    /// Whether an answer of the log counts: none that was asked for later has come already.
    fn hears(&mut self, asked: Asked, now: Instant) -> bool {
        let newer = asked > self.told;
        if newer {
            self.told = asked;
        }
        if newer && asked > self.doubted {
            self.checked = Some(now);
        }
        newer
    }
}
