//! An administrator disables an account while its owner comes in by the recovery code: nobody is in afterwards.

use lockstep_api::{Code, account::Tokens};
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::{
    still::with_its_session_held_up,
    support::{Mode, Node, Person, assert_problem, body},
    ways::{begin_recovery, set_recovery},
};

in_both_modes! {
    many threads:
    a_recovery_that_races_a_disabling_leaves_nobody_in,
}

const SECRET: [u8; 32] = [7; 32];

async fn first_admin(node: &Node) -> Person {
    let admin = Person::register(node).await;
    let token = node.running().bootstrap.as_ref().unwrap().token.clone();
    let named = admin.post(node, "/v1/admin/bootstrap", &json!({ "token": token })).await;
    assert_eq!(named.status(), StatusCode::OK);
    admin
}

async fn with_code(node: &Node) -> Person {
    let person = Person::register(node).await;
    assert_eq!(set_recovery(node, &person, SECRET, 1).await.status(), StatusCode::NO_CONTENT);
    person
}

async fn disable(node: &Node, admin: &Person, person: &Person) {
    let path = format!("/v1/admin/accounts/{}/disable", person.account);
    let done = admin.post(node, &path, &json!({ "reason": "ticket 12" })).await;
    assert_eq!(done.status(), StatusCode::OK);
}

async fn is_out(node: &Node, person: &Person, recovered: Response) {
    if !recovered.status().is_success() {
        return assert_problem(recovered, Code::AccountDisabled).await;
    }
    let tokens: Tokens = body(recovered, StatusCode::CREATED).await;
    let person = Person { tokens, ..person.clone() };
    assert_problem(person.get(node, "/v1/account").await, Code::Revoked).await;
}

async fn a_recovery_that_races_a_disabling_leaves_nobody_in(mode: Mode) {
    let node = Node::start(mode).await;
    let admin = first_admin(&node).await;
    for _ in 0..8 {
        let person = with_code(&node).await;
        let (new, finish) = begin_recovery(&node, &person, SECRET, "a new one", 2).await;
        let finish = node.post("/v1/recovery/finish", &finish);
        let (recovered, ()) = tokio::join!(finish.send(), disable(&node, &admin, &person));
        is_out(&node, &new, recovered.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_whose_session_is_stored_late_opens_nothing_when_the_account_was_disabled_meanwhile() {
    let node = Node::start(Mode::Distributed).await;
    let (admin, person) = (first_admin(&node).await, with_code(&node).await);
    let (new, finish) = begin_recovery(&node, &person, SECRET, "a new one", 2).await;
    let recovering = node.post("/v1/recovery/finish", &finish).send();
    let recovered = with_its_session_held_up(&node, recovering, disable(&node, &admin, &person)).await;
    let recovered = recovered.unwrap();
    assert_problem(recovered, Code::AccountDisabled).await;
    // The code is not used up, and the old password stays.
    assert_problem(person.login(&node, &person.password, true).await, Code::AccountDisabled).await;
    drop(new);
}
