//! The live feed of one node: one follower, and everything that hangs on it.
//!
//! The follower takes committed batches from the bus in the order of the log and refills any gap from the log itself.
//! Hubs, revocations, read models and reactors get their news from it and from nowhere else, so there is one piece of
//! gap code in the whole product. Nothing here ever waits for a slow consumer.

mod administrators;
mod attached;
mod follower;
mod hub;
mod hubs;
mod order;
mod owner;
mod revocations;
mod ring;
mod signal;
mod sockets;
mod standings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod usage;
mod wire;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lockstep_api::sync::ResetReason;
use lockstep_events::{AccountId, Epoch, EventLog, LogError, Micros, Position, StreamId, StreamKind};
use tokio::sync::{broadcast, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    administrators::Administrators,
    attached::Attached,
    hub::{Hub, Opened},
    hubs::{Hubs, Listening},
    owner::of_stream,
    revocations::{Access, REMEMBERED, Revocations, Revoked},
    ring::Next,
    signal::{Close, Signal},
    sockets::{Connected, Sockets},
    standings::{Standings, load as standing},
    usage::{Amount, Usage, Used},
    wire::{Piece, fitting, frame},
};
use crate::{
    bounded::bounded,
    bus::{Bus, CommittedBatch},
    members::{self, Members},
};

/// Batches that a listener of [`Feed::applied`] may be behind before it must read the log.
const APPLIED: usize = 256;
/// Owners of streams that are remembered; they never change.
const OWNERS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// How a node follows the log.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two looks at the tail of the log: this long to twice as long, at random.
    pub poll: Duration,
    /// How long a batch waits for an earlier one before the log is read.
    pub reorder: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { poll: Duration::from_millis(250), reorder: Duration::from_millis(20) }
    }
}

/// The feed of one node.
pub struct Feed {
    log: Arc<dyn EventLog>,
    bus: Arc<dyn Bus>,
    /// Streams that somebody here listens to.
    pub hubs: Hubs,
    /// Who is connected here.
    pub sockets: Arc<Sockets>,
    /// Whose tokens are refused.
    pub revocations: Revocations,
    /// What accounts may do.
    pub standings: Arc<Standings>,
    /// Who looks after this server.
    pub administrators: Administrators,
    /// What vaults take up.
    pub usage: Arc<Usage>,
    /// Which vaults accounts have.
    pub attached: Arc<Attached>,
    /// Who may write where, and in which lives of streams.
    pub members: Arc<Members>,
    owners: Mutex<lru::LruCache<StreamId, AccountId>>,
    applied: broadcast::Sender<Arc<CommittedBatch>>,
    position: watch::Sender<Position>,
    contact: watch::Sender<Contact>,
    stop: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
}

/// Up to when all that the log had is known here, and whether it answers.
#[derive(Debug, Clone, Copy)]
struct Contact {
    at: Instant,
    failing: bool,
}

