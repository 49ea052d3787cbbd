//! The checksum of a read model: what "rebuilt and incremental are identical" means.

use lockstep_events::Hash32;
use sha2::{Digest, Sha256};

/// Sums up rows in the order of their keys. Every part goes in with its length, so no two lists of rows collide.
#[derive(Debug, Clone, Default)]
pub struct RowDigest {
    hash: Sha256,
    rows: u64,
}

impl RowDigest {
    /// Adds the next row: its scope and id ([`crate::Key`]) and its stored document.
    pub fn add(&mut self, scope: &[u8], id: &[u8], document: &str) {
        for part in [scope, id, document.as_bytes()] {
            self.hash.update((part.len() as u64).to_be_bytes());
            self.hash.update(part);
        }
        self.rows += 1;
    }

    /// The SHA-256 and the number of rows.
    pub fn finish(self) -> (Hash32, u64) {
        (Hash32(self.hash.finalize().into()), self.rows)
    }
}
