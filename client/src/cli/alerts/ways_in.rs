//! What other devices did to the ways into the account: its password, recovery code, second factors and identities.

use std::collections::BTreeMap;

use lockstep_events::{DeviceId, Micros};

use super::{Notice, by, revoke};
use crate::cli::verbs::watch::clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Password,
    Recovered,
    RecoveryCode,
    FactorAdded,
    FactorCodes,
    FactorRemoved,
    Linked,
    Unlinked,
}

impl What {
    /// By the stored name of an event, and what it is about.
    fn of(kind: &str, what: Option<&str>) -> Option<Self> {
        Some(match (kind, what) {
            ("account.credential_set", Some("opaque")) => Self::Password,
            ("account.credential_set", Some("ark/recovery")) => Self::RecoveryCode,
            ("session.opened", Some("recovery")) => Self::Recovered,
            ("factor.set", Some("codes")) => Self::FactorCodes,
            ("factor.set", _) => Self::FactorAdded,
            ("factor.removed", _) => Self::FactorRemoved,
            ("account.identity_linked", _) => Self::Linked,
            ("account.identity_unlinked", _) => Self::Unlinked,
            _ => return None,
        })
    }

    /// A stable word, what was done, and what to do if it was somebody else.
    const fn words(self) -> (&'static str, &'static str, &'static str) {
        const RECOVER: &str = "lockstep recovery use, with another --home";
        match self {
            Self::Password => ("password_changed", "changed the password of this account", RECOVER),
            Self::Recovered => (
                "recovered",
                "set another password by the recovery code, which is used up",
                "speak with the server's operator",
            ),
            Self::RecoveryCode => (
                "recovery_code_made",
                "made another recovery code, and the one before is worthless",
                "lockstep passwd, lockstep recovery new",
            ),
            Self::FactorAdded => {
                ("factor_added", "added a second factor", "lockstep factors, lockstep passwd")
            }
            Self::FactorCodes => (
                "factor_codes_made",
                "made new codes in the place of a second factor",
                "lockstep factors codes, lockstep passwd",
            ),
            Self::FactorRemoved => (
                "factor_removed",
                "took away a second factor, or codes in its place",
                "lockstep factors, lockstep passwd",
            ),
            Self::Linked => (
                "identity_linked",
                "linked an identity elsewhere that opens sessions of this account",
                "lockstep identities, lockstep passwd",
            ),
            Self::Unlinked => (
                "identity_unlinked",
                "unlinked an identity elsewhere",
                "lockstep identities, lockstep passwd",
            ),
        }
    }
}

/// The last of each kind by each device.
#[derive(Default)]
pub(super) struct WaysIn(BTreeMap<(What, Option<DeviceId>), Micros>);

impl WaysIn {
    pub fn hear(&mut self, (kind, what): (&str, Option<&str>), device: Option<DeviceId>, at: Micros) {
        if let Some(what) = What::of(kind, what) {
            self.0.insert((what, device), at);
        }
    }

    /// Of all devices but this one.
    pub fn notices(&self, own: DeviceId) -> impl Iterator<Item = Notice> {
        let others = self.0.iter().filter(move |((_, device), _)| *device != Some(own));
        others.filter(|((what, device), _)| !self.is_part(*what, *device)).map(|((what, device), at)| {
            let (notice, did, advice) = what.words();
            let (by, revoke, when) = (by(*device), revoke(*device), clock(at.seconds()));
            let text = format!("{by} {did}, at {when} (UTC). If it was not you: {advice}{revoke}");
            Notice { notice, device: *device, at: *at, text }
        })
    }

    /// Whether it comes with something that is told: a recovery sets a password, and the first factor brings its codes.
    fn is_part(&self, what: What, device: Option<DeviceId>) -> bool {
        let whole = match what {
            What::Password => What::Recovered,
            What::FactorCodes => What::FactorAdded,
            _ => return false,
        };
        self.0.contains_key(&(whole, device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn device(n: u128) -> DeviceId {
        Uuid::from_u128(n << 96).into()
    }

    fn told(all: &[(&str, Option<&str>, u128)]) -> Vec<Notice> {
        let mut ways = WaysIn::default();
        for (kind, what, by) in all {
            ways.hear((kind, *what), Some(device(*by)), Micros(60_000_000));
        }
        ways.notices(device(1)).collect()
    }

    #[test]
    fn every_change_by_another_device_is_told_with_the_device_and_what_to_do_and_none_of_its_own() {
        for (kind, what, word, advice) in [
            ("account.credential_set", Some("opaque"), "password_changed", "lockstep recovery use"),
            ("account.credential_set", Some("ark/recovery"), "recovery_code_made", "lockstep recovery new"),
            ("session.opened", Some("recovery"), "recovered", "operator"),
            ("factor.set", Some("totp"), "factor_added", "lockstep factors"),
            ("factor.set", Some("codes"), "factor_codes_made", "lockstep factors codes"),
            ("factor.removed", None, "factor_removed", "lockstep factors"),
            ("account.identity_linked", None, "identity_linked", "lockstep identities"),
            ("account.identity_unlinked", None, "identity_unlinked", "lockstep identities"),
        ] {
            let notices = told(&[(kind, what, 2)]);
            let [notice] = notices.as_slice() else { panic!("{kind}: {notices:?}") };
            assert_eq!((notice.notice, notice.device), (word, Some(device(2))));
            for wanted in ["device 00000002 ", "1970-01-01 00:01:00", advice, "devices revoke 00000002"] {
                assert!(notice.text.contains(wanted), "{wanted}: {}", notice.text);
            }
            assert_eq!(told(&[(kind, what, 1)]), []);
        }
    }

    #[test]
    fn what_happens_every_day_is_no_news() {
        for (kind, what) in [
            ("session.opened", Some("password")),
            ("session.refreshed", None),
            ("account.credential_set", Some("ark/password")),
            ("account.credential_set", Some("vault_key/3f")),
        ] {
            assert_eq!(told(&[(kind, what, 2)]), [], "{kind}");
        }
    }

    #[test]
    fn a_recovery_and_a_first_factor_are_told_once() {
        let words = |all: &[_]| told(all).iter().map(|notice| notice.notice).collect::<Vec<_>>();
        let password = ("account.credential_set", Some("opaque"), 2);
        assert_eq!(words(&[password, ("session.opened", Some("recovery"), 2)]), ["recovered"]);
        assert_eq!(words(&[password, ("session.opened", Some("recovery"), 3)]).len(), 2);
        let codes = ("factor.set", Some("codes"), 2);
        assert_eq!(words(&[("factor.set", Some("passkey"), 2), codes]), ["factor_added"]);
    }
}
