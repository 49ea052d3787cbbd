//! Logging in, after the password was proven: an enrolled device that proves its key gets a session, any other one
//! may enrol itself.

use lockstep_events::{
    AccountId, DeviceId, LogError, Outcome, SessionId, Unit,
    event::{Method, RevokeReason},
    header::verify,
    ids::{PublicKey, Signature},
    roster::{Claim, Statement},
};
use lockstep_projections::rows::{AccountRow, SessionRow};

use super::{
    account::{self, LookError},
    facts::{Actor, existing_account},
    session::{self, Opened},
};
use crate::{auth::credentials::CredentialError, state::Server};

/// A login whose password is proven.
pub struct Login {
    /// The account.
    pub account: AccountId,
    /// The session that it opens.
    pub session: SessionId,
    /// How it was proven who asks.
    pub method: Method,
    /// The device's proof, if it is enrolled.
    pub proof: Option<Proof>,
}

/// A proof that the sender holds a device's key.
pub struct Proof {
    /// The device.
    pub device: DeviceId,
    /// What was signed.
    pub message: Vec<u8>,
    /// By the device's key.
    pub signature: Signature,
}

/// What a login leads to.
pub struct LoggedIn {
    /// The account.
    pub row: AccountRow,
    /// For an enrolled device: its session.
    pub opened: Option<Opened>,
}

/// Why there is no login.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such account, or the device's proof is not right.
    #[error("the login failed")]
    Failed,
    /// Nobody may use the account.
    #[error("the account is disabled")]
    Disabled,
    /// The account cannot be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

/// Whether the device may open a session.
fn decide(roster: &[Statement], proof: &Proof) -> Result<(), LoginError> {
    let key = enrolled(roster, proof.device);
    let proven = key.is_some_and(|key| verify(&key, &proof.message, &proof.signature));
    if proven { Ok(()) } else { Err(LoginError::Failed) }
}

/// The key of a device that is enrolled. The statements were checked when they were taken; a login does not check all
/// their signatures once more.
fn enrolled(roster: &[Statement], wanted: DeviceId) -> Option<PublicKey> {
    roster.iter().fold(None, |key, statement| match statement.claim {
        Claim::DeviceAdded { device, public_key } if device == wanted => Some(public_key),
        Claim::DeviceRevoked { device } if device == wanted => None,
        _ => key,
    })
}

/// The sessions that a new one of the same device replaces.
fn replaced(sessions: &[SessionRow], device: DeviceId) -> Vec<SessionId> {
    let same = sessions.iter().filter(|session| session.device == device && session.revoked.is_none());
    same.map(|session| session.session).collect()
}

impl Login {
    /// Logs in.
    ///
    /// # Errors
    /// [`LoginError`]
    pub async fn run(self, server: &Server) -> Result<LoggedIn, LoginError> {
        let row = account::present(server, self.account).await?.ok_or(LoginError::Failed)?;
        if row.standing.disabled {
            return Err(LoginError::Disabled);
        }
        let Some(proof) = &self.proof else { return Ok(LoggedIn { row, opened: None }) };
        decide(&row.roster, proof)?;
        let sessions = server.reads.sessions(self.account).await.map_err(LookError::from)?;
        let old = replaced(&sessions, proof.device);
        let opened = self.open(server, &row, proof.device, &old).await?;
        Ok(LoggedIn { row, opened: Some(opened) })
    }

    async fn open(
        &self,
        server: &Server,
        row: &AccountRow,
        device: DeviceId,
        replaced: &[SessionId],
    ) -> Result<Opened, LoginError> {
        let actor = Actor { account: self.account, device };
        let now = server.clock.now();
        let stored = session::with_id(server, actor, self.session, self.method, now);
        let opened = actor.session_opened(self.session, self.method)?;
        // A session that ended meanwhile for another reason makes its own event only once: it is left out then.
        let mut events = vec![opened];
        for old in replaced {
            events.push(actor.session_revoked(*old, RevokeReason::Replaced)?);
        }
        server.credentials.open_session(&stored).await?;
        let position = append(server, actor, events).await?;
        session::end(server, replaced, now).await?;
        Ok(Opened { stored, position, auth_epoch: row.auth_epoch })
    }
}

/// Appends; where the end of an old session is in the way, without those ends.
async fn append(
    server: &Server,
    actor: Actor,
    mut events: Vec<lockstep_events::NewEvent>,
) -> Result<lockstep_events::Position, LoginError> {
    for _ in 0..2 {
        let unit = Unit {
            streams: vec![existing_account(actor.account)],
            events: events.clone(),
            ..Unit::default()
        };
        match server.batcher.append(unit).await? {
            Outcome::Appended(placed) => {
                return Ok(placed.iter().map(|p| p.position).max().unwrap_or_default());
            }
            Outcome::IdReused(_) => events.truncate(1),
            Outcome::Conflict(_) | Outcome::Missing(_) => break,
        }
    }
    Err(LoginError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use lockstep_events::{Hash32, Micros, header::public_key};
    use uuid::Uuid;

    fn id<T: From<Uuid>>(n: u128) -> T {
        T::from(Uuid::from_u128(n))
    }

    /// A first device with a key, and whether it was revoked since.
    fn roster(device: &SigningKey, revoked: bool) -> Vec<Statement> {
        let ask = SigningKey::from_bytes(&[1; 32]);
        let mut roster: Vec<Statement> = Vec::new();
        let mut state = |claim| {
            let before = roster.last().map_or(Hash32::ZERO, Statement::hash);
            let epoch = u32::try_from(roster.len()).unwrap();
            roster.push(Statement::sign(&ask, id(1), epoch, before, claim));
        };
        state(Claim::AccountCreated { signing_key: public_key(&ask) });
        state(Claim::DeviceAdded { device: id(2), public_key: public_key(device) });
        if revoked {
            state(Claim::DeviceRevoked { device: id(2) });
        }
        roster
    }

    fn proof(key: &SigningKey, device: u128) -> Proof {
        let message = b"message".to_vec();
        let signature = Signature(key.sign(&message).to_bytes());
        Proof { device: id(device), message, signature }
    }

    #[test]
    fn only_the_key_of_an_enrolled_device_opens_a_session() {
        let (key, other) = (SigningKey::from_bytes(&[2; 32]), SigningKey::from_bytes(&[3; 32]));
        let roster = roster(&key, false);
        assert!(decide(&roster, &proof(&key, 2)).is_ok());
        assert!(decide(&roster, &proof(&other, 2)).is_err());
        assert!(decide(&roster, &proof(&key, 9)).is_err());
    }

    #[test]
    fn a_revoked_device_opens_no_session() {
        let key = SigningKey::from_bytes(&[2; 32]);
        assert!(decide(&roster(&key, true), &proof(&key, 2)).is_err());
    }

    #[test]
    fn a_new_session_replaces_the_open_ones_of_its_device_only() {
        let row = |session: u128, device: u128, ended: bool| SessionRow {
            session: id(session),
            account: id(1),
            device: id(device),
            method: Method::Password,
            opened_at: Micros(0),
            refreshed_at: Micros(0),
            generation: 0,
            revoked: ended.then_some((Micros(1), RevokeReason::Logout)),
        };
        let rows = [row(10, 2, false), row(11, 2, true), row(12, 3, false)];
        assert_eq!(replaced(&rows, id(2)), [id::<SessionId>(10)]);
    }
}
