//! The recovery code: setting it, and using it when the password is lost.
//!
//! The server keeps SHA-256 of a secret that only the code gives; the code itself never reaches it. The slot is stated
//! in the roster, so that a server cannot make up one of its own. A code is used once.

use lockstep_events::{
    AccountId, Hash32, Micros, Position, Seq, SessionId,
    canonical::sha256,
    event::{AccountEvent, Method, RevokeReason, RosterStated},
    log::{Required, SubjectClaim, SubjectExpect},
    roster::{Claim, RosterError, Statement},
    standing::Standing,
};
use lockstep_projections::rows::AccountRow;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{
    account::{self, LookError},
    change_password::{ARK_BY_PASSWORD, PasswordError, check_next},
    end_access::EndAccess,
    enrol_device,
    factor_body::{BodyError, factors},
    facts::{Actor, statement_id},
    replace::{Replace, ReplaceError, Together},
    roster::follow,
    session::{self, Opened},
    set_factor::removed_event,
};
use crate::{
    auth::{
        credentials::{CredentialError, PasswordRecord, Wrapped},
        factors::{FactorKind, Replacement, Staged, StoredFactor},
    },
    feed,
    quotas::Exceeded,
    state::Server,
    subjects::SubjectError,
};

/// The wrap of the root key under the recovery code.
pub const ARK_BY_RECOVERY: &str = "ark/recovery";
/// The only slot so far.
pub const SLOT: u16 = 0;

/// Why a recovery code was not set or used.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The code is not right, or there is none. Never says which.
    #[error("the recovery code is not right")]
    Wrong,
    /// The code was used since it was shown.
    #[error("the recovery code was used")]
    Used,
    /// An administrator has disabled the account.
    #[error("the account is disabled")]
    Disabled,
    /// The statement does not follow the roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The new password is not as it must be, or another change was first.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// There are as many devices, or statements, as there may be.
    #[error("the account has as much of something as it may have")]
    TooMany(Exceeded),
    /// What is known of a second factor cannot be opened.
    #[error(transparent)]
    Subjects(SubjectError),
}

impl From<LookError> for RecoveryError {
    fn from(error: LookError) -> Self {
        PasswordError::from(error).into()
    }
}

impl From<ReplaceError> for RecoveryError {
    fn from(error: ReplaceError) -> Self {
        PasswordError::from(error).into()
    }
}

impl From<CredentialError> for RecoveryError {
    fn from(error: CredentialError) -> Self {
        PasswordError::from(error).into()
    }
}

impl From<BodyError> for RecoveryError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Subjects(error) => Self::Subjects(error),
            BodyError::Credentials(error) => error.into(),
        }
    }
}

fn invalid(what: &'static str) -> RecoveryError {
    PasswordError::Invalid(what).into()
}

/// What the roster says of a verifier.
fn commitment(verifier: &[u8; 32]) -> Hash32 {
    Hash32(sha256(verifier))
}

fn before(statement: &Statement) -> Vec<Required> {
    let event_id = statement_id(statement.account, statement.epoch.saturating_sub(1));
    vec![Required { stream: statement.account.into(), event_id }]
}

/// A new recovery code, in the place of the old one.
pub struct SetRecovery {
    /// Who.
    pub actor: Actor,
    /// `recovery_slot_set`.
    pub statement: Statement,
    /// SHA-256 of the secret that the code gives.
    pub verifier: [u8; 32],
    /// The root key under the code.
    pub wrap: Wrapped,
}

