//! A version's header: what the server sees of a version, and what its id commits to.

use std::cell::Cell;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{
    canonical::Writer,
    ids::{AccountId, BlobHash, Chain, DeviceId, EntryId, PublicKey, Seq, Signature, VaultId, VersionId},
    public,
};
use uuid::Uuid;

/// The only header format so far.
pub const FORMAT: u16 = 1;
/// A version names at most so many parents.
pub const MAX_PARENTS: usize = 64;
/// A ciphertext of an entry is at most so long; a larger thing is an attachment.
pub const MAX_CONTENT: u32 = 64 * 1024;

const HEADER_DOMAIN: &str = "lockstep/v1/version";
const SIGNATURE_DOMAIN: &str = "lockstep/v1/version-signature";

public! {
    /// What a version does to its entry.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum VersionKind {
        /// New content after one parent, or the first version.
        Edit = 1,
        /// New content after two or more parents: a conflict resolved by hand.
        Merge = 2,
        /// An existing version becomes the head again; no content of its own.
        Adopt = 3,
        /// The entry is deleted; names every head its author was shown.
        Tombstone = 4,
    }
}

impl VersionKind {
    /// Whether versions of this kind bring a ciphertext.
    pub const fn has_content(self) -> bool {
        matches!(self, Self::Edit | Self::Merge)
    }

    /// Whether an entry with this head is visible.
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Tombstone)
    }
}

public! {
    /// Header v1. The server stores it, orders it, and can change nothing in it: the id would not recompute.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[serde(deny_unknown_fields)]
    pub struct Header {
        /// Always 1.
        pub format: u16,
        /// The account that owns the vault.
        pub account: AccountId,
        /// The vault.
        pub vault: VaultId,
        /// The entry.
        pub entry: EntryId,
        /// What this version does.
        pub kind: VersionKind,
        /// The versions it builds on, ascending, without repetition, at most 64.
        #[cfg_attr(feature = "openapi", schema(max_items = 64))]
        pub parents: Vec<VersionId>,
        /// For `adopt`: the version whose content it keeps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub content_of: Option<VersionId>,
        /// Which wrapped entry key opens it; nil where there is no content.
        pub key_id: Uuid,
        /// SHA-256 of the ciphertext; none where there is no content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub content_hash: Option<BlobHash>,
        /// Length of the ciphertext in bytes; 0 where there is no content.
        pub content_len: u32,
        /// The device that wrote it; nil for `adopt` and `tombstone`, so that the same choice has one id.
        pub author_device: DeviceId,
        /// How much of this vault its author had seen.
        pub observed_seq: Seq,
        /// The chain its author saw at `observed_seq`.
        pub observed_chain: Chain,
        /// The author's clock in milliseconds since 1970. Advisory: nothing is decided by it.
        pub client_time: i64,
    }
}

/// Why a header is not a header of v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Unknown format number.
    #[error("header format is not 1")]
    Format,
    /// More than 64 parents.
    #[error("more than 64 parents")]
    TooManyParents,
    /// Parents not ascending, or one named twice.
    #[error("parents are not in ascending order without repetition")]
    ParentsUnordered,
    /// The number of parents does not fit the kind.
    #[error("the number of parents does not fit the kind")]
    ParentCount,
    /// Content fields present where the kind has none, or missing where it has.
    #[error("content_hash, content_len, content_of or key_id do not fit the kind")]
    Content,
    /// A ciphertext over 64 KiB.
    #[error("content is longer than 65536 bytes")]
    ContentTooLong,
    /// Author fields set on a kind that must not have them, or missing where they must be.
    #[error("author fields do not fit the kind")]
    Author,
}

