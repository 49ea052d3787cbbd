//! Another role. With two administrators it is only proposed.

use lockstep_events::{
    AccountId,
    event::{AccountEvent, RevokeReason, Role, RoleSet, RollChanged, SystemEvent},
    standing::Standing,
};

use super::act::{Act, AdminError, Change, Done, Extra, OfErasure};
use crate::roll::Roll;

/// Another role for the account of the act.
pub struct SetRole {
    /// Which.
    pub role: Role,
}

fn decide(standing: &Standing, roll: &Roll, account: AccountId, role: Role) -> Result<Change, AdminError> {
    if standing.role == role {
        return Err(AdminError::Illegal("the account has this role already"));
    }
    if standing.disabled && role != Role::User {
        return Err(AdminError::Illegal("a disabled account gets no role"));
    }
    if standing.role == Role::Admin && roll.admins() <= 1 {
        return Err(AdminError::Illegal("there would be no administrator left"));
    }
    let changed = SystemEvent::RollChanged(RollChanged { account, role });
    Ok(Change {
        erasure: OfErasure::Nothing,
        event: AccountEvent::RoleSet(RoleSet { role }),
        ends: Some(RevokeReason::RoleChanged),
        roll: Some((changed, roll.seq)),
    })
}

impl SetRole {
    /// Sets it.
    ///
    /// # Errors
    /// [`AdminError`]
    pub async fn run(self, act: &Act<'_>) -> Result<Done, AdminError> {
        self.with(act, None).await
    }

    pub(super) async fn with(self, act: &Act<'_>, extra: Option<&Extra>) -> Result<Done, AdminError> {
        act.change(|standing, roll| decide(standing, roll, act.account, self.role), extra).await
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ADA: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn roll(admins: &[AccountId]) -> Roll {
        Roll { members: admins.iter().map(|a| (*a, Role::Admin)).collect(), ..Roll::default() }
    }

    fn of(role: Role, disabled: bool) -> Standing {
        Standing { role, disabled, ..Standing::default() }
    }

    #[test]
    fn a_role_is_given_and_taken_in_both_streams_and_ends_the_sessions() {
        let change = decide(&of(Role::User, false), &roll(&[ADA]), BOB, Role::Auditor).unwrap();
        assert_eq!(change.event, AccountEvent::RoleSet(RoleSet { role: Role::Auditor }));
        assert_eq!(change.ends, Some(RevokeReason::RoleChanged));
        assert!(change.roll.is_some());
        assert!(decide(&of(Role::Admin, false), &roll(&[ADA, BOB]), ADA, Role::User).is_ok());
    }

    #[test]
    fn illegal_transitions_are_refused() {
        assert!(decide(&of(Role::Admin, false), &roll(&[ADA, BOB]), ADA, Role::Admin).is_err());
        assert!(decide(&of(Role::User, true), &roll(&[ADA]), BOB, Role::Admin).is_err());
        assert!(decide(&of(Role::Admin, false), &roll(&[ADA]), ADA, Role::User).is_err());
    }
}
