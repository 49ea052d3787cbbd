//! Plans: what an account may have, by configuration. Which plan an account has is its standing, in the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use lockstep_events::{
    Micros, Word,
    standing::{FormerPlans, Standing},
};
use serde::{Deserialize, Serialize};

/// A plan that ended or was replaced keeps its history for so long: until a late renewal has come, or a mistake was seen.
const LATE: i64 = 30 * 24 * 3600;

/// Limits and features. A limit that is left out is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Vaults of the account, at least one: it begins with it. Of the others those that were not deleted.
    pub vaults: Option<u64>,
    /// Entries that are not deleted, over all its vaults. The name of a vault is one of them, as the one file is: the
    /// server cannot tell them apart.
    pub entries: Option<u64>,
    /// Devices that are not revoked.
    pub devices: Option<u64>,
    /// Bytes of ciphertext of all kept versions, over all its vaults.
    pub storage_bytes: Option<u64>,
    /// Old versions keep their content for so many days, whatever `retention_days` says; 0: for ever.
    pub history_days: Option<u32>,
    /// The features that it has.
    pub flags: BTreeSet<String>,
}

/// For how long old versions keep their content: days, 0 for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Now.
    pub days: u32,
    /// When that will be fewer, and how many then: because of a plan that counts no more.
    pub fewer: Option<(Micros, u32)>,
}

impl History {
    /// The days; none: for ever.
    pub fn kept_days(self) -> Option<u32> {
        Some(self.days).filter(|days| *days > 0)
    }
}

/// Every plan, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Plans(pub BTreeMap<String, Plan>);

impl Plans {
    /// What no plan may be.
    pub fn contradiction(&self) -> Option<&'static str> {
        if !self.0.keys().all(|name| Word::fits(name)) {
            return Some(
                "names of plans stand in the log: 1 to 128 lower-case letters, digits, _ . / - and single spaces",
            );
        }
        let empty = self.0.values().any(|plan| plan.vaults == Some(0));
        empty.then_some("vaults of a plan must be at least 1: an account begins with one")
    }
}

impl FromStr for Plans {
    type Err = toml::de::Error;

    /// TOML, as below `plans` in a configuration file.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        toml::from_str(text)
    }
}

/// The plans of a server, and which one counts for an account that has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanBook {
    plans: BTreeMap<String, Plan>,
    default: String,
    fallback: Plan,
}

impl PlanBook {
    /// The plans of a configuration, which has checked that the default one is among them.
    pub fn new(plans: &Plans, default: &str) -> Self {
        let fallback = plans.0.get(default).cloned().unwrap_or_default();
        Self { plans: plans.0.clone(), default: default.to_owned(), fallback }
    }

    /// The name of a plan as it goes into an event; none: there is no such plan.
    pub fn named(&self, name: &str) -> Option<Word> {
        self.plans.get_key_value(name).and_then(|(name, _)| name.parse().ok())
    }

    /// The plan of an account at a time, with its name. One that ended, or that the configuration no longer has,
    /// counts as the default one.
    pub fn of(&self, standing: &Standing, now: Micros) -> (&str, &Plan) {
        let given = standing.plan_at(now).and_then(|name| self.plans.get_key_value(name));
        given.map_or((&self.default, &self.fallback), |(name, plan)| (name, plan))
    }

