//! What a biller says, over HTTP.

use lockstep_api::{Code, admin::BillingEvent};
use lockstep_events::{AccountId, Clock, Micros};
use lockstepd::{
    billing::{HmacBiller, TOLERANCE_S},
    config::Layer,
};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    ending::pass,
    in_both_modes,
    office::{first_admin, head, why},
    over_three_nodes,
    support::{Mode, Node, Person, assert_problem},
};

const KEY: &str = "a key that only the biller has";

in_both_modes! {
    what_the_biller_signs_is_applied_once_and_in_its_order;
    what_the_biller_did_not_sign_changes_nothing;
    a_bill_of_a_time_to_come_is_refused_and_hides_no_later_one;
    a_bill_for_an_account_that_was_erased_is_refused_and_writes_nothing;
    the_same_bill_sent_many_times_at_once_is_one_event;
}

over_three_nodes! {
    the_same_bill_sent_many_times_at_once_is_one_event;
}

async fn billed(mode: Mode) -> Node {
    Node::start_with(mode, Layer { billing_secret: Some(KEY.into()), ..Layer::default() }).await
}

fn event(account: AccountId, id: &str, plan: &str, at: i64) -> BillingEvent {
    BillingEvent { id: id.into(), account, plan: plan.into(), until: None, at: Micros(at) }
}

async fn send(node: &Node, body: &[u8], signature: &str) -> Response {
    let request = node.request("POST", "/v1/billing/events").header("content-type", "application/json");
    request.header("lockstep-signature", signature).body(body.to_vec()).send().await.unwrap()
}

async fn bill(node: &Node, event: &BillingEvent) -> Response {
    let body = serde_json::to_vec(event).unwrap();
    let signature = HmacBiller::new(KEY).sign(&body, node.clock.now().seconds());
    send(node, &body, &signature).await
}

async fn what_the_biller_signs_is_applied_once_and_in_its_order(mode: Mode) {
    let node = billed(mode).await;
    let ada = Person::register(&node).await;
    let first = event(ada.account, "evt_1", "paid", 10);
    assert_eq!(bill(&node, &first).await.status(), StatusCode::NO_CONTENT);
    ada.until_plan(&node, "paid").await;
    assert_eq!(bill(&node, &event(ada.account, "evt_2", "free", 20)).await.status(), StatusCode::NO_CONTENT);
    ada.until_plan(&node, "free").await;
    let before = head(&node, ada.account).await;
    // Replayed, late, and contradicting: nothing changes.
    assert_eq!(bill(&node, &first).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(bill(&node, &event(ada.account, "evt_0", "paid", 15)).await.status(), StatusCode::NO_CONTENT);
    let other = event(ada.account, "evt_1", "standard", 30);
    assert_problem(bill(&node, &other).await, Code::PreconditionFailed).await;
    let nobody = event(AccountId(Uuid::new_v4()), "evt_9", "paid", 40);
    assert_problem(bill(&node, &nobody).await, Code::NotFound).await;
    assert_problem(bill(&node, &event(ada.account, "evt_3", "gold", 50)).await, Code::InvalidField).await;
    assert_eq!(head(&node, ada.account).await, before);
    assert_eq!(ada.plan(&node).await.plan, "free");
}

async fn what_the_biller_did_not_sign_changes_nothing(mode: Mode) {
    let node = billed(mode).await;
    let ada = Person::register(&node).await;
    let before = head(&node, ada.account).await;
    let body = serde_json::to_vec(&event(ada.account, "evt_1", "paid", 10)).unwrap();
    let (biller, now) = (HmacBiller::new(KEY), node.clock.now().seconds());
    let other = serde_json::to_vec(&event(ada.account, "evt_1", "paid", 11)).unwrap();
    let wrong = [
        String::new(),
        HmacBiller::new("another key").sign(&body, now),
        biller.sign(&other, now),
        biller.sign(&body, now - TOLERANCE_S - 60),
        biller.sign(&body, now + TOLERANCE_S + 60),
    ];
    for signature in wrong {
        assert_problem(send(&node, &body, &signature).await, Code::Unauthenticated).await;
    }
    // Recorded and sent again when its time is over.
    let recorded = biller.sign(&body, now);
    node.clock.pass(TOLERANCE_S + 60);
    assert_problem(send(&node, &body, &recorded).await, Code::Unauthenticated).await;
    assert_eq!(head(&node, ada.account).await, before);
    let without = Node::start(mode).await;
    for node in [&node, &without] {
        let unsigned = node.request("POST", "/v1/billing/events").header("content-type", "application/json");
        assert_problem(unsigned.body(body.clone()).send().await.unwrap(), Code::InvalidHeader).await;
    }
    assert_problem(bill(&without, &event(ada.account, "evt_1", "paid", 10)).await, Code::NotFound).await;
}

async fn a_bill_of_a_time_to_come_is_refused_and_hides_no_later_one(mode: Mode) {
    let node = billed(mode).await;
    let ada = Person::register(&node).await;
    let now = node.clock.now();
    for at in [now.plus_seconds(TOLERANCE_S + 60), Micros(i64::MAX)] {
        let early = event(ada.account, "evt_1", "paid", at.0);
        assert_problem(bill(&node, &early).await, Code::InvalidField).await;
    }
    assert_eq!(
        bill(&node, &event(ada.account, "evt_2", "paid", now.0)).await.status(),
        StatusCode::NO_CONTENT
    );
    ada.until_plan(&node, "paid").await;
}

async fn a_bill_for_an_account_that_was_erased_is_refused_and_writes_nothing(mode: Mode) {
    let options = Layer { billing_secret: Some(KEY.into()), erasure_wait_hours: Some(1), ..Layer::default() };
    let node = Node::start_with(mode, options).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    admin.acts(&node, ada.account, "delete", &why()).await;
    let leaving = bill(&node, &event(ada.account, "evt_1", "paid", 10)).await;
    assert_eq!(leaving.status(), StatusCode::NO_CONTENT, "it can be called off still");
    pass(&node, ada.account).await;
    let before = head(&node, ada.account).await;
    assert_problem(bill(&node, &event(ada.account, "evt_2", "paid", 11)).await, Code::NotFound).await;
    assert_eq!(head(&node, ada.account).await, before);
    // What was said before is known still.
    let again = bill(&node, &event(ada.account, "evt_1", "paid", 10)).await;
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
}

async fn the_same_bill_sent_many_times_at_once_is_one_event(mode: Mode) {
    let node = billed(mode).await;
    let ada = Person::register(&node).await;
    let first = event(ada.account, "evt_1", "paid", 10);
    let answers = futures_util::future::join_all((0..16).map(|_| bill(&node, &first))).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::NO_CONTENT), "{answers:?}");
    let set = ada.activity(&node).await.iter().filter(|item| item.kind == "account.plan_set").count();
    assert_eq!(set, 1);
}

impl Person {
    /// Waits until the read models have it.
    async fn until_plan(&self, node: &Node, plan: &str) {
        let tail = node.running().server.log.tail().await.unwrap().position;
        let progress = &node.running().server.progress;
        progress.wait_for(tail, std::time::Duration::from_secs(60)).await.unwrap();
        assert_eq!(self.plan(node).await.plan, plan);
    }
}
