//! What adapters and tests share: the in-memory log, the contract suite, scripts of random operations.

pub mod build;
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the suite's files share one vocabulary"))]
#[expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a contract suite is a test, though it ships as a feature"
)]
pub mod contract;
mod export;
mod hooked;
mod memory;
pub mod model;
mod script;

pub use export::export;
pub use hooked::{HookedLog, Verdict};
pub use memory::MemoryLog;
pub use script::{Dice, Script, Step};
