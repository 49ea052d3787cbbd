//! Erasing an account: asked for, called off in time, and what the log says about it.

use std::sync::Arc;

use lockstep_events::{
    AccountId, Event, EventId, EventLog, LogError, Micros, NewEvent, Outcome, Position, Seq, Unit,
    event::{AccountEvent, AskedBy, ErasureCancelled, ErasureRequested, Role},
    log::{SubjectClaim, SubjectExpect},
};

use super::facts::{Actor, existing_account};
use crate::{
    batcher::Batcher,
    erasure::queue::ErasureQueue,
    roll::Roll,
    subjects::{Purpose, SubjectError, Subjects, keys::KeyStoreError},
};

const PAGE: usize = 100;
/// An erasure begins so long after it is due, in seconds: whoever calls it off in time is mostly heard on every node. Who is
/// later than that meets its beginning in the log.
pub const GRACE_S: i64 = 5;
/// Rounds against others who ask or call off at the same moment. Whoever looks again mostly finds it done: only who
/// brings it forward, or the other way round, has to be first once more.
const ROUNDS: usize = 32;

/// What the log says about an account's erasure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Where it stands.
    pub state: ErasureState,
    /// Who asked for it last, if it is due.
    pub by: Option<AskedBy>,
    /// The last event about it.
    pub last: Seq,
}

/// Where an erasure stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErasureState {
    /// Nobody asked.
    #[default]
    None,
    /// It begins at a time.
    Due(Micros),
    /// It has begun, and was to begin at this time: nobody calls it off any more.
    Begun(Micros),
    /// It is done.
    Erased,
}

impl Erasure {
    fn apply(&mut self, event: &AccountEvent, seq: Seq) {
        self.last = seq;
        self.state = match (event, self.state) {
            (_, ErasureState::Erased) | (AccountEvent::SubjectErased(_), _) => ErasureState::Erased,
            (AccountEvent::ErasureBegun(_), ErasureState::Due(due)) | (_, ErasureState::Begun(due)) => {
                ErasureState::Begun(due)
            }
            (AccountEvent::ErasureRequested(body), _) => ErasureState::Due(body.due_at),
            (AccountEvent::ErasureCancelled(_), _) => ErasureState::None,
            (_, state) => state,
        };
        self.by = match event {
            AccountEvent::ErasureRequested(body) => Some(body.by),
            _ => self.by.filter(|_| self.state.due().is_some()),
        };
    }

    /// What the log says about an account.
    ///
    /// # Errors
    /// If the log does not answer, or has an event that cannot be read.
    pub async fn of(log: &dyn EventLog, account: AccountId) -> Result<Self, LogError> {
        let mut found = Self::default();
        loop {
            let page = log.read_subject(account.into(), account.0.into(), found.last, PAGE).await?;
            for recorded in &page {
                match recorded.event() {
                    Ok(Event::Account(event)) => found.apply(&event, recorded.seq),
                    Ok(_) => found.last = recorded.seq,
                    Err(error) => return Err(LogError::Other(error.into())),
                }
            }
            if page.len() < PAGE {
                return Ok(found);
            }
        }
    }

    /// The same, where an erasure may be asked for: not of somebody who is on the roll.
    ///
    /// # Errors
    /// [`EraseError::OnRoll`], or as [`Self::of`].
    pub async fn to_ask_for(log: &dyn EventLog, account: AccountId) -> Result<Self, EraseError> {
        let found = Self::of(log, account).await?;
        // After the account: a role that is given from now on has an event there, and is met by what is appended.
        match Roll::load(log).await?.role(account) {
            Role::User => Ok(found),
            _ => Err(EraseError::OnRoll),
        }
    }

    pub(super) fn expect(self) -> SubjectExpect {
        if self.last == Seq::ZERO { SubjectExpect::None } else { SubjectExpect::Exact(self.last) }
    }
}

/// Why an erasure was not asked for, or not called off.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// Nobody asked for it, or it has begun.
    #[error("there is no erasure that could be called off")]
    NothingToCancel,
    /// Somebody who looks after others has to leave that first: the last administrator must not disappear.
    #[error("the account is on the roll of administrators and auditors: its role has to be taken first")]
    OnRoll,
    /// Others asked and called off again and again meanwhile.
    #[error("the account changed meanwhile")]
    Contended,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The reason cannot be sealed.
    #[error(transparent)]
    Reason(#[from] SubjectError),
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] KeyStoreError),
}

