//! Logging in, after the password was proven: an enrolled device that proves its key gets a session, any other one
//! may enrol itself.

use lockstep_events::{
    AccountId, DeviceId, LogError, Micros, NewEvent, Outcome, Position, SessionId, Unit,
    event::{AccountEvent, Method, RevokeReason, SessionOpened},
    header::verify,
    ids::{PublicKey, Signature},
    log::{StreamClaim, StreamExpect},
    roster::{Claim, Statement},
};
use lockstep_projections::rows::{AccountRow, SessionRow};

use super::{
    account::{self, LookError},
    facts::{Actor, derived, existing_account},
    session::{self, Opened},
};
use crate::{auth::credentials::CredentialError, feed::Access, state::Server};

/// A login of somebody who has proven who they are.
pub struct Login {
    /// The account.
    pub account: AccountId,
    /// The session that it opens.
    pub session: SessionId,
    /// How it was proven who asks.
    pub method: Method,
    /// When: the session is no fresher than that, however late it opens.
    pub proven_at: Micros,
    /// Whose token says so, if it was proven before: nothing may have ended that. A password is looked at once more by
    /// who has asked for it.
    pub voucher: Option<Access>,
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
    /// The device was revoked.
    #[error("the device was revoked")]
    Revoked,
    /// Nobody may use the account.
    #[error("the account is disabled")]
    Disabled,
    /// What vouches for it has ended meanwhile.
    #[error("the session has ended")]
    Ended,
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
    if proven {
        return Ok(());
    }
    // The password was right: its person may know what became of the device.
    let was_added = roster.iter().any(
        |statement| matches!(statement.claim, Claim::DeviceAdded { device, .. } if device == proof.device),
    );
    Err(if key.is_none() && was_added { LoginError::Revoked } else { LoginError::Failed })
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

/// Rounds against logins of the same device that end at the same moment, and for who has a voucher against other changes
/// of the account. Of each round, one is through.
const ROUNDS: usize = 32;

/// What a device's sessions mean for one that it opens.
#[derive(Debug, PartialEq, Eq)]
struct Before {
    /// The last one that it opened; the next one comes after it.
    last: SessionId,
    /// Those that are open: the new one replaces them.
    open: Vec<SessionId>,
}

impl Before {
    /// Nothing if this very session was opened already.
    ///
    /// # Errors
    /// [`LoginError::Failed`] if it has ended since.
    fn of(sessions: &[SessionRow], device: DeviceId, own: SessionId) -> Result<Option<Self>, LoginError> {
        match sessions.iter().find(|session| session.session == own) {
            Some(known) if known.device == device && known.revoked.is_none() => return Ok(None),
            Some(_) => return Err(LoginError::Failed),
            None => {}
        }
        let same = sessions.iter().filter(|session| session.device == device);
        let last = same.clone().max_by_key(|session| session.opened_at);
        let open = same.filter(|session| session.revoked.is_none());
        Ok(Some(Self {
            last: last.map_or(SessionId::NIL, |last| last.session),
            open: open.map(|session| session.session).collect(),
        }))
    }

    /// `session.opened`. A device opens one session after another: of two logins that both saw the same last one, the
    /// log takes the first.
    fn opened(&self, actor: Actor, session: SessionId, method: Method) -> Result<NewEvent, LogError> {
        let (account, device) = (actor.account.as_bytes(), actor.device.as_bytes());
        let id = derived("lockstep/v1/session-opened-after", &[account, device, self.last.as_bytes()]);
        let body = SessionOpened { session, device: actor.device, method };
        actor.event(id, Some(session.into()), AccountEvent::SessionOpened(body))
    }

    fn events(&self, actor: Actor, session: SessionId, method: Method) -> Result<Vec<NewEvent>, LogError> {
        let ends = self.open.iter().map(|old| actor.session_revoked(*old, RevokeReason::Replaced));
        std::iter::once(self.opened(actor, session, method)).chain(ends).collect()
    }
}

impl Login {
    /// Logs in.
    ///
    /// # Errors
    /// [`LoginError`]
    pub async fn run(self, server: &Server) -> Result<LoggedIn, LoginError> {
        for _ in 0..ROUNDS {
            let expect = self.expect(server).await?;
            let row = self.allowed(server).await?;
            let Some(proof) = &self.proof else { return Ok(LoggedIn { row, opened: None }) };
            decide(&row.roster, proof)?;
            if let Some(opened) = self.open(server, &row, proof.device, expect).await? {
                return Ok(LoggedIn { row, opened: Some(opened) });
            }
        }
        Err(LogError::Unavailable("the sessions of the device keep changing".into()).into())
    }

    /// How the account's stream must be when the session opens. It would be open after whatever ended the voucher between
    /// the look and the append, so then there must be nothing in between.
    async fn expect(&self, server: &Server) -> Result<StreamExpect, LoginError> {
        Ok(match self.voucher {
            Some(_) => StreamExpect::Exact(account::last_seq(server, self.account).await?),
            None => StreamExpect::Exists,
        })
    }

