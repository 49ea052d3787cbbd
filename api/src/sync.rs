//! Streams, changes, pushes, snapshots.

use lockstep_events::{
    AccountId, BatchId, BlobHash, Chain, DeviceId, EntryId, Epoch, EventId, Micros, Position, Recorded, Seq,
    SetDigest, StreamId, StreamKind, SubjectId, VaultId, VersionId,
    canonical::next_chain,
    graph::Head,
    header::Header,
    ids::{Hash32, Signature},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Bytes64;
pub use crate::blob::{BlobPart, BlobRef, CompleteBlob, GetBlobs, PrepareBlobs, PreparedBlob, PreparedBlobs};
pub use crate::reconcile::{Bucket, GetVersions, Reconcile, Reconciled, Versions};

/// The head of a stream. `GET /v1/streams` lists those of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamInfo {
    /// The stream.
    pub stream: StreamId,
    /// What it is about.
    pub kind: StreamKind,
    /// Its present life.
    pub epoch: Epoch,
    /// Its last seq.
    pub head: Seq,
    /// The chain at `head`.
    pub chain: Chain,
}

/// `GET /v1/streams`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// The account stream, then its vaults.
    pub streams: Vec<StreamInfo>,
}

/// One event of a stream, with everything that its leaf hash is made of: a client recomputes the chain from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamEvent {
    /// Its place in the stream.
    pub seq: Seq,
    /// Its identity.
    pub event_id: EventId,
    /// The entry, device or session it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectId>,
    /// Stored name, for example `entry.version_added`.
    pub kind: String,
    /// Version of the shape of `public`.
    pub schema: u16,
    /// Microseconds since 1970.
    pub recorded_at: Micros,
    /// The account that acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<AccountId>,
    /// The device that acted: `origin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// JSON text, byte for byte as it is hashed.
    pub public: String,
    /// SHA-256 of the sealed part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_hash: Option<Hash32>,
    /// The ciphertext, where it is short and was asked for; never in frames to the device that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Bytes64>,
}

impl From<&Recorded> for StreamEvent {
    /// The event as it crosses the wire, with its content if the reader of the log brought it along.
    fn from(event: &Recorded) -> Self {
        Self {
            seq: event.seq,
            event_id: event.event_id,
            subject: event.subject,
            kind: event.kind.clone(),
            schema: event.schema,
            recorded_at: event.recorded_at,
            actor: event.actor,
            device: event.device,
            public: event.public.clone(),
            sealed_hash: event.sealed_hash,
            content: event.content.clone().map(Bytes64),
        }
    }
}

impl StreamEvent {
    /// The event with the envelope that its leaf hash is made of, and the chain after it. Position and body hash are no
    /// part of a leaf, and do not cross the wire.
    pub fn recorded(&self, (stream, stream_kind): (StreamId, StreamKind), before: &Chain) -> Recorded {
        let mut recorded = Recorded {
            position: Position::ZERO,
            body_hash: Hash32::ZERO,
            stream,
            stream_kind,
            seq: self.seq,
            event_id: self.event_id,
            subject: self.subject,
            kind: self.kind.clone(),
            schema: self.schema,
            actor: self.actor,
            device: self.device,
            correlation: None,
            causation: None,
            recorded_at: self.recorded_at,
            public: self.public.clone(),
            sealed_hash: self.sealed_hash,
            chain: Chain::ZERO,
            content: self.content.as_ref().map(|content| content.0.clone()),
        };
        recorded.chain = next_chain(before, &recorded.leaf_hash());
        recorded
    }
}

/// A page of `GET /v1/streams/{stream}/changes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// The stream.
    pub stream: StreamId,
    /// Its present life.
    pub epoch: Epoch,
    /// The seq that the request named: apply the page only if it is yours.
    pub from: Seq,
    /// The seq of the last event of the page; `from` if it is empty.
    pub to: Seq,
    /// The last seq of the stream when the page was read.
    pub head: Seq,
    /// Whether there is more after `to`.
    pub more: bool,
    /// The chain at `to`.
    pub chain: Chain,
    /// The digest of all versions that the vault accepted up to `to`. On the page that ends at the head of a vault's
    /// stream; missing where this node does not know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_digest: Option<SetDigest>,
    /// Gapless, from `from + 1` to `to`.
    pub events: Vec<StreamEvent>,
}

