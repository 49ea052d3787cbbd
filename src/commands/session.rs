//! What opening a session is, whoever asks for it.

use lockstep_events::{
    AccountId, Event, LogError, Micros, NewEvent, Position, Seq, SessionId,
    event::{AccountEvent, Method},
};
use uuid::Builder;

use super::facts::Actor;
use crate::{
    auth::{
        credentials::{CredentialError, StoredSession},
        refresh,
    },
    state::Server,
};

/// A session that was opened.
pub struct Opened {
    /// What the credential store holds of it.
    pub stored: StoredSession,
    /// Where its event stands.
    pub position: Position,
    /// The account's auth epoch as it was looked at before: whatever ended access since then ended this, too.
    pub auth_epoch: u64,
}

/// The session that a cause opens: the same for the same cause.
pub fn stable(server: &Server, actor: Actor, cause: &[u8], now: Micros) -> StoredSession {
    let mut id = [0; 16];
    id.copy_from_slice(&server.keys.stable("session-id", cause)[..16]);
    let session = SessionId(Builder::from_random_bytes(id).into_uuid());
    with_id(server, actor, session, Method::Password, now)
}

/// The session with an id; its seed follows from it.
pub fn with_id(
    server: &Server,
    actor: Actor,
    session: SessionId,
    method: Method,
    now: Micros,
) -> StoredSession {
    let seed = server.keys.stable("session-seed", session.as_bytes());
    refresh::begin(&server.keys, (actor.account, actor.device, session), method, seed, now)
}

/// An opening is among the first events about its session: a proof of identity comes before it, or the end of all others.
const FIRST: usize = 8;

/// Whether the log says that an account's session was opened. A row of the credential store does not.
///
/// # Errors
/// If the log does not answer.
pub async fn was_opened(server: &Server, account: AccountId, session: SessionId) -> Result<bool, LogError> {
    let first = server.log.read_subject(account.into(), session.into(), Seq::ZERO, FIRST).await?;
    let opens = |event| matches!(event, Ok(Event::Account(AccountEvent::SessionOpened(_))));
    Ok(first.iter().any(|recorded| opens(recorded.event())))
}

/// Whether an event that opens a session stands, as it is: whoever would append it again has done so before.
///
/// # Errors
/// If the log does not answer.
pub async fn stands(server: &Server, opened: &NewEvent) -> Result<bool, LogError> {
    let found = server.log.find(&[opened.event_id]).await?;
    Ok(found.iter().any(|recorded| recorded.body_hash == opened.body_hash))
}

/// Sessions ended: their tokens need not be kept any more. Their events stand already.
///
/// # Errors
/// If the credential store does not answer. The events are what counts: refreshing looks at them too.
pub async fn end(server: &Server, sessions: &[SessionId], now: Micros) -> Result<(), CredentialError> {
    server.credentials.end_sessions(sessions, now).await
}
