//! Approval of a new device by an enrolled one: the new one asks, an enrolled one seals the root key for it and states
//! it in the roster, the new one collects. The server carries both and can open neither. Until it is approved, the new
//! one may withdraw.
//!
//! What was sealed is stored first and the device enrolled then: whoever is cut off in between leaves a request that is
//! open still, and can be withdrawn. The other way round the device would be enrolled with nothing to collect, and could not
//! be approved again. Where a request is approved and withdrawn at the same moment, whoever is second finds what the other
//! did: a device that joined, and that nobody has, is told to at least one of them.

use lockstep_events::{
    AccountId, DeviceId, LogError, Micros, Position, SessionId,
    event::Method,
    header::verify,
    ids::{PublicKey, Signature},
    roster::{Claim, Statement},
};
use lockstep_projections::rows::AccountRow;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    account::{self, LookError},
    enrol_device::EnrolDevice,
    facts::Actor,
    refresh::{RefreshError, may_go_on},
    roster::{StateError, unusable},
    session,
};
use crate::{
    auth::{
        credentials::{CredentialError, StoredSession},
        factors::{FactorKind, StoredFactor},
    },
    feed::Access,
    state::Server,
};

/// A request is valid so long, in seconds.
pub const LIFE_S: i64 = 600;
/// What is sealed for a device is at most so long, in bytes.
const MAX_SEALED: usize = 1024;
/// Rounds of a withdrawal against approvals.
const ROUNDS: usize = 8;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The new device.
    pub device: DeviceId,
    /// Its key.
    pub public_key: PublicKey,
    /// Its HPKE key.
    pub kem_key: Vec<u8>,
    /// What an enrolled device sealed for it.
    pub sealed: Option<Vec<u8>>,
    /// The new device has given up: nobody approves it any more.
    #[serde(default)]
    pub withdrawn: bool,
}

