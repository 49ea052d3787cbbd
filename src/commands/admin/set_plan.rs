//! Another plan: by an administrator, or by what the biller says.

use lockstep_events::{
    Micros, Word,
    event::{AccountEvent, PlanSet, PlanSource},
    standing::Standing,
};

use super::act::{Act, AdminError, Change, Done};

/// Another plan for the account of the act.
pub struct SetPlan {
    /// Its name.
    pub plan: String,
    /// When it ends.
    pub until: Option<Micros>,
}

fn decide(
    standing: &Standing,
    wanted: &SetPlan,
    plan: Option<Word>,
    now: Micros,
) -> Result<Change, AdminError> {
    let Some(plan) = plan else {
        return Err(AdminError::Invalid("plan: the configuration has no such plan"));
    };
    if wanted.until.is_some_and(|until| until <= now) {
        return Err(AdminError::Invalid("until: this time has passed"));
    }
    let held = standing.plan.as_ref();
    if held.is_some_and(|held| plan == *held.plan && held.until == wanted.until) {
        return Err(AdminError::Illegal("the account has this plan already"));
    }
    let set = PlanSet { plan, until: wanted.until, source: PlanSource::Admin, as_of: None };
    Ok(Change::of(AccountEvent::PlanSet(set)))
}

impl SetPlan {
    /// Sets it.
    ///
    /// # Errors
    /// [`AdminError`]
    pub async fn run(self, act: &Act<'_>) -> Result<Done, AdminError> {
        let plan = act.server.quotas.plans.named(&self.plan);
        let now = act.server.clock.now();
        act.change(|standing, _| decide(standing, &self, plan.clone(), now), None).await
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::{standing::HeldPlan, word};

    use super::*;

    const NOW: Micros = Micros(100);

    fn wanted(until: Option<i64>) -> SetPlan {
        SetPlan { plan: "paid".into(), until: until.map(Micros) }
    }

    fn paid() -> Option<Word> {
        Some(word!("paid"))
    }

    #[test]
    fn a_plan_is_given_until_a_time() {
        let change = decide(&Standing::default(), &wanted(Some(200)), paid(), NOW).unwrap();
        assert!(matches!(change.event, AccountEvent::PlanSet(set) if set.until == Some(Micros(200))));
    }

    #[test]
    fn illegal_transitions_are_refused() {
        assert!(decide(&Standing::default(), &wanted(None), None, NOW).is_err());
        assert!(decide(&Standing::default(), &wanted(Some(100)), paid(), NOW).is_err());
        let plan = HeldPlan { plan: "paid".into(), until: None, source: PlanSource::Billing };
        let holding = Standing { plan: Some(plan), ..Standing::default() };
        assert!(decide(&holding, &wanted(None), paid(), NOW).is_err());
        assert!(decide(&holding, &wanted(Some(200)), paid(), NOW).is_ok());
    }
}
