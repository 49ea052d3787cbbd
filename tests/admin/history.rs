//! How long old versions keep their content: by the plan of their owner.

use std::time::{Duration, Instant};

use lockstep_api::{
    Code,
    admin::{AccountView, SetPlan},
    sync::{Push, PushItem, Pushed},
};
use lockstep_events::{BatchId, BlobHash, Clock, canonical::sha256, header::sign_version};
use lockstepd::{
    config::Layer,
    mail::{
        outbox::{REMEMBERED_S, Task},
        worker,
    },
    retention::{PruneReport, prune},
};
use reqwest::StatusCode;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    in_both_modes,
    office::{WHY, first_admin},
    support::{Mode, Node, Person, assert_problem, body, letters::letters},
};

in_both_modes! {
    a_free_and_a_paid_account_keep_different_spans_and_an_upgrade_counts_without_a_restart;
    history_outlasts_a_renewal_that_is_late_and_a_plan_that_the_configuration_lost;
    history_outlasts_a_plan_that_was_replaced_for_thirty_days_and_the_plan_says_until_when;
    whoever_will_lose_history_hears_it_once_by_letter_with_the_day_and_nobody_else_does;
}

const DAY: i64 = 24 * 3600;
const PLANS: &str =
    "free = { history_days = 10 }\npaid = { history_days = 100 }\never = { history_days = 0 }";

impl Person {
    /// Pushes an entry with an old version of this content and a new one.
    async fn replaces(&self, node: &Node, old: &[u8]) {
        let first = self.entry(old);
        let mut second = self.entry(b"what is shown now");
        second.header.entry = first.header.entry;
        second.header.parents = vec![first.header.version_id()];
        second.signature = sign_version(&self.device_key, &second.header.version_id());
        let items: Vec<PushItem> = vec![first, second];
        let (epoch, batch_id) = (self.epoch(node).await, BatchId(Uuid::new_v4()));
        let push = Push { epoch, batch_id, items, groups: Vec::new(), reoffer: false };
        let path = format!("/v1/vaults/{}/versions", self.vault);
        let pushed: Pushed = body(self.post(node, &path, &push).await, StatusCode::OK).await;
        assert!(pushed.results.iter().all(|result| result.outcome.stands()), "{:?}", pushed.results);
    }

    async fn still_has(&self, node: &Node, old: &[u8]) {
        let path = format!("/v1/vaults/{}/blobs/{}", self.vault, BlobHash(sha256(old)));
        assert_eq!(self.get(node, &path).await.bytes().await.unwrap(), old);
    }

    async fn has_no_more(&self, node: &Node, old: &[u8]) {
        let path = format!("/v1/vaults/{}/blobs/{}", self.vault, BlobHash(sha256(old)));
        assert_problem(self.get(node, &path).await, Code::NotFound).await;
    }
}

