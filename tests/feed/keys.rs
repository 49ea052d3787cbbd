//! The keys that sign access tokens, turned and revoked beside three running servers, and a server that cannot read them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_api::{
    Code,
    account::Tokens,
    live::{ClientMessage, ServerMessage, close},
    sync::Push,
};
use lockstep_events::{
    BatchId, Clock, Event, Position, StreamId,
    event::SystemEvent,
    log::{Contents, Filter},
};
use lockstepd::{
    auth::{credentials::KeyState, signing_keys::KeySet},
    commands::rotate_key::OperatorKeys,
    config::Layer,
};
use rand::rngs::OsRng;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::{
    freshness::{Way, until},
    socket::{Heard, Socket, all},
    support::{Mode, Node, Person, assert_problem, body},
};

/// Requests of the load, in all and a second.
const LOAD: u64 = 1_000;
const RATE: u64 = 200;
const WORKERS: u64 = 8;

/// The key that signed a token, as its header names it.
pub fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// What `lockstepd keys` works with, beside this node.
pub fn operator(node: &Node) -> OperatorKeys<'_> {
    let server = &node.running().server;
    let (store, log) = (&*server.credentials, &*server.log);
    OperatorKeys { store, log, keys: &server.keys, now: node.clock.now() }
}

async fn three_nodes() -> [Node; 3] {
    let first = Node::start(Mode::Distributed).await;
    let (second, third) = (first.second().await, first.second().await);
    [first, second, third]
}

/// The same person with tokens that are made now, by this node.
async fn renewed(node: &Node, person: &Person) -> Person {
    let answer = person.refresh(node, &person.tokens.refresh_token).await;
    Person { tokens: body::<Tokens>(answer, StatusCode::OK).await, ..person.clone() }
}

fn of_state(set: &KeySet, state: KeyState) -> String {
    set.rows().iter().find(|row| row.state == state).unwrap().kid.clone()
}

