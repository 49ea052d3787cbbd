//! What changes something: load, decide, append. One decision, one file.

pub mod push;
