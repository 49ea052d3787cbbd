//! The bus port: tells every node that a batch was committed. At most once, in no certain order: whoever listens
//! refills gaps from the log, so a lost message costs time and never data.
//!
//! What every implementation promises (and the contract suite in `tests/bus` makes it keep):
//!
//! 1. `publish` returns at once, whatever the state of the network or of the listeners.
//! 2. The publisher's own subscribers hear a batch at once, also while the bus is not connected.
//! 3. Every other node hears it at most a few times, perhaps never, perhaps out of order; never altered.
//! 4. A subscriber that falls behind is told `Lagged` and costs nobody else anything.
//! 5. After the connection was lost and found again, subscribers hear [`News::Reconnected`].
//! 6. A bus that carries nothing any more by a defect says so, by [`Bus::ended`].

use std::sync::Arc;

use async_trait::async_trait;
use lockstep_events::{Position, Recorded, StreamId};
use tokio::sync::broadcast;

/// A batch as it was committed: `events` are the positions `after + 1 ..= to`, gapless.
///
/// Over the network a large batch travels without its events; its positions still say that there is news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedBatch {
    /// The position before the first event.
    pub after: Position,
    /// The position of the last event.
    pub to: Position,
    /// The events, or nothing if the batch was too large to send.
    pub events: Vec<Recorded>,
}

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A batch was committed.
    Batch(Arc<CommittedBatch>),
    /// A stream began another life: its head must be read again.
    Renewed(StreamId),
    /// Messages may have been lost: read the log.
    Reconnected,
}

/// Contents up to this length travel with their events, in bytes; longer ones are read from the log.
pub const CONTENT_BYTES: usize = 4096;

/// A subscriber that is this many messages behind has lost the oldest and reads the log instead.
pub const BACKLOG: usize = 256;

/// Carries committed batches between the nodes of one log.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Offers a batch to all nodes. Never waits and never fails: what cannot be sent now is dropped.
    fn publish(&self, batch: Arc<CommittedBatch>);

    /// Tells all nodes that a stream began another life. Never waits and never fails.
    fn publish_renewed(&self, stream: StreamId);

    /// News of all nodes, this one's own included.
    fn subscribe(&self) -> broadcast::Receiver<News>;

    /// Whether the bus is connected, for `/health/ready` and metrics. Nothing depends on it.
    fn connected(&self) -> bool;

    /// Returns when a task of it has ended: before [`Self::close`] only by a defect. A bus without tasks never does.
    async fn ended(&self) {
        std::future::pending().await
    }

    /// Stops carrying; called once when the server stops.
    async fn close(&self);
}
