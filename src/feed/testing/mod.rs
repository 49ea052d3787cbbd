//! Events and batches for the tests of the feed, a bus and a log with faults.

mod faulty;
mod flaky;

pub use faulty::{Faults, FaultyBus};
pub use flaky::Flaky;

use std::sync::Arc;

use lockstep_events::{
    Chain, Epoch, EventId, Micros, NewEvent, Position, Recorded, Seq, StreamId, StreamKind, Unit,
    ids::Hash32,
    log::{StreamClaim, StreamExpect},
};
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

/// One vault event to append; `n` makes it different from others.
pub fn new_event(stream: StreamId, n: u128) -> NewEvent {
    NewEvent {
        event_id: Uuid::from_u128(n).into(),
        stream,
        subject: Some(Uuid::from_u128(n).into()),
        kind: "entry.version_added".to_owned(),
        schema: 1,
        actor: None,
        device: None,
        correlation: None,
        causation: None,
        public: "{}".to_owned(),
        sealed: None,
        content: None,
        body_hash: Hash32::ZERO,
    }
}

/// A unit of one event in a stream of a kind.
pub fn unit(kind: StreamKind, event: NewEvent) -> Unit {
    let claim =
        StreamClaim { stream: event.stream, kind, expect: StreamExpect::Any, epoch_if_new: Epoch([1; 16]) };
    Unit { streams: vec![claim], events: vec![event], ..Unit::default() }
}
