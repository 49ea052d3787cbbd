//! Refreshing a session: the token rotates; a token that somebody used long ago ends the session.

use lockstep_events::{
    LogError, Micros, NewEvent, Outcome, Position, SessionId, Unit,
    event::{AccountEvent, RefreshReused, RevokeReason, SessionRefreshed},
    header::verify,
    ids::Signature,
};
use lockstep_projections::rows::DeviceRow;

use super::{
    account::{self, LookError},
    facts::{Actor, derived, existing_account},
    session,
};
use crate::{
    auth::{
        credentials::{CredentialError, StoredSession},
        refresh::{self, Lives, Presented, Verdict},
    },
    feed::Access,
    state::Server,
};

/// Rounds against other requests with the same token.
const ROUNDS: usize = 8;

/// A refresh.
pub struct RefreshSession {
    /// The token, taken apart.
    pub presented: Presented,
    /// What the device signed.
    pub message: Vec<u8>,
    /// By the session's device.
    pub signature: Signature,
}

/// Why there are no new tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The token or the signature is not right.
    #[error("the refresh token is not valid")]
    Invalid,
    /// The session, its device or the account has ended: when and why, where that is known.
    #[error("the session has ended")]
    Ended(Option<(Micros, RevokeReason)>),
    /// The session has run out by itself.
    #[error("the session has run out")]
    RanOut,
    /// The token was used long ago: the session was ended.
    #[error("the refresh token was used again; the session was ended")]
    Reused,
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

impl RefreshSession {
    /// Checks the proof first: who has only the token, and not the device, can change nothing with it.
    ///
    /// # Errors
    /// [`RefreshError`]
    pub async fn proven(self, server: &Server) -> Result<Proven, RefreshError> {
        let stored = stored(server, self.presented).await?;
        let device = device(server, &stored).await?;
        if !verify(&device.public_key, &self.message, &self.signature) {
            return Err(RefreshError::Invalid);
        }
        Ok(Proven { presented: self.presented, stored })
    }
}

/// A refresh that the session's device has signed.
pub struct Proven {
    presented: Presented,
    stored: StoredSession,
}

impl Proven {
    /// Refreshes; the session with its valid token, and the auth epoch for its access token.
    ///
    /// # Errors
    /// [`RefreshError`]
    pub async fn run(self, server: &Server) -> Result<(StoredSession, u64), RefreshError> {
        let auth_epoch = may_go_on(server, &self.stored).await?;
        Ok((self.rotate(server).await?, auth_epoch))
    }

    async fn rotate(self, server: &Server) -> Result<StoredSession, RefreshError> {
        let mut stored = self.stored;
        for _ in 0..ROUNDS {
            let now = server.clock.now();
            match refresh::decide(&server.keys, &stored, self.presented, lives(server), now) {
                Verdict::Invalid => return Err(RefreshError::Invalid),
                Verdict::Over if stored.ended_at.is_some() => return Err(RefreshError::Ended(None)),
                Verdict::Over => return Err(RefreshError::RanOut),
                Verdict::Again => return Ok(stored),
                Verdict::Reused(generation) => return Err(end_family(server, &stored, generation).await),
                Verdict::Rotate(next) => {
                    // The event first: it is the same for every request with this token.
                    append(server, &next, vec![refreshed(&next)?]).await?;
                    if server.credentials.rotate(&stored, &next).await? {
                        return Ok(*next);
                    }
                    stored = self::stored(server, self.presented).await?;
                }
            }
        }
        Err(RefreshError::Credentials(CredentialError::Unavailable("the session keeps changing".into())))
    }
}

async fn stored(server: &Server, presented: Presented) -> Result<StoredSession, RefreshError> {
    server.credentials.session(presented.session).await?.ok_or(RefreshError::Invalid)
}

async fn device(server: &Server, stored: &StoredSession) -> Result<DeviceRow, RefreshError> {
    let find = || server.reads.device(stored.account, stored.device);
    if let Some(row) = find().await.map_err(LookError::from)? {
        return Ok(row);
    }
    account::caught_up(server).await?;
    find().await.map_err(LookError::from)?.ok_or(RefreshError::Invalid)
}

