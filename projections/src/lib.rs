//! Lockstep's read side: pure projections over the log, the contract of the store that keeps their rows, the
//! runner that folds batches, and the rebuild.
//!
//! No SQL, no clock, no randomness, no look-ups outside the rows that an event names.
//!
//! An event comes in by [`runner::Runner`], which loads the rows that [`project::needs`] names into a
//! [`working::Working`], lets [`project::project`] change them, and commits rows and checkpoint together. A
//! [`rebuild::Rebuild`] does the same from position 0 into a new generation and then switches.

pub mod checksum;
pub mod key;
pub mod progress;
pub mod project;
pub mod rebuild;
pub mod rows;
pub mod runner;
pub mod store;
pub mod working;

mod fold;
#[cfg(feature = "testing")]
pub mod testing;

pub use key::{Family, Group, Key, Projection};
pub use progress::{Progress, WaitError};
pub use project::ProjectError;
pub use rebuild::Rebuild;
pub use runner::{RunError, Runner};
pub use store::{Checkpoint, Generation, ReadError, ReadStore};
