//! Accounts, devices and sessions.

use lockstep_events::{
    AccountId, DeviceId, Micros, Seq, SessionId, VaultId,
    event::RevokeReason,
    ids::{PublicKey, Signature},
    roster::Statement,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Bytes64;

/// `POST /v1/accounts/start`: OPAQUE registration, first message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterStart {
    /// E-mail address or user name; the server keeps only a keyed hash of it. 1 to 254 bytes.
    #[schema(min_length = 1, max_length = 254)]
    pub name: String,
    /// OPAQUE `RegistrationRequest`.
    pub request: Bytes64,
}

/// Answer to [`RegisterStart`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterStarted {
    /// Names this attempt; valid for 60 s, once.
    pub attempt: Uuid,
    /// The random id that the account will have; the OPAQUE credential identifier.
    pub account: AccountId,
    /// OPAQUE `RegistrationResponse`.
    pub response: Bytes64,
}

/// A key wrapped by another key, opaque to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wrap {
    /// What it holds: `ark/password`, `ark/recovery`, `ask`, `label/<device id>`, `vault/<vault id>` for the first
    /// generation of a vault's key and `vault/<vault id>/<generation>` for a later one.
    #[schema(
        pattern = "^(ark/password|ark/recovery|ask|label/[0-9a-f-]{36}|vault/[0-9a-f-]{36}(/[0-9]{1,10})?)$"
    )]
    pub name: String,
    /// Its generation, from 1.
    #[schema(minimum = 1)]
    pub generation: u32,
    /// The sealed box: 108 bytes for `ark/…`, 104 for `ask` and `vault/…`, at most 1024 for a label.
    pub bytes: Bytes64,
}

/// How long the box under a name is: 72 bytes around a key of 32, and four more before it where a generation of the root
/// key stands there. None: it has no fixed length.
pub fn wrap_len(name: &str) -> Option<usize> {
    match name.split('/').next() {
        Some("ark") => Some(108),
        Some("ask" | "vault") => Some(104),
        _ => None,
    }
}

/// `POST /v1/accounts/finish`: OPAQUE registration, last message, with everything that the account begins with.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterFinish {
    /// From [`RegisterStarted`].
    pub attempt: Uuid,
    /// OPAQUE `RegistrationUpload`.
    pub upload: Bytes64,
    /// The password suite used, 1 = Argon2id 64 MiB, t 3, p 4.
    pub suite: u16,
    /// The roster's first statements: `account_created`, `device_added` for `device`, `vault_key_gen` 1 for `vault`.
    pub statements: Vec<Statement>,
    /// The first device.
    pub device: DeviceId,
    /// The default vault, a random id.
    pub vault: VaultId,
    /// `ark/password`, `ask` and `vault/<vault>`, each of generation 1.
    pub wraps: Vec<Wrap>,
    /// Where registration is not open to everybody: the token of an invitation; as long as there never was an
    /// administrator, also the one-time token that names the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
}

/// `POST /v1/vaults`: a further vault.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVault {
    /// `vault_key_gen` 1 of the new vault, a random id.
    pub statement: Statement,
    /// `vault/<vault>` of generation 1.
    pub wrap: Wrap,
}

/// `POST /v1/vaults/{vault}/key`: the next generation of a vault's key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TurnVaultKey {
    /// `vault_key_gen` of the next generation of the vault in the path.
    pub statement: Statement,
    /// `vault/<vault>/<generation>`.
    pub wrap: Wrap,
}

/// `POST /v1/sessions/start`: OPAQUE login, KE1.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginStart {
    /// E-mail address or user name.
    #[schema(min_length = 1, max_length = 254)]
    pub name: String,
    /// OPAQUE `CredentialRequest` (KE1).
    pub request: Bytes64,
    /// An enrolled device signs `proof_message` of `request`: then it is limited by itself, and not with everybody who
    /// tries this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceProof>,
}

/// Answer to [`LoginStart`]; of the same form and cost for names that do not exist.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginStarted {
    /// Names this attempt; valid for 60 s, once.
    pub attempt: Uuid,
    /// OPAQUE `CredentialResponse` (KE2).
    pub response: Bytes64,
}

/// `POST /v1/sessions/finish`: OPAQUE login, KE3.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginFinish {
    /// From [`LoginStarted`].
    pub attempt: Uuid,
    /// OPAQUE `CredentialFinalization` (KE3).
    pub finalization: Bytes64,
    /// Where this device is enrolled already: its proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceProof>,
}

/// A proof that the sender holds a device's key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceProof {
    /// The device.
    pub device: DeviceId,
    /// By the device key over [`proof_message`].
    pub signature: Signature,
}

/// What a device signs to prove itself: the domain, then the bytes it is asked about (an attempt's UUID, or the
/// refresh token's text).
pub fn proof_message(about: &[u8]) -> Vec<u8> {
    lockstep_events::canonical::Writer::new("lockstep/v1/device-proof").lp(about).finish()
}

