//! Writing out everything about an account: an event first, so that the person sees in the log that somebody has it.

use lockstep_events::{
    AccountId, Event, EventId, LogError, Outcome, Position, Unit,
    event::{AccountEvent, AccountExported, AskedBy},
};
use uuid::Uuid;

use super::facts::{Actor, existing_account, new_event};
use crate::{
    batcher::Batcher,
    subjects::{Purpose, SubjectError, Subjects},
};

/// An export that is asked for.
pub struct ExportAccount {
    /// The account.
    pub account: AccountId,
    /// The person at a device; none: an operator.
    pub actor: Option<Actor>,
    /// As whom.
    pub by: AskedBy,
    /// An operator's reason; it is sealed under the account.
    pub reason: Option<String>,
}

/// Why nothing may be written out.
#[derive(Debug, thiserror::Error)]
pub enum ExportRefused {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The reason cannot be sealed.
    #[error(transparent)]
    Reason(#[from] SubjectError),
}

impl ExportAccount {
    /// Writes down that it is asked for; where. Nothing may be written out before.
    ///
    /// # Errors
    /// [`ExportRefused`]
    pub async fn run(self, batcher: &Batcher, subjects: &Subjects) -> Result<Position, ExportRefused> {
        let event = Event::Account(AccountEvent::Exported(AccountExported { by: self.by }));
        let id = EventId(Uuid::new_v4());
        let mut event = new_event(self.actor, self.account.into(), id, None, &event)?;
        if let Some(reason) = &self.reason {
            event = subjects.seal_into(event, self.account, Purpose::Audit, reason.as_bytes()).await?;
        }
        let unit =
            Unit { streams: vec![existing_account(self.account)], events: vec![event], ..Unit::default() };
        match batcher.append(unit).await? {
            Outcome::Appended(placed) => Ok(placed.last().map(|placed| placed.position).unwrap_or_default()),
            Outcome::Conflict(_) | Outcome::IdReused(_) | Outcome::Missing(_) => {
                Err(ExportRefused::NoAccount)
            }
        }
    }
}
