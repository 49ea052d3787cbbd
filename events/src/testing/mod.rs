//! What adapters and tests share: the in-memory log, the contract suite, scripts of random operations.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::wildcard_imports,
    reason = "this is test code that other crates' tests use: a failed step ends the test"
)]

pub mod build;
pub mod contract;
mod export;
mod hooked;
mod memory;
mod script;

pub use export::export;
pub use hooked::{HookedLog, Verdict};
pub use memory::MemoryLog;
pub use script::{Dice, Script, Step};
