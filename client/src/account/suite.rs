//! The password suite is compiled in, and only ever rises: an account that has another one is left alone, so that an old
//! program never makes a record of a lower one, whatever it is told.

use super::SUITE_S1;
use crate::error::Error;

/// Whether a suite that a server names, or a roster states, is the one of this program.
pub(super) fn known(suite: u16) -> Result<(), Error> {
    if suite == SUITE_S1 { Ok(()) } else { Err(Error::UpdateNeeded(format!("password suite {suite}"))) }
}

#[cfg(test)]
mod tests {
    use lockstep_api::account::Account;
    use lockstep_events::{
        AccountId,
        roster::{Claim, Roster},
    };
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{account::fold, crypto::identity::AccountSigningKey, crypto::os_random};

    /// An account whose server names one suite and whose own statement, if there is one, another.
    fn account(named: u16, stated: Option<u16>) -> Account {
        let account = AccountId(Uuid::from_u128(1));
        let ask = AccountSigningKey::random(&mut os_random());
        let mut roster = vec![ask.found(account)];
        if let Some(suite) = stated {
            let known = Roster::start(&roster[0]).unwrap();
            roster.push(ask.state(&known, Claim::SuiteRaised { suite }).unwrap());
        }
        Account { account, roster, wraps: Vec::new(), vaults: Vec::new(), suite: named }
    }

    fn asks_for_an_update(account: &Account) -> bool {
        matches!(fold(account), Err(Error::UpdateNeeded(_)))
    }

    proptest! {
        #[test]
        fn an_account_whose_server_names_any_other_suite_is_left_alone(named in any::<u16>()) {
            prop_assert_eq!(asks_for_an_update(&account(named, None)), named != SUITE_S1);
        }

        #[test]
        fn an_account_that_has_stated_any_higher_suite_is_left_alone_whatever_its_server_names(
            stated in SUITE_S1 + 1..,
            named in prop_oneof![Just(SUITE_S1), any::<u16>()],
        ) {
            prop_assert!(asks_for_an_update(&account(named, Some(stated))));
        }
    }
}
