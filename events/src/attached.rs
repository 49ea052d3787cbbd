//! What the attachments of an entry take up: each counts once, however many of the entry's versions name it, and as long
//! as one of them keeps its content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::BlobHash;

/// The attachments of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attached(BTreeMap<BlobHash, Counted>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    bytes: u64,
    /// How often versions name it that keep their content.
    named: u32,
}

impl Attached {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a version that keeps its content names this blob.
    pub fn has(&self, hash: &BlobHash) -> bool {
        self.0.contains_key(hash)
    }

    /// All of them, with their lengths, 0 where that is not known.
    pub fn sized(&self) -> impl Iterator<Item = (BlobHash, u64)> {
        self.0.iter().map(|(hash, counted)| (*hash, counted.bytes))
    }

    /// A version names blobs of these lengths: how many bytes more there are. Of a length that was not known when an
    /// earlier version named the blob, the rest is more now.
    pub fn name(&mut self, blobs: impl IntoIterator<Item = (BlobHash, u64)>) -> u64 {
        let mut more = 0;
        for (hash, bytes) in blobs {
            let counted = self.0.entry(hash).or_default();
            more += bytes.saturating_sub(counted.bytes);
            counted.bytes = counted.bytes.max(bytes);
            counted.named += 1;
        }
        more
    }

    /// A version that named these has lost its content: how many bytes less there are.
    pub fn let_go(&mut self, blobs: impl IntoIterator<Item = BlobHash>) -> u64 {
        let mut less = 0;
        for hash in blobs {
            let Some(counted) = self.0.get_mut(&hash) else { continue };
            counted.named = counted.named.saturating_sub(1);
            if counted.named == 0 {
                less += counted.bytes;
                self.0.remove(&hash);
            }
        }
        less
    }

    /// All versions have lost their content: how many bytes less there are.
    pub fn clear(&mut self) -> u64 {
        std::mem::take(&mut self.0).into_values().map(|counted| counted.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: (BlobHash, u64) = (BlobHash([1; 32]), 10);
    const TWO: (BlobHash, u64) = (BlobHash([2; 32]), 5);

    #[test]
    fn a_blob_counts_once_until_the_last_version_that_names_it_has_lost_its_content() {
        let mut attached = Attached::default();
        assert_eq!(attached.name([ONE]), 10);
        assert_eq!(attached.name([ONE, TWO, TWO]), 5);
        assert_eq!(attached.let_go([ONE.0]), 0);
        assert_eq!(attached.let_go([ONE.0, TWO.0, TWO.0]), 15);
        assert!(attached.is_empty());
        assert_eq!(attached.let_go([ONE.0]), 0);
    }

    #[test]
    fn a_length_that_becomes_known_later_counts_then() {
        let mut attached = Attached::default();
        assert_eq!(attached.name([(ONE.0, 0)]), 0);
        assert_eq!(attached.name([ONE]), 10);
        assert_eq!(attached.clear(), 10);
    }
}
