//! The envelope: one row of the log, before and after it has a place.

use crate::{
    canonical::{Writer, leaf_hash, next_chain, sha256},
    ids::{
        AccountId, BlobHash, Chain, DeviceId, EventId, Hash32, Position, Seq, StreamId, StreamKind, SubjectId,
    },
    time::Micros,
};
use uuid::Uuid;

const LEAF_DOMAIN: &str = "lockstep/v1/leaf";
const BODY_DOMAIN: &str = "lockstep/v1/body";

/// The erasable part of an event: personal data, sealed under a subject key, in a table of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Whose data it is.
    pub subject: AccountId,
    /// What it is kept for, for example `identity` or `telemetry`.
    pub purpose: String,
    /// The period of its key, for example `2026-11`; empty where the key lives as long as the account.
    pub period: String,
    /// The sealed bytes. Their SHA-256 is what the leaf commits to.
    pub bytes: Vec<u8>,
}

/// A small ciphertext that commits in one transaction with the event that names it.
///
/// It is stored once per (stream, hash), outside the leaf: the version header in `public` commits to its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of `bytes`.
    pub hash: BlobHash,
    /// The ciphertext, at most 16 KiB.
    pub bytes: Vec<u8>,
}

/// An event that has no place yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Made by the caller; the same for every retry.
    pub event_id: EventId,
    /// The stream it goes to. The unit claims every stream that its events name.
    pub stream: StreamId,
    /// The entry, device or session it is about.
    pub subject: Option<SubjectId>,
    /// Stored name, for example `entry.version_added`.
    pub kind: String,
    /// Version of the shape of `public`.
    pub schema: u16,
    /// The account that acted. Never an address or a name.
    pub actor: Option<AccountId>,
    /// The device that acted.
    pub device: Option<DeviceId>,
    /// The request that caused it.
    pub correlation: Option<Uuid>,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// JSON, kept byte for byte; what an auditor may read.
    pub public: String,
    /// Personal data, if any.
    pub sealed: Option<Sealed>,
    /// Small ciphertext, if any.
    pub content: Option<Content>,
    /// What makes two events with the same id "the same": a retry has the same `body_hash`.
    pub body_hash: Hash32,
}

impl NewEvent {
    /// The body hash of an event whose identity is all of its body.
    ///
    /// A version event uses its version id instead: the same choice made on two devices is the same version,
    /// although each signs it with its own key.
    pub fn hash_body(
        stream: StreamId,
        subject: Option<SubjectId>,
        kind: &str,
        schema: u16,
        public: &str,
        sealed: Option<&Sealed>,
    ) -> Hash32 {
        let sealed_hash = sealed.map(|s| Hash32(sha256(&s.bytes)));
        body((stream, subject), (kind, schema), public, sealed_hash)
    }

    /// The same event with a sealed part, which its identity covers.
    #[must_use]
    pub fn with_sealed(mut self, sealed: Sealed) -> Self {
        let subject = self.subject;
        self.body_hash =
            Self::hash_body(self.stream, subject, &self.kind, self.schema, &self.public, Some(&sealed));
        self.sealed = Some(sealed);
        self
    }

    /// SHA-256 of the sealed bytes, if there are any.
    pub fn sealed_hash(&self) -> Option<Hash32> {
        self.sealed.as_ref().map(|s| Hash32(sha256(&s.bytes)))
    }

    /// The event with its place, as a reader of the log will see it.
    pub fn record(self, stream_kind: StreamKind, at: Place, before: &Chain) -> Recorded {
        let chain = self.chain_after(at, before);
        self.placed(stream_kind, at, chain)
    }

    /// The chain of the stream once this event stands at a place in it.
    pub fn chain_after(&self, at: Place, before: &Chain) -> Chain {
        let sealed_hash = self.sealed_hash();
        let leaf = Leaf {
            event_id: &self.event_id,
            stream: &self.stream,
            seq: at.seq,
            subject: self.subject.as_ref(),
            kind: &self.kind,
            schema: self.schema,
            recorded_at: at.recorded_at,
            actor: self.actor.as_ref(),
            device: self.device.as_ref(),
            public: &self.public,
            sealed_hash: sealed_hash.as_ref(),
        };
        next_chain(before, &leaf_hash(&leaf.core()))
    }

    /// The event as a reader will see it, with a chain that the log has computed.
    pub fn placed(self, stream_kind: StreamKind, at: Place, chain: Chain) -> Recorded {
        Recorded {
            position: at.position,
            stream: self.stream,
            stream_kind,
            seq: at.seq,
            event_id: self.event_id,
            subject: self.subject,
            sealed_hash: self.sealed_hash(),
            kind: self.kind,
            schema: self.schema,
            actor: self.actor,
            device: self.device,
            correlation: self.correlation,
            causation: self.causation,
            recorded_at: at.recorded_at,
            public: self.public,
            body_hash: self.body_hash,
            chain,
            content: self.content.map(|c| c.bytes),
        }
    }
}

