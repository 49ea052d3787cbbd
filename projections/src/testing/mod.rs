//! What adapters and tests share: the in-memory store and the contract suite that every read store passes.

pub mod memory;

pub use memory::MemoryReads;
