//! The canonical encoding: fixed-width big-endian numbers, length-prefixed bytes, RFC 6962 hashes.
//!
//! Written by hand on purpose. JSON and CBOR have more than one encoding of the same value; what is hashed or
//! signed must have exactly one.

use sha2::{Digest, Sha256};

use crate::ids::{Chain, Hash32};

/// Builds one canonical byte string, field after field.
#[derive(Debug, Default, Clone)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An encoding that starts with its domain, so that no two kinds of object share bytes.
    pub fn new(domain: &str) -> Self {
        // Room for nearly every encoding: growing step by step costs more than hashing what is in it.
        Self(Vec::with_capacity(512)).lp(domain.as_bytes())
    }

    /// A byte string with its length as u32 before it.
    #[must_use]
    pub fn lp(mut self, bytes: &[u8]) -> Self {
        // A field longer than 4 GiB cannot reach this point: every body is limited long before.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes of a width that the format fixes.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    #[must_use]
    pub fn u8(self, n: u8) -> Self {
        self.fixed(&[n])
    }

    /// Two bytes, big-endian.
    #[must_use]
    pub fn u16(self, n: u16) -> Self {
        self.fixed(&n.to_be_bytes())
    }

    /// Four bytes, big-endian.
    #[must_use]
    pub fn u32(self, n: u32) -> Self {
        self.fixed(&n.to_be_bytes())
    }

    /// Eight bytes, big-endian.
    #[must_use]
    pub fn u64(self, n: u64) -> Self {
        self.fixed(&n.to_be_bytes())
    }

    /// Eight bytes, two's complement, big-endian.
    #[must_use]
    pub fn i64(self, n: i64) -> Self {
        self.fixed(&n.to_be_bytes())
    }

    /// 0x00 for none, or 0x01 and the bytes, whose width the format fixes.
    #[must_use]
    pub fn optional(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            None => self.u8(0),
            Some(bytes) => self.u8(1).fixed(bytes),
        }
    }

    /// The finished encoding.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// SHA-256 of the finished encoding.
    pub fn sha256(self) -> [u8; 32] {
        sha256(&self.0)
    }
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The hash of a leaf: SHA-256(0x00 ‖ core), RFC 6962 §2.1.
pub fn leaf_hash(core: &[u8]) -> Hash32 {
    Hash32(Sha256::new().chain_update([0]).chain_update(core).finalize().into())
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1.
pub fn node_hash(left: &Hash32, right: &Hash32) -> Hash32 {
    Hash32(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The chain of a stream after one more event: SHA-256(0x02 ‖ chain before ‖ leaf hash).
/// Before the first event the chain is [`Chain::ZERO`].
pub fn next_chain(before: &Chain, leaf: &Hash32) -> Chain {
    Chain(Sha256::new().chain_update([2]).chain_update(before.0).chain_update(leaf.0).finalize().into())
}

#[cfg(test)]
mod tests;
