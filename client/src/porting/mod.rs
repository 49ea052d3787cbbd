//! What is inside an entry, and the ways in and out of other programs.
//!
//! [`item`] is the model; [`import`] reads the exports of other programs into it, [`export`] writes it out again;
//! [`archive`] seals vaults under a password, [`portion`] is one of them; [`merge`] compares two states of an item with the one they came from; [`generate`] makes passwords;
//! [`files`] is about the files of an item, [`held`] about those that an export holds;
//! [`fixtures`] makes realistic exports for tests and demonstrations. Nothing here does I/O but [`import::read`].

pub mod archive;
pub mod bitwarden;
pub mod changes;
pub mod csv;
pub mod export;
pub mod fields;
pub mod files;
pub mod fixtures;
pub mod generate;
pub mod held;
pub mod import;
pub mod item;
pub mod keepass;
pub mod merge;
pub mod portion;
pub mod secret;
mod zip;

pub use import::{Format, ImportError, Imported};
pub use item::{Body, Item};
pub use secret::Secret;
