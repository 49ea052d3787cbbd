//! What becomes of a deletion by an administrator.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lockstep_api::{
    Code,
    privacy::{Erase, ErasureDue},
};
use lockstep_events::{
    AccountId, Clock, EventId, StreamId,
    event::{AskedBy, Role},
    testing::HookedLog,
};
use lockstepd::{
    commands::{
        admin::{Act, set_role::SetRole},
        erase::{Desk, EraseError, Erasure, ErasureState, RequestErasure},
        facts::Actor,
    },
    config::Layer,
    erasure, roll,
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    in_both_modes,
    office::{WHY, first_admin, head, why},
    support::{Mode, Node, Person, assert_problem, body},
};

in_both_modes! {
    a_deletion_disables_at_once_and_erases_for_good_when_its_time_has_come;
    enabling_an_account_calls_its_deletion_off_until_it_begins;
    enabling_an_account_leaves_the_erasure_that_its_owner_asked_for;
    nobody_on_the_roll_is_erased_before_the_role_is_taken;
    who_gets_a_role_while_their_erasure_is_asked_for_has_the_one_or_the_other;
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

async fn enabling_an_account_leaves_the_erasure_that_its_owner_asked_for(mode: Mode) {
    let node = Node::start_with(mode, soon()).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let request = node.post("/v1/me/erasure", &Erase { account: ada.account });
    let request = request.bearer_auth(&ada.tokens.access_token).header("idempotency-key", "k");
    let asked: ErasureDue = body(request.send().await.unwrap(), StatusCode::ACCEPTED).await;
    let server = &node.running().server;
    for verb in ["disable", "enable", "delete", "enable"] {
        admin.acts(&node, ada.account, verb, &why()).await;
        let found = Erasure::of(&*server.log, ada.account).await.unwrap().state;
        assert_eq!(found, ErasureState::Due(asked.due_at), "{verb}");
        let waits = server.erasures.find(ada.account).await.unwrap().unwrap();
        assert_eq!(waits.due_at, asked.due_at, "{verb}");
    }
    pass(&node, ada.account).await;
    let stone = server.reads.account(ada.account).await.unwrap().unwrap();
    assert!(stone.erased_at.is_some());
}

/// The role is given right after somebody has looked that there is none.
async fn who_gets_a_role_while_their_erasure_is_asked_for_has_the_one_or_the_other(mode: Mode) {
    let node = Node::start_with(mode, soon()).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let server = Arc::clone(&node.running().server);
    let (granting, given) = (Arc::clone(&server), AtomicBool::new(false));
    let (by, account) = (Actor { account: admin.account, device: admin.device }, ada.account);
    let log = HookedLog::new(Arc::clone(&server.log)).looked(move |stream, subject| {
        let now =
            (stream, subject) == (StreamId::SYSTEM, roll::SUBJECT) && !given.swap(true, Ordering::SeqCst);
        let server = Arc::clone(&granting);
        Box::pin(async move {
            if now {
                let act = Act { server: &server, by, account, reason: WHY };
                SetRole { role: Role::Auditor }.run(&act).await.unwrap();
            }
            Ok(())
        })
    });
    let desk = Desk { log: Arc::new(log), ..server.desk() };
    let request = RequestErasure {
        account,
        actor: Some(Actor { account, device: ada.device }),
        by: AskedBy::Person,
        reason: None,
        due_at: node.clock.now().plus_seconds(3600),
        event_id: EventId(Uuid::new_v4()),
    };
    let asked = request.run(&desk).await;
    assert!(matches!(asked, Err(EraseError::OnRoll)), "{asked:?}");
    assert_eq!(Erasure::of(&*server.log, account).await.unwrap().state, ErasureState::None);
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