/// Whether a session may have another access token: nothing has ended it, nor its device, nor the account. The auth
/// epoch of that token.
///
/// # Errors
/// [`RefreshError::Ended`], or what a store does not answer.
pub async fn may_go_on(server: &Server, stored: &StoredSession) -> Result<u64, RefreshError> {
    let auth_epoch = open_at(server, stored).await;
    // A session may have ended before for another reason; that its device was revoked counts for more.
    if let Some((at, _)) = device(server, stored).await?.revoked {
        return Err(RefreshError::Ended(Some((at, RevokeReason::DeviceRevoked))));
    }
    let auth_epoch = auth_epoch?;
    // A session that was opened while the account was being disabled has no end of its own.
    if server.feed.standings.of(stored.account).await?.disabled {
        return Err(RefreshError::Ended(None));
    }
    Ok(auth_epoch)
}

/// Whether a session may have another access token without a refresh: a refresh would give it one.
///
/// # Errors
/// [`RefreshError::Ended`], [`RefreshError::RanOut`], or what a store does not answer.
pub async fn is_open(server: &Server, session: SessionId) -> Result<(), RefreshError> {
    let stored = server.credentials.session(session).await?.ok_or(RefreshError::Ended(None))?;
    match may_go_on(server, &stored).await {
        Ok(_) if stored.ended_at.is_some() => Err(RefreshError::Ended(None)),
        Ok(_) if refresh::is_over(&stored, lives(server), server.clock.now()) => Err(RefreshError::RanOut),
        Ok(_) => Ok(()),
        // Its device was never enrolled.
        Err(RefreshError::Invalid) => Err(RefreshError::Ended(None)),
        Err(error) => Err(error),
    }
}

/// The account's auth epoch, at which the session was open still. It is read first: whatever ends the session after
/// that has a higher one, and the access token is refused by it.
async fn open_at(server: &Server, stored: &StoredSession) -> Result<u64, RefreshError> {
    let auth_epoch = looked(server, stored).await?;
    let StoredSession { account, device, session, .. } = *stored;
    if !server.feed.revocations.refuses(&Access { account, device, session, auth_epoch }) {
        return Ok(auth_epoch);
    }
    // This node has heard of an end that its read models may not have yet: whom it concerns is said by them.
    account::caught_up(server).await?;
    looked(server, stored).await
}

async fn looked(server: &Server, stored: &StoredSession) -> Result<u64, RefreshError> {
    let row = server.reads.account(stored.account).await.map_err(LookError::from)?;
    let known = server.reads.session(stored.session).await.map_err(LookError::from)?;
    if let Some(end) = known.and_then(|row| row.revoked) {
        return Err(RefreshError::Ended(Some(end)));
    }
    Ok(row.map_or(0, |row| row.auth_epoch))
}

/// How long tokens and sessions live here.
pub fn lives(server: &Server) -> Lives {
    const DAY: i64 = 24 * 3600;
    Lives {
        idle: i64::from(server.config.refresh_idle_days) * DAY,
        absolute: i64::from(server.config.refresh_absolute_days) * DAY,
        grace: i64::from(server.config.refresh_grace_s),
    }
}

fn actor(stored: &StoredSession) -> Actor {
    Actor { account: stored.account, device: stored.device }
}

fn refreshed(next: &StoredSession) -> Result<NewEvent, LogError> {
    let parts = [&next.session.as_bytes()[..], &next.generation.to_be_bytes()];
    let id = derived("lockstep/v1/session-refreshed", &parts);
    let body = SessionRefreshed { session: next.session, generation: next.generation };
    actor(next).event(id, Some(next.session.into()), AccountEvent::SessionRefreshed(body))
}

async fn append(
    server: &Server,
    stored: &StoredSession,
    events: Vec<NewEvent>,
) -> Result<Option<Position>, LogError> {
    let unit = Unit { streams: vec![existing_account(stored.account)], events, ..Unit::default() };
    match server.batcher.append(unit).await? {
        Outcome::Appended(placed) => Ok(placed.last().map(|p| p.position)),
        // It stands already, from another request or for another reason.
        Outcome::IdReused(_) | Outcome::Conflict(_) | Outcome::Missing(_) => Ok(None),
    }
}

/// Somebody else used this token: nobody shall have the session. What to tell the one that asks.
async fn end_family(server: &Server, stored: &StoredSession, generation: u32) -> RefreshError {
    let ended = async {
        let id = derived("lockstep/v1/refresh-reused", &[stored.session.as_bytes()]);
        let body = RefreshReused { session: stored.session, generation };
        let reused =
            actor(stored).event(id, Some(stored.session.into()), AccountEvent::RefreshReused(body))?;
        let end = actor(stored).session_revoked(stored.session, RevokeReason::RefreshReuse)?;
        append(server, stored, vec![reused, end]).await?;
        Ok::<_, RefreshError>(session::end(server, &[stored.session], server.clock.now()).await?)
    };
    ended.await.err().unwrap_or(RefreshError::Reused)
}
