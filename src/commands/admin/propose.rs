//! What takes two: one administrator proposes, another approves. The settlement stands in the unit of what is done, so
//! a proposal is carried out once or not at all.

use lockstep_events::{
    AccountId, Event, EventLog, LogError, Micros, Outcome, Seq, StreamId, SubjectId, Unit,
    event::{ActProposed, Proposal, ProposalSettled, SystemEvent},
};
use uuid::Uuid;

use super::{
    act::{Act, AdminError, Done, Extra, at, system, system_event},
    delete::Delete,
    set_role::SetRole,
};
use crate::{
    commands::{account::in_effect, facts::Actor},
    roll::Roll,
    state::Server,
};

/// A proposal waits so long, in seconds: a week.
const LIFE_S: i64 = 7 * 24 * 3600;

/// A proposal as the log has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Proposed {
    made: Option<(ActProposed, Option<AccountId>)>,
    settled: bool,
    seq: Seq,
}

async fn load(log: &dyn EventLog, proposal: Uuid) -> Result<Proposed, LogError> {
    let mut known = Proposed::default();
    for recorded in log.read_subject(StreamId::SYSTEM, SubjectId(proposal), Seq::ZERO, 16).await? {
        known.seq = recorded.seq;
        match recorded.event().map_err(|error| LogError::Other(error.into()))? {
            Event::System(SystemEvent::Proposed(made)) => known.made = Some((made, recorded.actor)),
            Event::System(SystemEvent::ProposalSettled(_)) => known.settled = true,
            _ => {}
        }
    }
    Ok(known)
}

fn decide(known: &Proposed, by: AccountId, approve: bool, now: Micros) -> Result<&ActProposed, AdminError> {
    let (made, proposer) = known.made.as_ref().ok_or(AdminError::NoAccount)?;
    if known.settled {
        return Err(AdminError::Illegal("this was settled already"));
    }
    if now >= made.until {
        return Err(AdminError::Illegal("this proposal is too old"));
    }
    if approve && (*proposer == Some(by) || made.account == by) {
        return Err(AdminError::TakesTwo);
    }
    Ok(made)
}

/// Does something that takes two where the configuration says so: then it is proposed, else done.
///
/// # Errors
/// [`AdminError`]
pub async fn do_or_propose(act: &Act<'_>, what: Proposal) -> Result<Done, AdminError> {
    if act.server.config.two_admins {
        return propose(act, what).await;
    }
    carry_out(act, what, None).await
}

async fn carry_out(act: &Act<'_>, what: Proposal, extra: Option<&Extra>) -> Result<Done, AdminError> {
    match what {
        Proposal::Role { role } => SetRole { role }.with(act, extra).await,
        Proposal::Delete => Delete.with(act, extra).await,
    }
}

/// What one administrator is told who could wait for ever.
const ALONE: &str = "this takes two administrators and there is one: start the server with two_admins = false, appoint \
                     another, and switch it on again";

async fn propose(act: &Act<'_>, what: Proposal) -> Result<Done, AdminError> {
    act.checked()?;
    if Roll::load(act.server.log.as_ref()).await?.admins() < 2 {
        return Err(AdminError::Illegal(ALONE));
    }
    if act.server.log.stream_heads(&[act.account.into()]).await?.is_empty() {
        return Err(AdminError::NoAccount);
    }
    let proposal = Uuid::new_v4();
    let until = act.server.clock.now().plus_seconds(LIFE_S);
    let made = ActProposed { proposal, account: act.account, what, until };
    let event = system_event(act.by, SubjectId(proposal), SystemEvent::Proposed(made))?;
    let unit =
        Unit { streams: vec![system(act.server)], events: vec![act.sealed(event).await?], ..Unit::default() };
    let Outcome::Appended(placed) = act.server.batcher.append(unit).await? else {
        return Err(AdminError::Contended);
    };
    let position = placed.iter().map(|placed| placed.position).max().unwrap_or_default();
    in_effect(act.server, position).await;
    Ok(Done { position, proposal: Some(proposal) })
}

/// Approves a proposal of another administrator, which is carried out, or withdraws it.
///
/// # Errors
/// [`AdminError`]
pub async fn settle(
    server: &Server,
    by: Actor,
    proposal: Uuid,
    (approve, reason): (bool, &str),
) -> Result<Done, AdminError> {
    let known = load(server.log.as_ref(), proposal).await?;
    let made = decide(&known, by.account, approve, server.clock.now())?;
    let act = Act { server, by, account: made.account, reason };
    let settled = SystemEvent::ProposalSettled(ProposalSettled { proposal, approved: approve });
    let extra = Extra {
        claim: at(StreamId::SYSTEM, SubjectId(proposal), known.seq),
        event: system_event(by, SubjectId(proposal), settled)?,
    };
    if approve {
        return carry_out(&act, made.what, Some(&extra)).await;
    }
    act.checked()?;
    let unit = Unit {
        streams: vec![system(server)],
        subjects: vec![extra.claim],
        events: vec![act.sealed(extra.event).await?],
        ..Unit::default()
    };
    match server.batcher.append(unit).await? {
        Outcome::Appended(placed) => {
            let position = placed.iter().map(|placed| placed.position).max().unwrap_or_default();
            in_effect(server, position).await;
            Ok(Done::at(position))
        }
        _ => Err(AdminError::Illegal("this was settled already")),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::event::Role;

    use super::*;

    const NOW: Micros = Micros(100);

    fn account(n: u128) -> AccountId {
        AccountId(Uuid::from_u128(n))
    }

    /// Account 1 proposes that account 3 becomes administrator.
    fn proposed(until: i64) -> Proposed {
        let what = Proposal::Role { role: Role::Admin };
        let made =
            ActProposed { proposal: Uuid::from_u128(9), account: account(3), what, until: Micros(until) };
        Proposed { made: Some((made, Some(account(1)))), ..Proposed::default() }
    }

    #[test]
    fn another_administrator_approves_and_the_proposer_may_withdraw() {
        assert!(decide(&proposed(101), account(2), true, NOW).is_ok());
        assert!(decide(&proposed(101), account(1), false, NOW).is_ok());
    }

    #[test]
    fn illegal_transitions_are_refused() {
        for proposer_and_target in [1, 3] {
            let known = proposed(101);
            let decided = decide(&known, account(proposer_and_target), true, NOW);
            assert!(matches!(decided, Err(AdminError::TakesTwo)));
        }
        assert!(decide(&proposed(100), account(2), true, NOW).is_err());
        assert!(decide(&Proposed { settled: true, ..proposed(101) }, account(2), true, NOW).is_err());
        assert!(decide(&Proposed::default(), account(2), true, NOW).is_err());
    }
}
