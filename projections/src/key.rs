//! Names of read models and of their rows.

use lockstep_events::{AccountId, DeviceId, EntryId, SessionId, StreamKind, VaultId, VersionId};
use serde::{Deserialize, Serialize};

/// The read models. Each has its own checkpoint and its own generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum Projection {
    /// Accounts with their rosters and vaults.
    Accounts = 1,
    /// Devices.
    Devices = 2,
    /// Sessions.
    Sessions = 3,
    /// Vaults with counts.
    Vaults = 4,
    /// Entries with their heads.
    Entries = 5,
    /// Versions with their headers.
    Versions = 6,
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

    /// The number in the `projection` column.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The projection behind a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// The projection behind a stored number.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.code() == code)
    }

    /// The family it belongs to.
    pub const fn family(self) -> Family {
        match self {
            Self::Accounts | Self::Devices | Self::Sessions => Family::Account,
            Self::Vaults | Self::Entries | Self::Versions => Family::Vault,
        }
    }
}

/// Read models that one fold makes together.
///
/// A version's branch is decided by the heads of its entry, and a vault's counts by its entries. So the members
/// of a family always stand at the same position, move in one transaction, and are rebuilt together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Accounts, devices, sessions: the fold of the account streams.
    Account,
    /// Vaults, entries, versions: the fold of the vault streams.
    Vault,
}

impl Family {
    /// Both, in the order in which they are listed.
    pub const ALL: [Self; 2] = [Self::Account, Self::Vault];

    /// Its members.
    pub const fn members(self) -> &'static [Projection] {
        match self {
            Self::Account => &[Projection::Accounts, Projection::Devices, Projection::Sessions],
            Self::Vault => &[Projection::Vaults, Projection::Entries, Projection::Versions],
        }
    }

    /// The streams whose events it folds; it has to know every kind of event in them.
    pub const fn stream_kind(self) -> StreamKind {
        match self {
            Self::Account => StreamKind::Account,
            Self::Vault => StreamKind::Vault,
        }
    }

    /// The name in errors and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "accounts, devices, sessions",
            Self::Vault => "vaults, entries, versions",
        }
    }
}

/// Key of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An account.
    Account(AccountId),
    /// A device of an account. Its id is chosen by the client: another account may have the same.
    Device(AccountId, DeviceId),
    /// A session.
    Session(SessionId),
    /// A vault.
    Vault(VaultId),
    /// An entry of a vault.
    Entry(VaultId, EntryId),
    /// A version in a vault.
    Version(VaultId, VersionId),
}

impl Key {
    /// The read model that the row belongs to.
    pub const fn projection(&self) -> Projection {
        match self {
            Self::Account(_) => Projection::Accounts,
            Self::Device(..) => Projection::Devices,
            Self::Session(_) => Projection::Sessions,
            Self::Vault(_) => Projection::Vaults,
            Self::Entry(..) => Projection::Entries,
            Self::Version(..) => Projection::Versions,
        }
    }

    /// The vault or account inside which `id` is a name; empty for rows whose id stands alone.
    pub fn scope(&self) -> &[u8] {
        match self {
            Self::Device(account, _) => account.as_bytes(),
            Self::Entry(vault, _) | Self::Version(vault, _) => vault.as_bytes(),
            Self::Account(_) | Self::Session(_) | Self::Vault(_) => &[],
        }
    }

    /// The id of the row.
    pub fn id(&self) -> &[u8] {
        match self {
            Self::Account(id) => id.as_bytes(),
            Self::Device(_, id) => id.as_bytes(),
            Self::Session(id) => id.as_bytes(),
            Self::Vault(id) => id.as_bytes(),
            Self::Entry(_, id) => id.as_bytes(),
            Self::Version(_, id) => id.as_bytes(),
        }
    }
}

/// Rows that an event changes without naming each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// The sessions of an account: a device's revocation ends those of the device.
    SessionsOf(AccountId),
    /// The devices of an account: its erasure takes them.
    DevicesOf(AccountId),
    /// The versions of an entry: a purge takes the content of all of them.
    VersionsOf(VaultId, EntryId),
}

impl Group {
    /// The read model that the rows belong to.
    pub const fn projection(&self) -> Projection {
        match self {
            Self::SessionsOf(_) => Projection::Sessions,
            Self::DevicesOf(_) => Projection::Devices,
            Self::VersionsOf(..) => Projection::Versions,
        }
    }

    /// [`Key::scope`] of all of them.
    pub fn scope(&self) -> &[u8] {
        match self {
            Self::SessionsOf(_) => &[],
            Self::DevicesOf(account) => account.as_bytes(),
            Self::VersionsOf(vault, _) => vault.as_bytes(),
        }
    }

    /// [`crate::rows::Row::parent`] of all of them.
    pub fn parent(&self) -> &[u8] {
        match self {
            Self::SessionsOf(account) | Self::DevicesOf(account) => account.as_bytes(),
            Self::VersionsOf(_, entry) => entry.as_bytes(),
        }
    }
}
