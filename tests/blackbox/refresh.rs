//! Refresh tokens: rotation, grace, reuse, expiry.

use lockstep_api::{
    Code,
    account::{Devices, Refresh, Sessions, Tokens},
};
use lockstep_events::{
    Micros, Position, SessionId,
    log::{Contents, Filter},
};
use lockstepd::commands::account::caught_up;
use reqwest::StatusCode;

use crate::support::{Mode, Node, Person, assert_problem, body};

in_both_modes! {
    many threads:
    a_token_used_again_after_the_grace_ends_the_session,
    a_stolen_token_without_the_device_key_changes_nothing,
    an_unused_token_runs_out_after_thirty_days,
    what_is_not_a_refresh_token_is_refused_without_a_word,
}

over_three_nodes! {
    four_at_once,
    a_token_used_again_after_the_grace_ends_the_session,
    a_stolen_token_without_the_device_key_changes_nothing,
    an_unused_token_runs_out_after_thirty_days,
}

async fn kinds(node: &Node) -> Vec<String> {
    let log = &node.running().server.log;
    let events = log.read_all(Position::ZERO, 1000, &Filter::default(), Contents::No).await.unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

async fn four_at_once(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let token = &person.tokens.refresh_token;
    let (a, b, c, d) = tokio::join!(
        person.refresh(&node, token),
        person.refresh(&node, token),
        person.refresh(&node, token),
        person.refresh(&node, token)
    );
    let mut successors = Vec::new();
    for answer in [a, b, c, d] {
        successors.push(body::<Tokens>(answer, StatusCode::OK).await.refresh_token);
    }
    successors.dedup();
    assert_eq!(successors.len(), 1);
    assert_ne!(&successors[0], token);
    let refreshed = kinds(&node).await.into_iter().filter(|kind| kind == "session.refreshed").count();
    assert_eq!(refreshed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_refreshes_at_once_get_the_same_successor_embedded() {
    four_at_once(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_refreshes_at_once_get_the_same_successor_distributed() {
    four_at_once(Mode::Distributed).await;
}

async fn a_token_used_again_after_the_grace_ends_the_session(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let old = &person.tokens.refresh_token;
    let next: Tokens = body(person.refresh(&node, old).await, StatusCode::OK).await;
    node.clock.pass(50);
    let again: Tokens = body(person.refresh(&node, old).await, StatusCode::OK).await;
    assert_eq!(again.refresh_token, next.refresh_token);
    node.clock.pass(11);
    assert_problem(person.refresh(&node, old).await, Code::RefreshFailed).await;
    let mut kinds = kinds(&node).await;
    // The server may turn its own keys beside it.
    kinds.retain(|kind| kind.starts_with("session."));
    assert_eq!(kinds[kinds.len() - 2..], ["session.refresh_reused", "session.revoked"]);
    for _ in 0..3 {
        let answer = person.refresh(&node, &next.refresh_token).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
}

async fn a_stolen_token_without_the_device_key_changes_nothing(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let thief = Person { device_key: crate::support::person::random_key(), ..person.clone() };
    let token = &person.tokens.refresh_token;
    let next: Tokens = body(person.refresh(&node, token).await, StatusCode::OK).await;
    node.clock.pass(3600);
    assert_problem(thief.refresh(&node, token).await, Code::RefreshFailed).await;
    assert_problem(thief.refresh(&node, &next.refresh_token).await, Code::RefreshFailed).await;
    assert_eq!(person.refresh(&node, &next.refresh_token).await.status(), StatusCode::OK);
}

async fn an_unused_token_runs_out_after_thirty_days(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    node.clock.pass(29 * 24 * 3600);
    let next: Tokens = body(person.refresh(&node, &person.tokens.refresh_token).await, StatusCode::OK).await;
    node.clock.pass(30 * 24 * 3600);
    assert_problem(person.refresh(&node, &next.refresh_token).await, Code::Revoked).await;
}

async fn what_is_not_a_refresh_token_is_refused_without_a_word(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let unknown = lockstepd::auth::refresh::token(
        &node.running().server.keys,
        SessionId(uuid::Uuid::new_v4()),
        &[0; 32],
        0,
    );
    let access = person.tokens.access_token.clone();
    for token in [String::new(), "lsr_".to_owned(), "lsr_AAAA".to_owned(), access, unknown] {
        let signature = person.sign(&lockstep_api::account::proof_message(token.as_bytes()));
        let body = Refresh { refresh_token: token, signature };
        let answer = node.post("/v1/sessions/refresh", &body).send().await.unwrap();
        assert_problem(answer, Code::RefreshFailed).await;
    }
}

async fn seen(node: &Node, person: &Person) -> (Vec<Option<Micros>>, Vec<Micros>) {
    let devices: Devices = body(person.get(node, "/v1/devices").await, StatusCode::OK).await;
    let sessions: Sessions = body(person.get(node, "/v1/sessions").await, StatusCode::OK).await;
    let devices = devices.devices.iter().map(|device| device.last_seen).collect();
    (devices, sessions.sessions.iter().map(|session| session.last_seen).collect())
}

/// When a device and a session were last used is known from their refreshes, to the hour.
async fn last_seen(mode: Mode) {
    const HOUR: i64 = 3600;
    let node = Node::start(mode).await;
    let mut person = Person::register(&node).await;
    let _idle = person.enrol(&node).await;
    let (devices, sessions) = seen(&node, &person).await;
    assert!(
        devices
            .iter()
            .chain(&sessions.iter().copied().map(Some).collect::<Vec<_>>())
            .all(|at| { at.is_some_and(|at| at.0 > 0 && at.seconds() % HOUR == 0) })
    );
    node.clock.pass(5 * HOUR);
    let token = person.tokens.refresh_token.clone();
    person.tokens = body(person.refresh(&node, &token).await, StatusCode::OK).await;
    caught_up(&node.running().server).await.unwrap();
    let (later, later_sessions) = seen(&node, &person).await;
    let moved = |before: Micros, after: Micros| (after.seconds() - before.seconds()) / HOUR;
    assert!((5..=6).contains(&moved(devices[0].unwrap(), later[0].unwrap())), "{devices:?} {later:?}");
    assert_eq!(devices[1], later[1], "the other one was not used");
    assert_eq!(later_sessions, later.into_iter().map(Option::unwrap).collect::<Vec<_>>());
}

#[tokio::test]
async fn devices_and_sessions_show_when_they_were_last_refreshed_to_the_hour_embedded() {
    last_seen(Mode::Embedded).await;
}

#[tokio::test]
async fn devices_and_sessions_show_when_they_were_last_refreshed_to_the_hour_distributed() {
    last_seen(Mode::Distributed).await;
}
