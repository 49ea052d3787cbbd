//! What lies in the office: invitations, and proposals that wait for another administrator. Both are subjects of the system
//! stream, which also has what administrators and operators did and looked at, each page of the log that an auditor read,
//! and every answer of an identity provider that was refused: it grows for ever. So a node keeps what it has folded of it,
//! and whoever lists them reads what has come since.

use lockstep_events::{
    AccountId, Chain, Event, EventId, EventLog, LogError, Micros, Recorded, Seq, StreamId, SubjectId,
    event::{ActProposed, InvitationMade, SystemEvent},
    log::Contents,
};
use tokio::sync::{Mutex, MutexGuard};

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

/// The office, as this node has it.
#[derive(Debug, Default)]
pub struct Office(Mutex<Fold>);

impl Office {
    /// All invitations, oldest first.
    ///
    /// # Errors
    /// If the log does not answer, or has an event that this program does not know.
    pub async fn invitations(&self, log: &dyn EventLog) -> Result<Vec<Invitation>, LogError> {
        Ok(self.now(log).await?.invitations.clone())
    }

    /// Proposals that were not settled, oldest first.
    ///
    /// # Errors
    /// As for [`Self::invitations`].
    pub async fn proposals(&self, log: &dyn EventLog) -> Result<Vec<Waiting>, LogError> {
        Ok(self.now(log).await?.proposals.clone())
    }

    async fn now(&self, log: &dyn EventLog) -> Result<MutexGuard<'_, Fold>, LogError> {
        let mut fold = self.0.lock().await;
        if log.chain_at(StreamId::SYSTEM, fold.seq).await? != Some(fold.chain) {
            // Another log stands in its place: a backup.
            *fold = Fold::default();
        }
        fold.go_on(log).await?;
        Ok(fold)
    }
}

/// The fold of the system stream, up to one of its events.
#[derive(Debug)]
struct Fold {
    invitations: Vec<Invitation>,
    proposals: Vec<Waiting>,
    seq: Seq,
    chain: Chain,
}

impl Default for Fold {
    fn default() -> Self {
        Self { invitations: Vec::new(), proposals: Vec::new(), seq: Seq::ZERO, chain: Chain::ZERO }
    }
}

impl Fold {
    async fn go_on(&mut self, log: &dyn EventLog) -> Result<(), LogError> {
        loop {
            let page = log.read_stream(StreamId::SYSTEM, self.seq, PAGE, Contents::No).await?;
            for recorded in &page {
                self.apply(recorded)?;
                (self.seq, self.chain) = (recorded.seq, recorded.chain);
            }
            if page.len() < PAGE {
                return Ok(());
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
        Epoch, Hash32, StreamKind, Unit,
        event::{InvitationUsed, InvitationWithdrawn, OfficeList, OfficeListed, Proposal, ProposalSettled},
        log::StreamExpect,
    };
    use uuid::Uuid;

    use super::*;
    use crate::{
        commands::facts::{claim, new_event},
        feed::testing::{Flaky, some_event},
    };

    fn fold(events: &[(u128, SystemEvent)]) -> Fold {
        let mut office = Fold::default();
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

    async fn happens(log: &Flaky, subject: u128, event: SystemEvent) {
        let subject = Some(SubjectId(Uuid::from_u128(subject)));
        let event = Event::System(event);
        let event = new_event(None, StreamId::SYSTEM, EventId(Uuid::new_v4()), subject, &event).unwrap();
        let streams = vec![claim(StreamId::SYSTEM, StreamKind::System, StreamExpect::Any, Epoch::ZERO)];
        let unit = Unit { streams, events: vec![event], ..Unit::default() };
        log.append(&[unit], Micros(1)).await.unwrap();
    }

    async fn invitations(office: &Office, log: &Flaky) -> Vec<u128> {
        let all = office.invitations(log).await.unwrap();
        all.iter().map(|one| one.subject.0.as_u128()).collect()
    }

    #[tokio::test]
    async fn whoever_lists_again_reads_what_has_come_since_and_no_event_twice() {
        let (log, office) = (Flaky::new(), Office::default());
        assert_eq!(invitations(&office, &log).await, [0; 0]);
        for n in 0..PAGE as u128 + 5 {
            let listed = OfficeListed { what: OfficeList::Invitations };
            happens(&log, n, if n < 2 { made() } else { SystemEvent::Listed(listed) }).await;
        }
        assert_eq!(invitations(&office, &log).await, [0, 1]);
        assert_eq!(log.event_reads(), PAGE + 5);
        happens(&log, 7, made()).await;
        happens(&log, 9, proposed(9)).await;
        assert_eq!(office.proposals(&log).await.unwrap().len(), 1);
        assert_eq!(invitations(&office, &log).await, [0, 1, 7]);
        assert_eq!(log.event_reads(), PAGE + 7);
    }

    #[tokio::test]
    async fn a_backup_in_the_place_of_the_log_is_read_from_its_beginning() {
        let (log, backup, office) = (Flaky::new(), Flaky::new(), Office::default());
        for n in [1, 2] {
            happens(&log, n, made()).await;
        }
        assert_eq!(invitations(&office, &log).await, [1, 2]);
        happens(&backup, 3, made()).await;
        assert_eq!(invitations(&office, &backup).await, [3], "shorter");
        for n in [4, 5] {
            happens(&log, n, made()).await;
        }
        assert_eq!(invitations(&office, &log).await, [1, 2, 4, 5], "with another event at the same place");
    }

    #[tokio::test]
    async fn a_log_that_does_not_answer_shows_nothing_and_forgets_nothing() {
        let (log, office) = (Flaky::new(), Office::default());
        happens(&log, 1, made()).await;
        assert_eq!(invitations(&office, &log).await, [1]);
        log.set_down(true);
        assert!(office.invitations(&log).await.is_err());
        log.set_down(false);
        assert_eq!(invitations(&office, &log).await, [1]);
        assert_eq!(log.event_reads(), 1);
    }
}