    /// For how many days old versions of an account keep their content at a time; `otherwise` where a plan does not say.
    ///
    /// What is pruned does not come back: a renewal that comes late, a plan that was replaced by mistake, or one whose name
    /// was lost from the configuration of a node, prunes nothing. So a plan that ended or was replaced counts for 30 days
    /// more if it keeps more than the present one, and one that the configuration does not have keeps everything.
    pub fn history(&self, standing: &Standing, former: &FormerPlans, now: Micros, otherwise: u32) -> History {
        if self.lacks_plan(standing) {
            return History { days: 0, fewer: None };
        }
        let days = |plan: &Plan| plan.history_days.unwrap_or(otherwise);
        let of = |name: Option<&str>| match name {
            None => days(&self.fallback),
            Some(name) => self.plans.get(name).map_or(0, days),
        };
        let ended = standing.plan.as_ref().and_then(|held| Some((Some(held.plan.as_str()), held.until?)));
        let late: Vec<_> = former
            .each()
            .chain(ended.filter(|(_, until)| *until <= now))
            .map(|(name, until)| (of(name), until.plus_seconds(LATE)))
            .collect();
        let present = days(self.of(standing, now).1);
        let at = |time: Micros| {
            late.iter().filter(|(_, ends)| time < *ends).fold(present, |most, (days, _)| longer(most, *days))
        };
        let days = at(now);
        let ends =
            late.iter().filter(|(more, ends)| *more == days && now < *ends).map(|(_, ends)| *ends).max();
        History { days, fewer: ends.filter(|_| days != present).map(|ends| (ends, at(ends))) }
    }

    /// Whether an account holds a plan that the configuration does not have.
    pub fn lacks_plan(&self, standing: &Standing) -> bool {
        standing.plan.as_ref().is_some_and(|held| !self.plans.contains_key(&held.plan))
    }

    /// The features of an account at a time: those of its plan, and what was switched for it alone.
    pub fn flags(&self, standing: &Standing, now: Micros) -> BTreeMap<String, bool> {
        let known = self.plans.values().flat_map(|plan| &plan.flags);
        let has = &self.of(standing, now).1.flags;
        let mut flags: BTreeMap<_, _> = known.map(|flag| (flag.clone(), has.contains(flag))).collect();
        flags.extend(standing.flags.clone());
        flags
    }
}

/// The longer of two spans in days; 0: for ever.
fn longer(one: u32, other: u32) -> u32 {
    if one == 0 || other == 0 { 0 } else { one.max(other) }
}

#[cfg(test)]
mod tests {
    use lockstep_events::{
        event::{AccountEvent, PlanSet, PlanSource},
        standing::HeldPlan,
        word,
    };

    use super::*;

    fn book() -> PlanBook {
        let plans = "standard = {}\nfree = { entries = 3 }\npaid = { flags = [\"attachments\"] }";
        PlanBook::new(&plans.parse().unwrap(), "free")
    }

    fn holding(plan: &str, until: Option<i64>) -> Standing {
        let (plan, until) = (plan.to_owned(), until.map(Micros));
        Standing { plan: Some(HeldPlan { plan, until, source: PlanSource::Admin }), ..Standing::default() }
    }

    #[test]
    fn an_account_without_a_plan_with_an_ended_one_and_with_an_unknown_one_has_the_default() {
        let (book, now) = (book(), Micros(100));
        for standing in [Standing::default(), holding("paid", Some(100)), holding("gone", None)] {
            assert_eq!(book.of(&standing, now).0, "free");
        }
        assert_eq!(book.of(&holding("paid", Some(101)), now).0, "paid");
    }

    #[test]
    fn history_is_not_lost_by_a_renewal_that_is_late_nor_by_a_plan_that_the_configuration_lost() {
        const DAY: i64 = 24 * 3600 * 1_000_000;
        let plans = "free = { history_days = 10 }\npaid = { history_days = 100 }\never = { history_days = 0 }\nbare = {}";
        let book = PlanBook::new(&plans.parse().unwrap(), "free");
        let days = |plan: &str, until: Option<i64>, now: i64| {
            let standing = holding(plan, until.map(|day| day * DAY));
            book.history(&standing, &FormerPlans::default(), Micros(now * DAY), 20).days
        };
        assert_eq!(book.history(&Standing::default(), &FormerPlans::default(), Micros(0), 20).days, 10);
        assert_eq!([days("paid", None, 1), days("ever", None, 1), days("bare", None, 1)], [100, 0, 20]);
        // Ended a day ago, and long ago.
        assert_eq!([days("paid", Some(50), 51), days("ever", Some(50), 51)], [100, 0]);
        assert_eq!([days("paid", Some(50), 80), days("ever", Some(50), 80)], [10, 10]);
        assert_eq!([days("gone", None, 1), days("gone", Some(50), 500)], [0, 0]);
    }

