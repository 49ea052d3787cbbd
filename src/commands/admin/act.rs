//! What all acts share: the standing that is decided about, claimed at exactly the seq that was looked at; the
//! reason; the append.

use lockstep_events::{
    AccountId, Event, EventId, LogError, Micros, NewEvent, Outcome, Position, Seq, StreamId, StreamKind,
    Unit,
    event::{AccountEvent, AskedBy, ErasureCancelled, ErasureRequested, RevokeReason, SystemEvent},
    log::{Current, StreamExpect, SubjectClaim, SubjectExpect},
    standing::Standing,
};
use uuid::Uuid;

use crate::{
    auth::credentials::CredentialError,
    commands::{
        account::{LookError, in_effect},
        end_access::EndAccess,
        erase::{Erasure, ErasureState},
        facts::{Actor, claim, existing_account},
        rotate_key::system_epoch,
    },
    feed,
    roll::{self, Roll},
    state::Server,
    subjects::{Purpose, SubjectError},
};

/// How often an act is decided again when somebody else changed the same thing meanwhile.
const ROUNDS: usize = 16;
/// A reason is at most so long, in bytes.
const MAX_REASON: usize = 500;

/// Why an act was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// It does not follow from how things stand.
    #[error("{0}")]
    Illegal(&'static str),
    /// Something in it is not as it must be.
    #[error("{0}")]
    Invalid(&'static str),
    /// It takes two administrators, and this is the one who proposed it.
    #[error("another administrator has to approve this")]
    TakesTwo,
    /// Others changed the same thing again and again.
    #[error("this was changed too often meanwhile")]
    Contended,
    /// The reason could not be sealed.
    #[error("the reason could not be sealed")]
    Subjects(#[from] SubjectError),
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

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Where its event stands.
    pub position: Position,
    /// With two administrators: it waits under this name.
    pub proposal: Option<Uuid>,
}

impl Done {
    /// Done.
    pub fn at(position: Position) -> Self {
        Self { position, proposal: None }
    }
}

/// Somebody on the roll who acts on an account, and why.
pub struct Act<'a> {
    /// The server.
    pub server: &'a Server,
    /// Who.
    pub by: Actor,
    /// On whom.
    pub account: AccountId,
    /// Why.
    pub reason: &'a str,
}

/// What changes in the standing, and which sessions end by it.
pub(super) struct Change {
    pub event: AccountEvent,
    /// What it means for the erasure of the account, in the same unit.
    pub erasure: OfErasure,
    pub ends: Option<RevokeReason>,
    /// Where it concerns the roll: its event, and the roll that was looked at.
    pub roll: Option<(SystemEvent, Seq)>,
}

/// What an act means for the erasure of its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfErasure {
    Nothing,
    /// It is asked for, with the same time to call it off as a person has.
    Ask,
    /// It is called off, if an administrator asked for it: what a person or who runs the server asked for stays.
    CallOff,
}

impl OfErasure {
    fn due(act: &Act<'_>) -> Micros {
        act.server.clock.now().plus_seconds(act.server.config.erasure_wait_s())
    }

    fn event(self, act: &Act<'_>, found: Erasure) -> Result<Option<AccountEvent>, AdminError> {
        let (account, now) = (act.account, act.server.clock.now());
        match (self, found.state) {
            (Self::Ask, ErasureState::None) => {
                let (by, due_at) = (AskedBy::Administrator, Self::due(act));
                Ok(Some(AccountEvent::ErasureRequested(ErasureRequested { account, by, due_at })))
            }
            (Self::CallOff, ErasureState::Due(due)) if now >= due => {
                Err(AdminError::Illegal("its erasure has begun"))
            }
            (Self::CallOff, ErasureState::Begun(_)) => Err(AdminError::Illegal("its erasure has begun")),
            (Self::CallOff, ErasureState::Due(_)) if found.by == Some(AskedBy::Administrator) => {
                Ok(Some(AccountEvent::ErasureCancelled(ErasureCancelled { account })))
            }
            // It was asked for before, and begins no later than it would by this; or nothing is called off.
            (Self::Ask, _) | (Self::Nothing | Self::CallOff, _) => Ok(None),
        }
    }

    /// The event is what counts. What cannot be noted now, a node finds in the log within a minute.
    async fn note(self, act: &Act<'_>) {
        let erasures = &act.server.erasures;
        if self == Self::Nothing {
            return;
        }
        let noted = match Erasure::of(act.server.log.as_ref(), act.account).await.map(|found| found.state) {
            Ok(ErasureState::Due(due)) => erasures.put(act.account, due).await,
            Ok(ErasureState::None) if self == Self::CallOff => erasures.cancel(act.account).await.map(drop),
            _ => return,
        };
        if let Err(error) = noted {
            tracing::warn!(cause = %error, "an erasure is not noted yet; it is found in the log");
        }
    }
}

impl Change {
    pub fn of(event: AccountEvent) -> Self {
        Self { event, erasure: OfErasure::Nothing, ends: None, roll: None }
    }
}