/// Answer to [`LoginFinish`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoggedIn {
    /// The keys and the roster.
    pub account: Account,
    /// For an enrolled device: its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// For a new device: a token, valid for 5 min, with which it enrols itself at `POST /v1/devices`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrol_token: Option<String>,
}

/// `POST /v1/sessions/step-up/start`: OPAQUE login, KE1, in a session that is open.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUpStart {
    /// OPAQUE `CredentialRequest` (KE1).
    pub request: Bytes64,
}

/// `POST /v1/sessions/step-up/finish`: OPAQUE login, KE3.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUpFinish {
    /// From [`LoginStarted`].
    pub attempt: Uuid,
    /// OPAQUE `CredentialFinalization` (KE3).
    pub finalization: Bytes64,
}

/// Answer to [`StepUpFinish`].
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SteppedUp {
    /// JWT (EdDSA) of the same session; counts as freshly proven for 5 min.
    pub access_token: String,
    /// Seconds.
    pub expires_in: u32,
}

impl std::fmt::Debug for SteppedUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteppedUp").finish_non_exhaustive()
    }
}

/// An account's keys and roster, as its own devices see them. `GET /v1/account`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The account.
    pub account: AccountId,
    /// Every statement of its roster, in order.
    pub roster: Vec<Statement>,
    /// Its wrapped keys, the latest generation of each; of vaults' keys every generation that the roster names.
    pub wraps: Vec<Wrap>,
    /// Its vaults; the first is the default one.
    pub vaults: Vec<VaultId>,
    /// The password suite of its OPAQUE record.
    pub suite: u16,
}

/// `POST /v1/roster`: statements that a device holds, offered to a server that may have lost them by a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferRoster {
    /// Consecutive statements of the account's roster, at most 64.
    #[schema(min_items = 1, max_items = 64)]
    pub statements: Vec<Statement>,
    /// The wrapped keys of those that are `vault_key_gen`: without it none of them is taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub wraps: Vec<Wrap>,
}

/// `POST /v1/devices`, with the enrolment token as bearer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolDevice {
    /// `device_added`, the next of the roster.
    pub statement: Statement,
}

/// Tokens of a session.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// The session.
    pub session: SessionId,
    /// JWT (EdDSA), valid for `expires_in` seconds.
    pub access_token: String,
    /// Seconds.
    pub expires_in: u32,
    /// Opaque, `lsr_…`; replaced at every refresh.
    pub refresh_token: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("session", &self.session).finish_non_exhaustive()
    }
}

/// `POST /v1/sessions/refresh`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The refresh token.
    pub refresh_token: String,
    /// By the session's device over [`proof_message`] of the refresh token.
    pub signature: Signature,
}

/// When and why a session has ended: the facts of `revoked` and `refresh_failed` where a refresh was asked for, for the
/// device whose session it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEnd {
    /// When, if somebody ended it.
    pub at: Option<Micros>,
    /// Why; none if it ran out by itself.
    pub reason: Option<RevokeReason>,
}

/// A device in a list. `GET /v1/devices`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The device.
    pub device: DeviceId,
    /// Its key.
    pub public_key: PublicKey,
    /// Microseconds since 1970.
    pub added_at: Micros,
    /// Where its addition stands in the account stream.
    pub added_seq: Seq,
    /// When it was last used: microseconds since 1970, to the hour. Left out if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Micros>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether it is the one that asks.
    pub current: bool,
    /// Its name, encrypted by the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Bytes64>,
}

/// `PUT /v1/devices/{device}/label`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelDevice {
    /// The name, encrypted by the client: 1 to 512 bytes.
    pub label: Bytes64,
}

/// `GET /v1/devices`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// Oldest first.
    pub devices: Vec<Device>,
}

/// `POST /v1/devices/{device}/revoke`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeDevice {
    /// `device_revoked`, the next of the roster.
    pub statement: Statement,
}

/// A session in a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The session.
    pub session: SessionId,
    /// Its device.
    pub device: DeviceId,
    /// Microseconds since 1970.
    pub opened_at: Micros,
    /// When it was last used: microseconds since 1970, to the hour.
    pub last_seen: Micros,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// `GET /v1/sessions`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Oldest first.
    pub sessions: Vec<Session>,
}

/// `POST /v1/account/password/start`: OPAQUE registration for the account that is there, first message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordStart {
    /// OPAQUE `RegistrationRequest`.
    pub request: Bytes64,
}

/// `POST /v1/account/password/finish`: the last message, with the root key under the new password.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordFinish {
    /// From the answer to [`PasswordStart`].
    pub attempt: Uuid,
    /// OPAQUE `RegistrationUpload`.
    pub upload: Bytes64,
    /// The password suite used.
    pub suite: u16,
    /// `ark/password` of the next generation.
    pub wrap: Wrap,
}
