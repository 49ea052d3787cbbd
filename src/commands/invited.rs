//! What an invitation adds to a registration: that it is used, and the plan that the account begins with.
//!
//! Where nobody registers without one, somebody has to be there first who can invite: as long as there never was an
//! administrator, the token that names the first one is an invitation too. It is used up by naming one, not here.

use lockstep_events::{
    AccountId, LogError, Micros, StreamId, SubjectId, Unit,
    event::{AccountEvent, AccountInvited, InvitationMade, PlanSet, PlanSource},
    log::{SubjectClaim, SubjectExpect},
    standing::Standing,
};

use super::{
    admin::{
        bootstrap,
        invite::{self, Invitation},
    },
    facts::{Actor, claim, derived},
    register::RegisterError,
    rotate_key::system_epoch,
};
use crate::{config::Registration, state::Server};

/// A valid invitation.
pub struct Invited {
    subject: SubjectId,
    known: Invitation,
    made: InvitationMade,
}

/// Looks at an invitation; none if registration is open and none was sent, or if the first administrator's token stands
/// for one.
///
/// # Errors
/// [`RegisterError::NoInvitation`] if one is needed or was sent, and it is not valid.
pub async fn look(
    server: &Server,
    token: Option<&str>,
    account: AccountId,
    now: Micros,
) -> Result<Option<Invited>, RegisterError> {
    let Some(token) = token else {
        let open = server.config.registration == Registration::Open;
        return if open { Ok(None) } else { Err(RegisterError::NoInvitation) };
    };
    if token.starts_with(bootstrap::PREFIX) {
        let is_first = bootstrap::is_valid(server.log.as_ref(), token, now).await?;
        return if is_first { Ok(None) } else { Err(RegisterError::NoInvitation) };
    }
    let subject = invite::subject(token);
    let known = Invitation::load(server.log.as_ref(), subject).await?;
    let made = known.usable(token, account, now).cloned().ok_or(RegisterError::NoInvitation)?;
    Ok(Some(Invited { subject, known, made }))
}

impl Invited {
    /// Adds its events to the unit of the registration. The invitation is claimed as it was looked at: of two
    /// registrations with it one is appended. The events of a retry are the same.
    ///
    /// # Errors
    /// Only if serde cannot write one of our own types.
    pub fn join(&self, server: &Server, actor: Actor, unit: &mut Unit) -> Result<(), LogError> {
        let stream = StreamId::SYSTEM;
        let (kind, any) = (lockstep_events::StreamKind::System, lockstep_events::log::StreamExpect::Any);
        unit.streams.push(claim(stream, kind, any, system_epoch(&server.keys)));
        let expect = SubjectExpect::Exact(self.known.seq);
        unit.subjects.push(SubjectClaim { stream, subject: self.subject, expect });
        unit.events.push(invite::used(actor, self.subject)?);
        let own = actor.account.as_bytes();
        let invited = AccountEvent::Invited(AccountInvited { invitation: self.made.token });
        unit.events.push(actor.event(derived("lockstep/v1/invited", &[own]), None, invited)?);
        if let Some(plan) = &self.made.plan {
            let (plan, until, source) = (plan.clone(), self.made.plan_until, PlanSource::Invitation);
            let set = AccountEvent::PlanSet(PlanSet { plan, until, source, as_of: None });
            let subject = Some(Standing::subject(actor.account));
            unit.events.push(actor.event(derived("lockstep/v1/invited-plan", &[own]), subject, set)?);
        }
        Ok(())
    }
}
