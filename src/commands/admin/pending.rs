//! What lies in the office: invitations, and proposals that wait for another administrator. Both are subjects of the system
//! stream, which also has what administrators and operators did and looked at, and every answer of an identity provider
//! that was refused. Whoever lists them folds all of it: that is for administrators alone, who do so now and then.

use lockstep_events::{
    AccountId, Event, EventId, EventLog, LogError, Micros, Recorded, Seq, StreamId, SubjectId,
    event::{ActProposed, InvitationMade, SystemEvent},
    log::Contents,
};

const PAGE: usize = 500;

/// An invitation that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Names it.
    pub subject: SubjectId,
    /// Where it was made: its place in the list.
    pub seq: Seq,
    /// What it was made with.
    pub made: InvitationMade,
    /// By whom.
    pub by: Option<AccountId>,
    /// When.
    pub at: Micros,
    /// Whether somebody used it.
    pub used: bool,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
}

impl Invitation {
    /// Whether somebody may still register with it.
    pub fn is_open(&self, now: Micros) -> bool {
        !self.used && !self.withdrawn && now < self.made.until
    }
}

/// A proposal that was made and not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its event, which has the reason.
    pub event: EventId,
    /// Where it was made: its place in the list.
    pub seq: Seq,
    /// What was proposed.
    pub made: ActProposed,
    /// By whom.
    pub by: Option<AccountId>,
    /// When.
    pub at: Micros,
}

/// The fold of the system stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Office {
    /// All invitations, oldest first.
    pub invitations: Vec<Invitation>,
    /// Proposals that were not settled, oldest first.
    pub proposals: Vec<Waiting>,
}

impl Office {
    /// As the log has it.
    ///
    /// # Errors
    /// If the log does not answer, or has an event that this program does not know.
    pub async fn load(log: &dyn EventLog) -> Result<Self, LogError> {
        let (mut office, mut after) = (Self::default(), Seq::ZERO);
        loop {
            let page = log.read_stream(StreamId::SYSTEM, after, PAGE, Contents::No).await?;
            for recorded in &page {
                after = recorded.seq;
                office.apply(recorded)?;
            }
            if page.len() < PAGE {
                return Ok(office);
            }
        }
    }

    fn apply(&mut self, recorded: &Recorded) -> Result<(), LogError> {
        let (seq, by, at) = (recorded.seq, recorded.actor, recorded.recorded_at);
        let event = recorded.event().map_err(|error| LogError::Other(error.into()))?;
        match (event, recorded.subject) {
            (Event::System(SystemEvent::InvitationMade(made)), Some(subject)) => {
                let (used, withdrawn) = (false, false);
                self.invitations.push(Invitation { subject, seq, made, by, at, used, withdrawn });
            }
            (Event::System(SystemEvent::InvitationUsed(_)), Some(subject)) => {
                self.of(subject).for_each(|invitation| invitation.used = true);
            }
            (Event::System(SystemEvent::InvitationWithdrawn(_)), Some(subject)) => {
                self.of(subject).for_each(|invitation| invitation.withdrawn = true);
            }
            (Event::System(SystemEvent::Proposed(made)), _) => {
                self.proposals.push(Waiting { event: recorded.event_id, seq, made, by, at });
            }
            (Event::System(SystemEvent::ProposalSettled(settled)), _) => {
                self.proposals.retain(|waiting| waiting.made.proposal != settled.proposal);
            }
            _ => {}
        }
        Ok(())
    }

    fn of(&mut self, subject: SubjectId) -> impl Iterator<Item = &mut Invitation> {
        self.invitations.iter_mut().filter(move |invitation| invitation.subject == subject)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::{
        Hash32, StreamKind,
        event::{InvitationUsed, InvitationWithdrawn, Proposal, ProposalSettled},
    };
    use uuid::Uuid;

    use super::*;
    use crate::feed::testing::some_event;

    fn fold(events: &[(u128, SystemEvent)]) -> Office {
        let mut office = Office::default();
        for (at, (subject, event)) in events.iter().enumerate() {
            let encoded = Event::System(event.clone()).encode().unwrap();
            let recorded = Recorded {
                stream: StreamId::SYSTEM,
                stream_kind: StreamKind::System,
                subject: Some(SubjectId(Uuid::from_u128(*subject))),
                seq: Seq(at as u64 + 1),
                kind: encoded.kind.into(),
                schema: encoded.schema,
                public: encoded.public,
                ..some_event(1)
            };
            office.apply(&recorded).unwrap();
        }
        office
    }

    fn made() -> SystemEvent {
        let (token, until) = (Hash32::ZERO, Micros(100));
        SystemEvent::InvitationMade(InvitationMade { token, plan: None, plan_until: None, until })
    }

    fn proposed(n: u128) -> SystemEvent {
        let (proposal, account) = (Uuid::from_u128(n), AccountId::NIL);
        SystemEvent::Proposed(ActProposed { proposal, account, what: Proposal::Delete, until: Micros(100) })
    }

    #[test]
    fn an_invitation_is_open_until_it_is_used_withdrawn_or_too_old() {
        let used = SystemEvent::InvitationUsed(InvitationUsed { account: AccountId::NIL });
        let gone = SystemEvent::InvitationWithdrawn(InvitationWithdrawn {});
        let office = fold(&[(1, made()), (2, made()), (3, made()), (1, used), (2, gone)]);
        let open: Vec<_> = office.invitations.iter().map(|one| one.is_open(Micros(99))).collect();
        assert_eq!(open, [false, false, true]);
        assert!(!office.invitations[2].is_open(Micros(100)));
        assert_eq!(office.invitations[2].seq, Seq(3));
    }

    #[test]
    fn a_proposal_waits_until_it_is_settled() {
        let settled =
            SystemEvent::ProposalSettled(ProposalSettled { proposal: Uuid::from_u128(8), approved: false });
        let office = fold(&[(8, proposed(8)), (9, proposed(9)), (8, settled)]);
        let waiting: Vec<_> = office.proposals.iter().map(|one| one.made.proposal).collect();
        assert_eq!(waiting, [Uuid::from_u128(9)]);
    }
}