impl SetRecovery {
    /// Sets it; where that is written. The same again changes nothing.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn run(self, server: &Server) -> Result<Position, RecoveryError> {
        let account = self.actor.account;
        let row = account::present(server, account).await?.ok_or(RecoveryError::Wrong)?;
        let claim = Claim::RecoverySlotSet { slot: SLOT, commitment: commitment(&self.verifier) };
        if self.statement.claim != claim {
            return Err(invalid(
                "statement: recovery_slot_set of slot 0 with the hash of the verifier is needed",
            ));
        }
        let retry = row.roster.contains(&self.statement);
        if !retry {
            follow(&mut account::roster(&row)?, &self.statement).map_err(from_enrolment)?;
        }
        let present = row.credentials.get(ARK_BY_RECOVERY).copied().unwrap_or_default();
        // A restored server may have a statement that a device brought back, and not the code that it was made with: the
        // client counts statements, so its next generation may be further on.
        let newer = self.wrap.generation > present || (retry && self.wrap.generation == present);
        let fits = self.wrap.name == ARK_BY_RECOVERY && self.wrap.fits();
        if !fits || !newer {
            return Err(invalid("wrap: ark/recovery of a later generation, 108 bytes"));
        }
        let at = server.clock.now();
        let hash = self.statement.hash();
        let attempt = Uuid::from_slice(&hash.as_bytes()[..16]).unwrap_or_default();
        let body = self.verifier.to_vec();
        let slot = StoredFactor {
            id: attempt,
            account,
            kind: FactorKind::Recovery,
            body,
            version: 1,
            created_at: at,
        };
        let replacement = Replacement {
            wraps: vec![self.wrap],
            dropped_factors: vec![FactorKind::Recovery],
            factors: vec![slot],
            ..Replacement::default()
        };
        let requires = before(&self.statement);
        let id = statement_id(account, self.statement.epoch);
        let stated = AccountEvent::RosterStated(RosterStated { statement: self.statement });
        let events = vec![self.actor.event(id, None, stated).map_err(ReplaceError::from)?];
        let staged = Staged { account, attempt, replacement, staged_at: at };
        let together = Together { events, requires, ..Together::default() };
        Ok(Replace { actor: self.actor, staged }.run(server, together).await?.position())
    }
}

/// The slot whose code gives this secret. The guess was counted before.
///
/// # Errors
/// [`RecoveryError::Wrong`]
pub async fn check(server: &Server, account: AccountId, secret: &[u8]) -> Result<Uuid, RecoveryError> {
    let slot = slot_or_none(server, account).await?;
    // Without a slot something is compared all the same.
    let right = bool::from(sha256(secret).as_slice().ct_eq(&slot.body));
    if right && slot.id != NO_SLOT { Ok(slot.id) } else { Err(RecoveryError::Wrong) }
}

/// The id that a slot has which is not there.
const NO_SLOT: Uuid = Uuid::nil();

/// An account's slot; one that no code opens, if it has none, or is none.
async fn slot_or_none(server: &Server, account: AccountId) -> Result<StoredFactor, CredentialError> {
    let none = StoredFactor {
        id: NO_SLOT,
        account,
        kind: FactorKind::Recovery,
        body: vec![0; 32],
        version: 0,
        created_at: Micros::default(),
    };
    server.credentials.recovery_or(&none).await
}

/// The account whose code was right.
///
/// # Errors
/// [`RecoveryError::Disabled`]
pub async fn of(server: &Server, account: AccountId) -> Result<AccountRow, RecoveryError> {
    let row = account::present(server, account).await?.ok_or(RecoveryError::Wrong)?;
    if row.standing.disabled { Err(RecoveryError::Disabled) } else { Ok(row) }
}

/// A new password by the recovery code, and this device as the account's newest.
#[derive(Clone)]
pub struct Recover {
    /// The account.
    pub account: AccountId,
    /// The attempt.
    pub attempt: Uuid,
    /// The slot whose code was right.
    pub slot: Uuid,
    /// The new record.
    pub password: PasswordRecord,
    /// The root key under the new password.
    pub wrap: Wrapped,
    /// `device_added`.
    pub statement: Statement,
}

