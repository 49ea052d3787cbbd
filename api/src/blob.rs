//! Uploading and fetching blobs.

use lockstep_events::BlobHash;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A blob by hash and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// SHA-256 of the ciphertext.
    pub hash: BlobHash,
    /// Its length in bytes.
    pub size: u64,
    /// It is an attachment: a file of any length that the server allows for one, not what a version says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attachment: bool,
}

/// `POST /v1/vaults/{vault}/blobs/prepare`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareBlobs {
    /// At most 256.
    #[schema(min_items = 1, max_items = 256)]
    pub blobs: Vec<BlobRef>,
}

/// What to do about one blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "state")]
pub enum PreparedBlob {
    /// The vault has it.
    Have {
        /// The blob.
        hash: BlobHash,
    },
    /// Upload it.
    Put {
        /// The blob.
        hash: BlobHash,
        /// Where to; relative to the server, or a presigned URL of the object store.
        url: String,
        /// Headers that must be sent along.
        headers: std::collections::BTreeMap<String, String>,
        /// Until when, seconds from now.
        expires_in: u32,
        /// Bytes that the server already has; go on from there (proxied uploads only).
        offset: u64,
    },
    /// Upload it in parts, in any order and at the same time, then call
    /// `POST /v1/vaults/{vault}/blobs/{hash}/complete`.
    Parts {
        /// The blob.
        hash: BlobHash,
        /// Names the upload.
        upload: String,
        /// Every part but the last is so long, in bytes.
        part_size: u64,
        /// One `PUT` per part, in order. The answer's `ETag` goes into the completion.
        parts: Vec<BlobPart>,
        /// Until when, seconds from now.
        expires_in: u32,
    },
}

/// Where one part of a blob goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlobPart {
    /// A presigned URL of the object store.
    pub url: String,
    /// Headers that must be sent along.
    pub headers: std::collections::BTreeMap<String, String>,
}

/// `POST /v1/vaults/{vault}/blobs/{hash}/complete`: all parts are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteBlob {
    /// How long the blob is.
    pub size: u64,
    /// The upload, as it was prepared.
    #[schema(max_length = 1100)]
    pub upload: String,
    /// The `ETag` that the object store answered to each part, in order.
    #[schema(min_items = 1, max_items = 1000)]
    pub tags: Vec<String>,
}

/// Answer to [`PrepareBlobs`], in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreparedBlobs {
    /// One per blob.
    pub blobs: Vec<PreparedBlob>,
}

/// `POST /v1/vaults/{vault}/blobs/get`: answered as frames of `hash (32 bytes) ‖ length (u32 big-endian) ‖ bytes`;
/// a blob that is not there has length 0xffffffff; a blob too large for the answer has length 0xfffffffe and is
/// fetched at `GET /v1/vaults/{vault}/blobs/{hash}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GetBlobs {
    /// At most 200; the answer stops at 4 MiB.
    #[schema(min_items = 1, max_items = 200)]
    pub hashes: Vec<BlobHash>,
}
