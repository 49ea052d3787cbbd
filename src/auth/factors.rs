//! The other half of the credential store: second factors, and changes of credentials under way.

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::credentials::{CredentialError, PasswordRecord, Wrapped};

/// A device that asks to be approved is remembered so long, in seconds; it may be approved for a shorter time.
pub const APPROVAL_KEPT_S: i64 = 3600;

/// What a factor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// Codes by time (RFC 6238).
    Totp,
    /// A `WebAuthn` credential.
    Passkey,
    /// Codes to be used once each, for who has lost the others.
    Codes,
    /// The verifier of the recovery code.
    Recovery,
    /// A new device that asks to be approved.
    Approval,
}

impl FactorKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Totp, Self::Passkey, Self::Codes, Self::Recovery, Self::Approval];

    /// What is gone once the account was recovered: the code that was used, and what was lost with the password.
    pub const DROPPED_BY_RECOVERY: [Self; 4] = [Self::Recovery, Self::Totp, Self::Passkey, Self::Codes];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Passkey => "passkey",
            Self::Codes => "codes",
            Self::Recovery => "recovery",
            Self::Approval => "approval",
        }
    }

    /// The kind behind a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A factor as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFactor {
    /// Names it.
    pub id: Uuid,
    /// Whose.
    pub account: AccountId,
    /// What it is.
    pub kind: FactorKind,
    /// What is known of it, as its kind writes it: sealed, where a copy of it could be used.
    pub body: Vec<u8>,
    /// Rises with every change.
    pub version: u32,
    /// When it was made.
    pub created_at: Micros,
}

/// What replaces what, all at once.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The password record and its generation.
    pub password: Option<(PasswordRecord, u32)>,
    /// Wrapped keys; each replaces the one of its name and a lower generation.
    pub wraps: Vec<Wrapped>,
    /// Names of wrapped keys that go.
    pub dropped_wraps: Vec<String>,
    /// All factors of these kinds go …
    pub dropped_factors: Vec<FactorKind>,
    /// … and these come.
    pub factors: Vec<StoredFactor>,
}

/// A change between its decision and its event.
#[derive(Clone, PartialEq, Eq)]
pub struct Staged {
    /// Whose credentials.
    pub account: AccountId,
    /// Names the change; its event's id follows from it.
    pub attempt: Uuid,
    /// The change.
    pub replacement: Replacement,
    /// When it was decided.
    pub staged_at: Micros,
}

/// Keeps factors. Every call is one transaction.
#[async_trait]
pub trait FactorStore: Send + Sync {
    /// All factors of an account, oldest first.
    async fn factors(&self, account: AccountId) -> Result<Vec<StoredFactor>, CredentialError>;

    /// An account's recovery slot; `none`, which says whose, if it has none. The answer takes as long and has the same form:
    /// how long it takes does not tell which of them it is.
    async fn recovery_or(&self, none: &StoredFactor) -> Result<StoredFactor, CredentialError>;

    /// A factor.
    async fn factor(&self, id: Uuid) -> Result<Option<StoredFactor>, CredentialError>;

    /// Stores a new factor. Storing it again changes nothing.
    async fn put_factor(&self, factor: &StoredFactor) -> Result<(), CredentialError>;

    /// Replaces what is known of a factor, if it is still at the version of `from`.
    async fn replace_factor(&self, from: &StoredFactor, body: &[u8]) -> Result<bool, CredentialError>;

    /// Removes a factor.
    async fn remove_factor(&self, account: AccountId, id: Uuid) -> Result<(), CredentialError>;

    /// Removes an account's requests for approval that were made until a time.
    async fn remove_approvals(&self, account: AccountId, until: Micros) -> Result<(), CredentialError>;

    /// Stages a change; false if another one is under way.
    async fn stage(&self, staged: &Staged) -> Result<bool, CredentialError>;

    /// The change that is under way.
    async fn staged(&self, account: AccountId) -> Result<Option<Staged>, CredentialError>;

    /// Drops a staged change.
    async fn unstage(&self, account: AccountId, attempt: Uuid) -> Result<(), CredentialError>;

    /// Carries out a staged change; what it replaces is gone. Whether it was there still.
    async fn carry_out(&self, account: AccountId, attempt: Uuid) -> Result<bool, CredentialError>;
}
