//! What the biller says about a plan. The same event again changes nothing, however late it is repeated; one that is
//! older than what was said last is not applied after it.

use lockstep_events::{
    Event, LogError, Outcome, Recorded, Unit, Word,
    event::{AccountEvent, PlanSet, PlanSource},
    log::{SubjectClaim, SubjectExpect},
    standing::Standing,
};

use super::{
    erase::{Erasure, ErasureState},
    facts::{derived, existing_account, new_event},
};
use crate::{
    billing::{Billed, TOLERANCE_S},
    feed,
    state::Server,
};

/// How often it is decided again when the account changes meanwhile.
const ROUNDS: usize = 16;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The account has the plan.
    Now,
    /// It was said before, or something newer was.
    Before,
}

/// Why it was not applied.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// There is no such plan.
    #[error("the configuration has no such plan")]
    NoPlan,
    /// It says that it is of a time that is still to come: everything later would be taken for older.
    #[error("at: this time is still to come")]
    Early,
    /// An event with this id said something else.
    #[error("an event with this id said something else")]
    Differs,
    /// The account was changed again and again meanwhile.
    #[error("the account was changed too often meanwhile")]
    Contended,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
}

fn decide(standing: &Standing, billed: &Billed, plan: &Word) -> Option<PlanSet> {
    // Of one moment are perhaps two: some billers count in whole seconds. The one that comes last counts.
    if standing.billed_as_of.is_some_and(|last| last > billed.at) {
        return None;
    }
    let (plan, until, as_of) = (plan.clone(), billed.until, Some(billed.at));
    Some(PlanSet { plan, until, source: PlanSource::Billing, as_of })
}

/// Whether an event is what the biller says.
fn says(said: &Recorded, billed: &Billed) -> bool {
    let Ok(Event::Account(AccountEvent::PlanSet(set))) = said.event() else { return false };
    said.stream == billed.account.into()
        && (&*set.plan, set.until, set.as_of) == (&billed.plan, billed.until, Some(billed.at))
}

/// Applies what the biller says.
///
/// # Errors
/// [`BillError`]
pub async fn bill(server: &Server, billed: &Billed) -> Result<Applied, BillError> {
    let plan = server.quotas.plans.named(&billed.plan).ok_or(BillError::NoPlan)?;
    if billed.at > server.clock.now().plus_seconds(TOLERANCE_S) {
        return Err(BillError::Early);
    }
    let id = derived("lockstep/v1/billed", &[billed.id.as_bytes()]);
    let (stream, subject) = (billed.account.into(), Standing::subject(billed.account));
    for _ in 0..ROUNDS {
        if let Some(said) = server.log.find(&[id]).await?.pop() {
            return if says(&said, billed) { Ok(Applied::Before) } else { Err(BillError::Differs) };
        }
        let (standing, seq) = feed::standing(server.log.as_ref(), billed.account).await?;
        // After the standing: what erases the account from now on is an event of the same subject.
        if Erasure::of(server.log.as_ref(), billed.account).await?.state == ErasureState::Erased {
            return Err(BillError::NoAccount);
        }
        let Some(set) = decide(&standing, billed, &plan) else { return Ok(Applied::Before) };
        let event = new_event(None, stream, id, Some(subject), &Event::Account(AccountEvent::PlanSet(set)))?;
        let expect = if seq.0 == 0 { SubjectExpect::None } else { SubjectExpect::Exact(seq) };
        let unit = Unit {
            streams: vec![existing_account(billed.account)],
            subjects: vec![SubjectClaim { stream, subject, expect }],
            events: vec![event],
            ..Unit::default()
        };
        match server.batcher.append(unit).await? {
            Outcome::Appended(placed) if placed.iter().all(|placed| placed.duplicate) => {
                return Ok(Applied::Before);
            }
            Outcome::Appended(_) => return Ok(Applied::Now),
            Outcome::IdReused(_) => return Err(BillError::Differs),
            Outcome::Conflict(_) if server.log.stream_heads(&[stream]).await?.is_empty() => {
                return Err(BillError::NoAccount);
            }
            Outcome::Conflict(_) | Outcome::Missing(_) => {}
        }
    }
    Err(BillError::Contended)
}

#[cfg(test)]
mod tests {
    use lockstep_events::{AccountId, Micros, word};
    use uuid::Uuid;

    use super::*;

    const PAID: Word = word!("paid");

    fn billed(at: i64) -> Billed {
        let account = AccountId(Uuid::from_u128(1));
        Billed { id: "e".into(), account, plan: "paid".into(), until: Some(Micros(900)), at: Micros(at) }
    }

    #[test]
    fn what_is_newer_or_of_the_same_moment_is_applied_and_what_is_older_is_not() {
        let mut standing = Standing::default();
        let set = decide(&standing, &billed(5), &PAID).unwrap();
        assert_eq!((set.source, set.as_of), (PlanSource::Billing, Some(Micros(5))));
        standing.apply(&AccountEvent::PlanSet(set));
        assert!(decide(&standing, &billed(5), &PAID).is_some());
        assert!(decide(&standing, &billed(4), &PAID).is_none());
        assert!(decide(&standing, &billed(6), &PAID).is_some());
    }
}