/// Whether a text says why: 1 to 500 bytes that can be read.
pub fn is_reason(text: &str) -> bool {
    (1..=MAX_REASON).contains(&text.len()) && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

impl Act<'_> {
    /// Checks the reason, which every act has.
    pub(super) fn checked(&self) -> Result<(), AdminError> {
        if is_reason(self.reason) {
            Ok(())
        } else {
            Err(AdminError::Invalid("reason: 1 to 500 bytes of text"))
        }
    }

    /// How far the account is on its way out. Of one that was erased, or never was, there is nothing to act on.
    pub(super) async fn erasure(&self) -> Result<Erasure, AdminError> {
        let found = Erasure::of(self.server.log.as_ref(), self.account).await?;
        let known = self.server.log.stream_heads(&[self.account.into()]).await?;
        let gone = found.state == ErasureState::Erased || known.is_empty();
        if gone { Err(AdminError::NoAccount) } else { Ok(found) }
    }

    /// An event about the account, with the reason as its sealed part.
    pub(super) async fn event(&self, subject: bool, event: AccountEvent) -> Result<NewEvent, AdminError> {
        let subject = subject.then_some(Standing::subject(self.account));
        let id = EventId(Uuid::new_v4());
        let event = self.by.event_in(self.account.into(), id, subject, &Event::Account(event))?;
        self.sealed(event).await
    }

    /// Gives an event the reason as its sealed part.
    pub(super) async fn sealed(&self, event: NewEvent) -> Result<NewEvent, AdminError> {
        let subjects = &self.server.subjects;
        Ok(subjects.seal_into(event, self.account, Purpose::Audit, self.reason.as_bytes()).await?)
    }

    /// Decides about the standing and appends what follows, again until nobody came between.
    pub(super) async fn change(
        &self,
        decide: impl Fn(&Standing, &Roll) -> Result<Change, AdminError>,
        extra: Option<&Extra>,
    ) -> Result<Done, AdminError> {
        self.checked()?;
        for _ in 0..ROUNDS {
            let (standing, seq) = feed::standing(self.server.log.as_ref(), self.account).await?;
            let found = self.erasure().await?;
            let roll = Roll::load(self.server.log.as_ref()).await?;
            let change = decide(&standing, &roll)?;
            let ends = change.ends.map(|reason| EndAccess {
                account: self.account,
                reason,
                keep: None,
                actor: Some(self.by),
                cause: Uuid::new_v4().as_bytes().to_vec(),
                at: self.server.clock.now(),
            });
            let asked = change.erasure;
            if change.roll.is_some() && found.state != ErasureState::None {
                return Err(AdminError::Illegal("its erasure was asked for"));
            }
            let erasure = asked.event(self, found)?;
            let unit = self.unit((change, erasure), seq, ends.as_ref(), extra).await?;
            match self.server.batcher.append(unit).await? {
                Outcome::Appended(placed) => {
                    let position = placed.iter().map(|placed| placed.position).max().unwrap_or_default();
                    if let Some(ends) = ends {
                        ends.settle(self.server).await?;
                    }
                    asked.note(self).await;
                    in_effect(self.server, position).await;
                    return Ok(Done::at(position));
                }
                Outcome::Conflict(current) if no_such_stream(&current, self.account.into()) => {
                    return Err(AdminError::NoAccount);
                }
                Outcome::Conflict(current) if extra.is_some_and(|extra| extra.is_over(&current)) => {
                    return Err(AdminError::Illegal("this was settled already"));
                }
                Outcome::Conflict(_) | Outcome::IdReused(_) | Outcome::Missing(_) => {}
            }
        }
        Err(AdminError::Contended)
    }

    async fn unit(
        &self,
        (change, erasure): (Change, Option<AccountEvent>),
        seq: Seq,
        ends: Option<&EndAccess>,
        extra: Option<&Extra>,
    ) -> Result<Unit, AdminError> {
        let account = StreamId::from(self.account);
        let mut unit = Unit {
            streams: vec![existing_account(self.account)],
            subjects: vec![at(account, Standing::subject(self.account), seq)],
            events: vec![self.event(true, change.event).await?],
            ..Unit::default()
        };
        if let Some(erasure) = erasure {
            unit.events.push(self.event(true, erasure).await?);
        }
        if let Some((event, seen)) = change.roll {
            unit.subjects.push(at(StreamId::SYSTEM, roll::SUBJECT, seen));
            unit.events.push(self.sealed(system_event(self.by, roll::SUBJECT, event)?).await?);
        }
        if let Some(extra) = extra {
            unit.subjects.push(extra.claim);
            unit.events.push(self.sealed(extra.event.clone()).await?);
        }
        if unit.subjects.len() > 1 {
            unit.streams.push(system(self.server));
        }
        if let Some(ends) = ends {
            unit.events.push(self.sealed(ends.event()?).await?);
        }
        Ok(unit)
    }
}

/// Something in the system stream that belongs into the same unit: the settlement of a proposal.
pub(super) struct Extra {
    pub claim: SubjectClaim,
    pub event: NewEvent,
}

impl Extra {
    /// Whether somebody else was first: it happens once.
    fn is_over(&self, current: &[Current]) -> bool {
        let own = (self.claim.stream, self.claim.subject);
        current
            .iter()
            .any(|now| matches!(now, Current::Subject(stream, subject, _) if (*stream, *subject) == own))
    }
}

/// A subject at the seq that was looked at.
pub(super) fn at(stream: StreamId, subject: lockstep_events::SubjectId, seq: Seq) -> SubjectClaim {
    let expect = if seq == Seq::ZERO { SubjectExpect::None } else { SubjectExpect::Exact(seq) };
    SubjectClaim { stream, subject, expect }
}

/// The claim of the system stream.
pub(super) fn system(server: &Server) -> lockstep_events::log::StreamClaim {
    claim(StreamId::SYSTEM, StreamKind::System, StreamExpect::Any, system_epoch(&server.keys))
}

/// An event of the system stream.
pub(super) fn system_event(
    by: Actor,
    subject: lockstep_events::SubjectId,
    event: SystemEvent,
) -> Result<NewEvent, LogError> {
    by.event_in(StreamId::SYSTEM, EventId(Uuid::new_v4()), Some(subject), &Event::System(event))
}

fn no_such_stream(current: &[Current], stream: StreamId) -> bool {
    current.iter().any(|current| matches!(current, Current::Stream(of, None) if *of == stream))
}
