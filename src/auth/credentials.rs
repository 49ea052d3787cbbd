//! The credential store port: what must be destroyable, and therefore never enters the log.
//!
//! Password records, wrapped keys, refresh tokens (as hashes), names (as keyed hashes), attempts under way, and the
//! public parts of signing keys. The log holds commitments and facts; a row here is meaningless without its event.

use async_trait::async_trait;
use lockstep_api::account::wrap_len;
use lockstep_events::{AccountId, DeviceId, Micros, SessionId, event::Method, ids::PublicKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::factors::FactorStore;

/// Why the credential store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The database cannot be reached or timed out.
    #[error("the credential store is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk or the quota of the database is full.
    #[error("the credential store has no room left")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else the database says.
    #[error("the credential store failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// HMAC-SHA256 of a normalised name under a server key: how an account is found by name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NameIndex(pub [u8; 32]);

/// A password record as OPAQUE made it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordRecord {
    /// The account; its id is the OPAQUE credential identifier.
    pub account: AccountId,
    /// The OPAQUE server setup that made it.
    pub setup: u32,
    /// The client's password suite.
    pub suite: u16,
    /// 192 bytes.
    pub record: Vec<u8>,
}

/// A wrapped key. One live row per account and name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapped {
    /// `ark/password`, `ask`, `vault/<id>`.
    pub name: String,
    /// From 1.
    pub generation: u32,
    /// Opaque.
    pub bytes: Vec<u8>,
}

impl Wrapped {
    /// Whether it is as long as what has its name. More the server cannot see; less would be a key that no device ever
    /// opens, in a place where no other can come.
    pub fn fits(&self) -> bool {
        wrap_len(&self.name).is_some_and(|len| self.bytes.len() == len)
    }
}

/// Everything secret that an account begins with.
#[derive(Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The name.
    pub name: NameIndex,
    /// The attempt that reserves it: a retry is the same attempt.
    pub attempt: Uuid,
    /// When.
    pub at: Micros,
    /// The password record.
    pub password: PasswordRecord,
    /// The wrapped keys.
    pub wraps: Vec<Wrapped>,
}

/// A password record, with what else a login asks about its account: all of one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownPassword {
    /// The record.
    pub record: PasswordRecord,
    /// A change of the account's credentials is under way, or was cut off.
    pub staged: bool,
    /// There is something that may be a second factor.
    pub factors: bool,
}

/// What an account's password opens, all of one moment.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Its wrapped keys, by name.
    pub wraps: Vec<Wrapped>,
    /// The suite of its password record, if there is one.
    pub suite: Option<u16>,
    /// A change of the account's credentials is under way, or was cut off.
    pub staged: bool,
}

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The name belongs to this attempt (again).
    Yes,
    /// Another account has it since then.
    Taken {
        /// That account.
        by: AccountId,
        /// When it was reserved.
        since: Micros,
        /// Whether its registration is known to be complete.
        confirmed: bool,
    },
}

/// A session: a family of refresh tokens, of which the last is valid.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// The session.
    pub session: SessionId,
    /// Its account.
    pub account: AccountId,
    /// Its device.
    pub device: DeviceId,
    /// How it proved itself.
    pub method: Method,
    /// Random; with a server key it makes the tokens.
    pub seed: [u8; 32],
    /// Number of the valid token, from 0.
    pub generation: u32,
    /// SHA-256 of the valid token.
    pub token_hash: [u8; 32],
    /// When the last tokens were replaced, newest first, at most eight.
    pub rotations: Vec<Micros>,
    /// When it began: when it was proven who opens it.
    pub opened_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
}

/// What a signing key is for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Published, signs from the next rotation on.
    Next,
    /// Signs.
    Current,
    /// Only verifies, until the tokens that it signed have expired.
    Previous,
    /// Verifies no more: it ran out, or was revoked.
    Revoked,
}

impl KeyState {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Revoked => "revoked",
        }
    }

    /// The state behind a stored name; an unknown one never verifies.
    pub fn from_name(name: &str) -> Self {
        [Self::Next, Self::Current, Self::Previous]
            .into_iter()
            .find(|state| state.name() == name)
            .unwrap_or(Self::Revoked)
    }
}

/// A key that signs access tokens. Its private part is derived from the server's key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Its name in token headers.
    pub kid: String,
    /// Its public part.
    pub public_key: PublicKey,
    /// What it is for.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Micros,
    /// When it got its state.
    pub changed_at: Micros,
}

