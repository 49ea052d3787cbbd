//! Whoever runs the server hears when a limit of all together is used up: that is an attack, or a server too small for
//! its people. Once until the bucket would be full again, however many are refused meanwhile.

use std::sync::atomic::{AtomicI64, Ordering};

use lockstep_events::Micros;

use super::{
    gcra::SLACK,
    table::{ACTIONS, Rules},
};

/// Until when each action's alarm is quiet.
#[derive(Debug, Default)]
pub struct Alarms {
    quiet_until: [AtomicI64; ACTIONS],
}

impl Alarms {
    /// The bucket of all is empty now, and will be full again then.
    pub fn ring(&self, rules: &Rules, now: Micros, full_at: Micros) {
        if self.is_new(rules, now, full_at) {
            tracing::warn!(
                action = rules.name,
                "the limit of all together is used up: further requests are refused, whoever sends them"
            );
        }
    }

    /// Whether nobody has said so since the bucket was last full; of several that ask at once it is new to one.
    fn is_new(&self, rules: &Rules, now: Micros, full_at: Micros) -> bool {
        let quiet_until = &self.quiet_until[rules.action as usize];
        let known = quiet_until.load(Ordering::Relaxed);
        // What lies further ahead was said by a clock that has been set back since.
        (known <= now.0 || known > full_at.0.saturating_add(SLACK))
            && quiet_until.compare_exchange(known, full_at.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Action;

    #[test]
    fn an_alarm_rings_once_until_the_bucket_is_full_again() {
        let alarms = Alarms::default();
        let new = |action: Action, now: i64| alarms.is_new(action.rules(), Micros(now), Micros(now + 60));
        assert!(new(Action::Verify, 1_000));
        assert!((1_001..1_060).all(|now| !new(Action::Verify, now)));
        assert!(new(Action::Register, 1_001), "another limit is another alarm");
        assert!(new(Action::Verify, 1_060));
        assert!(!new(Action::Verify, 1_119) && new(Action::Verify, 1_120));
        let (before, back) = (1_000 + 2 * SLACK, 1_000);
        assert!(new(Action::Login, before) && new(Action::Login, back), "the clock was set back");
        assert!(!new(Action::Login, back + 1));
    }
}
