//! A node whose clock is not that of the database, by which all nodes could go: it says so, and does not serve.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Mode, Node};

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