/// Keeps credentials. Every call is one transaction, and many nodes may call at the same time: what is taken, reserved,
/// rotated or replaced is so for exactly one of them, and the others are told. What a refused call brought is not
/// stored, not even in part.
#[async_trait]
pub trait CredentialStore: FactorStore + Send + Sync {
    /// Whether it answers, for `/health/ready`.
    async fn ready(&self) -> Result<(), CredentialError>;

    /// The time by a clock of its own, which is the same for all nodes; none if it goes by the node's.
    async fn clock(&self) -> Result<Option<Micros>, CredentialError> {
        Ok(None)
    }

    /// Whether no server has used it yet, nor anybody said that it is to be begun anew: it has no fact about a server.
    async fn is_blank(&self) -> Result<bool, CredentialError>;

    /// The commitment to the key file that this store was first used with; stores `commitment` if there is none.
    async fn key_commitment(&self, commitment: [u8; 32]) -> Result<[u8; 32], CredentialError>;

    /// All signing keys, oldest first.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, CredentialError>;

    /// Replaces the whole list of signing keys, if the one before was exactly `before`.
    async fn replace_signing_keys(
        &self,
        before: &[SigningKeyRow],
        after: &[SigningKeyRow],
    ) -> Result<bool, CredentialError>;

    /// Keeps the state of an attempt until a time.
    async fn put_attempt(&self, id: Uuid, state: &[u8], until: Micros) -> Result<(), CredentialError>;

    /// The state of an attempt that has not expired, which stays.
    async fn attempt(&self, id: Uuid, now: Micros) -> Result<Option<Vec<u8>>, CredentialError>;

    /// The state of an attempt that has not expired, once: it is gone afterwards, on every node.
    async fn take_attempt(&self, id: Uuid, now: Micros) -> Result<Option<Vec<u8>>, CredentialError>;

    /// The password behind a name; `nobody` for a name that is nobody's. It is asked in the same words, and the answer
    /// has the same form: how long it takes does not tell which of them it is.
    async fn password_or(
        &self,
        name: NameIndex,
        nobody: &PasswordRecord,
    ) -> Result<KnownPassword, CredentialError>;

    /// The password behind a name.
    async fn password(&self, name: NameIndex) -> Result<Option<KnownPassword>, CredentialError> {
        let nobody =
            PasswordRecord { account: AccountId(Uuid::nil()), setup: 0, suite: 0, record: Vec::new() };
        let found = self.password_or(name, &nobody).await?;
        Ok((found.record.account != nobody.account).then_some(found))
    }

    /// Reserves a name for an account and stores what it begins with, all or nothing.
    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, CredentialError>;

    /// Frees a name whose registration never came to its event, with all that was stored.
    async fn release(&self, name: NameIndex, account: AccountId) -> Result<(), CredentialError>;

    /// The registration of an account is complete.
    async fn confirm(&self, account: AccountId) -> Result<(), CredentialError>;

    /// What an account's password opens.
    async fn held(&self, account: AccountId) -> Result<Held, CredentialError>;

    /// Stores a new session. Storing it again changes nothing.
    async fn open_session(&self, session: &StoredSession) -> Result<(), CredentialError>;

    /// A session.
    async fn session(&self, session: SessionId) -> Result<Option<StoredSession>, CredentialError>;

    /// Moves a session from one token to the next, if the valid token is still that of `from` and it has not ended.
    async fn rotate(&self, from: &StoredSession, to: &StoredSession) -> Result<bool, CredentialError>;

    /// Ends sessions; those that have ended already stay as they are.
    async fn end_sessions(&self, sessions: &[SessionId], at: Micros) -> Result<(), CredentialError>;

    /// Ends all sessions of an account that were opened until a time, but one.
    async fn end_sessions_of(
        &self,
        account: AccountId,
        keep: Option<SessionId>,
        at: Micros,
    ) -> Result<(), CredentialError>;

    /// The password of an account.
    async fn password_of(&self, account: AccountId) -> Result<Option<KnownPassword>, CredentialError>;

    /// Deletes attempts that have expired and sessions that ended before a time; how many rows went.
    async fn sweep(&self, now: Micros, ended_before: Micros) -> Result<u64, CredentialError>;

    /// Deletes sessions that ran out by themselves, ended or not: that were opened before a time, or whose token moved
    /// last before another one (that were opened before it, if it never did); how many rows went.
    async fn sweep_run_out(&self, opened_before: Micros, used_before: Micros)
    -> Result<u64, CredentialError>;
}
