//! What adapters and tests share: the in-memory store, scripts of random events, and the contract suite that every
//! read store passes.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a check that does not hold panics")]

pub mod contract;
pub mod memory;
pub mod random;
pub mod script;

pub use memory::MemoryReads;
