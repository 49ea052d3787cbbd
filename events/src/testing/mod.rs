//! What adapters and tests share: the in-memory log, the contract suite, scripts of random operations.

pub mod build;
#[expect(clippy::unwrap_used, reason = "a contract suite is a test, though it ships as a feature")]
pub mod contract;
mod hooked;
mod memory;
pub mod model;

pub use hooked::{HookedLog, Verdict};
pub use memory::MemoryLog;