/// Why a device was not approved.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    /// There is no such request, or it is too old, or the signature is not the new device's.
    #[error("there is no such request")]
    NoRequest,
    /// The new device has withdrawn it.
    #[error("the device has withdrawn its request")]
    Withdrawn,
    /// The new device has withdrawn it, and joined all the same: nobody has its keys.
    #[error("the device withdrew its request as it was approved, and is one of the account's: revoke it")]
    Joined,
    /// It is approved, and cannot be withdrawn any more.
    #[error("the device is approved already")]
    Approved,
    /// The session that the approval opened has ended.
    #[error("the session has ended")]
    Ended,
    /// Something in it is not as it must be.
    #[error("{0}")]
    Invalid(&'static str),
    /// The device could not be enrolled.
    #[error(transparent)]
    Enrol(#[from] StateError),
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

fn asked(factor: &StoredFactor) -> Option<Asked> {
    serde_json::from_slice(&factor.body).ok()
}

/// The requests of an account that are not too old.
fn fresh(factors: Vec<StoredFactor>, now: Micros) -> Vec<(StoredFactor, Asked)> {
    let young = |factor: &StoredFactor| {
        factor.kind == FactorKind::Approval && factor.created_at.plus_seconds(LIFE_S) > now
    };
    factors
        .into_iter()
        .filter(young)
        .filter_map(|factor| asked(&factor).map(|asked| (factor, asked)))
        .collect()
}

/// Asks for an approval; its id. For an account that does not exist the same is done. It was counted before.
///
/// # Errors
/// [`ApproveError`]
pub async fn ask(server: &Server, account: AccountId, request: &Asked) -> Result<Uuid, ApproveError> {
    let claim = Claim::DeviceAdded { device: request.device, public_key: request.public_key };
    if let Some(what) = unusable(&claim) {
        return Err(ApproveError::Invalid(what));
    }
    if request.kem_key.len() != 32 {
        return Err(ApproveError::Invalid("kem_key: 32 bytes"));
    }
    let now = server.clock.now();
    // One question, however many factors there are: nothing about an account is read to ask it.
    server.credentials.remove_approvals(account, now.plus_seconds(-LIFE_S)).await?;
    let id = Uuid::new_v4();
    let body = serde_json::to_vec(request).map_err(|error| CredentialError::Other(error.into()))?;
    let factor = StoredFactor { id, account, kind: FactorKind::Approval, body, version: 1, created_at: now };
    server.credentials.put_factor(&factor).await?;
    Ok(id)
}

/// The open requests of an account, oldest first.
///
/// # Errors
/// If the credential store or the log does not answer.
pub async fn open(server: &Server, account: AccountId) -> Result<Vec<(StoredFactor, Asked)>, ApproveError> {
    let mut open = Vec::new();
    for (factor, asked) in fresh(server.credentials.factors(account).await?, server.clock.now()) {
        if asked.withdrawn {
            continue;
        }
        if asked.sealed.is_none() || !is_enrolled(server, account, factor.id, &asked).await? {
            open.push((factor, asked));
        }
    }
    Ok(open)
}

/// Whether the session of an approval was opened, and its device enrolled with it: it is one unit.
async fn is_enrolled(
    server: &Server,
    account: AccountId,
    approval: Uuid,
    asked: &Asked,
) -> Result<bool, LogError> {
    let actor = Actor { account, device: asked.device };
    session::stands(server, &actor.session_opened(SessionId(approval), Method::Approval)?).await
}

/// An approval, by an enrolled device.
pub struct Approve {
    /// Who approves.
    pub by: Access,
    /// The request.
    pub approval: Uuid,
    /// `device_added`.
    pub statement: Statement,
    /// What only the new device opens.
    pub sealed: Vec<u8>,
}

impl Approve {
    /// Enrols the new device; where that is written. The same again changes nothing.
    ///
    /// # Errors
    /// [`ApproveError`]
    pub async fn run(self, server: &Server) -> Result<Position, ApproveError> {
        let all = fresh(server.credentials.factors(self.by.account).await?, server.clock.now());
        let (factor, asked) =
            all.into_iter().find(|(factor, _)| factor.id == self.approval).ok_or(ApproveError::NoRequest)?;
        if asked.withdrawn {
            let joined = is_enrolled(server, self.by.account, factor.id, &asked).await?;
            return Err(if joined { ApproveError::Joined } else { ApproveError::Withdrawn });
        }
        let claim = Claim::DeviceAdded { device: asked.device, public_key: asked.public_key };
        if self.statement.claim != claim {
            return Err(ApproveError::Invalid(
                "statement: device_added of the keys that were asked for is needed",
            ));
        }
        if !(1..=MAX_SEALED).contains(&self.sealed.len()) {
            return Err(ApproveError::Invalid("sealed: 1 to 1024 bytes"));
        }
        let body = serde_json::to_vec(&Asked { sealed: Some(self.sealed), ..asked })
            .map_err(|error| CredentialError::Other(error.into()))?;
        // Where another device was faster, the new one opens what that one sealed.
        if !server.credentials.replace_factor(&factor, &body).await?
            && is_withdrawn(server, factor.id).await?
        {
            return Err(ApproveError::Withdrawn);
        }
        let enrol = EnrolDevice {
            voucher: self.by,
            session: SessionId(self.approval),
            method: Method::Approval,
            proven_at: server.clock.now(),
            statement: self.statement,
        };
        let opened = enrol.run(server).await?;
        // Who withdraws notes it, and looks then whether the device is enrolled.
        if is_withdrawn(server, factor.id).await? {
            return Err(ApproveError::Joined);
        }
        Ok(opened.position)
    }
}

/// What an approved device collects.
pub struct ToCollect {
    /// The account.
    pub row: AccountRow,
    /// Its session.
    pub session: StoredSession,
    /// The auth epoch of its access token.
    pub auth_epoch: u64,
    /// What was sealed for it.
    pub sealed: Vec<u8>,
}

/// What was sealed for the new device, if it proves its key; none as long as nobody has approved it. It may ask again
/// until the request is too old: an answer can be lost.
///
/// # Errors
/// [`ApproveError::NoRequest`], [`ApproveError::Ended`]
pub async fn collect(
    server: &Server,
    approval: Uuid,
    message: &[u8],
    signature: &Signature,
) -> Result<Option<ToCollect>, ApproveError> {
    let (factor, asked) = of_device(server, approval, message, signature).await?;
    let account = factor.account;
    if asked.withdrawn {
        return Err(ApproveError::NoRequest);
    }
    if !is_enrolled(server, account, approval, &asked).await? {
        return Ok(None);
    }
    let Some(sealed) = asked.sealed else { return Ok(None) };
    let row = account::present(server, account).await?.ok_or(ApproveError::NoRequest)?;
    let session = server.credentials.session(SessionId(approval)).await?.ok_or(ApproveError::NoRequest)?;
    if session.ended_at.is_some() {
        return Err(ApproveError::Ended);
    }
    // Whatever ended access since it was approved ended this, too.
    let auth_epoch = may_go_on(server, &session).await?;
    Ok(Some(ToCollect { row, session, auth_epoch, sealed }))
}

/// A request that is not too old, to the device that made it.
async fn of_device(
    server: &Server,
    approval: Uuid,
    message: &[u8],
    signature: &Signature,
) -> Result<(StoredFactor, Asked), ApproveError> {
    let factor = server.credentials.factor(approval).await?.ok_or(ApproveError::NoRequest)?;
    let found = fresh(vec![factor], server.clock.now()).pop();
    let proven = found.filter(|(_, asked)| verify(&asked.public_key, message, signature));
    proven.ok_or(ApproveError::NoRequest)
}

/// The new device gives up, and proves its key. Withdrawing again changes nothing.
///
/// # Errors
/// [`ApproveError::NoRequest`]; [`ApproveError::Approved`] once the device is enrolled.
pub async fn withdraw(
    server: &Server,
    approval: Uuid,
    message: &[u8],
    signature: &Signature,
) -> Result<(), ApproveError> {
    for _ in 0..ROUNDS {
        let (factor, mut asked) = of_device(server, approval, message, signature).await?;
        let is_new = !asked.withdrawn && !is_enrolled(server, factor.account, approval, &asked).await?;
        if is_new {
            asked.withdrawn = true;
            let body = serde_json::to_vec(&asked).map_err(|error| CredentialError::Other(error.into()))?;
            if !server.credentials.replace_factor(&factor, &body).await? {
                continue;
            }
        }
        // Looked at behind it: an approval that is on its way by now finds the withdrawal, or is found here.
        let joined = is_enrolled(server, factor.account, approval, &asked).await?;
        return if joined { Err(ApproveError::Approved) } else { Ok(()) };
    }
    Err(CredentialError::Unavailable("the request keeps changing".into()).into())
}

async fn is_withdrawn(server: &Server, approval: Uuid) -> Result<bool, CredentialError> {
    let factor = server.credentials.factor(approval).await?;
    Ok(factor.and_then(|factor| asked(&factor)).is_some_and(|asked| asked.withdrawn))
}

impl From<LookError> for ApproveError {
    fn from(error: LookError) -> Self {
        Self::Enrol(error.into())
    }
}

impl From<RefreshError> for ApproveError {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Look(error) => error.into(),
            RefreshError::Log(error) => error.into(),
            RefreshError::Credentials(error) => error.into(),
            RefreshError::Invalid | RefreshError::Ended(_) | RefreshError::RanOut | RefreshError::Reused => {
                Self::Ended
            }
        }
    }
}
