//! A log as a file: one JSON object a line (docs/formats.md, "Log in a file").

use std::borrow::Cow;

use lockstep_api::Bytes64;
use lockstep_events::{
    AccountId, Chain, DeviceId, EventId, Hash32, Micros, Position, Recorded, Sealed, Seq, StreamId,
    StreamKind, ids::SubjectId,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Version of this format.
pub const FORMAT: u32 = 1;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Line<'a> {
    /// The first one.
    Begin(Begin),
    /// An event, in the order of the log.
    Event(Box<EventLine<'a>>),
    /// The last one.
    End(End),
}

/// Which log, and up to where.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// [`FORMAT`].
    pub format: u32,
    /// Which log.
    pub log_id: Uuid,
    /// Where it ended.
    pub position: Position,
    /// Whether ciphertexts and sealed parts are here, as far as they were there.
    pub contents: bool,
}

/// What there was, and the hash to compare.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Events.
    pub events: u64,
    /// Streams.
    pub streams: u64,
    /// One hash over where the log and all its streams ended.
    pub hash: Hash32,
}

/// An event with all that its chain is made of.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventLine<'a> {
    position: Position,
    stream: StreamId,
    stream_kind: StreamKind,
    seq: Seq,
    event: EventId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<SubjectId>,
    kind: Cow<'a, str>,
    schema: u16,
    recorded_at: Micros,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<AccountId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation: Option<EventId>,
    public: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed_hash: Option<Hash32>,
    body_hash: Hash32,
    chain: Chain,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Bytes64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<SealedPart<'a>>,
}

/// A sealed part.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedPart<'a> {
    subject: AccountId,
    purpose: Cow<'a, str>,
    period: Cow<'a, str>,
    bytes: Bytes64,
}

impl<'a> EventLine<'a> {
    /// An event, with its ciphertext and its sealed part if those are wanted.
    pub fn of(recorded: &'a Recorded, sealed: Option<&'a Sealed>, contents: bool) -> Self {
        let sealed = sealed.filter(|_| contents).map(|sealed| SealedPart {
            subject: sealed.subject,
            purpose: sealed.purpose.as_str().into(),
            period: sealed.period.as_str().into(),
            bytes: sealed.bytes.clone().into(),
        });
        Self {
            position: recorded.position,
            stream: recorded.stream,
            stream_kind: recorded.stream_kind,
            seq: recorded.seq,
            event: recorded.event_id,
            subject: recorded.subject,
            kind: recorded.kind.as_str().into(),
            schema: recorded.schema,
            recorded_at: recorded.recorded_at,
            actor: recorded.actor,
            device: recorded.device,
            correlation: recorded.correlation,
            causation: recorded.causation,
            public: recorded.public.as_str().into(),
            sealed_hash: recorded.sealed_hash,
            body_hash: recorded.body_hash,
            chain: recorded.chain,
            content: recorded.content.clone().filter(|_| contents).map(Into::into),
            sealed,
        }
    }

    /// The event again, and its sealed part if that is here.
    pub fn read(self) -> (Recorded, Option<Sealed>) {
        let sealed = self.sealed.map(|sealed| Sealed {
            subject: sealed.subject,
            purpose: sealed.purpose.into_owned(),
            period: sealed.period.into_owned(),
            bytes: sealed.bytes.0,
        });
        let recorded = Recorded {
            position: self.position,
            stream: self.stream,
            stream_kind: self.stream_kind,
            seq: self.seq,
            event_id: self.event,
            subject: self.subject,
            kind: self.kind.into_owned(),
            schema: self.schema,
            actor: self.actor,
            device: self.device,
            correlation: self.correlation,
            causation: self.causation,
            recorded_at: self.recorded_at,
            public: self.public.into_owned(),
            sealed_hash: self.sealed_hash,
            body_hash: self.body_hash,
            chain: self.chain,
            content: self.content.map(|content| content.0),
        };
        (recorded, sealed)
    }
}
