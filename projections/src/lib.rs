//! Lockstep's read side: pure projections over the log, the contract of the store that keeps their rows, the
//! runner that folds batches, and the rebuild.
//!
//! No SQL, no clock, no randomness, no look-ups outside the rows that an event names.

pub mod rows;
pub mod store;