/// What asking and calling off need: also at the command line, without a server.
pub struct Desk {
    /// What stands.
    pub log: Arc<dyn EventLog>,
    /// What is written.
    pub batcher: Batcher,
    /// For reasons.
    pub subjects: Arc<Subjects>,
    /// What is on its way.
    pub erasures: Arc<dyn ErasureQueue>,
}

/// Asks for the erasure of an account.
pub struct RequestErasure {
    /// The account.
    pub account: AccountId,
    /// Who asks: the person at a device, or an administrator at one.
    pub actor: Option<Actor>,
    /// As whom.
    pub by: AskedBy,
    /// An administrator's reason; it is sealed under the account.
    pub reason: Option<String>,
    /// When it begins.
    pub due_at: Micros,
    /// The same for every retry.
    pub event_id: EventId,
}

/// Whether there is something to append; or since when it is asked for already.
fn decide_request(state: ErasureState, wanted: Micros) -> Result<Option<Micros>, EraseError> {
    match state {
        ErasureState::None => Ok(None),
        // Who asks again may bring it forward, not put it off.
        ErasureState::Due(due) if wanted < due => Ok(None),
        ErasureState::Due(due) | ErasureState::Begun(due) => Ok(Some(due)),
        ErasureState::Erased => Err(EraseError::NoAccount),
    }
}

impl ErasureState {
    /// When an erasure begins that is asked for now, to begin at a time.
    ///
    /// # Errors
    /// [`EraseError::NoAccount`] if it is done.
    pub fn due_if_asked(self, wanted: Micros) -> Result<Micros, EraseError> {
        Ok(decide_request(self, wanted)?.unwrap_or(wanted))
    }

    /// What it is called.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Due(_) => "due",
            Self::Begun(_) => "begun",
            Self::Erased => "erased",
        }
    }

    /// When it begins, if somebody asked.
    pub const fn due(self) -> Option<Micros> {
        match self {
            Self::Due(at) | Self::Begun(at) => Some(at),
            Self::None | Self::Erased => None,
        }
    }
}

/// Whether it can still be called off.
fn decide_cancel(state: ErasureState, now: Micros) -> Result<(), EraseError> {
    match state {
        ErasureState::Due(due) if now < due => Ok(()),
        ErasureState::Due(_) | ErasureState::Begun(_) | ErasureState::None | ErasureState::Erased => {
            Err(EraseError::NothingToCancel)
        }
    }
}

impl RequestErasure {
    /// Asks; when it begins, and where that is written. Asking again changes nothing.
    ///
    /// # Errors
    /// [`EraseError`]
    pub async fn run(self, desk: &Desk) -> Result<(Micros, Option<Position>), EraseError> {
        for _ in 0..ROUNDS {
            let found = Erasure::to_ask_for(&*desk.log, self.account).await?;
            if let Some(due) = decide_request(found.state, self.due_at)? {
                desk.erasures.put(self.account, due).await?;
                return Ok((due, None));
            }
            let event = self.event(desk).await?;
            if let Some(position) = append(desk, self.account, event, found.expect()).await? {
                desk.erasures.put(self.account, self.due_at).await?;
                return Ok((self.due_at, Some(position)));
            }
            if let Some(due) = self.answered(desk).await? {
                return Ok((due, None));
            }
        }
        Err(EraseError::Contended)
    }

    async fn event(&self, desk: &Desk) -> Result<NewEvent, EraseError> {
        let body = ErasureRequested { account: self.account, by: self.by, due_at: self.due_at };
        let event = event_of(self.actor, self.account, self.event_id, AccountEvent::ErasureRequested(body))?;
        let Some(reason) = &self.reason else { return Ok(event) };
        Ok(desk.subjects.seal_into(event, self.account, Purpose::Audit, reason.as_bytes()).await?)
    }

