//! What a person may ask of the server about themselves: everything it holds, and that it ends.

use lockstep_events::{
    AccountId, BlobHash, Chain, EventId, Hash32, Micros, Position, Seq, StreamId, VaultId,
    ids::{PublicKey, Signature},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Bytes64;

/// What erases an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// The account, so that nobody erases another one by mistake.
    pub account: AccountId,
}

/// An erasure that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasureDue {
    /// When it begins; until then it can be called off.
    pub due_at: Micros,
}

/// One line of an export. The first is `begin`, the last `manifest`; a file without a manifest is not whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum ExportLine {
    /// Whose data, and as of when.
    Begin {
        /// Version of this format: 1.
        format: u32,
        /// The account.
        account: AccountId,
        /// When.
        at: Micros,
    },
    /// A row that the server keeps beside the log. What would open something is left out.
    Row {
        /// Its table.
        table: String,
        /// The row.
        row: Value,
    },
    /// A key of sealed data, by its name.
    Key {
        /// Its id.
        id: Uuid,
        /// What it seals.
        purpose: String,
        /// The month, or empty.
        period: String,
    },
    /// An event.
    Event {
        /// Its stream.
        stream: StreamId,
        /// Its place there.
        seq: Seq,
        /// Its place in the log.
        position: Position,
        /// Its id.
        event_id: EventId,
        /// When it was recorded.
        at: Micros,
        /// Its name.
        kind: String,
        /// Its public part.
        public: Value,
        /// The personal data in it, opened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        personal: Option<Personal>,
        /// The short ciphertext that came with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Bytes64>,
        /// The stream's chain here.
        chain: Chain,
    },
    /// An event that the person brought about in what is somebody else's: what it says is not theirs.
    Act {
        /// The stream.
        stream: StreamId,
        /// Its place there.
        seq: Seq,
        /// Its place in the log.
        position: Position,
        /// Its id.
        event_id: EventId,
        /// When it was recorded.
        at: Micros,
        /// Its name.
        kind: String,
        /// The stream's chain here.
        chain: Chain,
    },
    /// A long ciphertext.
    Blob {
        /// Its vault.
        vault: VaultId,
        /// Its SHA-256.
        hash: BlobHash,
        /// Its bytes.
        bytes: Bytes64,
    },
    /// A long ciphertext that the server has lost.
    Lost {
        /// Its vault.
        vault: VaultId,
        /// Its SHA-256.
        hash: BlobHash,
        /// How long it was.
        length: u64,
    },
    /// What makes the export whole.
    Manifest {
        /// How many lines stand before this one.
        lines: u64,
        /// SHA-256 over all bytes before this line.
        sha256: Hash32,
        /// The server's key that signed, as `/.well-known/jwks.json` names it.
        kid: String,
        /// That key. It verifies the export when it is published no longer: compare it while it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public_key: Option<PublicKey>,
        /// Over [`manifest_message`].
        signature: Signature,
    },
}

/// Personal data of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Personal {
    /// What it is kept for.
    pub purpose: String,
    /// The month of its key, or empty.
    pub period: String,
    /// The data; none: its key was destroyed.
    pub text: Option<String>,
}

/// What a manifest signs.
pub fn manifest_message(account: AccountId, lines: u64, sha256: &Hash32) -> Vec<u8> {
    lockstep_events::canonical::Writer::new("lockstep/v1/export-manifest")
        .fixed(account.as_bytes())
        .u64(lines)
        .fixed(&sha256.0)
        .finish()
}