    /// The account, if who asks may use it.
    async fn allowed(&self, server: &Server) -> Result<AccountRow, LoginError> {
        let row = account::present(server, self.account).await?.ok_or(LoginError::Failed)?;
        if row.standing.disabled {
            return Err(LoginError::Disabled);
        }
        match &self.voucher {
            Some(voucher) if !account::stands(server, voucher).await? => Err(LoginError::Ended),
            _ => Ok(row),
        }
    }

    /// Opens a session on the account as it stands; nothing if it changes meanwhile: another login of the device was
    /// first, or an old session has ended for another reason.
    async fn open(
        &self,
        server: &Server,
        row: &AccountRow,
        device: DeviceId,
        expect: StreamExpect,
    ) -> Result<Option<Opened>, LoginError> {
        let actor = Actor { account: self.account, device };
        let stored = session::with_id(server, actor, self.session, self.method, self.proven_at);
        let sessions = server.reads.sessions(self.account).await.map_err(LookError::from)?;
        let auth_epoch = row.auth_epoch;
        let Some(before) = Before::of(&sessions, device, self.session)? else {
            // The same once more gives the same session, and ends none.
            return Ok(Some(Opened { stored, position: Position::default(), auth_epoch }));
        };
        server.credentials.open_session(&stored).await?;
        let claim = StreamClaim { expect, ..existing_account(self.account) };
        let events = before.events(actor, self.session, self.method)?;
        let Some(position) = append(server, claim, events).await? else { return Ok(None) };
        session::end(server, &before.open, server.clock.now()).await?;
        Ok(Some(Opened { stored, position, auth_epoch }))
    }
}

/// Appends; where. Nothing if one of the events stands with another body, or the stream has moved on.
async fn append(
    server: &Server,
    claim: StreamClaim,
    events: Vec<NewEvent>,
) -> Result<Option<Position>, LoginError> {
    let unit = Unit { streams: vec![claim], events, ..Unit::default() };
    match server.batcher.append(unit).await? {
        Outcome::Appended(placed) => {
            Ok(Some(placed.iter().map(|placed| placed.position).max().unwrap_or_default()))
        }
        Outcome::IdReused(_) => Ok(None),
        Outcome::Conflict(_) if claim.expect != StreamExpect::Exists => Ok(None),
        Outcome::Conflict(_) | Outcome::Missing(_) => Err(LoginError::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use lockstep_events::{Hash32, header::public_key};
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
        let answer = decide(&roster(&key, true), &proof(&key, 2));
        assert!(matches!(answer, Err(LoginError::Revoked)), "{answer:?}");
    }

    /// A session of a device, opened at a time.
    fn row(session: u128, device: u128, at: i64, ended: bool) -> SessionRow {
        SessionRow {
            session: id(session),
            account: id(1),
            device: id(device),
            method: Method::Password,
            opened_at: Micros(at),
            refreshed_at: Micros(at),
            generation: 0,
            revoked: ended.then_some((Micros(99), RevokeReason::Logout)),
        }
    }

    #[test]
    fn a_new_session_replaces_the_open_ones_of_its_device_only_and_comes_after_the_last_one() {
        let rows = [row(10, 2, 3, false), row(11, 2, 5, true), row(12, 3, 9, false)];
        let before = Before::of(&rows, id(2), id(20)).unwrap().unwrap();
        assert_eq!(before, Before { last: id(11), open: vec![id(10)] });
        let first = Before::of(&rows, id(4), id(20)).unwrap().unwrap();
        assert_eq!(first, Before { last: SessionId::NIL, open: Vec::new() });
    }

    #[test]
    fn two_logins_that_saw_the_same_sessions_contend_for_one_event() {
        let rows = [row(10, 2, 3, true)];
        let opened = |session: u128| {
            let before = Before::of(&rows, id(2), id(session)).unwrap().unwrap();
            let actor = Actor { account: id(1), device: id(2) };
            before.opened(actor, id(session), Method::Password).unwrap()
        };
        assert_eq!(opened(20).event_id, opened(21).event_id);
        assert_ne!(opened(20).body_hash, opened(21).body_hash);
        assert_eq!(opened(20).body_hash, opened(20).body_hash);
    }

    #[test]
    fn the_same_login_once_more_ends_nothing_and_brings_no_ended_session_back() {
        let rows = [row(10, 2, 3, false), row(11, 2, 5, true)];
        assert_eq!(Before::of(&rows, id(2), id(10)).unwrap(), None);
        assert!(matches!(Before::of(&rows, id(2), id(11)), Err(LoginError::Failed)));
        assert!(matches!(Before::of(&rows, id(3), id(10)), Err(LoginError::Failed)));
    }
}