impl Recover {
    /// Sets the password, ends every session, uses up the code and opens a session on the new device.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn run(self, server: &Server) -> Result<Opened, RecoveryError> {
        use PasswordError::Replace;
        match self.clone().tried(server).await {
            // What was first may be the same, sent twice at once: then it stands by now, and a second look sees it.
            Err(RecoveryError::Used | RecoveryError::Password(Replace(ReplaceError::Overtaken))) => {
                self.tried(server).await
            }
            other => other,
        }
    }

    async fn tried(self, server: &Server) -> Result<Opened, RecoveryError> {
        let account = self.account;
        // Before it is looked whether it is disabled: what disables it from now on is met by what is appended.
        let (_, seen) = feed::standing(server.log.as_ref(), account).await.map_err(ReplaceError::from)?;
        let expect = if seen == Seq::ZERO { SubjectExpect::None } else { SubjectExpect::Exact(seen) };
        let standing = SubjectClaim { stream: account.into(), subject: Standing::subject(account), expect };
        let row = of(server, account).await?;
        check_next(&row, self.password.suite, &self.wrap)?;
        let unused = self.check_unused(server, &row).await?;
        let places = enrol_device::Places::all_free(server, &row);
        let joins = enrol_device::decide(account::roster(&row)?, &row.roster, &self.statement, &places)
            .map_err(from_enrolment)?;
        let (device, session) = (joins.device, SessionId(self.attempt));
        let (actor, at) = (Actor { account, device }, server.clock.now());
        let opened = actor.session_opened(session, Method::Recovery).map_err(ReplaceError::from)?;
        if joins.again && !session::stands(server, &opened).await.map_err(ReplaceError::from)? {
            return Err(RosterError::Order.into());
        }
        let stored = session::with_id(server, actor, session, Method::Recovery, at);
        server.credentials.open_session(&stored).await?;
        let end = EndAccess {
            account,
            reason: RevokeReason::Recovered,
            keep: Some(session),
            actor: Some(actor),
            cause: self.attempt.as_bytes().to_vec(),
            at,
        };
        let replacement = Replacement {
            password: Some((self.password, self.wrap.generation)),
            wraps: vec![self.wrap],
            dropped_wraps: vec![ARK_BY_RECOVERY.to_owned()],
            // Who has lost the password has often lost what was asked for beside it.
            dropped_factors: FactorKind::DROPPED_BY_RECOVERY.to_vec(),
            factors: Vec::new(),
        };
        let gone = if unused { factors(server, account).await? } else { Vec::new() };
        let gone = gone.iter().filter(|factor| factor.body.is_set());
        let gone = gone.map(|factor| removed_event(actor, &factor.stored)).collect::<Vec<_>>();
        let requires = before(&self.statement);
        let id = statement_id(account, self.statement.epoch);
        let added = AccountEvent::DeviceAdded(RosterStated { statement: self.statement });
        let events = [end.event(), actor.event(id, Some(device.into()), added), Ok(opened)];
        let events =
            events.into_iter().chain(gone).collect::<Result<Vec<_>, _>>().map_err(ReplaceError::from)?;
        let staged = Staged { account, attempt: self.attempt, replacement, staged_at: at };
        let together = Together { events, requires, subjects: vec![standing], ..Together::default() };
        let replaced = Replace { actor, staged }.run(server, together).await?;
        if !replaced.again {
            end.settle(server).await?;
        }
        let position = replaced.position();
        let auth_epoch = replaced.placed.iter().map(|placed| placed.seq.0).max().unwrap_or_default();
        Ok(Opened { stored, position, auth_epoch })
    }
}

impl Recover {
    /// A code works once. Whether it is unused still; otherwise this is sent again, which its events tell.
    async fn check_unused(&self, server: &Server, row: &AccountRow) -> Result<bool, RecoveryError> {
        // After the account was looked at: a change that it shows is carried out by now.
        super::replace::settle(server, self.account).await?;
        let present = row.credentials.get(ARK_BY_PASSWORD).copied().unwrap_or_default();
        let unused = slot_or_none(server, self.account).await?.id == self.slot;
        if unused || self.wrap.generation == present { Ok(unused) } else { Err(RecoveryError::Used) }
    }
}

fn from_enrolment(error: super::roster::StateError) -> RecoveryError {
    use super::roster::StateError;
    match error {
        StateError::Roster(error) => error.into(),
        StateError::TooManyDevices(exceeded) | StateError::TooManyStatements(exceeded) => {
            RecoveryError::TooMany(exceeded)
        }
        StateError::Look(error) => error.into(),
        StateError::Log(error) => ReplaceError::from(error).into(),
        StateError::Credentials(error) => error.into(),
        StateError::Invalid(what) => invalid(what),
        StateError::Overtaken | StateError::NoDevice | StateError::Ended => RosterError::Order.into(),
    }
}
