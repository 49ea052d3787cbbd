//! The contract of the log.
//!
//! The log is generic: it knows streams, subjects, preconditions and order, and nothing of vaults. What every
//! implementation promises (and `testing::contract` makes it keep):
//!
//! 1. Positions are 1, 2, 3, … over the whole log and seqs are 1, 2, 3, … in each stream, without a gap,
//!    whatever was refused, retried or killed in between.
//! 2. A reader that sees the event at position n sees every event below n; likewise for seqs.
//! 3. `recorded_at` rises strictly with `position`; `chain` is the running hash of the stream.
//! 4. A unit is appended as a whole or not at all. A refused unit refuses only itself and leaves no hole.
//! 5. An event id is appended at most once, ever. Sending it again answers with its original place; sending it
//!    with another body is refused and changes nothing.
//! 6. What `append` answered as appended is durable: it survives the kill of the process and of the machine.
//! 7. Nothing is ever updated, reordered or deleted, except that sealed parts and contents can be erased.

use std::any::Any;

use async_trait::async_trait;

use crate::{
    envelope::{NewEvent, Recorded, Sealed},
    ids::{
        AccountId, BlobHash, Chain, DeviceId, Epoch, EventId, Position, Seq, StreamId, StreamKind, SubjectId,
    },
    time::Micros,
};

/// The right to give every stream a new life, until it is dropped.
#[derive(Default)]
pub struct Turn {
    _held: Option<Box<dyn Any + Send>>,
}

impl Turn {
    /// Given back by whatever this does when it is dropped.
    pub fn new(held: impl Any + Send) -> Self {
        Self { _held: Some(Box::new(held)) }
    }
}

/// What a unit expects of a stream it touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamExpect {
    /// Nothing.
    Any,
    /// That it does not exist yet.
    None,
    /// That it exists.
    Exists,
    /// That its last event is at this seq.
    Exact(Seq),
}

/// What a unit expects of a subject inside a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectExpect {
    /// Nothing.
    Any,
    /// That no event is about it yet.
    None,
    /// That the last event about it is at this seq of the stream.
    Exact(Seq),
}

/// A stream that a unit's events go to. Every such stream is claimed exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamClaim {
    /// The stream.
    pub stream: StreamId,
    /// What it is about; must agree with what it was created as.
    pub kind: StreamKind,
    /// The precondition.
    pub expect: StreamExpect,
    /// The epoch it gets if this unit creates it: fresh random bits from the caller.
    pub epoch_if_new: Epoch,
}

/// A precondition on a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectClaim {
    /// The stream it is in.
    pub stream: StreamId,
    /// The subject.
    pub subject: SubjectId,
    /// The precondition.
    pub expect: SubjectExpect,
}

/// An event that must already stand in the same stream, or earlier in the unit or batch: a version's parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Required {
    /// The stream in which it must stand.
    pub stream: StreamId,
    /// The event.
    pub event_id: EventId,
}

/// The events of one command over one or more streams: all or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Every stream of `events`, once.
    pub streams: Vec<StreamClaim>,
    /// Preconditions on subjects.
    pub subjects: Vec<SubjectClaim>,
    /// Required earlier events.
    pub requires: Vec<Required>,
    /// In the order in which they get their places. At least one, at most [`MAX_UNIT_EVENTS`].
    pub events: Vec<NewEvent>,
}

/// A unit has at most so many events.
pub const MAX_UNIT_EVENTS: usize = 512;
/// A content that commits with its event is at most so many bytes; a larger one is a blob.
pub const MAX_INLINE_CONTENT: usize = 16 * 1024;

/// The place an event has got, or always had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The event.
    pub event_id: EventId,
    /// Its place in the log.
    pub position: Position,
    /// Its place in its stream.
    pub seq: Seq,
    /// When it was committed.
    pub recorded_at: Micros,
    /// The chain at `seq`.
    pub chain: Chain,
    /// The seq of the event about the same subject just before it; none if it is the first, or has no subject.
    /// For a duplicate: not looked up, none.
    pub subject_prev: Option<Seq>,
    /// Whether it was there already.
    pub duplicate: bool,
}

/// What became of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All its events stand in the log, in the order of the unit; those that stood there before are marked
    /// `duplicate`. If all of them did, the preconditions were not looked at: a retry is recognised for ever.
    Appended(Vec<Placed>),
    /// An event with this id and another body stands in the log. Nothing was appended.
    IdReused(EventId),
    /// Preconditions that did not hold, with what holds instead. Nothing was appended.
    Conflict(Vec<Current>),
    /// Required events that do not stand in their stream. Nothing was appended.
    Missing(Vec<EventId>),
}

/// The state that a refused precondition met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Current {
    /// The stream's last seq; none if it does not exist.
    Stream(StreamId, Option<Seq>),
    /// The subject's last seq in the stream; none if no event is about it.
    Subject(StreamId, SubjectId, Option<Seq>),
    /// The stream exists with another kind than claimed.
    Kind(StreamId, StreamKind),
}

/// The end of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    /// The last position; 0 for an empty log.
    pub position: Position,
    /// When it was committed; 0 for an empty log.
    pub recorded_at: Micros,
}

/// The end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHead {
    /// The stream.
    pub stream: StreamId,
    /// What it is about.
    pub kind: StreamKind,
    /// Its life.
    pub epoch: Epoch,
    /// Its last seq.
    pub seq: Seq,
    /// The chain at `seq`.
    pub chain: Chain,
}

