//! The projections themselves: pure folds of events into rows.

mod account;
mod vault;

use lockstep_events::{
    Event, Position, Recorded, codec::DecodeError, event::AccountEvent, event::VaultEvent,
};

use crate::{
    key::{Family, Group, Key},
    working::Working,
};

/// An event that a projection cannot fold. The family stops before it; it is never skipped.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The event cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The event is of another family than the stream it stands in.
    #[error("event {kind} at position {position} does not belong into this kind of stream")]
    Foreign {
        /// Its stored name.
        kind: String,
        /// Where it stands.
        position: Position,
    },
    /// The event changes something that no earlier event made, or is about something other than it says.
    #[error("event {kind} at position {position} does not fit the log before it: {what}")]
    Unfit {
        /// Its stored name.
        kind: String,
        /// Where it stands.
        position: Position,
        /// What is not there, or differs.
        what: &'static str,
    },
}

impl ProjectError {
    /// Where the event stands.
    pub fn position(&self) -> Position {
        match self {
            Self::Decode(DecodeError::UnknownKind { position, .. } | DecodeError::Shape { position, .. })
            | Self::Foreign { position, .. }
            | Self::Unfit { position, .. } => *position,
        }
    }
}

/// The rows that must be loaded before an event can be folded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rows by key.
    pub keys: Vec<Key>,
    /// Rows that the event does not name one by one. Rare: a revoked device, a purged entry, an erased account.
    pub groups: Vec<Group>,
}

/// Decodes an event for a family.
///
/// # Errors
/// If it is of a kind that this program does not know, or of another family.
pub fn decode(family: Family, recorded: &Recorded) -> Result<Event, ProjectError> {
    let event = recorded.event()?;
    match (family, &event) {
        (Family::Account, Event::Account(_)) | (Family::Vault, Event::Vault(_)) => Ok(event),
        _ => Err(ProjectError::Foreign { kind: recorded.kind.clone(), position: recorded.position }),
    }
}

/// Which rows an event needs.
pub fn needs(recorded: &Recorded, event: &Event) -> Needs {
    match event {
        Event::Account(event) => account::needs(recorded, event),
        Event::Vault(event) => vault::needs(recorded, event),
        Event::System(_) => Needs::default(),
    }
}

/// Folds one event into the rows. Everything that [`needs`] names has been loaded.
///
/// # Errors
/// If the event does not fit the log before it. The rows may be half changed then: forget them.
pub fn project(working: &mut Working, recorded: &Recorded, event: &Event) -> Result<(), ProjectError> {
    let folded = match event {
        Event::Account(event) => account::project(working, recorded, event),
        Event::Vault(event) => vault::project(working, recorded, event),
        Event::System(_) => Ok(()),
    };
    folded.map_err(|what| ProjectError::Unfit {
        kind: recorded.kind.clone(),
        position: recorded.position,
        what,
    })
}

/// What does not fit; [`project`] adds which event it was.
type Unfit = &'static str;