impl Header {
    /// Checks everything that can be checked without knowing any other version.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), HeaderError> {
        if self.format != FORMAT {
            return Err(HeaderError::Format);
        }
        if self.parents.len() > MAX_PARENTS {
            return Err(HeaderError::TooManyParents);
        }
        if !self.parents.is_sorted_by(|a, b| a < b) {
            return Err(HeaderError::ParentsUnordered);
        }
        let parents_fit = match self.kind {
            VersionKind::Edit => self.parents.len() <= 1,
            VersionKind::Merge => self.parents.len() >= 2,
            VersionKind::Adopt | VersionKind::Tombstone => !self.parents.is_empty(),
        };
        if !parents_fit {
            return Err(HeaderError::ParentCount);
        }
        if self.content_len > MAX_CONTENT {
            return Err(HeaderError::ContentTooLong);
        }
        let has_content = self.kind.has_content();
        if self.content_hash.is_some() != has_content
            || (self.content_len > 0) != has_content
            || self.key_id.is_nil() == has_content
            || self.content_of.is_some() != (self.kind == VersionKind::Adopt)
        {
            return Err(HeaderError::Content);
        }
        let anonymous = self.author_device == DeviceId::NIL;
        let author_blank = anonymous
            && self.observed_seq == Seq::ZERO
            && self.observed_chain == Chain::ZERO
            && self.client_time == 0;
        if if has_content { anonymous } else { !author_blank } {
            return Err(HeaderError::Author);
        }
        Ok(())
    }

    fn write_context(&self, w: Writer) -> Writer {
        let mut w = w
            .u16(self.format)
            .fixed(self.account.as_bytes())
            .fixed(self.vault.as_bytes())
            .fixed(self.entry.as_bytes())
            .u8(self.kind as u8)
            .u8(u8::try_from(self.parents.len()).unwrap_or(u8::MAX));
        for parent in &self.parents {
            w = w.fixed(parent.as_bytes());
        }
        w.fixed(self.content_of.unwrap_or(VersionId::ZERO).as_bytes())
            .fixed(self.key_id.as_bytes())
            .fixed(self.author_device.as_bytes())
            .u64(self.observed_seq.0)
            .fixed(self.observed_chain.as_bytes())
            .i64(self.client_time)
    }

    /// Every field but `content_hash` and `content_len`: the context under which the ciphertext is sealed, so
    /// that it cannot be moved to another entry, vault or place in history.
    pub fn context_fields(&self) -> Vec<u8> {
        self.write_context(Writer::default()).finish()
    }

    /// The canonical bytes: the context fields, then `content_hash` and `content_len`.
    pub fn canonical(&self) -> Vec<u8> {
        self.write_context(Writer::new(HEADER_DOMAIN))
            .fixed(self.content_hash.unwrap_or(BlobHash::ZERO).as_bytes())
            .u32(self.content_len)
            .finish()
    }

    /// SHA-256 of the canonical bytes.
    pub fn version_id(&self) -> VersionId {
        VersionId(crate::canonical::sha256(&self.canonical()))
    }
}

fn signed_message(version: &VersionId) -> Vec<u8> {
    Writer::new(SIGNATURE_DOMAIN).fixed(version.as_bytes()).finish()
}

/// Signs a version id with a device key.
pub fn sign_version(key: &SigningKey, version: &VersionId) -> Signature {
    Signature(key.sign(&signed_message(version)).to_bytes())
}

/// Whether a signature over a version id is by this device key (strict Ed25519, RFC 8032 §5.1.7 without
/// small-order keys).
pub fn verify_version(key: &PublicKey, version: &VersionId, signature: &Signature) -> bool {
    verify(key, &signed_message(version), signature)
}

/// Strict Ed25519 verification of any canonical message.
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    point(key).is_some_and(|key| {
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
    })
}

/// The point of a key. Signatures come many of one device together, and a tenth of the work for each would be this.
fn point(key: &PublicKey) -> Option<VerifyingKey> {
    thread_local! { static LAST: Cell<Option<VerifyingKey>> = const { Cell::new(None) }; }
    let point = match LAST.get() {
        Some(last) if *last.as_bytes() == key.0 => last,
        _ => VerifyingKey::from_bytes(&key.0).ok()?,
    };
    LAST.set(Some(point));
    Some(point)
}

/// Whether a signature can hold under a key: its bytes are a point of the curve, and not one of small order. Under any
/// other [`verify`] refuses whatever is signed.
pub fn can_verify(key: &PublicKey) -> bool {
    VerifyingKey::from_bytes(&key.0).is_ok_and(|key| !key.is_weak())
}

/// The public half of a signing key as it stands in the roster.
pub fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}