/// Why a cursor is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The stream has begun another life: a restore.
    EpochChanged,
    /// The cursor is ahead of the stream: the server lost data, and has begun another life.
    CursorAhead,
    /// The stream is gone.
    StreamGone,
}

/// Facts of the problem `cursor_reset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// Why.
    pub reason: ResetReason,
    /// The present life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Its last seq.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Seq>,
}

/// One version of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushItem {
    /// The header; its hash is the version id.
    pub header: Header,
    /// The device that signed; the token's own, unless the version is re-offered after a reset.
    pub signer: DeviceId,
    /// By `signer` over the version id.
    pub signature: Signature,
    /// The content key, wrapped; present exactly where the kind has content. Lower-case hex, at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^([0-9a-f]{2})+$", max_length = 512)]
    pub wrapped_key: Option<String>,
    /// The ciphertext, at most 16 KiB. Absent: it was uploaded as a blob, or (re-offer of a non-head) is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<Bytes64>,
    /// Accept only if the entry's heads are exactly these, ascending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_heads: Option<Vec<VersionId>>,
    /// The sender does not know parents: take them from what this device has shown to have, and mark the version. That is
    /// everything up to the last cursor that it asked from (`after` of `changes`, `Last-Event-ID`, `after` of a
    /// subscription), or that a socket had sent before a ping which it answered: after the last page, ask once more.
    /// The node that was asked counts it at once, other nodes within seconds. Of several heads that the device has seen
    /// only the winner becomes the parent, so a save over a conflict that was seen leaves the conflict. Only for `edit`
    /// without parents whose `observed_seq` is 0: whoever has seen the vault knows its versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub infer_parents: bool,
    /// Blobs that this version needs beside its ciphertext: its attachments. They must have been uploaded. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 32)]
    pub attachments: Vec<BlobHash>,
}

/// `POST /v1/vaults/{vault}/versions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The life of the vault's stream that the sender knows. Another one: nothing is done.
    pub epoch: Epoch,
    /// Names this push. A retry repeats it with the same items; with other items it is refused.
    pub batch_id: BatchId,
    /// At most 256.
    #[schema(min_items = 1, max_items = 256)]
    pub items: Vec<PushItem>,
    /// Indices of items that are accepted together or not at all; each index in at most one group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<u32>>,
    /// After a reset: versions of other devices of this account may be among the items.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reoffer: bool,
}

/// What became of one item. `key_epoch_stale` is kept for later and not said by this version: an older generation that
/// the roster states is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PushOutcome {
    /// It stands, on an existing branch.
    Accepted,
    /// It stands, on a new branch beside others.
    AcceptedForked,
    /// It stood already; `seq` is where.
    Duplicate,
    /// `expect_heads` did not hold; `heads` are the present ones.
    PreconditionFailed,
    /// Parents that the server does not have: `missing`.
    MissingParents,
    /// Its ciphertext is neither inline nor uploaded.
    BlobMissing,
    /// Its ciphertext does not have the hash or length of the header.
    HashMismatch,
    /// The entry was purged.
    EntryPurged,
    /// The entry has too many open branches.
    TooManyBranches,
    /// The plan's limit.
    QuotaExceeded,
    /// Its content key is of an old vault key generation.
    KeyEpochStale,
    /// It is not right in itself, or not this sender's; `reason` says which rule it breaks, `error` the same in words.
    Forbidden,
    /// Another item of its group failed.
    NotAttempted,
}

impl PushOutcome {
    /// Whether the version stands in the log.
    pub const fn stands(self) -> bool {
        matches!(self, Self::Accepted | Self::AcceptedForked | Self::Duplicate)
    }
}

