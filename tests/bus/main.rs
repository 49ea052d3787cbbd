//! The contract of the bus port, kept by every adapter; and what only a bus over a network can get wrong.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod nats_process;
#[path = "../support/port.rs"]
mod port;

use std::{sync::Arc, time::Duration};

use lockstep_events::{Chain, EventId, Micros, Position, Recorded, Seq, StreamId, StreamKind, ids::Hash32};
use lockstepd::{
    adapters::{in_process::InProcessBus, nats::NatsBus},
    bus::{BACKLOG, Bus, CONTENT_BYTES, CommittedBatch, News},
};
use nats_process::NatsProcess;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout},
};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(30);

fn event(position: u64) -> Recorded {
    Recorded {
        position: Position(position),
        stream: StreamId(Uuid::from_u128(1)),
        stream_kind: StreamKind::Vault,
        seq: Seq(position),
        event_id: EventId(Uuid::from_u128(position.into())),
        subject: Some(Uuid::from_u128(8).into()),
        kind: "entry.version_added".to_owned(),
        schema: 1,
        actor: Some(Uuid::from_u128(9).into()),
        device: None,
        correlation: None,
        causation: None,
        recorded_at: Micros(1),
        public: "{\"ä\":1}".to_owned(),
        sealed_hash: None,
        body_hash: Hash32([3; 32]),
        chain: Chain([4; 32]),
        content: Some(vec![7; 99]),
    }
}

fn batch(after: u64, to: u64) -> Arc<CommittedBatch> {
    let events = (after + 1..=to).map(event).collect();
    Arc::new(CommittedBatch { after: Position(after), to: Position(to), events })
}

/// The next batch that a subscriber hears.
async fn next(news: &mut Receiver<News>) -> Arc<CommittedBatch> {
    loop {
        match timeout(SOON, news.recv()).await.expect("no news").expect("the bus is closed") {
            News::Batch(batch) => return batch,
            News::Reconnected => {}
            News::Renewed(stream) => panic!("a renewal of {stream}"),
        }
    }
}

async fn connected(bus: &dyn Bus) {
    let until = Instant::now() + SOON;
    while !bus.connected() {
        assert!(Instant::now() < until, "the bus does not connect");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two ends of one bus. For the bus inside a process they are the same.
struct Ends {
    here: Arc<dyn Bus>,
    there: Arc<dyn Bus>,
}

async fn in_process() -> Ends {
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
    Ends { here: Arc::clone(&bus), there: bus }
}

async fn nats() -> Ends {
    let log = Uuid::new_v4();
    let url = nats_process::shared_url();
    let here = Arc::new(NatsBus::connect(&url, log).await.unwrap());
    let there = Arc::new(NatsBus::connect(&url, log).await.unwrap());
    connected(here.as_ref()).await;
    connected(there.as_ref()).await;
    heard_at(here.as_ref(), there.as_ref()).await;
    Ends { here, there }
}

/// A subscription is on its way for a moment after the connection: until a message of this end comes to that one.
async fn heard_at(here: &dyn Bus, there: &dyn Bus) {
    let mut news = there.subscribe();
    let probe = StreamId(Uuid::new_v4());
    let until = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < until, "nothing of this end is heard at the other");
        here.publish_renewed(probe);
        let heard = timeout(Duration::from_millis(50), async {
            while !matches!(news.recv().await, Ok(News::Renewed(stream)) if stream == probe) {}
        });
        if heard.await.is_ok() {
            return;
        }
    }
}

