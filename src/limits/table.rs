//! Every limit, as data.

use super::gcra::Quota;

/// What a request is about, where limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Beginning a registration.
    Register,
    /// Beginning a login.
    Login,
    /// Beginning a login on a device that proves its key with it, or a step-up.
    KnownLogin,
    /// Ending a registration or a login, each of which was begun.
    Finish,
    /// Refreshing tokens.
    Refresh,
    /// Anything that makes the server send mail to an address: magic link, recovery, verification.
    Mail,
    /// Presenting a code or a link.
    Verify,
    /// Pairing a device.
    Pair,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Exporting everything, or deleting the account.
    Leave,
    /// Opening a live socket.
    Connect,
    /// Logging in as an administrator.
    AdminLogin,
    /// Making all streams of an account begin another life: somebody comes with what the log does not have.
    Renew,
    /// Writing down that the answer of an identity provider was refused.
    Refusal,
    /// A write by an account, or one version of a push: what the log holds it holds for ever, and a plan counts only what
    /// is kept beside it.
    Change,
}

/// The limits of one action.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The action.
    pub action: Action,
    /// Its name in stored keys, log lines and metrics.
    pub name: &'static str,
    /// Counted together by all nodes. Otherwise each node counts for itself.
    pub exact: bool,
    /// For one address: an IPv4 address, or an IPv6 network of 64 bits. One of 48 bits has eight times as much.
    pub address: Option<Quota>,
    /// For one account, name, device, session or request, as the action has it.
    pub subject: Option<Quota>,
    /// For the same over a day. Durable, counted before the check, given back where the check succeeds.
    pub daily: Option<Quota>,
    /// For everybody together.
    pub all: Option<Quota>,
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

const fn exact(action: Action, name: &'static str, address: Quota) -> Rules {
    Rules { action, name, exact: true, address: Some(address), subject: None, daily: None, all: None }
}

const fn local(action: Action, name: &'static str, address: Quota) -> Rules {
    Rules { exact: false, ..exact(action, name, address) }
}

/// How many actions have limits of their own. A number, not `TABLE.len()`: a type that asks for the length of a value
/// that const functions make sends the optimising compiler in a circle.
pub const ACTIONS: usize = 16;

/// The limits, in the order of the actions.
pub const TABLE: [Rules; ACTIONS] = [
    Rules {
        subject: Some(Quota::new(1, 1, 10 * MINUTE)),
        all: Some(Quota::per(300, MINUTE)),
        ..exact(Action::Register, "register", Quota::new(3, 3, HOUR))
    },
    // Who begins a login learns from the answer whether the password was right: so every beginning that is not
    // followed by a right end is a failure.
    Rules {
        subject: Some(Quota::new(10, 1, MINUTE)),
        daily: Some(Quota::per(100, DAY)),
        all: Some(Quota::per(3_000, MINUTE)),
        ..exact(Action::Login, "login", Quota::new(10, 6, MINUTE))
    },
    // Nobody who guesses can use up what the owner's own devices have; nor does a device guess on for ever.
    Rules {
        address: None,
        subject: Some(Quota::new(20, 1, MINUTE)),
        daily: Some(Quota::per(100, DAY)),
        ..exact(Action::KnownLogin, "known_login", Quota::per(1, 1))
    },
    exact(Action::Finish, "finish", Quota::new(10, 6, MINUTE)),
    Rules {
        subject: Some(Quota::per(6, MINUTE)),
        ..exact(Action::Refresh, "refresh", Quota::per(30, MINUTE))
    },
    Rules {
        subject: Some(Quota::new(3, 1, 20 * MINUTE)),
        all: Some(Quota::per(600, MINUTE)),
        ..exact(Action::Mail, "mail", Quota::new(3, 3, HOUR))
    },
    Rules {
        subject: Some(Quota::new(5, 5, DAY)),
        daily: Some(Quota::per(20, DAY)),
        all: Some(Quota::per(1_000, MINUTE)),
        ..exact(Action::Verify, "verify", Quota::per(10, 10 * MINUTE))
    },
    Rules { subject: Some(Quota::per(5, HOUR)), ..exact(Action::Pair, "pair", Quota::per(10, 10 * MINUTE)) },
    Rules {
        subject: Some(Quota::per(1_200, MINUTE)),
        ..local(Action::Read, "read", Quota::per(600, MINUTE))
    },
    Rules {
        subject: Some(Quota::new(200, 120, MINUTE)),
        ..local(Action::Write, "write", Quota::per(300, MINUTE))
    },
    Rules { subject: Some(Quota::per(3, DAY)), ..exact(Action::Leave, "leave", Quota::per(3, HOUR)) },
    local(Action::Connect, "connect", Quota::per(20, MINUTE)),
    Rules {
        subject: Some(Quota::new(3, 1, 5 * MINUTE)),
        ..exact(Action::AdminLogin, "admin_login", Quota::new(3, 1, 5 * MINUTE))
    },
    // One is enough for a restored log, and one for each device that was enrolled after the backup.
    Rules {
        address: None,
        subject: Some(Quota::per(10, HOUR)),
        ..exact(Action::Renew, "renew", Quota::per(1, 1))
    },
    // The answer is refused all the same. Anybody can bring one without a name, and what is written stays for ever.
    Rules {
        address: None,
        subject: Some(Quota::new(30, 1, 5 * MINUTE)),
        ..local(Action::Refusal, "refusal", Quota::per(1, 1))
    },
    // Ten imports of a large vault in a day, or all that a restored server lost.
    Rules {
        address: None,
        subject: Some(Quota::per(30_000, DAY)),
        ..local(Action::Change, "change", Quota::per(1, 1))
    },
];

/// Live sockets that are open at once on one node.
pub const OPEN: usize = 50_000;

impl Action {
    /// The limits of this action.
    pub const fn rules(self) -> &'static Rules {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_own_line_and_every_line_its_own_name() {
        for (place, rules) in TABLE.iter().enumerate() {
            assert_eq!(rules.action as usize, place, "{}", rules.name);
            assert_eq!(TABLE.iter().filter(|other| other.name == rules.name).count(), 1);
        }
    }

    #[test]
    fn what_a_device_writes_is_counted_without_a_database() {
        assert!([Action::Read, Action::Write, Action::Connect].iter().all(|action| !action.rules().exact));
    }

    #[test]
    fn only_what_all_nodes_count_has_a_durable_or_a_common_limit() {
        let common = |rules: &&Rules| rules.daily.is_some() || rules.all.is_some();
        assert!(TABLE.iter().filter(common).all(|rules| rules.exact));
    }
}