    /// What this very request was answered with when it came before: as a retry, or as one of several at once, each
    /// of which makes up a time of its own.
    async fn answered(&self, desk: &Desk) -> Result<Option<Micros>, EraseError> {
        let Some(stands) = desk.log.find(&[self.event_id]).await?.pop() else { return Ok(None) };
        let asked = match stands.event().map_err(|error| LogError::Other(error.into()))? {
            Event::Account(AccountEvent::ErasureRequested(body)) => body.due_at,
            _ => return Ok(None),
        };
        match Erasure::of(&*desk.log, self.account).await?.state {
            ErasureState::Due(due) | ErasureState::Begun(due) => {
                desk.erasures.put(self.account, due).await?;
                Ok(Some(due))
            }
            // It was called off since. A request that comes late asks for nothing new.
            ErasureState::None => Ok(Some(asked)),
            ErasureState::Erased => Err(EraseError::NoAccount),
        }
    }
}

/// Calls the erasure of an account off.
pub struct CancelErasure {
    /// The account.
    pub account: AccountId,
    /// Who calls it off.
    pub actor: Option<Actor>,
    /// The same for every retry.
    pub event_id: EventId,
}

impl CancelErasure {
    /// Calls it off; where that is written.
    ///
    /// # Errors
    /// [`EraseError::NothingToCancel`] if nobody asked, or it has begun.
    pub async fn run(self, desk: &Desk, now: Micros) -> Result<Option<Position>, EraseError> {
        for _ in 0..ROUNDS {
            if self.stands(desk).await? {
                return Ok(None);
            }
            let found = Erasure::of(&*desk.log, self.account).await?;
            if let Err(refused) = decide_cancel(found.state, now) {
                // Of the same request sent several times at once, another one may have done it by now.
                return if self.stands(desk).await? { Ok(None) } else { Err(refused) };
            }
            let body = ErasureCancelled { account: self.account };
            let event =
                event_of(self.actor, self.account, self.event_id, AccountEvent::ErasureCancelled(body))?;
            if let Some(position) = append(desk, self.account, event, found.expect()).await? {
                desk.erasures.cancel(self.account).await?;
                return Ok(Some(position));
            }
        }
        Err(EraseError::Contended)
    }

    async fn stands(&self, desk: &Desk) -> Result<bool, LogError> {
        Ok(!desk.log.find(&[self.event_id]).await?.is_empty())
    }
}

/// An event about an account as a whole.
///
/// # Errors
/// Only if serde cannot write one of our own types.
pub fn event_of(
    actor: Option<Actor>,
    account: AccountId,
    id: EventId,
    event: AccountEvent,
) -> Result<NewEvent, LogError> {
    let about = Actor { account, device: lockstep_events::DeviceId::NIL };
    let made = about.event_in(account.into(), id, Some(account.0.into()), &Event::Account(event))?;
    Ok(NewEvent { actor: actor.map(|a| a.account), device: actor.map(|a| a.device), ..made })
}

/// Appends at exactly the state that was looked at; where. Nothing if somebody else was first, be it with the same event.
pub(super) async fn append(
    desk: &Desk,
    account: AccountId,
    event: NewEvent,
    expect: SubjectExpect,
) -> Result<Option<Position>, EraseError> {
    let unit = Unit {
        streams: vec![existing_account(account)],
        subjects: vec![SubjectClaim { stream: account.into(), subject: account.0.into(), expect }],
        events: vec![event],
        ..Unit::default()
    };
    match desk.batcher.append(unit).await? {
        Outcome::Appended(placed) => {
            Ok(placed.last().filter(|placed| !placed.duplicate).map(|placed| placed.position))
        }
        Outcome::Conflict(states) if is_absent(&states) => Err(EraseError::NoAccount),
        Outcome::Conflict(_) | Outcome::IdReused(_) | Outcome::Missing(_) => Ok(None),
    }
}

fn is_absent(states: &[lockstep_events::log::Current]) -> bool {
    states.iter().any(|state| matches!(state, lockstep_events::log::Current::Stream(_, None)))
}

#[cfg(test)]
mod tests {
    use lockstep_events::event::SubjectErased;
    use uuid::Uuid;

    use super::*;

    const ZOE: AccountId = AccountId(Uuid::from_u128(1));

    fn asked(due: i64) -> AccountEvent {
        let by = AskedBy::Person;
        AccountEvent::ErasureRequested(ErasureRequested { account: ZOE, by, due_at: Micros(due) })
    }

