//! Bodies and messages that cross Lockstep's wire. Server and client share them, so they cannot disagree.
//!
//! Every request body refuses unknown fields. UUIDs are hyphenated text; hashes, keys and signatures are lower-case
//! hexadecimal; ciphertexts and protocol messages are standard base64 with padding.

pub mod account;
pub mod admin;
pub mod approval;
mod blob;
pub mod bytes64;
pub mod cursor;
pub mod factor;
pub mod live;
pub mod opaque;
pub mod plan;
pub mod privacy;
pub mod problem;
mod reconcile;
pub mod recovery;
pub mod sync;
pub mod ways;
pub mod words;

pub use bytes64::Bytes64;
pub use cursor::Cursor;
pub use problem::{Code, Problem};

/// A batch push has at most so many items.
pub const MAX_ITEMS: usize = 256;
/// A batch push is at most so long as JSON, in bytes.
pub const MAX_PUSH_BYTES: usize = 1024 * 1024;
/// Any other JSON body is at most so long, in bytes.
pub const MAX_JSON_BYTES: usize = 64 * 1024;
/// A ciphertext up to this length may stand inline in a push, in bytes; a longer one is a blob.
pub const MAX_INLINE: usize = 16 * 1024;
/// A frame or page brings ciphertexts up to this length along, in bytes; longer ones are fetched.
pub const MAX_LIVE_INLINE: usize = 4 * 1024;
/// A page of changes has at most so many events.
pub const MAX_PAGE: usize = 1000;
/// A long-poll waits at most so long, in seconds.
pub const MAX_WAIT_S: u64 = 25;
/// So long after a change the address before is a name to log in with, and nobody else's, in seconds.
pub const FORMER_ADDRESS_S: i64 = 7 * 24 * 3600;