/// Which sealed parts are erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedParts {
    /// Those with one person's data that are kept for one of these purposes.
    Of(AccountId, Vec<String>),
    /// Those that are kept for a purpose, of every person, with a period before this one.
    Before {
        /// The purpose.
        purpose: String,
        /// The first period that stays. A part without a period stays too.
        period: String,
    },
}

/// A row of a log's tables that no reading of its events comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// What it is, and what is wrong with it.
    pub what: &'static str,
    /// Which one.
    pub row: String,
}

/// Which contents a read brings along with its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// None.
    No,
    /// Those of at most so many bytes.
    UpTo(usize),
    /// The same, without those that came from a device: it has them.
    ForDevice(DeviceId, usize),
}

impl Contents {
    /// Of at most how many bytes, and the device whose contents are left out; nothing if none is brought along.
    pub const fn wanted(self) -> Option<(usize, Option<DeviceId>)> {
        match self {
            Self::No => None,
            Self::UpTo(most) => Some((most, None)),
            Self::ForDevice(device, most) => Some((most, Some(device))),
        }
    }
}

/// Which events of the whole log a read is about. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only streams of this kind.
    pub stream_kind: Option<StreamKind>,
    /// Only these stored names; empty means all.
    pub kinds: Vec<String>,
}

/// Why the log did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The database cannot be reached, is shutting down or timed out. Whether an append was committed is unknown:
    /// send the same ids again.
    #[error("the log is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk or the quota of the database is full. Nothing was appended.
    #[error("the log has no room left")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The unit itself is not well-formed; a defect of the caller.
    #[error("the unit is not well-formed: {0}")]
    Malformed(&'static str),
    /// What is stored is not what was written.
    #[error("the log is damaged at position {position}: {what}")]
    Damaged {
        /// Where.
        position: Position,
        /// What does not hold.
        what: &'static str,
    },
    /// Anything else the database says.
    #[error("the log failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An append-only log of events. See the module for what it promises.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends a batch of units in order, in one transaction; one outcome per unit, in the same order.
    ///
    /// `now` is the caller's clock; the log moves it forward where it must to stay monotone. A precondition of a
    /// later unit sees the events of the earlier ones.
    ///
    /// # Errors
    /// [`LogError`]; after `Unavailable` the same call may be made again with the same ids.
    async fn append(&self, units: &[Unit], now: Micros) -> Result<Vec<Outcome>, LogError>;

    /// Events after a position in the order of the log, at most `limit`.
    async fn read_all(
        &self,
        after: Position,
        limit: usize,
        filter: &Filter,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError>;

    /// Events of one stream after a seq, at most `limit`.
    async fn read_stream(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError>;

    /// Events about one subject after a seq of its stream, at most `limit`.
    async fn read_subject(
        &self,
        stream: StreamId,
        subject: SubjectId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError>;

    /// The places of those of these events that stand in the log, in the order asked; others are left out.
    async fn find(&self, ids: &[EventId]) -> Result<Vec<Recorded>, LogError>;

    /// The end of the log. Cheap: an index-only look at the last row.
    async fn tail(&self) -> Result<Tail, LogError>;

    /// The heads of those of these streams that exist, in the order asked.
    async fn stream_heads(&self, streams: &[StreamId]) -> Result<Vec<StreamHead>, LogError>;

    /// The chain of a stream at a seq; none if it is not that long. Seq 0 is [`Chain::ZERO`].
    async fn chain_at(&self, stream: StreamId, seq: Seq) -> Result<Option<Chain>, LogError>;

    /// Small ciphertexts of one stream by hash; those that are not kept are left out.
    async fn contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, Vec<u8>)>, LogError>;

    /// Those of these events that came with a small ciphertext, in the order asked, whether or not it is still kept.
    async fn came_with_content(&self, ids: &[EventId]) -> Result<Vec<EventId>, LogError>;

    /// Erases small ciphertexts of one stream (pruning and purge, after their event is appended), but for those that came
    /// again with an event after `seen`: up to there was asked who else keeps them. How many went.
    async fn erase_contents(&self, stream: StreamId, hashes: &[BlobHash], seen: Seq)
    -> Result<u64, LogError>;

    /// The sealed parts of those of these events that (still) have one, in the order asked.
    async fn sealed_parts(&self, ids: &[EventId]) -> Result<Vec<(EventId, Sealed)>, LogError>;

    /// Sealed parts with a person's data, in the order of their events' ids, after one of them; at most `limit`.
    async fn sealed_about(
        &self,
        subject: AccountId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<(EventId, Sealed)>, LogError>;

    /// Erases sealed parts; how many. Their events stay as they are: the leaf has only the hash.
    async fn erase_sealed(&self, which: &SealedParts) -> Result<u64, LogError>;

    /// Makes sure that what was erased is in no file that this log writes: a journal, a free page.
    async fn scrub(&self) -> Result<(), LogError> {
        Ok(())
    }

    /// Waits until no other process of all that use this log gives every stream a new life. Theirs begin after what is
    /// given here is dropped. A log that one process uses alone has nothing to wait for.
    async fn turn_to_renew(&self) -> Result<Turn, LogError> {
        Ok(Turn::default())
    }

    /// Rows of its tables that no reading of its events comes to, the first of each kind. What lies in no tables has none.
    async fn strays(&self) -> Result<Vec<Stray>, LogError> {
        Ok(Vec::new())
    }

    /// Gives a stream a new life: after a restore, or when a cursor ahead of it shows that data was lost.
    async fn renew_epoch(&self, stream: StreamId, epoch: Epoch) -> Result<(), LogError>;

    /// A random name of this log, made when it was created; names its subject on the bus.
    async fn log_id(&self) -> Result<uuid::Uuid, LogError>;
}
