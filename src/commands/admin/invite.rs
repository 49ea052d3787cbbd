//! Invitations: a one-time token with which somebody registers, and the plan that the account begins with.
//!
//! Its subject in the system stream is made of the token, so that whoever has it finds it and nobody else does; a
//! registration claims it at the seq that was looked at, in its own unit: it is used once, on whichever node.

use super::act::{Act, AdminError, at, system, system_event};
use crate::{
    commands::{account::in_effect, facts::Actor},
    state::Server,
};
use lockstep_events::{
    AccountId, Event, EventId, EventLog, Hash32, LogError, Micros, Outcome, Position, Seq, StreamId,
    SubjectId,
    canonical::{Writer, sha256},
    event::{InvitationMade, InvitationUsed, InvitationWithdrawn, SystemEvent},
};
use rand::{CryptoRng, RngCore};

const PREFIX: &str = "lsi_";
/// 160 bits.
const SECRET: usize = 20;

/// What is known of an invitation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invitation {
    /// What it was made with, and by whom; none: there is no such invitation.
    pub made: Option<(InvitationMade, Option<AccountId>)>,
    /// Who used it.
    pub used: Option<AccountId>,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
    /// Seq of its last event.
    pub seq: Seq,
}

/// The subject of an invitation.
pub fn subject(token: &str) -> SubjectId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Writer::new("lockstep/v1/invitation").lp(token.as_bytes()).sha256()[..16]);
    SubjectId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

impl Invitation {
    /// As the log has it.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn load(log: &dyn EventLog, subject: SubjectId) -> Result<Self, LogError> {
        let mut known = Self::default();
        for recorded in log.read_subject(StreamId::SYSTEM, subject, Seq::ZERO, 16).await? {
            known.seq = recorded.seq;
            match recorded.event().map_err(|error| LogError::Other(error.into()))? {
                Event::System(SystemEvent::InvitationMade(made)) => known.made = Some((made, recorded.actor)),
                Event::System(SystemEvent::InvitationUsed(used)) => known.used = Some(used.account),
                Event::System(SystemEvent::InvitationWithdrawn(_)) => known.withdrawn = true,
                _ => {}
            }
        }
        Ok(known)
    }

    /// What a registration of an account with this token gets, if it may be used for that. A retry may.
    pub fn usable(&self, token: &str, account: AccountId, now: Micros) -> Option<&InvitationMade> {
        let (made, _) = self.made.as_ref()?;
        let right = made.token == Hash32(sha256(token.as_bytes()));
        let retried = self.used == Some(account);
        let open = self.used.is_none() && !self.withdrawn && now < made.until;
        (right && (retried || open)).then_some(made)
    }
}

/// A new invitation.
pub struct Invite {
    /// The plan that the account begins with.
    pub plan: Option<String>,
    /// When that ends.
    pub plan_until: Option<Micros>,
    /// Not valid after.
    pub until: Micros,
}

/// An invitation that was made.
pub struct Made {
    /// What the invited person gets.
    pub token: String,
    /// Names it.
    pub subject: SubjectId,
}

impl Invite {
    /// Makes it.
    ///
    /// # Errors
    /// [`AdminError`]
    pub async fn run(
        self,
        server: &Server,
        (by, reason): (Actor, &str),
        rng: &mut (impl RngCore + CryptoRng + Send),
    ) -> Result<Made, AdminError> {
        let named = |plan: &String| server.quotas.plans.named(plan);
        let plan = self.plan.as_ref().map(named);
        if plan == Some(None) {
            return Err(AdminError::Invalid("plan: the configuration has no such plan"));
        }
        if plan.is_none() && self.plan_until.is_some() {
            return Err(AdminError::Invalid("plan_until: it needs a plan"));
        }
        let mut secret = [0; SECRET];
        rng.fill_bytes(&mut secret);
        let token = format!("{PREFIX}{}", hex::encode(secret));
        let subject = subject(&token);
        let made = InvitationMade {
            token: Hash32(sha256(token.as_bytes())),
            plan: plan.flatten(),
            plan_until: self.plan_until,
            until: self.until,
        };
        append(server, (by, reason), (subject, Seq::ZERO), SystemEvent::InvitationMade(made)).await?;
        Ok(Made { token, subject })
    }
}

