//! A node whose clock is not that of the database, by which all nodes could go: it says so, does not serve, and decides
//! nothing that nothing takes back. Alone a node has one clock, and goes by it.

use std::time::{Duration, Instant};

use lockstep_api::{
    account::Tokens,
    sync::{Push, Pushed},
};
use lockstep_events::{BatchId, BlobHash, Clock, canonical::sha256, header::sign_version};
use lockstepd::{
    app::upkeep::{stores, sweep_credentials},
    auth::addresses::Standing,
    commands::account::caught_up,
    config::Layer,
    mail::worker,
};
use reqwest::StatusCode;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::support::{Mode, Node, Person, body, ways::press};

in_both_modes! {
    many threads:
    a_node_whose_clock_is_far_ahead_prunes_nothing_and_takes_no_turn,
    a_node_whose_clock_is_far_ahead_forgets_no_session,
    a_node_whose_clock_is_far_ahead_frees_no_address,
    a_node_that_starts_by_a_clock_that_is_far_ahead_moves_no_epoch_of_keys_on,
}

const DAY: i64 = 24 * 3600;

/// The status of the answer to whether it serves, and what that says of the clock.
async fn ready(node: &Node) -> (u16, Value) {
    let answer = node.get("/health/ready").send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json::<Value>().await.unwrap()["ports"]["clock"].take())
}

async fn becomes(node: &Node, status: u16, clock: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = ready(node).await;
        if found == (status, Value::from(clock)) {
            return;
        }
        assert!(Instant::now() < until, "it does not become {status} {clock}: {found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_wrong_is_not_ready_until_it_is_put_right() {
    let mut node = Node::start(Mode::Distributed).await;
    assert_eq!(ready(&node).await, (200, Value::from("ok")));
    for wrong in [40, -40] {
        node.clock.pass(wrong);
        becomes(&node, 503, "down").await;
        node.clock.pass(-wrong);
        becomes(&node, 200, "ok").await;
    }
    node.clock.pass(10);
    becomes(&node, 200, "degraded").await;

    node.clock.pass(3600);
    node.restart().await;
    assert_eq!(ready(&node).await, (503, Value::from("down")), "it is known before the first answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_ahead_begins_no_erasure_by_itself() {
    let node = Node::start(Mode::Distributed).await;
    let server = &node.running().server;
    let account = lockstep_events::AccountId(uuid::Uuid::new_v4());
    node.clock.pass(3600);
    becomes(&node, 503, "down").await;
    // Nobody asked: whoever looks at it takes it out.
    server.erasures.put(account, server.clock.now()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(server.erasures.find(account).await.unwrap().is_some());
    node.clock.pass(-3600);
    becomes(&node, 200, "ok").await;
    server.erasures.put(account, server.clock.now()).await.unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while server.erasures.find(account).await.unwrap().is_some() {
        assert!(Instant::now() < until, "nobody looks at it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_has_one_clock_and_is_ready_whatever_it_says() {
    let mut node = Node::start(Mode::Embedded).await;
    node.clock.pass(3600);
    node.restart().await;
    assert_eq!(ready(&node).await, (200, Value::from("ok")));
}

/// Pushes an entry with an old version of this content and a new one.
async fn replaced(node: &Node, person: &Person, old: &[u8]) {
    let (first, mut second) = (person.entry(old), person.entry(b"what is shown now"));
    second.header.entry = first.header.entry;
    second.header.parents = vec![first.header.version_id()];
    second.signature = sign_version(&person.device_key, &second.header.version_id());
    let (epoch, batch_id) = (person.epoch(node).await, BatchId(Uuid::new_v4()));
    let push = Push { epoch, batch_id, items: vec![first, second], groups: Vec::new(), reoffer: false };
    let path = format!("/v1/vaults/{}/versions", person.vault);
    let pushed: Pushed = body(person.post(node, &path, &push).await, StatusCode::OK).await;
    assert!(pushed.results.iter().all(|result| result.outcome.stands()), "{:?}", pushed.results);
}

async fn a_node_whose_clock_is_far_ahead_prunes_nothing_and_takes_no_turn(mode: Mode) {
    let node = Node::start_with(mode, Layer { retention_days: Some(10), ..Layer::default() }).await;
    let (person, server) = (Person::register(&node).await, &node.running().server);
    replaced(&node, &person, b"what was before").await;
    caught_up(server).await.unwrap();
    let has_old = async || {
        let hash = BlobHash(sha256(b"what was before"));
        !server.log.contents(person.vault.into(), &[hash]).await.unwrap().is_empty()
    };
    node.clock.pass(60 * DAY);
    stores(server).await.unwrap();
    assert_eq!(has_old().await, mode == Mode::Distributed);
    if mode == Mode::Distributed {
        node.clock.pass(-60 * DAY);
        stores(server).await.unwrap();
        assert!(has_old().await);
        let ahead = sqlx::query_scalar("SELECT count(*) FROM turns WHERE taken_at > $1");
        let ahead = ahead.bind(node.clock.now().plus_seconds(DAY).0);
        let mut database = PgConnection::connect(&node.database()).await.unwrap();
        let ahead: i64 = ahead.fetch_one(&mut database).await.unwrap();
        assert_eq!(ahead, 0);
    }
}

async fn a_node_whose_clock_is_far_ahead_forgets_no_session(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, server) = (Person::register(&node).await, &node.running().server);
    node.clock.pass(3000 * DAY);
    sweep_credentials(server, &mut None).await.unwrap();
    let is_kept = server.credentials.session(person.tokens.session).await.unwrap().is_some();
    assert_eq!(is_kept, mode == Mode::Distributed);
    if mode == Mode::Distributed {
        node.clock.pass(-3000 * DAY);
        let _: Tokens = body(person.refresh(&node, &person.tokens.refresh_token).await, StatusCode::OK).await;
    }
}

async fn a_node_whose_clock_is_far_ahead_frees_no_address(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, server) = (Person::register(&node).await, &node.running().server);
    let [old, new] = [(); 2].map(|()| format!("{}@example.org", Uuid::new_v4()));
    person.with_email(&node, &old).await;
    assert_eq!(person.name_email(&node, &new).await.status(), StatusCode::ACCEPTED);
    let link = node.letter(&new, "Confirm", 1).await.link();
    assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
    let is_held = async || server.ways.address(person.account, Standing::Former).await.unwrap().is_some();
    worker::sweep(server).await.unwrap();
    assert!(is_held().await);
    node.clock.pass(8 * DAY);
    worker::sweep(server).await.unwrap();
    assert_eq!(is_held().await, mode == Mode::Distributed);
}

async fn a_node_that_starts_by_a_clock_that_is_far_ahead_moves_no_epoch_of_keys_on(mode: Mode) {
    let mut node = Node::start(mode).await;
    let key_file = node.running().server.config.key_path();
    let before = std::fs::read(&key_file).unwrap();
    node.clock.pass(65 * DAY);
    node.restart().await;
    assert_eq!(std::fs::read(&key_file).unwrap() == before, mode == Mode::Distributed);
}
