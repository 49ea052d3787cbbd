//! Events as account commands write them: ids that a retry makes again, and one shape for all.

use std::borrow::Cow;

use lockstep_events::{
    AccountId, DeviceId, Epoch, Event, EventId, LogError, NewEvent, SessionId, StreamId, StreamKind,
    SubjectId, Word,
    canonical::Writer,
    event::{AccountEvent, Method, RevokeReason, SessionOpened, SessionRevoked},
    log::{StreamClaim, StreamExpect},
};

/// An id that is the same for the same cause.
pub fn derived(domain: &str, parts: &[&[u8]]) -> EventId {
    let all = parts.iter().fold(Writer::new(domain), |writer, part| writer.lp(part));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&all.sha256()[..16]);
    EventId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// The id of the event that carries a roster statement. There is one per number: of two different statements with
/// the same number, the log takes the first.
pub fn statement_id(account: AccountId, epoch: u32) -> EventId {
    derived("lockstep/v1/statement", &[account.as_bytes(), &epoch.to_be_bytes()])
}

/// A word that was made while the server runs, for an event.
///
/// # Errors
/// If it is not one: whoever calls has checked it before.
pub fn word(text: impl Into<Cow<'static, str>>) -> Result<Word, LogError> {
    Word::new(text).map_err(|error| LogError::Other(error.into()))
}

/// An event of any stream; without an actor it is the server's or an operator's.
///
/// # Errors
/// Only if serde cannot write one of our own types.
pub fn new_event(
    actor: Option<Actor>,
    stream: StreamId,
    event_id: EventId,
    subject: Option<SubjectId>,
    event: &Event,
) -> Result<NewEvent, LogError> {
    let encoded = event.encode().map_err(|error| LogError::Other(Box::new(error)))?;
    let body_hash = NewEvent::hash_body(stream, subject, encoded.kind, encoded.schema, &encoded.public, None);
    Ok(NewEvent {
        event_id,
        stream,
        subject,
        kind: encoded.kind.to_owned(),
        schema: encoded.schema,
        actor: actor.map(|actor| actor.account),
        device: actor.map(|actor| actor.device),
        correlation: None,
        causation: None,
        public: encoded.public,
        sealed: None,
        content: None,
        body_hash,
    })
}

/// Who acts.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
}

impl Actor {
    /// An event of the account's stream.
    ///
    /// # Errors
    /// Only if serde cannot write one of our own types.
    pub fn event(
        self,
        id: EventId,
        subject: Option<SubjectId>,
        event: AccountEvent,
    ) -> Result<NewEvent, LogError> {
        self.event_in(self.account.into(), id, subject, &Event::Account(event))
    }

    /// An event of any stream.
    ///
    /// # Errors
    /// Only if serde cannot write one of our own types.
    pub fn event_in(
        self,
        stream: StreamId,
        event_id: EventId,
        subject: Option<SubjectId>,
        event: &Event,
    ) -> Result<NewEvent, LogError> {
        new_event(Some(self), stream, event_id, subject, event)
    }

    /// `session.opened`.
    ///
    /// # Errors
    /// Only if serde cannot write one of our own types.
    pub fn session_opened(self, session: SessionId, method: Method) -> Result<NewEvent, LogError> {
        let id = derived("lockstep/v1/session-opened", &[session.as_bytes()]);
        let body = SessionOpened { session, device: self.device, method };
        self.event(id, Some(session.into()), AccountEvent::SessionOpened(body))
    }

    /// `session.revoked`: at most once for a session, whoever is first.
    ///
    /// # Errors
    /// Only if serde cannot write one of our own types.
    pub fn session_revoked(self, session: SessionId, reason: RevokeReason) -> Result<NewEvent, LogError> {
        let id = derived("lockstep/v1/session-revoked", &[session.as_bytes()]);
        let body = SessionRevoked { session, reason };
        self.event(id, Some(session.into()), AccountEvent::SessionRevoked(body))
    }
}

/// Claims a stream. `Epoch` is for the case that it is new.
pub fn claim(stream: StreamId, kind: StreamKind, expect: StreamExpect, epoch_if_new: Epoch) -> StreamClaim {
    StreamClaim { stream, kind, expect, epoch_if_new }
}

/// Claims an account stream that exists.
pub fn existing_account(account: AccountId) -> StreamClaim {
    claim(account.into(), StreamKind::Account, StreamExpect::Exists, Epoch::ZERO)
}