/// Which rule a version breaks that is `forbidden`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForbiddenReason {
    /// The header has more than 64 parents.
    TooManyParents,
    /// The header breaks another rule of its format, or names no entry.
    Header,
    /// The header names another account.
    Account,
    /// The header names another vault than the address.
    Vault,
    /// The signer is no device of the account or was revoked, or is neither the author nor the sender.
    Signer,
    /// The signature is not the signer's over the id that this header has.
    Signature,
    /// Parents are inferred only for an `edit` without parents whose author has seen nothing.
    InferredParents,
    /// The wrapped content key is missing, is too much, or has not the form of one.
    WrappedKey,
    /// More than 32 attachments, or any where the kind has no content.
    Attachments,
    /// A ciphertext where the kind has none, or one over 16 KiB inline.
    Content,
    /// A parent is a version of another entry.
    ForeignParent,
    /// `content_of` is not a version of this entry with content.
    ContentOf,
    /// Another version has this identity.
    IdTaken,
}

/// The answer about one item, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushResult {
    /// The version; recomputed by the server. With inferred parents the header, and so the id, stay as they came.
    pub version_id: VersionId,
    /// What became of it.
    pub outcome: PushOutcome,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// The branch it was accepted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<u32>,
    /// The entry's heads: after it was accepted, or those that refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<Vec<Head>>,
    /// Parents that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<VersionId>,
    /// With `forbidden`: which rule it breaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ForbiddenReason>,
    /// One sentence for people, where the outcome alone does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// With `quota_exceeded`: which limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<crate::plan::Quota>,
}

/// Answer to [`Push`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pushed {
    /// The life of the stream.
    pub epoch: Epoch,
    /// Its last seq after this push, as far as this node knows. Not a place to read on from: others may have written
    /// before it what this device was not served.
    pub head: Seq,
    /// One per item, in order.
    pub results: Vec<PushResult>,
}

/// One head in a snapshot: the event that accepted it, with its content where it is short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotVersion {
    /// The header.
    pub header: Header,
    /// The device that signed.
    pub signer: DeviceId,
    /// The signature.
    pub signature: Signature,
    /// The wrapped content key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrapped_key: Option<String>,
    /// Where it stands.
    pub seq: Seq,
    /// Its branch.
    pub branch: u32,
    /// When it was accepted, microseconds since 1970.
    pub accepted_at: Micros,
    /// Its parents were inferred by the server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parent_inferred: bool,
    /// What was taken as its parents then; the header has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inferred_parents: Vec<VersionId>,
    /// Its ciphertext is gone: pruned or never re-offered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub content_gone: bool,
    /// The ciphertext, where it is inline and still kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Bytes64>,
    /// Blobs beside its ciphertext that live as long as it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<BlobHash>,
}

/// An entry in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotEntry {
    /// The entry.
    pub entry: EntryId,
    /// The number that the next new branch gets.
    pub next_branch: u32,
    /// How many of `versions` are heads: the first ones.
    pub heads: u32,
    /// All heads; for an `adopt` head also the version whose content it keeps.
    pub versions: Vec<SnapshotVersion>,
}

/// A page of `GET /v1/vaults/{vault}/snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The vault.
    pub vault: VaultId,
    /// The life of its stream.
    pub epoch: Epoch,
    /// Read before the data: replay the changes from here; replay is idempotent.
    pub position: Seq,
    /// The chain at `position`.
    pub chain: Chain,
    /// The digest of all versions that the vault accepted up to `position`; missing where this node does not know it
    /// yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_digest: Option<SetDigest>,
    /// Entries in order of id.
    pub entries: Vec<SnapshotEntry>,
    /// Ask for this page next; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `GET /v1/vaults/{vault}/entries/{entry}/versions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// The entry.
    pub entry: EntryId,
    /// Its heads.
    pub heads: Vec<Head>,
    /// Versions in order of seq.
    pub versions: Vec<SnapshotVersion>,
    /// Ask with `after` = this seq for the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
}

/// `POST /v1/vaults/{vault}/entries/{entry}/purge`, with an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// The heads that the person was shown, ascending.
    #[schema(min_items = 1)]
    pub expect_heads: Vec<VersionId>,
}

/// Answer to [`Purge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Purged {
    /// Where the event of the purge stands in the vault's stream.
    pub seq: Seq,
}
