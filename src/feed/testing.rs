//! Events and batches for the tests of the feed.

use std::sync::Arc;

use lockstep_events::{Chain, EventId, Micros, Position, Recorded, Seq, StreamId, StreamKind, ids::Hash32};
use uuid::Uuid;

use crate::bus::CommittedBatch;

/// An event of a vault stream; its seq is its position.
pub fn some_event(position: u64) -> Recorded {
    Recorded {
        position: Position(position),
        stream: StreamId(Uuid::from_u128(1)),
        stream_kind: StreamKind::Vault,
        seq: Seq(position),
        event_id: EventId(Uuid::from_u128(position.into())),
        subject: None,
        kind: "entry.version_added".to_owned(),
        schema: 1,
        actor: None,
        device: None,
        correlation: None,
        causation: None,
        recorded_at: Micros(1),
        public: "{}".to_owned(),
        sealed_hash: None,
        body_hash: Hash32::ZERO,
        chain: Chain::ZERO,
        content: None,
    }
}

/// The events `after + 1 ..= to`.
pub fn some_batch(after: u64, to: u64) -> Arc<CommittedBatch> {
    let events = (after + 1..=to).map(some_event).collect();
    Arc::new(CommittedBatch { after: Position(after), to: Position(to), events })
}

/// The positions of events.
pub fn positions(events: &[Recorded]) -> Vec<u64> {
    events.iter().map(|event| event.position.0).collect()
}
