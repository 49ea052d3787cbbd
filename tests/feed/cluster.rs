//! Several nodes of one log, and what happens to them when a service that they stand on goes away and comes back.

use std::time::{Duration, Instant};

use lockstep_api::{Code, live::close};
use lockstep_events::{Seq, StreamId};
use lockstepd::config::Layer;

use crate::{
    nats_process::NatsProcess,
    services::{PostgresProcess, stores_in},
    socket::{Socket, all},
    support::{Mode, Node, Person, assert_problem},
};

/// Waits until a node has looked at its log, and has what stood there before.
pub async fn looked(node: &Node) {
    let server = &node.running().server;
    let before = server.log.tail().await.unwrap().position;
    let then = Instant::now();
    loop {
        let since = then.elapsed();
        if server.feed.out_of_touch() < since {
            break;
        }
        assert!(since < Duration::from_secs(60), "it does not look");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(*server.feed.position().borrow() >= before, "it looked, and does not have it");
}

/// Looks that one waits for, and for how long in all. Where little else goes on each comes within half a second, which is
/// what is promised of news without a bus; who looked every three seconds would take twice what is given here.
#[derive(Default)]
pub struct Looks {
    count: u32,
    took: Duration,
}

impl Looks {
    /// One more.
    pub async fn at(&mut self, node: &Node) {
        let began = Instant::now();
        looked(node).await;
        (self.count, self.took) = (self.count + 1, self.took + began.elapsed());
    }

    /// Together they came as often as is promised, with room for a busy machine.
    pub fn were_often(&self) {
        assert!(self.count >= 20, "too few to tell: {}", self.count);
        assert!(self.took < self.count * Duration::from_millis(1_500), "{} in {:?}", self.count, self.took);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_on_one_node_is_live_on_the_other() {
    let node = Node::start(Mode::Distributed).await;
    let second = node.second().await;
    let person = Person::register(&node).await;
    let reader = person.enrol(&node).await;
    let (epoch, stream) = (person.epoch(&node).await, StreamId::from(person.vault));
    let mut here = Socket::hello(&node, &person, &[all(person.vault)]).await;
    let mut there = Socket::hello(&second, &reader, &[all(person.vault)]).await;
    let mut at = Seq::ZERO;
    for n in 0..20 {
        let writer = if n % 2 == 0 { &node } else { &second };
        let head = person.write(writer, epoch, &[vec![n; 64]]).await.head;
        let (one, two) = (here.events(stream, at, head).await, there.events(stream, at, head).await);
        assert_eq!(one.last().unwrap().event_id, two.last().unwrap().event_id);
        assert_eq!(two.last().unwrap().content.as_ref().unwrap().0, [n; 64]);
        at = head;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_revoked_on_one_node_is_closed_on_the_other() {
    let node = Node::start(Mode::Distributed).await;
    let second = node.second().await;
    let person = Person::register(&node).await;
    let lost = person.enrol(&node).await;
    let mut socket = Socket::hello(&second, &lost, &[all(person.vault)]).await;
    assert!(person.revoke(&node, lost.device).await.status().is_success());
    let began = Instant::now();
    socket.says_bye(close::REVOKED).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_problem(lost.get(&second, "/v1/streams").await, Code::Revoked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_news_and_revocations_come_by_polling_and_at_once_when_it_is_back() {
    let mut nats = NatsProcess::reserve();
    nats.start().await;
    let bus = Layer { bus: Some(nats.url().as_str().into()), ..Layer::default() };
    let node = Node::start_with(Mode::Distributed, bus).await;
    // As it looks if nobody says otherwise.
    let second = node.second_with(Layer { tail_poll_ms: Some(250), ..Layer::default() }).await;
    let person = Person::register(&node).await;
    let (reader, lost) = (person.enrol(&node).await, person.enrol(&node).await);
    let (epoch, stream) = (person.epoch(&node).await, StreamId::from(person.vault));
    let mut there = Socket::hello(&second, &reader, &[all(person.vault)]).await;
    let mut closing = Socket::hello(&second, &lost, &[]).await;
    let mut at = Seq::ZERO;
    nats.stop();
    let mut looks = Looks::default();
    for _ in 0..19 {
        let head = person.write(&node, epoch, &[vec![1; 64]]).await.head;
        looks.at(&second).await;
        there.events(stream, at, head).await;
        at = head;
    }
    assert!(person.revoke(&node, lost.device).await.status().is_success());
    looks.at(&second).await;
    assert_problem(lost.get(&second, "/v1/streams").await, Code::Revoked).await;
    closing.says_bye(close::REVOKED).await;
    looks.were_often();
    nats.start().await;
    let until = Instant::now() + Duration::from_secs(30);
    while !(node.running().server.bus.connected() && second.running().server.bus.connected()) {
        assert!(Instant::now() < until, "the nodes do not find NATS again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..5 {
        let head = person.write(&node, epoch, &[vec![1; 64]]).await.head;
        there.events(stream, at, head).await;
        at = head;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_requests_are_told_to_come_back_and_nothing_acknowledged_is_lost() {
    let mut postgres = PostgresProcess::start().await;
    let url = postgres.url();
    let node = Node::start_with(Mode::Distributed, stores_in(&url)).await;
    let person = Person::register(&node).await;
    let reader = person.enrol(&node).await;
    let (epoch, stream) = (person.epoch(&node).await, StreamId::from(person.vault));
    let mut socket = Socket::hello(&node, &reader, &[all(person.vault)]).await;
    let before = person.write(&node, epoch, &[vec![1; 64]]).await.head;
    socket.events(stream, Seq::ZERO, before).await;
    postgres.stop_at_once();
    let began = Instant::now();
    let refused = person.get(&node, &format!("/v1/streams/{stream}/changes")).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_problem(refused, Code::LogUnavailable).await;
    let ready = node.get("/health/ready").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    postgres.start_again().await;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let health = node.get("/health/ready").send().await.unwrap();
        if health.status() == 200 {
            break;
        }
        let health = health.text().await.unwrap();
        assert!(Instant::now() < until, "the node does not heal: {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = person.write(&node, epoch, &[vec![2; 64]]).await.head;
    let page = person.changes(&node, "").await;
    assert_eq!((page.to, after), (after, before.next()));
    let news = socket.events(stream, before, after).await;
    assert_eq!(news[0].content.as_ref().unwrap().0, [2; 64]);
}
