//! What an account may do, as the fold of its standing events: one rule for read models, servers and auditors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    event::{AccountEvent, PlanSource, Role},
    ids::{AccountId, SubjectId},
    time::Micros,
};

/// A plan that an account was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldPlan {
    /// Its name.
    pub plan: String,
    /// When it ends; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Micros>,
    /// Where it came from.
    pub source: PlanSource,
}

/// What an account may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Standing {
    /// What the person is to the server.
    #[serde(skip_serializing_if = "is_user")]
    pub role: Role,
    /// Whether nobody may use the account.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// The plan it was given; none: the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<HeldPlan>,
    /// Features that are switched for this account alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub flags: BTreeMap<String, bool>,
    /// The biller's time of the last thing it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billed_as_of: Option<Micros>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_user(role: &Role) -> bool {
    *role == Role::User
}

impl Standing {
    /// The subject of the events that make it: the account inside its own stream.
    pub const fn subject(account: AccountId) -> SubjectId {
        SubjectId(account.0)
    }

    /// Takes in the next event of the account; whether it changed anything.
    pub fn apply(&mut self, event: &AccountEvent) -> bool {
        match event {
            AccountEvent::RoleSet(set) => self.role = set.role,
            AccountEvent::PlanSet(set) => {
                let (plan, until, source) = (set.plan.clone().into(), set.until, set.source);
                self.plan = Some(HeldPlan { plan, until, source });
                self.billed_as_of = set.as_of.max(self.billed_as_of);
            }
            AccountEvent::FlagSet(set) => match set.on {
                Some(on) => drop(self.flags.insert(set.flag.clone().into(), on)),
                None => drop(self.flags.remove(&*set.flag)),
            },
            AccountEvent::Disabled(_) => self.disabled = true,
            AccountEvent::Enabled(_) => self.disabled = false,
            _ => return false,
        }
        true
    }

    /// The plan it has at a time; none: the default one.
    pub fn plan_at(&self, now: Micros) -> Option<&str> {
        let held = self.plan.as_ref().filter(|held| held.until.is_none_or(|until| now < until))?;
        Some(&held.plan)
    }
}

/// The plans that an account had, each with when it last counted, by name; none: the default one. It is no part of the
/// standing: who asks what an account may do now asks that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormerPlans(BTreeMap<Option<String>, Micros>);

impl FormerPlans {
    /// Takes in the next event of the account, which was recorded at a time, before its standing does.
    pub fn apply(&mut self, before: &Standing, event: &AccountEvent, at: Micros) {
        if !matches!(event, AccountEvent::PlanSet(_)) {
            return;
        }
        let until = before.plan.as_ref().map(|held| held.until.map_or(at, |until| until.min(at)));
        if let (Some(held), Some(until)) = (&before.plan, until) {
            self.counted(Some(held.plan.clone()), until);
        }
        if before.plan_at(at).is_none() {
            self.counted(None, at);
        }
    }

    fn counted(&mut self, plan: Option<String>, until: Micros) {
        let known = self.0.entry(plan).or_insert(until);
        *known = until.max(*known);
    }

    /// Each with when it last counted.
    pub fn each(&self) -> impl Iterator<Item = (Option<&str>, Micros)> {
        self.0.iter().map(|(plan, until)| (plan.as_deref(), *until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{AccountDisabled, AccountEnabled, FlagSet, PlanSet, RoleSet},
        word,
    };

    fn plan(name: &str, until: Option<i64>) -> AccountEvent {
        let until = until.map(Micros);
        let plan = name.parse().unwrap();
        AccountEvent::PlanSet(PlanSet { plan, until, source: PlanSource::Admin, as_of: None })
    }

    fn given(events: &[AccountEvent]) -> Standing {
        let mut standing = Standing::default();
        for event in events {
            let _ = standing.apply(event);
        }
        standing
    }

    #[test]
    fn the_last_word_about_each_matter_holds() {
        let flag = |on| AccountEvent::FlagSet(FlagSet { flag: word!("attachments"), on });
        let standing = given(&[
            AccountEvent::RoleSet(RoleSet { role: Role::Admin }),
            AccountEvent::Disabled(AccountDisabled {}),
            flag(Some(true)),
            AccountEvent::RoleSet(RoleSet { role: Role::Auditor }),
            AccountEvent::Enabled(AccountEnabled {}),
            flag(Some(false)),
        ]);
        assert_eq!((standing.role, standing.disabled), (Role::Auditor, false));
        assert_eq!(standing.flags.get("attachments"), Some(&false));
        assert!(given(&[flag(Some(true)), flag(None)]).flags.is_empty());
    }

    #[test]
    fn a_plan_ends_at_its_time() {
        let standing = given(&[plan("paid", Some(100))]);
        assert_eq!(standing.plan_at(Micros(99)), Some("paid"));
        assert_eq!(standing.plan_at(Micros(100)), None);
        assert_eq!(given(&[plan("paid", None)]).plan_at(Micros(i64::MAX)), Some("paid"));
    }

    #[test]
    fn a_plan_that_was_replaced_is_remembered_with_when_it_last_counted() {
        let (mut standing, mut former) = (Standing::default(), FormerPlans::default());
        let events = [(10, plan("paid", None)), (20, plan("trial", Some(30))), (40, plan("free", None))];
        for (at, event) in events {
            former.apply(&standing, &event, Micros(at));
            let _ = standing.apply(&event);
        }
        former.apply(&standing, &AccountEvent::Disabled(AccountDisabled {}), Micros(50));
        let each: Vec<_> = former.each().collect();
        assert_eq!(each, [(None, Micros(40)), (Some("paid"), Micros(20)), (Some("trial"), Micros(30))]);
    }

    #[test]
    fn an_account_of_which_nothing_was_said_is_written_as_nothing() {
        assert_eq!(serde_json::to_string(&Standing::default()).unwrap(), "{}");
    }
}
