//! The bus port: tells other nodes that a batch was committed. At most once, in no certain order: whoever listens
//! refills gaps from the log, so a lost message costs time and never data.

use std::sync::Arc;

use async_trait::async_trait;
use lockstep_events::{Position, Recorded};
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
    /// The events with short contents, or nothing if the batch was too large to send.
    pub events: Vec<Recorded>,
}

/// Carries committed batches between the nodes of one log.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Offers a batch to the other nodes. Never waits and never fails: what cannot be sent now is dropped.
    fn publish(&self, batch: Arc<CommittedBatch>);

    /// Batches of all nodes, this one's own included. A receiver that falls behind is told `Lagged` and reads the
    /// log.
    fn subscribe(&self) -> broadcast::Receiver<Arc<CommittedBatch>>;

    /// Whether the bus is connected, for `/health/ready` and metrics. Nothing depends on it.
    fn connected(&self) -> bool;

    /// Stops carrying; called once when the server stops.
    async fn close(&self);
}
