//! Who looks after this server, and when they last did, as one node knows it.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use lockstep_events::{
    AccountId, DeviceId, EventLog, LogError, Micros, Recorded, StreamId, StreamKind, event::Role,
};

use crate::roll::{self, Roll};

/// What somebody on the roll writes into the log counts as an act, by its stored name.
const ACTS: [&str; 8] = [
    "account.role_set",
    "account.plan_set",
    "account.flag_set",
    "account.disabled",
    "account.enabled",
    "account.sessions_ended",
    "account.viewed",
    "audit.log_read",
];

/// The roll, and the last act of every device of somebody on it.
#[derive(Debug, Default)]
pub struct Administrators {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    roll: Roll,
    acted: HashMap<(AccountId, DeviceId), Micros>,
}

impl Administrators {
    /// The roll as the log has it. Acts from before are not looked for: who has not acted since this node started
    /// proves the password again.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn load(log: &dyn EventLog) -> Result<Self, LogError> {
        let roll = Roll::load(log).await?;
        Ok(Self { known: RwLock::new(Known { roll, acted: HashMap::new() }) })
    }

    /// Takes in events in the order of the log.
    pub fn apply(&self, events: &[Recorded]) {
        for recorded in events.iter().filter(|recorded| recorded.stream_kind != StreamKind::Vault) {
            if recorded.stream == StreamId::SYSTEM && recorded.subject == Some(roll::SUBJECT) {
                self.change(recorded);
            }
            if is_act(recorded) {
                self.note(recorded);
            }
        }
    }

    fn change(&self, recorded: &Recorded) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if recorded.seq <= known.roll.seq {
            return;
        }
        if let Err(error) = known.roll.apply(recorded) {
            // Whoever cannot read the roll trusts nobody on it.
            tracing::error!(cause = %error, "the roll of administrators cannot be read: nobody is on it here");
            known.roll.members.clear();
        }
    }

    fn note(&self, recorded: &Recorded) {
        let (Some(actor), Some(device)) = (recorded.actor, recorded.device) else { return };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.roll.members.contains_key(&actor) {
            known.acted.insert((actor, device), recorded.recorded_at);
        }
    }

    /// Somebody's role.
    pub fn role(&self, account: AccountId) -> Role {
        self.known.read().unwrap_or_else(PoisonError::into_inner).roll.role(account)
    }

    /// When somebody last did something at a device that only somebody on the roll does.
    pub fn acted(&self, account: AccountId, device: DeviceId) -> Option<Micros> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).acted.get(&(account, device)).copied()
    }
}

fn is_act(recorded: &Recorded) -> bool {
    let Some(actor) = recorded.actor else { return false };
    // Anybody ends their own other sessions, without a proof of the password: that keeps nobody in the office.
    let is_own = recorded.kind == "account.sessions_ended" && recorded.stream == actor.into();
    !is_own && (recorded.kind.starts_with("admin.") || ACTS.contains(&recorded.kind.as_str()))
}

#[cfg(test)]
mod tests {
    use lockstep_events::{
        Event, Seq,
        event::{AdminBootstrapped, RollChanged, SystemEvent},
        ids::Hash32,
    };
    use uuid::Uuid;

    use super::*;
    use crate::feed::testing::some_event;

    fn id<T: From<Uuid>>(n: u128) -> T {
        T::from(Uuid::from_u128(n))
    }

    fn on_roll(seq: u64, event: SystemEvent) -> Recorded {
        let encoded = Event::System(event).encode().unwrap();
        Recorded {
            stream: StreamId::SYSTEM,
            stream_kind: StreamKind::System,
            subject: Some(roll::SUBJECT),
            seq: Seq(seq),
            kind: encoded.kind.into(),
            schema: encoded.schema,
            public: encoded.public,
            ..some_event(seq)
        }
    }

    fn act(by: u128, kind: &str, at: i64) -> Recorded {
        Recorded {
            stream_kind: StreamKind::Account,
            actor: Some(id(by)),
            device: Some(id(by + 100)),
            kind: kind.into(),
            recorded_at: Micros(at),
            ..some_event(1)
        }
    }

    fn with_admin() -> Administrators {
        let view = Administrators::default();
        let named = AdminBootstrapped { account: id(1), token: Hash32::ZERO };
        view.apply(&[on_roll(1, SystemEvent::Bootstrapped(named))]);
        view
    }

    #[test]
    fn the_roll_follows_the_log_and_nothing_is_applied_twice() {
        let view = with_admin();
        let change = |seq, account, role| {
            on_roll(seq, SystemEvent::RollChanged(RollChanged { account: id(account), role }))
        };
        view.apply(&[change(2, 2, Role::Auditor), change(3, 1, Role::User)]);
        view.apply(&[change(2, 1, Role::Admin)]);
        assert_eq!([1, 2, 3].map(|n| view.role(id(n))), [Role::User, Role::Auditor, Role::User]);
    }

    #[test]
    fn only_acts_of_people_on_the_roll_are_remembered() {
        let view = with_admin();
        view.apply(&[act(1, "account.viewed", 7), act(2, "account.viewed", 8), act(1, "device.added", 9)]);
        assert_eq!(view.acted(id(1), id(101)), Some(Micros(7)));
        assert_eq!(view.acted(id(2), id(102)), None);
        assert_eq!(view.acted(id(3), id(101)), None, "a device of the same id in another account");
    }

    #[test]
    fn the_end_of_one_s_own_sessions_is_no_act_and_that_of_another_s_is() {
        let view = with_admin();
        let ended = |whose: u128, at| Recorded {
            stream: AccountId::into(id(whose)),
            ..act(1, "account.sessions_ended", at)
        };
        view.apply(&[ended(1, 7)]);
        assert_eq!(view.acted(id(1), id(101)), None);
        view.apply(&[ended(2, 8)]);
        assert_eq!(view.acted(id(1), id(101)), Some(Micros(8)));
    }
}
