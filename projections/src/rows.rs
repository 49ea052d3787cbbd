//! The rows of the read models: what queries see. Each row is one document with one key.

use lockstep_events::{
    AccountId, DeviceId, EntryId, Micros, Position, Seq, SessionId, VaultId, VersionId,
    event::{Method, RevokeReason},
    graph::Heads,
    header::Header,
    ids::{PublicKey, Signature},
    roster::Statement,
};
use serde::{Deserialize, Serialize};

/// The read models. Each has its own checkpoint and its own rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// Accounts with their rosters and vaults.
    Accounts,
    /// Devices.
    Devices,
    /// Sessions.
    Sessions,
    /// Vaults with counts.
    Vaults,
    /// Entries with their heads.
    Entries,
    /// Versions with their headers.
    Versions,
}

impl Projection {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 6] =
        [Self::Accounts, Self::Devices, Self::Sessions, Self::Vaults, Self::Entries, Self::Versions];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Devices => "devices",
            Self::Sessions => "sessions",
            Self::Vaults => "vaults",
            Self::Entries => "entries",
            Self::Versions => "versions",
        }
    }

    /// The projection behind a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// Key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An account.
    Account(AccountId),
    /// A device.
    Device(DeviceId),
    /// A session.
    Session(SessionId),
    /// A vault.
    Vault(VaultId),
    /// An entry of a vault.
    Entry(VaultId, EntryId),
    /// A version in a vault.
    Version(VaultId, VersionId),
}

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
    /// Raised by everything that ends access: revocations of devices and sessions.
    pub auth_epoch: u64,
    /// When it was registered.
    pub created_at: Micros,
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
    /// Bytes of ciphertext of all kept versions.
    pub content_bytes: u64,
    /// Seq of its last event that is in this row.
    pub seq: Seq,
    /// When it was made.
    pub created_at: Micros,
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
    /// Its ciphertext is gone: pruned, purged, or never re-offered.
    pub content_gone: bool,
}
