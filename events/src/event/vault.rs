//! What happens in a vault.

use serde::{Deserialize, Serialize};

use super::VaultErased;
use crate::{
    header::Header,
    ids::{AccountId, BatchId, BlobHash, DeviceId, EntryId, Signature, VaultId, VersionId},
    public,
    word::Hex,
};

/// What happens in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultEvent {
    /// `vault.created`
    Created(VaultCreated),
    /// `entry.version_added`; its subject is the entry, its id is derived from the version id.
    VersionAdded(Box<VersionAdded>),
    /// `entry.content_pruned`; its subject is the entry.
    ContentPruned(ContentPruned),
    /// `entry.purged`; its subject is the entry.
    Purged(EntryPurged),
    /// `vault.erased`
    Erased(VaultErased),
}

public! {
    /// A vault began.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct VaultCreated {
        /// The vault.
        pub vault: VaultId,
        /// Its owner.
        pub account: AccountId,
    }

    /// A version of an entry was accepted.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct VersionAdded {
        /// The header as its author made it. `version_id` is its hash.
        pub header: Header,
        /// The device that signed: the author, or for `adopt` and `tombstone` the first that made this choice.
        pub signer: DeviceId,
        /// By `signer` over the version id.
        pub signature: Signature,
        /// The push it came with.
        pub batch: BatchId,
        /// The sender named no parents; they were taken from what it had last been served.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub parent_inferred: bool,
        /// With `parent_inferred`: what was taken as its parents. The header stays as its author made and signed it,
        /// without parents; see [`VersionAdded::parents`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub inferred_parents: Vec<VersionId>,
        /// It was re-offered after a reset without its ciphertext.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub content_missing: bool,
        /// The content key of this version, wrapped by the vault key: opaque to the server.
        pub wrapped_key: Option<Hex>,
        /// Blobs beside its ciphertext that must be kept as long as it: its attachments. What they are stands in the
        /// ciphertext; here they are named so that nobody sweeps them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub attachments: Vec<BlobHash>,
        /// How long they are, in the same order; none in events from before this was kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub attachment_sizes: Vec<u64>,
    }
}

impl VersionAdded {
    /// Its ciphertext, if its kind has one, and its attachments.
    pub fn contents(&self) -> impl Iterator<Item = BlobHash> + '_ {
        self.header.content_hash.into_iter().chain(self.attachments.iter().copied())
    }

    /// Its attachments with their lengths, 0 where that is not known.
    pub fn sized_attachments(&self) -> impl Iterator<Item = (BlobHash, u64)> + '_ {
        let sizes = self.attachment_sizes.iter().copied().chain(std::iter::repeat(0));
        self.attachments.iter().copied().zip(sizes)
    }

    /// What the version builds on in the graph: the parents of its header, or what the server took for them.
    pub fn parents(&self) -> &[VersionId] {
        if self.parent_inferred { &self.inferred_parents } else { &self.header.parents }
    }
}

public! {
    /// Old ciphertexts of an entry were dropped by the retention rule.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ContentPruned {
        /// The entry.
        pub entry: EntryId,
        /// The versions whose content is gone.
        pub versions: Vec<VersionId>,
        /// The hashes of what is gone.
        pub contents: Vec<BlobHash>,
    }

    /// An entry was erased.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct EntryPurged {
        /// The entry.
        pub entry: EntryId,
        /// The heads that the person was shown.
        pub heads: Vec<VersionId>,
    }
}