    #[test]
    fn history_is_not_lost_by_a_plan_that_is_replaced_also_more_than_once_and_it_is_told_when_it_shortens() {
        const DAY: i64 = 24 * 3600 * 1_000_000;
        let plans = "free = { history_days = 10 }\nmid = { history_days = 50 }\npaid = { history_days = 100 }\never = {}";
        let book = PlanBook::new(&plans.parse().unwrap(), "free");
        let given = |events: &[(i64, &str)]| {
            let (mut standing, mut former) = (Standing::default(), FormerPlans::default());
            for (day, plan) in events {
                let plan = plan.parse().unwrap();
                let set = PlanSet { plan, until: None, source: PlanSource::Billing, as_of: None };
                let event = AccountEvent::PlanSet(set);
                former.apply(&standing, &event, Micros(day * DAY));
                let _ = standing.apply(&event);
            }
            (standing, former)
        };
        let at = |events: &[(i64, &str)], day: i64| {
            let (standing, former) = given(events);
            let History { days, fewer } = book.history(&standing, &former, Micros(day * DAY), 0);
            (days, fewer.map(|(until, then)| (until.0 / DAY, then)))
        };
        let replaced = [(0, "paid"), (40, "free")];
        assert_eq!(at(&replaced[..1], 39), (100, None), "nothing ends yet");
        assert_eq!(at(&replaced, 69), (100, Some((70, 10))));
        assert_eq!(at(&replaced, 70), (10, None));
        let twice = [(0, "paid"), (40, "mid"), (50, "free")];
        assert_eq!([at(&twice, 60), at(&twice, 75)], [(100, Some((70, 50))), (50, Some((80, 10)))]);
        assert_eq!(at(&twice, 80), (10, None));
        assert_eq!(at(&[(0, "ever"), (40, "paid")], 50), (0, Some((70, 100))));
        assert_eq!(at(&[(0, "free"), (40, "paid")], 50), (100, None), "one that keeps less says nothing");
        assert_eq!(at(&[(0, "gone"), (40, "paid")], 50), (0, Some((70, 100))), "nobody knows what it kept");
    }

    #[test]
    fn what_was_switched_for_the_account_stands_over_its_plan() {
        let (book, now) = (book(), Micros(0));
        assert!(!book.flags(&Standing::default(), now)["attachments"]);
        let mut paid = holding("paid", None);
        assert!(book.flags(&paid, now)["attachments"]);
        paid.flags.insert("attachments".into(), false);
        paid.flags.insert("beta".into(), true);
        let flags = book.flags(&paid, now);
        assert_eq!((flags["attachments"], flags["beta"]), (false, true));
    }

    #[test]
    fn a_plan_has_a_name_that_may_stand_in_the_log_and_room_for_a_vault() {
        let refused = |plans: &str| plans.parse::<Plans>().unwrap().contradiction().is_some();
        assert!(!refused("standard = {}\n\"for two/2026\" = { vaults = 1 }"));
        for plans in ["\"Zoë's\" = {}", "\"zoe@example.org\" = {}", "\"\" = {}", "free = { vaults = 0 }"] {
            assert!(refused(plans), "{plans}");
        }
    }

    #[test]
    fn only_a_plan_of_the_configuration_is_named_in_an_event() {
        assert_eq!(book().named("paid"), Some(word!("paid")));
        assert_eq!(book().named("gone"), None);
    }

    #[test]
    fn a_limit_with_a_wrong_name_is_refused() {
        assert!("free = { entires = 3 }".parse::<Plans>().is_err());
    }
}
