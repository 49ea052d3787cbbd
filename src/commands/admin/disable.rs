//! Disabling an account, and enabling it again.

use lockstep_events::{
    event::{AccountDisabled, AccountEnabled, AccountEvent, RevokeReason, Role},
    standing::Standing,
};

use super::act::{Act, AdminError, Change, Done, OfErasure};

/// Whether the account of the act may be used.
pub struct Disable {
    /// Nobody may use it from now on; else: it can be used again.
    pub disabled: bool,
}

fn decide(standing: &Standing, own: bool, disabled: bool) -> Result<Change, AdminError> {
    if standing.disabled == disabled {
        let what = if disabled { "the account is disabled already" } else { "the account is not disabled" };
        return Err(AdminError::Illegal(what));
    }
    if !disabled {
        // Who may use the account again, has it.
        let event = AccountEvent::Enabled(AccountEnabled {});
        return Ok(Change { erasure: OfErasure::CallOff, ..Change::of(event) });
    }
    if own {
        return Err(AdminError::Illegal("nobody disables their own account"));
    }
    // So everybody on the roll can act, and "is there another administrator" is a question about the roll alone.
    if standing.role != Role::User {
        return Err(AdminError::Illegal("its role has to be taken first"));
    }
    let ends = Some(RevokeReason::Disabled);
    Ok(Change { ends, ..Change::of(AccountEvent::Disabled(AccountDisabled {})) })
}

impl Disable {
    /// Does it.
    ///
    /// # Errors
    /// [`AdminError`]
    pub async fn run(self, act: &Act<'_>) -> Result<Done, AdminError> {
        let own = act.by.account == act.account;
        act.change(|standing, _| decide(standing, own, self.disabled), None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(disabled: bool) -> Standing {
        Standing { disabled, ..Standing::default() }
    }

    #[test]
    fn disabling_ends_every_session_and_enabling_none() {
        let change = decide(&of(false), false, true).unwrap();
        assert_eq!(change.ends, Some(RevokeReason::Disabled));
        let enabled = decide(&of(true), false, false).unwrap();
        assert_eq!((enabled.ends, enabled.erasure), (None, OfErasure::CallOff));
    }

    #[test]
    fn illegal_transitions_are_refused() {
        assert!(decide(&of(true), false, true).is_err());
        assert!(decide(&of(false), false, false).is_err());
        assert!(decide(&of(false), true, true).is_err());
        let auditor = Standing { role: Role::Auditor, ..Standing::default() };
        assert!(decide(&auditor, false, true).is_err());
    }
}
