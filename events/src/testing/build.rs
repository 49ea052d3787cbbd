//! Small words to write events, claims and units in tests.

use uuid::Uuid;

use crate::{
    canonical::sha256,
    envelope::{Content, NewEvent},
    ids::{BlobHash, Epoch, EventId, Seq, StreamId, StreamKind, SubjectId},
    log::{Outcome, Placed, Required, StreamClaim, StreamExpect, SubjectClaim, SubjectExpect, Unit},
};

/// The n-th stream.
pub fn stream(n: u128) -> StreamId {
    StreamId(Uuid::from_u128(0x5_0000 + n))
}

/// The n-th subject.
pub fn subject(n: u128) -> SubjectId {
    SubjectId(Uuid::from_u128(0x6_0000 + n))
}

/// The n-th event's id.
pub fn id(n: u128) -> EventId {
    EventId(Uuid::from_u128(0xe_0000_0000 + n))
}

/// A vault stream's claim without a precondition.
pub fn any(stream: StreamId) -> StreamClaim {
    expect(stream, StreamExpect::Any)
}

/// A vault stream's claim with a precondition; its epoch, if new, is made from its name.
pub fn expect(stream: StreamId, expect: StreamExpect) -> StreamClaim {
    StreamClaim { stream, kind: StreamKind::Vault, expect, epoch_if_new: Epoch(*stream.as_bytes()) }
}

/// An event with a body of its own.
pub fn event(n: u128, stream: StreamId) -> NewEvent {
    event_with(n, stream, &format!("{{\"n\":{n}}}"))
}

/// An event with this body.
pub fn event_with(n: u128, stream: StreamId, public: &str) -> NewEvent {
    let kind = "test.happened";
    NewEvent {
        event_id: id(n),
        stream,
        subject: None,
        kind: kind.into(),
        schema: 1,
        actor: None,
        device: None,
        correlation: None,
        causation: None,
        public: public.into(),
        sealed: None,
        content: None,
        body_hash: NewEvent::hash_body(stream, None, kind, 1, public, None),
    }
}

impl NewEvent {
    /// About a subject.
    #[must_use]
    pub fn about(mut self, subject: SubjectId) -> Self {
        self.subject = Some(subject);
        self
    }

    /// With a small ciphertext.
    #[must_use]
    pub fn with_content(mut self, bytes: &[u8]) -> Self {
        self.content = Some(Content { hash: BlobHash(sha256(bytes)), bytes: bytes.to_vec() });
        self
    }
}

/// A unit of these events, their streams claimed without preconditions.
pub fn unit(events: Vec<NewEvent>) -> Unit {
    let mut streams: Vec<StreamClaim> = Vec::new();
    for event in &events {
        if !streams.iter().any(|claim| claim.stream == event.stream) {
            streams.push(any(event.stream));
        }
    }
    Unit { streams, events, ..Unit::default() }
}

impl Unit {
    /// With a precondition on a stream, in place of the claim that is there.
    #[must_use]
    pub fn expecting(mut self, stream: StreamId, precondition: StreamExpect) -> Self {
        self.streams.retain(|claim| claim.stream != stream);
        self.streams.push(expect(stream, precondition));
        self
    }

    /// With a precondition on a subject.
    #[must_use]
    pub fn expecting_subject(mut self, stream: StreamId, subject: SubjectId, expect: SubjectExpect) -> Self {
        self.subjects.push(SubjectClaim { stream, subject, expect });
        self
    }

    /// With a required earlier event.
    #[must_use]
    pub fn requiring(mut self, stream: StreamId, event_id: EventId) -> Self {
        self.requires.push(Required { stream, event_id });
        self
    }
}

/// The places of an appended unit.
///
/// # Panics
/// If it was refused.
#[track_caller]
pub fn placed(outcome: &Outcome) -> &[Placed] {
    match outcome {
        Outcome::Appended(placed) => placed,
        refused => panic!("not appended: {refused:?}"),
    }
}

/// The seqs of an appended unit.
///
/// # Panics
/// If it was refused.
#[track_caller]
pub fn seqs(outcome: &Outcome) -> Vec<Seq> {
    placed(outcome).iter().map(|placed| placed.seq).collect()
}
