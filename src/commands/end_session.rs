//! Ending a session: a log-out, or the end of another device's session.

use lockstep_events::{LogError, Outcome, Position, SessionId, Unit, event::RevokeReason};
use lockstep_projections::ReadError;

use super::{
    facts::{Actor, existing_account},
    session,
};
use crate::{auth::credentials::CredentialError, state::Server};

/// The end of a session.
pub struct EndSession {
    /// Who asks.
    pub actor: Actor,
    /// The session of who asks.
    pub own: SessionId,
    /// The session that shall end.
    pub session: SessionId,
}

/// Why a session was not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The account has no such session.
    #[error("there is no such session")]
    NoSession,
    /// The read models did not answer.
    #[error(transparent)]
    Reads(#[from] ReadError),
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

impl EndSession {
    /// Ends the session; ending it again changes nothing. Where that is written, if it was.
    ///
    /// # Errors
    /// [`EndError`]
    pub async fn run(self, server: &Server) -> Result<Option<Position>, EndError> {
        // A row of the credential store says nothing: it comes before the event, and an enrolment that another one overtook
        // has left one without.
        if !session::was_opened(server, self.actor.account, self.session).await? {
            return Err(EndError::NoSession);
        }
        let reason = if self.session == self.own { RevokeReason::Logout } else { RevokeReason::Remote };
        let unit = Unit {
            streams: vec![existing_account(self.actor.account)],
            events: vec![self.actor.session_revoked(self.session, reason)?],
            ..Unit::default()
        };
        let position = match server.batcher.append(unit).await? {
            Outcome::Appended(placed) => placed.last().map(|p| p.position),
            // It ended already, for another reason.
            Outcome::IdReused(_) => None,
            Outcome::Conflict(_) | Outcome::Missing(_) => return Err(EndError::NoSession),
        };
        session::end(server, &[self.session], server.clock.now()).await?;
        Ok(position)
    }
}