macro_rules! contract {
    ($($test:ident)+) => {
        mod in_process_bus {
            $(#[tokio::test] async fn $test() { super::$test(super::in_process().await).await; })+
        }
        mod nats_bus {
            $(#[tokio::test] async fn $test() { super::$test(super::nats().await).await; })+
        }
    };
}

contract! {
    a_batch_arrives_as_it_was_committed
    the_publisher_hears_its_own_batches_once
    every_subscriber_hears_every_batch
    a_renewal_arrives
    a_subscriber_that_falls_behind_is_told_and_holds_nobody_up
    publishing_without_a_listener_does_nothing
    closing_ends_without_waiting_for_anybody
}

async fn a_batch_arrives_as_it_was_committed(ends: Ends) {
    let mut news = ends.there.subscribe();
    ends.here.publish(batch(4, 6));
    assert_eq!(next(&mut news).await, batch(4, 6));
}

async fn the_publisher_hears_its_own_batches_once(ends: Ends) {
    let mut news = ends.here.subscribe();
    ends.here.publish(batch(0, 1));
    ends.here.publish(batch(1, 2));
    assert_eq!(next(&mut news).await.to, Position(1));
    assert_eq!(next(&mut news).await.to, Position(2));
    ends.there.publish(batch(2, 3));
    assert_eq!(next(&mut news).await.to, Position(3));
}

async fn every_subscriber_hears_every_batch(ends: Ends) {
    let mut all = [ends.here.subscribe(), ends.there.subscribe(), ends.there.subscribe()];
    for n in 0..50 {
        ends.here.publish(batch(n, n + 1));
    }
    for news in &mut all {
        for n in 0..50 {
            assert_eq!(next(news).await.to, Position(n + 1));
        }
    }
}

async fn a_renewal_arrives(ends: Ends) {
    let stream = StreamId(Uuid::from_u128(77));
    let mut news = ends.there.subscribe();
    ends.here.publish_renewed(stream);
    timeout(SOON, async { while news.recv().await.unwrap() != News::Renewed(stream) {} })
        .await
        .expect("no news");
}

async fn a_subscriber_that_falls_behind_is_told_and_holds_nobody_up(ends: Ends) {
    let (mut slow, mut fast) = (ends.here.subscribe(), ends.here.subscribe());
    let number = u64::try_from(BACKLOG).unwrap() + 10;
    for n in 0..number {
        ends.here.publish(batch(n, n + 1));
        assert_eq!(next(&mut fast).await.to, Position(n + 1));
    }
    assert!(matches!(slow.recv().await, Err(RecvError::Lagged(lost)) if lost >= 10));
}

async fn publishing_without_a_listener_does_nothing(ends: Ends) {
    for n in 0..2_000 {
        ends.here.publish(batch(n, n + 1));
    }
    let mut news = ends.there.subscribe();
    ends.there.publish(batch(9_000, 9_001));
    timeout(SOON, async { while next(&mut news).await.to != Position(9_001) {} }).await.expect("no news");
}

async fn closing_ends_without_waiting_for_anybody(ends: Ends) {
    let _unread = ends.here.subscribe();
    ends.here.publish(batch(0, 1));
    timeout(Duration::from_secs(20), ends.here.close()).await.expect("closing hangs");
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_a_message_tells_its_positions() {
    let ends = nats().await;
    let mut news = ends.there.subscribe();
    let mut large = CommittedBatch::clone(&batch(0, 100));
    for event in &mut large.events {
        event.public = "x".repeat(10_000);
    }
    ends.here.publish(Arc::new(large));
    let heard = next(&mut news).await;
    assert_eq!((heard.after, heard.to, heard.events.len()), (Position(0), Position(100), 0));
}

#[tokio::test]
async fn a_long_content_does_not_travel() {
    let ends = nats().await;
    let mut news = ends.there.subscribe();
    let mut long = CommittedBatch::clone(&batch(0, 1));
    long.events[0].content = Some(vec![0; CONTENT_BYTES + 1]);
    ends.here.publish(Arc::new(long));
    assert_eq!(next(&mut news).await.events[0].content, None);
}

#[tokio::test]
async fn nodes_of_another_log_hear_nothing() {
    let (ends, other) = (nats().await, nats().await);
    let mut news = other.there.subscribe();
    ends.here.publish(batch(0, 1));
    other.here.publish(batch(5, 6));
    assert_eq!(next(&mut news).await.to, Position(6));
}

#[tokio::test]
async fn what_is_not_a_message_of_ours_is_ignored() {
    let log = Uuid::new_v4();
    let bus = NatsBus::connect(&nats_process::shared_url(), log).await.unwrap();
    connected(&bus).await;
    let mut news = bus.subscribe();
    let stranger = async_nats::connect(nats_process::shared_url()).await.unwrap();
    for payload in ["", "hello", "\u{1}\u{1}"] {
        stranger.publish(format!("lockstep.v1.{log}.batches"), payload.into()).await.unwrap();
    }
    stranger.flush().await.unwrap();
    bus.publish(batch(0, 1));
    assert_eq!(next(&mut news).await.to, Position(1));
}

#[tokio::test]
async fn without_its_server_the_bus_starts_publishes_and_connects_when_the_server_comes_and_comes_back() {
    let mut server = NatsProcess::reserve();
    let log = Uuid::new_v4();
    let (here, there) = (
        NatsBus::connect(&server.url(), log).await.unwrap(),
        NatsBus::connect(&server.url(), log).await.unwrap(),
    );
    assert!(!here.connected());
    let mut own = here.subscribe();
    let began = Instant::now();
    for n in 0..1_000 {
        here.publish(batch(n, n + 1));
        assert_eq!(next(&mut own).await.to, Position(n + 1));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "publishing waits for the network");
    for _ in 0..2 {
        let mut news = there.subscribe();
        server.start().await;
        timeout(SOON, async { while news.recv().await.unwrap() != News::Reconnected {} })
            .await
            .expect("not told");
        connected(&here).await;
        heard_at(&here, &there).await;
        server.stop();
        let until = Instant::now() + SOON;
        while here.connected() {
            assert!(Instant::now() < until, "the loss is not noticed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[test]
fn a_port_that_is_kept_is_nobody_elses_and_is_listened_at_again_and_again() {
    let kept = port::Port::reserve();
    for _ in 0..3 {
        assert!(std::net::TcpStream::connect(kept.addr()).is_err(), "nobody listens");
        let taken = tokio::net::TcpSocket::new_v4().unwrap().bind(kept.addr()).unwrap_err();
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        let listener = std::net::TcpListener::bind(kept.addr()).unwrap();
        let _near = std::net::TcpStream::connect(kept.addr()).unwrap();
        let _far = listener.accept().unwrap();
    }
}