/// Withdraws an invitation that was not used.
///
/// # Errors
/// [`AdminError`]
pub async fn withdraw(
    server: &Server,
    (by, reason): (Actor, &str),
    subject: SubjectId,
) -> Result<Position, AdminError> {
    let known = Invitation::load(server.log.as_ref(), subject).await?;
    decide_withdraw(&known)?;
    let gone = SystemEvent::InvitationWithdrawn(InvitationWithdrawn {});
    append(server, (by, reason), (subject, known.seq), gone).await
}

fn decide_withdraw(known: &Invitation) -> Result<(), AdminError> {
    if known.made.is_none() {
        return Err(AdminError::NoAccount);
    }
    if known.used.is_some() {
        return Err(AdminError::Illegal("the invitation was used"));
    }
    if known.withdrawn {
        return Err(AdminError::Illegal("the invitation was withdrawn already"));
    }
    Ok(())
}

/// An invitation is about nobody yet: the reason is sealed under whoever acts.
async fn append(
    server: &Server,
    (by, reason): (Actor, &str),
    (subject, seq): (SubjectId, Seq),
    event: SystemEvent,
) -> Result<Position, AdminError> {
    let act = Act { server, by, account: by.account, reason };
    act.checked()?;
    let unit = lockstep_events::Unit {
        streams: vec![system(server)],
        subjects: vec![at(StreamId::SYSTEM, subject, seq)],
        events: vec![act.sealed(system_event(by, subject, event)?).await?],
        ..lockstep_events::Unit::default()
    };
    let Outcome::Appended(placed) = server.batcher.append(unit).await? else {
        return Err(AdminError::Illegal("the invitation was used or withdrawn meanwhile"));
    };
    let position = placed.iter().map(|placed| placed.position).max().unwrap_or_default();
    in_effect(server, position).await;
    Ok(position)
}

/// The event that an invitation was used, for the unit of the registration; the same for a retry.
///
/// # Errors
/// Only if serde cannot write one of our own types.
pub fn used(by: Actor, subject: SubjectId) -> Result<lockstep_events::NewEvent, LogError> {
    let id: EventId = crate::commands::facts::derived("lockstep/v1/invitation-used", &[subject.0.as_bytes()]);
    let event = SystemEvent::InvitationUsed(InvitationUsed { account: by.account });
    by.event_in(StreamId::SYSTEM, id, Some(subject), &Event::System(event))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: Micros = Micros(100);
    const TOKEN: &str = "lsi_00";

    fn account(n: u128) -> AccountId {
        AccountId(Uuid::from_u128(n))
    }

    fn made(until: i64) -> Invitation {
        let token = Hash32(sha256(TOKEN.as_bytes()));
        let made = InvitationMade { token, plan: None, plan_until: None, until: Micros(until) };
        Invitation { made: Some((made, None)), ..Invitation::default() }
    }

    #[test]
    fn an_invitation_is_used_once_and_its_retry_is_the_same_use() {
        assert!(made(101).usable(TOKEN, account(1), NOW).is_some());
        let used = Invitation { used: Some(account(1)), ..made(101) };
        assert!(used.usable(TOKEN, account(1), Micros(500)).is_some());
        assert!(used.usable(TOKEN, account(2), NOW).is_none());
    }

    #[test]
    fn illegal_transitions_are_refused() {
        assert!(made(100).usable(TOKEN, account(1), NOW).is_none());
        assert!(made(101).usable("lsi_01", account(1), NOW).is_none());
        let withdrawn = Invitation { withdrawn: true, ..made(101) };
        assert!(withdrawn.usable(TOKEN, account(1), NOW).is_none());
        assert!(Invitation::default().usable(TOKEN, account(1), NOW).is_none());
        assert!(decide_withdraw(&withdrawn).is_err());
        assert!(decide_withdraw(&Invitation { used: Some(account(1)), ..made(101) }).is_err());
        assert!(decide_withdraw(&Invitation::default()).is_err());
        assert!(decide_withdraw(&made(1)).is_ok());
    }
}