/// A round that saw so many entries: the read models follow the log.
async fn round(node: &Node, entries: u64) -> PruneReport {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let report = prune(&node.running().server).await.unwrap();
        if report.entries >= entries {
            return report;
        }
        assert!(Instant::now() < until, "{report:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_free_and_a_paid_account_keep_different_spans_and_an_upgrade_counts_without_a_restart(mode: Mode) {
    let options = Layer {
        plans: Some(PLANS.parse().unwrap()),
        default_plan: Some("free".into()),
        retention_days: Some(3),
        ..Layer::default()
    };
    let node = Node::start_with(mode, options).await;
    let admin = first_admin(&node).await;
    let [ada, bob, eve] =
        [Person::register(&node).await, Person::register(&node).await, Person::register(&node).await];
    let all = [(&ada, b"the old of ada"), (&bob, b"the old of bob"), (&eve, b"the old of eve")];
    for (person, old) in all {
        person.replaces(&node, old).await;
        assert_eq!(person.plan(&node).await.history_days, Some(10));
    }
    node.clock.pass(5 * DAY);
    assert_eq!(round(&node, 3).await.versions, 0, "the plan has more days than the option");
    let (admin, bob, eve) = (admin.again(&node).await, bob.again(&node).await, eve.again(&node).await);
    for (person, plan, days) in [(&bob, "paid", Some(100)), (&eve, "ever", None)] {
        let set = SetPlan { plan: plan.into(), until: None, reason: WHY.into() };
        admin.acts(&node, person.account, "plan", &set).await;
        assert_eq!(person.plan(&node).await.history_days, days);
    }
    // From here on the node's own round may be first: what counts is what is left.
    node.clock.pass(15 * DAY);
    let (ada, bob, eve) = (ada.again(&node).await, bob.again(&node).await, eve.again(&node).await);
    round(&node, 2).await;
    ada.has_no_more(&node, all[0].1).await;
    bob.still_has(&node, all[1].1).await;
    eve.still_has(&node, all[2].1).await;
    node.clock.pass(90 * DAY);
    let (bob, eve) = (bob.again(&node).await, eve.again(&node).await);
    round(&node, 2).await;
    bob.has_no_more(&node, all[1].1).await;
    eve.still_has(&node, all[2].1).await;
}

async fn history_outlasts_a_renewal_that_is_late_and_a_plan_that_the_configuration_lost(mode: Mode) {
    let options = |plans: &str| Layer {
        plans: Some(plans.parse().unwrap()),
        default_plan: Some("free".into()),
        ..Layer::default()
    };
    let mut node = Node::start_with(mode, options(PLANS)).await;
    let admin = first_admin(&node).await;
    let [late, lost] = [Person::register(&node).await, Person::register(&node).await];
    let until = node.clock.now().plus_seconds(30 * DAY);
    for (person, until) in [(&late, Some(until)), (&lost, None)] {
        let set = SetPlan { plan: "paid".into(), until, reason: WHY.into() };
        admin.acts(&node, person.account, "plan", &set).await;
    }
    let all = [(&late, b"the old of late"), (&lost, b"the old of lost")];
    for (person, old) in all {
        person.replaces(&node, old).await;
    }
    node.clock.pass(50 * DAY);
    assert_eq!(round(&node, 2).await.versions, 0);
    let (late, lost) = (late.again(&node).await, lost.again(&node).await);
    late.still_has(&node, all[0].1).await;
    lost.still_has(&node, all[1].1).await;
    node.restart_with(options("free = { history_days = 10 }")).await;
    node.clock.pass(200 * DAY);
    let (late, lost) = (late.again(&node).await, lost.again(&node).await);
    assert_eq!(lost.plan(&node).await.history_days, None);
    prune(&node.running().server).await.unwrap();
    for (person, old) in [(&late, all[0].1), (&lost, all[1].1)] {
        person.still_has(&node, old).await;
    }
}

async fn history_outlasts_a_plan_that_was_replaced_for_thirty_days_and_the_plan_says_until_when(mode: Mode) {
    let options =
        Layer { plans: Some(PLANS.parse().unwrap()), default_plan: Some("free".into()), ..Layer::default() };
    let mut node = Node::start_with(mode, options).await;
    let admin = first_admin(&node).await;
    let person = Person::register(&node).await;
    let set = async |node: &Node, admin: &Person, plan: &str| {
        let set = SetPlan { plan: plan.into(), until: None, reason: WHY.into() };
        admin.acts(node, person.account, "plan", &set).await;
    };
    set(&node, &admin, "paid").await;
    let old = b"the old of who paid";
    person.replaces(&node, old).await;
    assert_eq!(round(&node, 1).await.versions, 0);
    node.clock.pass(15 * DAY);
    let admin = admin.again(&node).await;
    set(&node, &admin, "free").await;
    let replaced = node.clock.now();
    // A node that starts learns it from the log.
    node.restart().await;
    round(&node, 1).await;
    let person = person.again(&node).await;
    person.still_has(&node, old).await;
    let plan = person.plan(&node).await;
    assert_eq!(
        (plan.plan.as_str(), plan.history_days, plan.history_days_then),
        ("free", Some(100), Some(10))
    );
    let until = plan.history_days_until.unwrap();
    assert!((replaced.0 - until.0 + 30 * DAY * 1_000_000).abs() < 60_000_000, "{until:?}");
    let shown = admin.looks(&node, &format!("/v1/admin/accounts/{}", person.account)).await;
    let shown: AccountView = body(shown, StatusCode::OK).await;
    assert_eq!((shown.history_days, shown.history_days_then), (Some(100), Some(10)));
    assert_eq!(shown.history_days_until, Some(until));
    node.clock.pass(31 * DAY);
    let person = person.again(&node).await;
    let plan = person.plan(&node).await;
    assert_eq!((plan.history_days, plan.history_days_until, plan.history_days_then), (Some(10), None, None));
    round(&node, 1).await;
    person.has_no_more(&node, old).await;
}

async fn whoever_will_lose_history_hears_it_once_by_letter_with_the_day_and_nobody_else_does(mode: Mode) {
    const SUBJECT: &str = "will be kept for a shorter time";
    let options =
        Layer { plans: Some(PLANS.parse().unwrap()), default_plan: Some("free".into()), ..Layer::default() };
    let node = Node::start_with(mode, options).await;
    let (admin, mut people) = (first_admin(&node).await, Vec::new());
    for plan in ["paid", "ever", "paid", "paid"] {
        let (person, email) = (Person::register(&node).await, format!("{}@example.org", Uuid::new_v4()));
        person.with_email(&node, &email).await;
        let set = SetPlan { plan: plan.into(), until: None, reason: WHY.into() };
        admin.acts(&node, person.account, "plan", &set).await;
        people.push((person, email));
    }
    // The third has no old version, and the fourth keeps the plan.
    for (number, (person, _)) in people.iter().enumerate().filter(|(number, _)| *number != 2) {
        person.replaces(&node, format!("the old of {number}").as_bytes()).await;
    }
    round(&node, 2).await;
    let set = SetPlan { plan: "free".into(), until: None, reason: WHY.into() };
    for (person, _) in &people[..3] {
        admin.acts(&node, person.account, "plan", &set).await;
    }
    round(&node, 2).await;
    for (person, email) in &people[..2] {
        let until = person.plan(&node).await.history_days_until.unwrap();
        let day = OffsetDateTime::from_unix_timestamp(until.seconds()).unwrap().date();
        let letter = node.letter(email, SUBJECT, 1).await;
        assert!(letter.text.contains(&format!("From {day} ")), "{}", letter.text);
        assert!(letter.text.contains("more than 10 days ago"), "{}", letter.text);
    }
    // Whoever renewed the plan before the letter went needs none.
    let (server, renewed) = (&node.running().server, people[3].0.account);
    let task = Task::History { account: renewed, until: server.clock.now() };
    worker::leave(server, Uuid::new_v4(), &task).await.unwrap();
    // Later rounds say nothing more, though what was done is forgotten after a week.
    for _ in 0..2 {
        node.clock.pass(10 * DAY);
        server.ways.sweep_tasks(server.clock.now().plus_seconds(-REMEMBERED_S)).await.unwrap();
        prune(server).await.unwrap();
    }
    // A letter to somebody else shows that the outbox has nothing before it.
    let other = Person::register(&node).await;
    other.name_email(&node, "other@example.org").await;
    node.letter("other@example.org", "Confirm", 1).await;
    let told = letters(&node.mail_folder()).into_iter().filter(|letter| letter.subject().contains(SUBJECT));
    let mut told: Vec<String> = told.map(|letter| letter.to().to_owned()).collect();
    told.sort();
    let mut expected = [people[0].1.clone(), people[1].1.clone()];
    expected.sort();
    assert_eq!(told, expected);
}
