//! A row of `events`, the same in every SQL database, and the way back to the published type.

use lockstep_events::{
    Chain, EventId, Hash32, LogError, Micros, Position, Recorded, Sealed, Seq, StreamId, StreamKind,
};
use uuid::Uuid;

use super::named_row::named_row;

named_row! {
    pub(super) struct EventRow {
        pub position: i64,
        pub stream: Uuid,
        pub stream_kind: i16,
        pub seq: i64,
        pub subject: Option<Uuid>,
        pub event_id: Uuid,
        pub kind: String,
        pub schema: i16,
        pub actor: Option<Uuid>,
        pub device: Option<Uuid>,
        pub correlation: Option<Uuid>,
        pub causation: Option<Uuid>,
        pub recorded_at: i64,
        pub public: String,
        pub sealed_hash: Option<Vec<u8>>,
        pub body_hash: Vec<u8>,
        pub chain: Vec<u8>,
        pub content: Option<Vec<u8>>,
    }
}

impl EventRow {
    /// The event, or what about the row cannot have been written by us.
    pub fn recorded(self) -> Result<Recorded, LogError> {
        let position = Position::from_i64(self.position);
        let damaged = |what| LogError::Damaged { position, what };
        let sealed_hash = match &self.sealed_hash {
            None => None,
            Some(bytes) => {
                Some(Hash32::from_slice(bytes).ok_or_else(|| damaged("the sealed hash is not 32 bytes"))?)
            }
        };
        Ok(Recorded {
            position,
            stream: StreamId(self.stream),
            stream_kind: StreamKind::from_code(self.stream_kind)
                .ok_or_else(|| damaged("the stream kind is unknown"))?,
            seq: Seq::from_i64(self.seq),
            event_id: self.event_id.into(),
            subject: self.subject.map(Into::into),
            kind: self.kind,
            schema: u16::try_from(self.schema).map_err(|_| damaged("the schema is negative"))?,
            actor: self.actor.map(Into::into),
            device: self.device.map(Into::into),
            correlation: self.correlation,
            causation: self.causation.map(Into::into),
            recorded_at: Micros(self.recorded_at),
            public: self.public,
            sealed_hash,
            body_hash: Hash32::from_slice(&self.body_hash)
                .ok_or_else(|| damaged("the body hash is not 32 bytes"))?,
            chain: Chain::from_slice(&self.chain).ok_or_else(|| damaged("the chain is not 32 bytes"))?,
            content: self.content,
        })
    }

    /// All rows, or the first damage.
    pub fn all(rows: Vec<Self>) -> Result<Vec<Recorded>, LogError> {
        rows.into_iter().map(Self::recorded).collect()
    }
}

named_row! {
    /// A row of `event_sealed`.
    pub(super) struct SealedRow {
        event_id: Uuid,
        subject: Uuid,
        purpose: String,
        period: String,
        bytes: Vec<u8>,
    }
}

impl SealedRow {
    /// The sealed part, by its event.
    pub fn sealed(self) -> (EventId, Sealed) {
        let Self { event_id, subject, purpose, period, bytes } = self;
        (event_id.into(), Sealed { subject: subject.into(), purpose, period, bytes })
    }
}

/// The bytes of a stored hash, chain or epoch, or the damage of the stream that it belongs to.
pub(super) fn fixed<T>(read: Option<T>, what: &'static str) -> Result<T, LogError> {
    read.ok_or(LogError::Damaged { position: Position::ZERO, what })
}
