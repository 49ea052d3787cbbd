//! Deleting an account: nobody uses it from now on, and it is erased when the time to think better of it is over.

use lockstep_events::{
    event::{AccountDisabled, AccountEvent, RevokeReason, Role},
    standing::Standing,
};

use super::act::{Act, AdminError, Change, Done, Extra, OfErasure};

/// The deletion of the account of the act.
pub struct Delete;

fn decide(standing: &Standing, own: bool) -> Result<Change, AdminError> {
    if own {
        return Err(AdminError::Illegal("nobody deletes their own account here"));
    }
    if standing.role != Role::User {
        return Err(AdminError::Illegal("its role has to be taken first"));
    }
    let ends = Some(RevokeReason::Deletion);
    Ok(Change { ends, erasure: OfErasure::Ask, ..Change::of(AccountEvent::Disabled(AccountDisabled {})) })
}

impl Delete {
    pub(super) async fn with(self, act: &Act<'_>, extra: Option<&Extra>) -> Result<Done, AdminError> {
        let own = act.by.account == act.account;
        act.change(|standing, _| decide(standing, own), extra).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_disables_at_once_also_what_was_disabled_before() {
        for disabled in [false, true] {
            let standing = Standing { disabled, ..Standing::default() };
            let change = decide(&standing, false).unwrap();
            assert_eq!((change.ends, change.erasure), (Some(RevokeReason::Deletion), OfErasure::Ask));
        }
    }

    #[test]
    fn illegal_transitions_are_refused() {
        assert!(decide(&Standing::default(), true).is_err());
        for role in [Role::Auditor, Role::Admin] {
            assert!(decide(&Standing { role, ..Standing::default() }, false).is_err());
        }
    }
}
