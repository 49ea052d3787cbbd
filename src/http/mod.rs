//! The HTTP surface: one file per resource; a handler parses, calls, answers.

pub mod caller;
