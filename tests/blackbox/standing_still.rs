//! The read models of vaults stand still at an event that they cannot fold: whoever does not need them is served, and
//! what they decide about their account has effect.

use std::time::Duration;

use lockstep_api::{Code, account::LoggedIn};
use lockstep_projections::{Family, WaitError};
use reqwest::StatusCode;

use crate::{
    support::{Mode, Node, Person, assert_problem, body},
    surface::stop_vaults,
    ways::change_password,
};

in_both_modes! {
    many threads:
    people_log_in_enrol_and_revoke_though_the_read_models_of_vaults_stand_still,
}

async fn logged_in(node: &Node, person: Person) -> Person {
    let answer = person.login(node, &person.password, true).await;
    let again: LoggedIn = body(answer, StatusCode::OK).await;
    Person { tokens: again.tokens.unwrap(), ..person }
}

async fn people_log_in_enrol_and_revoke_though_the_read_models_of_vaults_stand_still(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let lost = person.enrol(&node).await;
    stop_vaults(&node, &person).await;
    let server = &node.running().server;
    let end = server.log.tail().await.unwrap().position;
    let stopped = server.progress.wait_for_family(Family::Vault, end, Duration::from_secs(60)).await;
    assert!(matches!(stopped, Err(WaitError::Stopped { .. })), "{stopped:?}");

    let person = logged_in(&node, person).await;
    person.enrol(&node).await;
    assert_eq!(person.revoke(&node, lost.device).await.status(), StatusCode::NO_CONTENT);
    assert_problem(lost.get(&node, "/v1/account").await, Code::Revoked).await;
    assert_problem(lost.refresh(&node, &lost.tokens.refresh_token).await, Code::Revoked).await;
    let person = change_password(&node, &person, "another password of theirs", 2).await;
    let person = logged_in(&node, person).await;

    // Who reads their rows is not told what is old.
    let snapshot = person.get(&node, &format!("/v1/vaults/{}/snapshot", person.vault)).await;
    assert_problem(snapshot, Code::ReadsUnavailable).await;
}
