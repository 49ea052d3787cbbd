//! The rows of the read models: what queries see. Each row is one document with one key.

use lockstep_events::{
    AccountId, BlobHash, DeviceId, EntryId, Micros, Position, Seq, SessionId, VaultId, VersionId,
    attached::Attached,
    event::{Method, RevokeReason},
    graph::Heads,
    header::Header,
    ids::{PublicKey, Signature},
    roster::Statement,
    standing::Standing,
};
use serde::{Deserialize, Serialize};

pub use crate::key::{Family, Group, Key, Projection};

/// A row of a read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Of [`Projection::Accounts`].
    Account(AccountRow),
    /// Of [`Projection::Devices`].
    Device(DeviceRow),
    /// Of [`Projection::Sessions`].
    Session(SessionRow),
    /// Of [`Projection::Vaults`].
    Vault(VaultRow),
    /// Of [`Projection::Entries`].
    Entry(EntryRow),
    /// Of [`Projection::Versions`].
    Version(Box<VersionRow>),
}

impl Row {
    /// Its key.
    pub fn key(&self) -> Key {
        match self {
            Self::Account(row) => Key::Account(row.account),
            Self::Device(row) => Key::Device(row.account, row.device),
            Self::Session(row) => Key::Session(row.session),
            Self::Vault(row) => Key::Vault(row.vault),
            Self::Entry(row) => Key::Entry(row.vault, row.entry),
            Self::Version(row) => Key::Version(row.header.vault, row.version),
        }
    }

    /// What it is listed under: the account of a device, session or vault, the entry of a version.
    pub fn parent(&self) -> Option<&[u8; 16]> {
        match self {
            Self::Account(_) | Self::Entry(_) => None,
            Self::Device(row) => Some(row.account.as_bytes()),
            Self::Session(row) => Some(row.account.as_bytes()),
            Self::Vault(row) => Some(row.account.as_bytes()),
            Self::Version(row) => Some(row.header.entry.as_bytes()),
        }
    }

    /// Its place among the rows of the same parent; ties are broken by id.
    pub fn order(&self) -> i64 {
        match self {
            Self::Account(_) | Self::Entry(_) => 0,
            Self::Device(row) => row.added_at.0,
            Self::Session(row) => row.opened_at.0,
            Self::Vault(row) => row.created_at.0,
            Self::Version(row) => row.seq.as_i64(),
        }
    }

    /// The stored document: JSON with its fields in the order of the struct, so that equal rows are equal bytes.
    ///
    /// # Errors
    /// Only if serde cannot write one of our own types, which no row's type allows.
    pub fn document(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Account(row) => document(row),
            Self::Device(row) => document(row),
            Self::Session(row) => document(row),
            Self::Vault(row) => document(row),
            Self::Entry(row) => document(row),
            Self::Version(row) => document(row),
        }
    }

    /// The row behind a stored document.
    ///
    /// # Errors
    /// If the document is not of the shape of this program's rows: the read model has to be rebuilt.
    pub fn from_document(projection: Projection, document: &str) -> Result<Self, serde_json::Error> {
        Ok(match projection {
            Projection::Accounts => Self::Account(serde_json::from_str(document)?),
            Projection::Devices => Self::Device(serde_json::from_str(document)?),
            Projection::Sessions => Self::Session(serde_json::from_str(document)?),
            Projection::Vaults => Self::Vault(serde_json::from_str(document)?),
            Projection::Entries => Self::Entry(serde_json::from_str(document)?),
            Projection::Versions => Self::Version(serde_json::from_str(document)?),
        })
    }
}

fn document(row: &impl Serialize) -> Result<String, serde_json::Error> {
    // Room for nearly every row, so that none is copied over and over while it grows.
    let mut text = Vec::with_capacity(1024);
    serde_json::to_writer(&mut text, row)?;
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// The account.
    pub account: AccountId,
    /// Every statement of its roster, in order; their fold is `events::roster::Roster`.
    pub roster: Vec<Statement>,
    /// Its vaults, in the order in which they were attached.
    pub vaults: Vec<VaultId>,
    /// Generation of each credential, by name.
    pub credentials: std::collections::BTreeMap<String, u32>,
    /// Seq in the account stream of the last event that ended access: of a device, of a session or of all.
    pub auth_epoch: u64,
    /// When it was registered.
    pub created_at: Micros,
    /// Role, plan, flags; whether it is disabled.
    #[serde(default)]
    pub standing: Standing,
    /// When it will be erased, if somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure_due: Option<Micros>,
    /// When it was erased: nothing but this row is left, and nothing more is folded into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<Micros>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// The device.
    pub device: DeviceId,
    /// Its account.
    pub account: AccountId,
    /// Its key.
    pub public_key: PublicKey,
    /// When it was added.
    pub added_at: Micros,
    /// Seq of its addition in the account stream.
    pub added_seq: Seq,
    /// When and at which position of the log it was revoked.
    pub revoked: Option<(Micros, Position)>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: AccountId,
    /// Its device.
    pub device: DeviceId,
    /// How it proved itself.
    pub method: Method,
    /// When it began.
    pub opened_at: Micros,
    /// When it was last refreshed.
    pub refreshed_at: Micros,
    /// How often it was refreshed.
    pub generation: u32,
    /// When and why it ended.
    pub revoked: Option<(Micros, RevokeReason)>,
}

/// A vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRow {
    /// The vault.
    pub vault: VaultId,
    /// Its owner.
    pub account: AccountId,
    /// Entries that have at least one live head.
    pub live_entries: u64,
    /// Entries with two or more heads, one of them live.
    pub divergent_entries: u64,
    /// Versions ever accepted.
    pub versions: u64,
    /// Bytes of ciphertext of all kept versions, and of their attachments.
    pub content_bytes: u64,
    /// Seq of its last event that is in this row.
    pub seq: Seq,
    /// When it was made.
    pub created_at: Micros,
    /// When it was erased with its account: nothing more is folded into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<Micros>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// Its vault.
    pub vault: VaultId,
    /// The entry.
    pub entry: EntryId,
    /// Heads, next branch number, last seq, whether it was purged.
    pub heads: Heads,
    /// The head shown meanwhile.
    pub winner: Option<VersionId>,
    /// Whether a person must resolve it.
    pub conflict: bool,
    /// How many versions it has.
    pub versions: u64,
    /// When its last event was recorded.
    pub changed_at: Micros,
    /// What its attachments take up.
    #[serde(default, skip_serializing_if = "Attached::is_empty")]
    pub attached: Attached,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRow {
    /// Its id.
    pub version: VersionId,
    /// Its header.
    pub header: Header,
    /// The device that signed.
    pub signer: DeviceId,
    /// The signature.
    pub signature: Signature,
    /// The wrapped content key, opaque.
    pub wrapped_key: Option<String>,
    /// Where it stands in the vault's stream.
    pub seq: Seq,
    /// The branch it was accepted on.
    pub branch: u32,
    /// When it was accepted.
    pub accepted_at: Micros,
    /// The parents were inferred by the server.
    pub parent_inferred: bool,
    /// What was taken as its parents then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inferred_parents: Vec<VersionId>,
    /// Its ciphertext is gone: pruned, purged, or never re-offered.
    pub content_gone: bool,
    /// Blobs beside its ciphertext that live as long as it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<BlobHash>,
}
