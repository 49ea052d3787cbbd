//! The events themselves. A released shape is never edited: a change is a new schema with an upcaster.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    header::Header,
    ids::{
        AccountId, BatchId, BlobHash, DeviceId, EntryId, Hash32, SessionId, Signature, VaultId, VersionId,
    },
    roster::Statement,
};

/// Any event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Of an account stream.
    Account(AccountEvent),
    /// Of a vault stream.
    Vault(VaultEvent),
    /// Of the system stream.
    System(SystemEvent),
}

/// What happens to an account, its devices and its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEvent {
    /// `account.created`
    Created(AccountCreated),
    /// `account.credential_set`
    CredentialSet(CredentialSet),
    /// `device.added`; its subject is the device.
    DeviceAdded(RosterStated),
    /// `device.revoked`; its subject is the device.
    DeviceRevoked(RosterStated),
    /// `account.roster_stated`: any other statement.
    RosterStated(RosterStated),
    /// `account.vault_attached`; its subject is the vault.
    VaultAttached(VaultAttached),
    /// `session.opened`; its subject is the session.
    SessionOpened(SessionOpened),
    /// `session.refreshed`; its subject is the session.
    SessionRefreshed(SessionRefreshed),
    /// `session.refresh_reused`; its subject is the session.
    RefreshReused(RefreshReused),
    /// `session.revoked`; its subject is the session.
    SessionRevoked(SessionRevoked),
}

/// An account was registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountCreated {
    /// The account.
    pub account: AccountId,
    /// Statement 0 of its roster.
    pub statement: Statement,
}

/// A credential was set or replaced. The credential itself never enters the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialSet {
    /// Which one: `opaque`, `ark_wrap`, `ask_wrap`, `vault_key_wrap`, …
    pub credential: String,
    /// Its generation, from 1.
    pub generation: u32,
    /// SHA-256 of a random salt and the record; the salt lives and dies with the record.
    pub commitment: Hash32,
}

/// A statement of the roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterStated {
    /// The signed statement.
    pub statement: Statement,
}

/// A vault belongs to the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultAttached {
    /// The vault.
    pub vault: VaultId,
}

/// How a session proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// OPAQUE.
    Password,
}

/// A session began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionOpened {
    /// The session: a family of refresh tokens.
    pub session: SessionId,
    /// Its device.
    pub device: DeviceId,
    /// How it proved itself.
    pub method: Method,
}

/// A refresh token was used and replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRefreshed {
    /// The session.
    pub session: SessionId,
    /// How often it was refreshed.
    pub generation: u32,
}

/// A refresh token was used again after its grace: the family is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshReused {
    /// The session.
    pub session: SessionId,
    /// The generation of the token that was used again.
    pub generation: u32,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokeReason {
    /// Its own log-out.
    Logout,
    /// Ended from another session of the account.
    Remote,
    /// Its device was revoked.
    DeviceRevoked,
    /// A refresh token was used again.
    RefreshReuse,
    /// The device opened a new session in its place.
    Replaced,
    /// Too many devices: the oldest idle one ended.
    DeviceLimit,
}

/// A session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRevoked {
    /// The session.
    pub session: SessionId,
    /// Why.
    pub reason: RevokeReason,
}

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
}

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
    /// The content key of this version, wrapped by the vault key: opaque to the server (lower-case hex).
    pub wrapped_key: Option<String>,
}

impl VersionAdded {
    /// What the version builds on in the graph: the parents of its header, or what the server took for them.
    pub fn parents(&self) -> &[VersionId] {
        if self.parent_inferred { &self.inferred_parents } else { &self.header.parents }
    }
}

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

/// What happens to the log and the server as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemEvent {
    /// `system.signing_key_rotated`
    SigningKeyRotated(SigningKeyRotated),
    /// `system.operator_acted`: an operator's command that changes something.
    OperatorActed(OperatorActed),
}

/// The key that signs access tokens changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyRotated {
    /// The new key's id.
    pub kid: String,
    /// Its public part (Ed25519), lower-case hex.
    pub public_key: String,
}

/// An operator ran a command that changes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorActed {
    /// The command's words, for example `projections rebuild entries`.
    pub command: String,
    /// One run of it.
    pub run: Uuid,
}