/// Which keys a node publishes.
async fn published(node: &Node) -> Vec<String> {
    let answer = node.get("/.well-known/jwks.json").send().await.unwrap();
    let set: Value = body(answer, StatusCode::OK).await;
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Tokens of this person that the new key has signed, once this node signs with it.
async fn signed_by(node: &Node, mut person: Person, key: &str) -> Person {
    let until = Instant::now() + Duration::from_secs(30);
    while kid(&person.tokens.access_token) != key {
        assert!(Instant::now() < until, "this node goes on signing with the key from before");
        sleep(Duration::from_millis(50)).await;
        person = renewed(node, &person).await;
    }
    person
}

/// Reads on all nodes in turn, and renews now and then; what is not answered with 200 is an error.
async fn load(nodes: &[Node; 3], mut person: Person, done: &AtomicU64) {
    let mut pace = interval(Duration::from_millis(1_000 * WORKERS / RATE));
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut turn = 0;
    while done.fetch_add(1, Ordering::SeqCst) < LOAD {
        pace.tick().await;
        turn += 1;
        if turn % 10 == 0 {
            person = renewed(&nodes[turn / 10 % 3], &person).await;
        }
        let answer = person.get(&nodes[turn % 3], "/v1/account").await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jwt_key_rotation_live() {
    let nodes = three_nodes().await;
    let mut people = Vec::new();
    for _ in 0..WORKERS {
        people.push(Person::register(&nodes[0]).await);
    }
    let before = people[0].clone();
    let done = AtomicU64::new(0);
    let working = people.into_iter().map(|person| load(&nodes, person, &done));
    let turning = async {
        while done.load(Ordering::SeqCst) < LOAD / 3 {
            sleep(Duration::from_millis(10)).await;
        }
        operator(&nodes[0]).rotate(&mut OsRng).await.unwrap()
    };
    let (began, (set, _)) = (Instant::now(), tokio::join!(turning, futures_util::future::join_all(working)));
    println!("{LOAD} requests in {:?}, no error", began.elapsed());
    let (current, previous) = (of_state(&set, KeyState::Current), of_state(&set, KeyState::Previous));
    assert_eq!(kid(&before.tokens.access_token), previous);
    for node in &nodes {
        let after = signed_by(node, Person::register(node).await, &current).await;
        for other in &nodes {
            assert_eq!(after.get(other, "/v1/account").await.status(), StatusCode::OK);
            assert_eq!(before.get(other, "/v1/account").await.status(), StatusCode::OK, "until it expires");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_by_three_nodes_within_a_second_and_what_others_signed_goes_on() {
    let nodes = three_nodes().await;
    let before = Person::register(&nodes[0]).await;
    let set = operator(&nodes[0]).rotate(&mut OsRng).await.unwrap();
    let (current, previous) = (of_state(&set, KeyState::Current), of_state(&set, KeyState::Previous));
    assert_eq!(kid(&before.tokens.access_token), previous);
    let after = signed_by(&nodes[0], Person::register(&nodes[0]).await, &current).await;
    let mut sockets = Vec::new();
    for node in &nodes {
        assert_eq!(before.get(node, "/v1/account").await.status(), StatusCode::OK);
        let device = signed_by(node, after.enrol(node).await, &current).await;
        sockets.push(Socket::hello(node, &device, &[]).await);
    }
    let mut old = Socket::hello(&nodes[1], &before, &[]).await;
    operator(&nodes[0]).revoke(&previous, &mut OsRng).await.unwrap();
    let revoked = Instant::now();
    let refused = async |node| {
        until(revoked, StatusCode::UNAUTHORIZED, async || before.get(node, "/v1/account").await).await
    };
    let refusals = nodes.iter().map(refused);
    let refusals = futures_util::future::join_all(refusals).await;
    for (node, (took, answer)) in nodes.iter().zip(refusals) {
        assert_problem(answer, Code::Unauthenticated).await;
        assert!(took <= Duration::from_secs(1), "{took:?}");
        assert_eq!(after.get(node, "/v1/account").await.status(), StatusCode::OK, "another key");
        assert!(!published(node).await.contains(&previous));
    }
    old.says_bye(close::TOKEN_EXPIRED).await;
    for mut socket in sockets {
        socket.send(&ClientMessage::Sub(all(after.vault))).await;
        let heard = socket.next_but_pings().await;
        assert!(matches!(heard, Heard::Message(ServerMessage::Subbed { .. })), "{heard:?}");
    }
}

/// A key that signed a moment ago verifies on, however often keys are turned meanwhile.
async fn what_a_key_has_signed_is_taken_until_it_expires(mode: Mode) {
    let node = Node::start(mode).await;
    let before = Person::register(&node).await;
    let first = kid(&before.tokens.access_token);
    operator(&node).rotate(&mut OsRng).await.unwrap();
    let set = operator(&node).rotate(&mut OsRng).await.unwrap();
    let set = operator(&node).revoke(&of_state(&set, KeyState::Current), &mut OsRng).await.unwrap();
    signed_by(&node, Person::register(&node).await, &of_state(&set, KeyState::Current)).await;
    assert!(published(&node).await.contains(&first));
    assert_eq!(before.get(&node, "/v1/account").await.status(), StatusCode::OK);
    // What it has signed has expired: the next turn forgets it.
    node.clock.pass(1_300);
    let set = operator(&node).rotate(&mut OsRng).await.unwrap();
    assert!(set.rows().iter().all(|row| row.kid != first));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_has_signed_is_taken_until_it_expires_however_often_keys_turn_embedded() {
    what_a_key_has_signed_is_taken_until_it_expires(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_has_signed_is_taken_until_it_expires_however_often_keys_turn_distributed() {
    what_a_key_has_signed_is_taken_until_it_expires(Mode::Distributed).await;
}

/// What the log says that operators did to keys.
async fn acts(node: &Node) -> Vec<String> {
    let filter = Filter { stream_kind: None, kinds: vec!["system.operator_acted".to_owned()] };
    let log = &node.running().server.log;
    let events = log.read_all(Position::ZERO, 100, &filter, Contents::No).await.unwrap();
    assert!(events.iter().all(|event| event.stream == StreamId::SYSTEM));
    let command = |event: &lockstep_events::Recorded| match event.event().unwrap() {
        Event::System(SystemEvent::OperatorActed(acted)) => acted.command.to_string(),
        other => panic!("{other:?}"),
    };
    events.iter().map(command).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_key_is_an_event_whichever_key_it_was_and_the_same_change_only_once() {
    let node = Node::start(Mode::Embedded).await;
    let set = operator(&node).rotate(&mut OsRng).await.unwrap();
    let mut expected = vec!["keys rotate".to_owned()];
    for state in [KeyState::Previous, KeyState::Next, KeyState::Current] {
        let kid = of_state(&set, state);
        for _ in 0..2 {
            operator(&node).revoke(&kid, &mut OsRng).await.unwrap();
        }
        expected.push(format!("keys revoke {kid}"));
    }
    assert_eq!(acts(&node).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_read_the_keys_refuses_writes_after_ten_seconds_and_everything_after_thirty() {
    let first = Node::start(Mode::Distributed).await;
    let (mut way, credentials) = Way::to(first.running().server.config.credentials.expose()).await;
    let changed = Layer { credentials: Some(credentials.as_str().into()), ..Layer::default() };
    let cut_off = first.second_with(changed).await;
    let person = Person::register(&first).await;
    let epoch = person.epoch(&first).await;
    let changes = format!("/v1/streams/{}/changes", StreamId::from(person.vault));
    let read = async || person.get(&cut_off, &changes).await;
    let write = async || {
        let (batch_id, items) = (BatchId(Uuid::new_v4()), vec![person.entry(b"one")]);
        let push = Push { epoch, batch_id, items, groups: Vec::new(), reoffer: false };
        person.post(&cut_off, &format!("/v1/vaults/{}/versions", person.vault), &push).await
    };
    until(Instant::now(), StatusCode::OK, &read).await;
    let mut socket = Socket::hello(&cut_off, &person, &[]).await;
    let began = Instant::now();
    way.cut();
    assert_eq!(write().await.status(), StatusCode::OK, "nothing else of it needs that database");
    operator(&first).revoke(&kid(&person.tokens.access_token), &mut OsRng).await.unwrap();
    let (after, answer) = until(began, StatusCode::SERVICE_UNAVAILABLE, &write).await;
    assert_problem(answer, Code::CredentialsUnavailable).await;
    assert!((9..20).contains(&after.as_secs()), "{after:?}");
    let (after, answer) = until(began, StatusCode::SERVICE_UNAVAILABLE, &read).await;
    assert_problem(answer, Code::CredentialsUnavailable).await;
    assert!((29..60).contains(&after.as_secs()), "{after:?}");
    socket.says_bye(close::TOKEN_EXPIRED).await;
    // Back in touch it knows at once what it missed.
    way.restore().await;
    let (_, answer) = until(Instant::now(), StatusCode::UNAUTHORIZED, &read).await;
    assert_problem(answer, Code::Unauthenticated).await;
}
