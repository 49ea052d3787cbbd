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
    let second = node.second().await;
    let person = Person::register(&node).await;
    let (reader, lost) = (person.enrol(&node).await, person.enrol(&node).await);
    let (epoch, stream) = (person.epoch(&node).await, StreamId::from(person.vault));
    let mut there = Socket::hello(&second, &reader, &[all(person.vault)]).await;
    let mut closing = Socket::hello(&second, &lost, &[]).await;
    let mut at = Seq::ZERO;
    nats.stop();
    for _ in 0..5 {
        let head = person.write(&node, epoch, &[vec![1; 64]]).await.head;
        let began = Instant::now();
        there.events(stream, at, head).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        at = head;
    }
    assert!(person.revoke(&node, lost.device).await.status().is_success());
    let began = Instant::now();
    closing.says_bye(close::REVOKED).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
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
