//! Ending all sessions of an account, whatever the reason: one event, and every node refuses what was there before.
//!
//! Where something else is the cause (a new password, another role), [`EndAccess::event`] goes into the unit of that
//! event, so that neither stands without the other, and [`EndAccess::settle`] comes after it. Where the end is all
//! there is, [`EndAccess::run`] does both.

use lockstep_events::{
    AccountId, Event, LogError, Micros, NewEvent, Outcome, Position, SessionId, Unit,
    event::{AccountEvent, RevokeReason, SessionsEnded},
};

use super::facts::{Actor, derived, existing_account, new_event};
use crate::{auth::credentials::CredentialError, state::Server};

/// The end of all sessions of an account, but one at most.
#[derive(Debug, Clone)]
pub struct EndAccess {
    /// The account.
    pub account: AccountId,
    /// Why.
    pub reason: RevokeReason,
    /// The session that goes on.
    pub keep: Option<SessionId>,
    /// Who brings it about; none: an operator.
    pub actor: Option<Actor>,
    /// What causes it; the same cause ends sessions once, however often it is tried.
    pub cause: Vec<u8>,
    /// Now. Sessions that are opened later go on.
    pub at: Micros,
}

/// Why sessions were not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndAccessError {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

impl EndAccess {
    /// The event, for the unit of its cause.
    ///
    /// # Errors
    /// Only if serde cannot write one of our own types.
    pub fn event(&self) -> Result<NewEvent, LogError> {
        let id = derived("lockstep/v1/sessions-ended", &[self.account.as_bytes(), &self.cause]);
        let body = SessionsEnded { reason: self.reason, keep: self.keep };
        let subject = self.keep.map(Into::into);
        let event = Event::Account(AccountEvent::SessionsEnded(body));
        new_event(self.actor, self.account.into(), id, subject, &event)
    }

    /// After the event stands: the refresh tokens need not be kept any more. The event is what counts.
    ///
    /// # Errors
    /// If the credential store does not answer.
    pub async fn settle(&self, server: &Server) -> Result<(), CredentialError> {
        server.credentials.end_sessions_of(self.account, self.keep, self.at).await
    }

    /// Ends the sessions; where that is written. Ending them again for the same cause changes nothing.
    ///
    /// # Errors
    /// [`EndAccessError`]
    pub async fn run(self, server: &Server) -> Result<Option<Position>, EndAccessError> {
        let streams = vec![existing_account(self.account)];
        let unit = Unit { streams, events: vec![self.event()?], ..Unit::default() };
        let position = match server.batcher.append(unit).await? {
            Outcome::Appended(placed) => placed.last().map(|placed| placed.position),
            Outcome::IdReused(_) => None,
            Outcome::Conflict(_) | Outcome::Missing(_) => return Err(EndAccessError::NoAccount),
        };
        self.settle(server).await?;
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn end(cause: &[u8], keep: Option<u128>) -> EndAccess {
        EndAccess {
            account: AccountId(Uuid::from_u128(1)),
            reason: RevokeReason::PasswordChanged,
            keep: keep.map(|n| SessionId(Uuid::from_u128(n))),
            actor: None,
            cause: cause.to_vec(),
            at: Micros(1),
        }
    }

    #[test]
    fn the_session_that_goes_on_is_the_subject_so_that_a_node_need_not_read_the_body() {
        let event = end(b"a", Some(5)).event().unwrap();
        assert_eq!(event.subject.map(SessionId::from), Some(SessionId(Uuid::from_u128(5))));
        assert_eq!(event.kind, "account.sessions_ended");
        assert_eq!(end(b"a", None).event().unwrap().subject, None);
    }

    #[test]
    fn the_same_cause_makes_the_same_event_and_another_cause_another() {
        let id = |cause: &[u8]| end(cause, None).event().unwrap().event_id;
        assert_eq!(id(b"a"), id(b"a"));
        assert_ne!(id(b"a"), id(b"b"));
    }
}