/// The fields that a leaf commits to, before or after the event has its place.
struct Leaf<'a> {
    event_id: &'a EventId,
    stream: &'a StreamId,
    seq: Seq,
    subject: Option<&'a SubjectId>,
    kind: &'a str,
    schema: u16,
    recorded_at: Micros,
    actor: Option<&'a AccountId>,
    device: Option<&'a DeviceId>,
    public: &'a str,
    sealed_hash: Option<&'a Hash32>,
}

impl Leaf<'_> {
    fn core(&self) -> Vec<u8> {
        Writer::new(LEAF_DOMAIN)
            .fixed(self.event_id.as_bytes())
            .fixed(self.stream.as_bytes())
            .u64(self.seq.0)
            .optional(self.subject.map(|s| s.as_bytes().as_slice()))
            .lp(self.kind.as_bytes())
            .u16(self.schema)
            .i64(self.recorded_at.0)
            .optional(self.actor.map(|a| a.as_bytes().as_slice()))
            .optional(self.device.map(|d| d.as_bytes().as_slice()))
            .fixed(&sha256(self.public.as_bytes()))
            .optional(self.sealed_hash.map(|h| h.0.as_slice()))
            .finish()
    }
}

/// Where and when an event was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Place in the whole log.
    pub position: Position,
    /// Place in its stream.
    pub seq: Seq,
    /// Time of the commit, monotone in `position`.
    pub recorded_at: Micros,
}

fn body(
    (stream, subject): (StreamId, Option<SubjectId>),
    (kind, schema): (&str, u16),
    public: &str,
    sealed_hash: Option<Hash32>,
) -> Hash32 {
    Hash32(
        Writer::new(BODY_DOMAIN)
            .fixed(stream.as_bytes())
            .optional(subject.as_ref().map(|s| s.as_bytes().as_slice()))
            .lp(kind.as_bytes())
            .u16(schema)
            .fixed(&sha256(public.as_bytes()))
            .optional(sealed_hash.as_ref().map(|hash| hash.0.as_slice()))
            .sha256(),
    )
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Place in the whole log, gapless.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// What the stream is about.
    pub stream_kind: StreamKind,
    /// Place in the stream, gapless.
    pub seq: Seq,
    /// Its identity.
    pub event_id: EventId,
    /// The entry, device or session it is about.
    pub subject: Option<SubjectId>,
    /// Stored name.
    pub kind: String,
    /// Version of the shape of `public`.
    pub schema: u16,
    /// The account that acted.
    pub actor: Option<AccountId>,
    /// The device that acted.
    pub device: Option<DeviceId>,
    /// The request that caused it.
    pub correlation: Option<Uuid>,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// `max(clock, previous + 1 µs)`: strictly monotone in `position`.
    pub recorded_at: Micros,
    /// JSON, byte for byte as it was appended.
    pub public: String,
    /// SHA-256 of the sealed part, which may have been erased since.
    pub sealed_hash: Option<Hash32>,
    /// What a retry is compared by.
    pub body_hash: Hash32,
    /// The stream's running hash at `seq`.
    pub chain: Chain,
    /// The small ciphertext, where the reader asked for it and it is still kept.
    pub content: Option<Vec<u8>>,
}

impl Recorded {
    /// The canonical core of the leaf: what the chain and the audit tree commit to.
    pub fn leaf_core(&self) -> Vec<u8> {
        Leaf {
            event_id: &self.event_id,
            stream: &self.stream,
            seq: self.seq,
            subject: self.subject.as_ref(),
            kind: &self.kind,
            schema: self.schema,
            recorded_at: self.recorded_at,
            actor: self.actor.as_ref(),
            device: self.device.as_ref(),
            public: &self.public,
            sealed_hash: self.sealed_hash.as_ref(),
        }
        .core()
    }

    /// SHA-256(0x00 ‖ core).
    pub fn leaf_hash(&self) -> Hash32 {
        leaf_hash(&self.leaf_core())
    }

    /// [`NewEvent::hash_body`], of what stands here.
    pub fn hash_body(&self) -> Hash32 {
        body((self.stream, self.subject), (&self.kind, self.schema), &self.public, self.sealed_hash)
    }

    /// Whether this event follows a chain: the check that every client and auditor makes.
    pub fn follows(&self, before: &Chain) -> bool {
        self.chain == next_chain(before, &self.leaf_hash())
    }
}