impl Feed {
    /// Starts to follow the log from its present end. `now` is this node's time.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn start(
        log: Arc<dyn EventLog>,
        bus: Arc<dyn Bus>,
        pace: Pace,
        now: Micros,
    ) -> Result<Arc<Self>, LogError> {
        // Listen first, then look: what is committed in between is heard.
        let news = bus.subscribe();
        let tail = log.tail().await?.position;
        let revocations = Revocations::load(log.as_ref(), tail, now).await?;
        let administrators = Administrators::load(log.as_ref()).await?;
        let standings = Arc::new(Standings::new(Arc::clone(&log)));
        let attached = Arc::new(Attached::new(Arc::clone(&log)));
        let members = Arc::new(Members::new(Arc::clone(&log)));
        let feed = Arc::new(Self {
            log,
            bus,
            hubs: Hubs::default(),
            sockets: Arc::default(),
            revocations,
            standings,
            administrators,
            usage: Arc::default(),
            attached,
            members,
            owners: Mutex::new(bounded(OWNERS)),
            applied: broadcast::channel(APPLIED).0,
            position: watch::Sender::new(tail),
            contact: watch::Sender::new(Contact { at: Instant::now(), failing: false }),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        follower::start(&feed, news, tail, pace);
        feed.tasks.close();
        Ok(feed)
    }

    /// Every batch in the order of the log, without a gap, as it is applied. Whoever is told `Lagged` reads the log.
    pub fn applied(&self) -> broadcast::Receiver<Arc<CommittedBatch>> {
        self.applied.subscribe()
    }

    /// The last position that this node knows.
    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// How long ago all was known here that the log had. A node that hears nothing for long must not trust what it knows.
    pub fn out_of_touch(&self) -> Duration {
        self.contact.borrow().at.elapsed()
    }

    /// Whether the log answered the last time it was asked.
    pub fn ready(&self) -> bool {
        !self.contact.borrow().failing
    }

    fn failing(&self, failing: bool) {
        self.contact.send_modify(|contact| contact.failing = failing);
    }

    /// All that the log had then is applied.
    fn knows(&self, then: Instant) {
        self.contact.send_modify(|contact| contact.at = contact.at.max(then));
    }

    /// Whose a stream is; none if there is no such stream, or it is nobody's.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn owner(&self, stream: StreamId) -> Result<Option<AccountId>, LogError> {
        if let Some(known) = self.owners.lock().unwrap_or_else(PoisonError::into_inner).get(&stream) {
            return Ok(Some(*known));
        }
        let owner = owner::of_stream(self.log.as_ref(), stream).await?;
        if let Some(owner) = owner {
            self.owners.lock().unwrap_or_else(PoisonError::into_inner).put(stream, owner);
        }
        Ok(owner)
    }

    /// A hub, opened for an account; none if there is no such stream or it is not this account's: the two look the
    /// same from outside.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn listen(
        &self,
        stream: StreamId,
        account: AccountId,
        signal: &Arc<Signal>,
    ) -> Result<Option<Listening>, LogError> {
        // Registered first, so that nothing is missed between reading the head and the next event.
        let listening = self.hubs.listen(stream, signal);
        let opened = listening.hub.open(self.log.as_ref()).await?;
        let own = opened.is_some_and(|opened| {
            opened.owner == Some(account) && matches!(opened.kind, StreamKind::Account | StreamKind::Vault)
        });
        if own && listening.hub.is_gone() {
            // Perhaps it is there again.
            self.renewed(stream).await?;
        }
        Ok((own && !listening.hub.is_gone()).then_some(listening))
    }

    /// A cursor is ahead of its stream, though it names the stream's present life: the server has lost data. It is
    /// an incident; all streams of the account begin another life, so that every client offers again what it has.
    /// All, because places of the others that were given out after the backup may name other events by now, and a
    /// device that knows them could not tell that from a forged history.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn data_was_lost(
        &self,
        stream: StreamId,
        claimed: u64,
        head: u64,
    ) -> Result<ResetReason, LogError> {
        tracing::error!(%stream, claimed, head, incident = "cursor_ahead",
            "a device has seen events of this stream that the log does not have; the stream begins another life");
        let mut streams = vec![stream];
        if let Some(account) = self.owner(stream).await? {
            let vaults = members::vaults(self.log.as_ref(), account).await?;
            let own = std::iter::once(account.into()).chain(vaults.into_iter().map(StreamId::from));
            streams.extend(own.filter(|other| *other != stream));
        }
        // Some may be lost as a whole.
        for stream in self.log.stream_heads(&streams).await?.into_iter().map(|head| head.stream) {
            self.log.renew_epoch(stream, Epoch(*uuid::Uuid::new_v4().as_bytes())).await?;
            self.renewed(stream).await?;
            self.bus.publish_renewed(stream);
        }
        Ok(ResetReason::CursorAhead)
    }

    /// A stream may have begun another life: nothing here is taken for the old one any more.
    ///
    /// # Errors
    /// If the log does not answer; its hub is asked about again later.
    pub async fn renewed(&self, stream: StreamId) -> Result<(), LogError> {
        self.members.renewed(stream);
        self.hubs.renewed(self.log.as_ref(), stream).await
    }

    /// The log that is followed.
    pub fn log(&self) -> &dyn EventLog {
        self.log.as_ref()
    }

    /// Sends everyone who is connected away, each with a time to come back, and waits until they are gone.
    pub async fn drain(&self, at_most: Duration) {
        self.sockets.drain();
        let gone = async {
            while !self.sockets.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(at_most, gone).await.is_err() {
            tracing::warn!(
                open = self.sockets.len(),
                "sockets were still open when the time to stop was over"
            );
        }
    }

    /// Returns when one of its tasks has ended: before [`Self::stop`] only by a defect.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends the follower.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}
