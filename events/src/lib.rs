//! Lockstep's published language.
//!
//! Everything an auditor, a server and a client must agree on, and nothing else: identifiers ([`ids`]), the
//! envelope of one event ([`envelope`]), the events themselves ([`event`]) and what may stand in them ([`mod@public`],
//! [`mod@word`]), their canonical encoding ([`canonical`]) and whether they follow each other ([`chains`]), version
//! headers ([`header`]), the version graph ([`graph`]) and what attachments take up ([`attached`]), the device roster ([`roster`]), what an account may do ([`standing`]),
//! the contract of the log ([`log`]) and what an append decides ([`planner`]).
//!
//! The crate has no runtime, no clock, no randomness and no I/O: it can be depended on alone.

pub mod attached;
pub mod canonical;
pub mod chains;
pub mod codec;
pub mod envelope;
pub mod event;
pub mod graph;
pub mod header;
pub mod ids;
pub mod log;
pub mod planner;
pub mod public;
pub mod roster;
mod set_digest;
pub mod standing;
pub mod time;
mod upcast;
pub mod word;

#[cfg(feature = "testing")]
pub mod testing;

pub use envelope::{Content, NewEvent, Recorded, Sealed};
pub use event::Event;
pub use header::{Header, VersionKind};
pub use ids::{
    AccountId, BatchId, BlobHash, Chain, DeviceId, EntryId, Epoch, EventId, Hash32, Position, Seq, SessionId,
    SetDigest, StreamId, StreamKind, SubjectId, VaultId, VersionId,
};
pub use log::{EventLog, LogError, Outcome, Unit};
pub use time::{Clock, Micros};
pub use word::{Hex, Word};
