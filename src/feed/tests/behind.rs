//! A log of which only the end can be read, and one that lacks what it had, though it has gone on since.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lockstep_events::{EventLog, Micros, Outcome, Position, StreamId, StreamKind};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Node, SOON, reaches};
use crate::{
    bus::{Bus, CommittedBatch},
    feed::testing::{Faults, new_event, some_batch, unit},
};

const STREAM: StreamId = StreamId(Uuid::from_u128(5));
/// No look at the tail comes in between.
const NEVER: Duration = Duration::from_hours(1);

impl Node {
    /// What another node writes, of which the bus says nothing.
    async fn written(&self, n: u128) -> Position {
        let written = self.log.append(&[unit(StreamKind::Vault, new_event(STREAM, n))], Micros(1)).await;
        let Ok([Outcome::Appended(placed)]) = written.as_deref() else { panic!("{written:?}") };
        placed[0].position
    }

    /// One event stands, and behind it what a primary committed and the standby that takes over never had.
    async fn ahead_of_its_log(&self) -> Position {
        let position = self.append(StreamKind::Vault, new_event(STREAM, 77)).await;
        reaches(&self.feed, position).await;
        self.bus.publish(some_batch(position.0, position.0 + 1));
        reaches(&self.feed, position.next()).await;
        position.next()
    }

    async fn ends(&self) {
        timeout(SOON, self.feed.ended()).await.expect("it goes on as if nothing had happened");
    }
}

async fn until(what: impl Fn() -> bool) {
    let met = async {
        while !what() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, met).await.expect("never");
}

#[tokio::test]
async fn a_node_that_sees_the_end_of_the_log_and_cannot_read_it_is_out_of_touch() {
    let node = Node::start(1, Faults { loss: 1.0, ..Faults::default() }).await;
    let first = node.written(1).await;
    reaches(&node.feed, first).await;
    node.log.set_unread(true);
    let position = node.written(2).await;
    until(|| !node.feed.ready()).await;
    until(|| {
        assert!(!node.feed.ready(), "it is ready, and does not know what has ended");
        node.feed.out_of_touch() > Duration::from_secs(1)
    })
    .await;
    assert_eq!(*node.feed.position().borrow(), first);
    node.log.set_unread(false);
    reaches(&node.feed, position).await;
    until(|| node.feed.ready() && node.feed.out_of_touch() < Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_node_that_saw_an_end_which_a_failover_lost_stays_in_touch() {
    let node = Node::start(1, Faults { loss: 1.0, ..Faults::default() }).await;
    let first = node.written(1).await;
    reaches(&node.feed, first).await;
    node.log.claim_tail(Position(first.0 + 5));
    until(|| node.log.claim_was_told()).await;
    // Reading for what was missing is one contact; the others are looks.
    for _ in 0..5 {
        let then = Instant::now();
        until(|| then.elapsed() > node.feed.out_of_touch()).await;
    }
    assert_eq!(*node.feed.position().borrow(), first);
}

#[tokio::test]
async fn a_feed_ends_when_the_log_was_away_and_what_it_lacks_has_been_overtaken() {
    let node = Node::start(1, Faults::default()).await;
    node.log.set_down(true);
    until(|| !node.feed.ready()).await;
    // Published by a node that writes still.
    node.bus.publish(some_batch(0, 2));
    reaches(&node.feed, Position(2)).await;
    for n in 77..=79 {
        node.written(n).await;
    }
    node.log.set_down(false);
    node.ends().await;
}

#[tokio::test]
async fn a_feed_ends_when_it_reads_on_in_a_log_that_lacks_what_it_had() {
    let node = Node::looking(NEVER, 1, Faults::default()).await;
    let ahead = node.ahead_of_its_log().await;
    node.written(78).await;
    let to = node.written(79).await;
    assert_eq!(to, ahead.next());
    node.bus.publish(Arc::new(CommittedBatch { after: ahead, to, events: Vec::new() }));
    node.ends().await;
}

#[tokio::test]
async fn a_feed_ends_when_it_hears_of_another_event_where_it_had_one() {
    let node = Node::looking(NEVER, 1, Faults::default()).await;
    let ahead = node.ahead_of_its_log().await;
    assert_eq!(node.append(StreamKind::Vault, new_event(STREAM, 78)).await, ahead);
    node.ends().await;
}

#[tokio::test]
async fn a_log_that_has_all_that_it_had_is_followed_on_after_it_was_away() {
    let node = Node::start(1, Faults { repeat: 1.0, ..Faults::default() }).await;
    for n in 1..=3 {
        let position = node.append(StreamKind::Vault, new_event(STREAM, n)).await;
        reaches(&node.feed, position).await;
        node.log.set_down(true);
        until(|| !node.feed.ready()).await;
        node.log.set_down(false);
        until(|| node.feed.ready()).await;
    }
    let position = node.append(StreamKind::Vault, new_event(STREAM, 4)).await;
    reaches(&node.feed, position).await;
}
