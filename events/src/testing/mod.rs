//! What adapters and tests share: the in-memory log, the contract suite, scripts of random operations.

mod memory;

pub use memory::MemoryLog;