    fn called_off() -> AccountEvent {
        AccountEvent::ErasureCancelled(ErasureCancelled { account: ZOE })
    }

    fn erased() -> AccountEvent {
        AccountEvent::SubjectErased(SubjectErased {
            account: ZOE,
            vaults: Vec::new(),
            keys: Vec::new(),
            counts: lockstep_events::event::ErasedCounts::default(),
        })
    }

    fn begun() -> AccountEvent {
        AccountEvent::ErasureBegun(lockstep_events::event::ErasureBegun { account: ZOE })
    }

    fn given(events: &[AccountEvent]) -> ErasureState {
        let mut found = Erasure::default();
        (1..).zip(events).for_each(|(seq, event)| found.apply(event, Seq(seq)));
        found.state
    }

    #[test]
    fn the_last_word_counts_and_what_is_erased_stays_erased() {
        assert_eq!(given(&[]), ErasureState::None);
        assert_eq!(given(&[asked(5)]), ErasureState::Due(Micros(5)));
        assert_eq!(given(&[asked(5), called_off()]), ErasureState::None);
        assert_eq!(given(&[asked(5), called_off(), asked(9)]), ErasureState::Due(Micros(9)));
        assert_eq!(given(&[asked(5), erased(), called_off(), asked(7)]), ErasureState::Erased);
    }

    #[test]
    fn what_has_begun_goes_on_whatever_is_said_after_it_and_nothing_begins_that_was_called_off() {
        assert_eq!(given(&[asked(5), begun()]), ErasureState::Begun(Micros(5)));
        assert_eq!(given(&[asked(5), begun(), called_off(), asked(9)]), ErasureState::Begun(Micros(5)));
        assert_eq!(given(&[asked(5), begun(), erased()]), ErasureState::Erased);
        assert_eq!(given(&[asked(5), called_off(), begun()]), ErasureState::None);
    }

    #[test]
    fn who_asked_last_is_known_while_it_is_due() {
        let by = |events: &[AccountEvent]| {
            let mut found = Erasure::default();
            (1..).zip(events).for_each(|(seq, event)| found.apply(event, Seq(seq)));
            found.by
        };
        let disabled = || AccountEvent::Disabled(lockstep_events::event::AccountDisabled {});
        let operator = || {
            let by = AskedBy::Operator;
            AccountEvent::ErasureRequested(ErasureRequested { account: ZOE, by, due_at: Micros(1) })
        };
        assert_eq!(by(&[]), None);
        assert_eq!(by(&[asked(5), disabled()]), Some(AskedBy::Person));
        assert_eq!(by(&[asked(5), operator()]), Some(AskedBy::Operator));
        assert_eq!(by(&[asked(5), called_off(), disabled()]), None);
        assert_eq!(by(&[asked(5), erased()]), None);
    }

    #[test]
    fn asking_again_brings_an_erasure_forward_and_never_puts_it_off() {
        assert_eq!(decide_request(ErasureState::None, Micros(9)).unwrap(), None);
        assert_eq!(decide_request(ErasureState::Due(Micros(9)), Micros(20)).unwrap(), Some(Micros(9)));
        assert_eq!(decide_request(ErasureState::Due(Micros(9)), Micros(3)).unwrap(), None);
        assert!(matches!(decide_request(ErasureState::Erased, Micros(3)), Err(EraseError::NoAccount)));
        assert_eq!(ErasureState::Due(Micros(9)).due_if_asked(Micros(20)).unwrap(), Micros(9));
        assert_eq!(ErasureState::Due(Micros(9)).due_if_asked(Micros(3)).unwrap(), Micros(3));
    }

    #[test]
    fn an_erasure_is_called_off_before_it_is_due_and_not_after() {
        assert!(decide_cancel(ErasureState::Due(Micros(9)), Micros(8)).is_ok());
        let due = Micros(9);
        for (state, now) in [
            (ErasureState::Due(due), 9),
            (ErasureState::Begun(due), 0),
            (ErasureState::None, 0),
            (ErasureState::Erased, 0),
        ] {
            assert!(matches!(decide_cancel(state, Micros(now)), Err(EraseError::NothingToCancel)));
        }
    }
}
