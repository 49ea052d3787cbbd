//! What becomes of a deletion by an administrator.

use lockstep_api::{Code, privacy::Erase};
use lockstep_events::AccountId;
use lockstepd::{config::Layer, erasure};

use crate::{
    in_both_modes,
    office::{WHY, first_admin, head, why},
    support::{Mode, Node, Person, assert_problem},
};

in_both_modes! {
    a_deletion_disables_at_once_and_erases_for_good_when_its_time_has_come;
    enabling_an_account_calls_its_deletion_off_until_it_begins;
    nobody_on_the_roll_is_erased_before_the_role_is_taken;
}

fn soon() -> Layer {
    Layer { erasure_wait_hours: Some(1), ..Layer::default() }
}

/// Lets an hour and the steps pass.
pub async fn pass(node: &Node, account: AccountId) {
    let server = &node.running().server;
    node.clock.pass(3600);
    for _ in 0..600 {
        node.clock.pass(200);
        // The node itself may have it in its hands.
        let _ = erasure::run_due(server).await;
        if server.erasures.find(account).await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not erased: {:?}", server.erasures.find(account).await.unwrap());
}

async fn a_deletion_disables_at_once_and_erases_for_good_when_its_time_has_come(mode: Mode) {
    let node = Node::start_with(mode, soon()).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    admin.acts(&node, ada.account, "delete", &why()).await;
    assert_problem(ada.get(&node, "/v1/account").await, Code::Revoked).await;
    let server = &node.running().server;
    let due = server.erasures.find(ada.account).await.unwrap().unwrap().due_at;
    admin.acts(&node, ada.account, "delete", &why()).await;
    assert_eq!(server.erasures.find(ada.account).await.unwrap().unwrap().due_at, due, "it is not put off");

    pass(&node, ada.account).await;
    let admin = admin.again(&node).await;
    let stone = server.reads.account(ada.account).await.unwrap().unwrap();
    assert!(stone.erased_at.is_some() && stone.credentials.is_empty());
    for verb in ["enable", "delete", "sessions/end"] {
        assert_problem(admin.act(&node, ada.account, verb, &why()).await, Code::NotFound).await;
    }
    assert_problem(ada.login(&node, &ada.password, true).await, Code::LoginFailed).await;
    // The name is free again.
    let anew = Person::start(&node, &ada.name).await.send(&node).await;
    assert_ne!(anew.account, ada.account);
}

async fn enabling_an_account_calls_its_deletion_off_until_it_begins(mode: Mode) {
    let node = Node::start_with(mode, soon()).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    admin.acts(&node, ada.account, "delete", &why()).await;
    admin.acts(&node, ada.account, "enable", &why()).await;
    let server = &node.running().server;
    assert_eq!(server.erasures.find(ada.account).await.unwrap(), None);
    node.clock.pass(2 * 3600);
    erasure::run_due(server).await.unwrap();
    let (admin, ada) = (admin.again(&node).await, ada.again(&node).await);
    let activity = ada.activity(&node).await;
    for kind in ["account.erasure_requested", "account.erasure_cancelled"] {
        let item = activity.iter().find(|item| item.kind == kind).unwrap();
        assert_eq!((item.reason.as_deref(), item.actor), (Some(WHY), Some(admin.account)), "{kind}");
    }
    // Once its time has come, it is too late.
    admin.acts(&node, ada.account, "delete", &why()).await;
    node.clock.pass(3601);
    let admin = admin.again(&node).await;
    let late = admin.act(&node, ada.account, "enable", &why()).await;
    assert!(late.status().is_client_error(), "{}", late.status());
}

async fn nobody_on_the_roll_is_erased_before_the_role_is_taken(mode: Mode) {
    let node = Node::start_with(mode, soon()).await;
    let admin = first_admin(&node).await;
    let before = head(&node, admin.account).await;
    let request = node.post("/v1/me/erasure", &Erase { account: admin.account });
    let request = request.bearer_auth(&admin.tokens.access_token).header("idempotency-key", "k");
    assert_problem(request.send().await.unwrap(), Code::PreconditionFailed).await;
    assert_eq!(head(&node, admin.account).await, before);
}
