use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lockstep_api::live::close;
use lockstep_events::{
    AccountId, DeviceId, Epoch, Event, EventLog, Micros, NewEvent, Position, Seq, StreamId, StreamKind,
    VaultId,
    event::{VaultCreated, VaultEvent},
    log::{Contents, Filter, Outcome},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Access, Close, Feed, Listening, Next, Pace, Signal,
    testing::{self, Faults, FaultyBus, Flaky, new_event, positions, unit},
};
use crate::bus::{Bus, CommittedBatch};

mod behind;

const SOON: Duration = Duration::from_secs(30);

struct Node {
    log: Arc<Flaky>,
    bus: Arc<FaultyBus>,
    feed: Arc<Feed>,
}

impl Node {
    async fn start(seed: u64, faults: Faults) -> Self {
        Self::looking(Duration::from_millis(20), seed, faults).await
    }

    async fn looking(poll: Duration, seed: u64, faults: Faults) -> Self {
        let (log, bus) = (Arc::new(Flaky::new()), Arc::new(FaultyBus::new(seed, faults)));
        let pace = Pace { poll, ..Pace::default() };
        let feed = Feed::start(log.clone(), bus.clone(), pace, Micros(1)).await.unwrap();
        Self { log, bus, feed }
    }

    async fn append(&self, kind: StreamKind, event: NewEvent) -> Position {
        let outcomes = self.log.append(&[unit(kind, event)], Micros(1)).await.unwrap();
        let Outcome::Appended(placed) = &outcomes[0] else { panic!("{outcomes:?}") };
        let (after, to) = (Position(placed[0].position.0 - 1), placed[0].position);
        let everything = self.log_events(after).await;
        self.bus.publish(Arc::new(CommittedBatch { after, to, events: everything }));
        to
    }

    async fn log_events(&self, after: Position) -> Vec<lockstep_events::Recorded> {
        let down = self.log.read_all(after, 1, &Filter::default(), Contents::UpTo(4096)).await;
        down.unwrap_or_default()
    }

    async fn vault(&self, vault: u128, owner: u128) -> StreamId {
        let (vault, account) = (VaultId(Uuid::from_u128(vault)), AccountId(Uuid::from_u128(owner)));
        let created = Event::Vault(VaultEvent::Created(VaultCreated { vault, account })).encode().unwrap();
        let event = new_event(vault.into(), vault.0.as_u128() << 32);
        let event = NewEvent { kind: created.kind.to_owned(), public: created.public, ..event };
        self.append(StreamKind::Vault, event).await;
        vault.into()
    }
}

async fn reaches(feed: &Feed, position: Position) {
    let mut known = feed.position();
    timeout(SOON, known.wait_for(|at| *at >= position)).await.expect("the follower does not arrive").unwrap();
}

#[tokio::test]
async fn every_event_is_applied_once_and_in_order_over_a_bus_that_loses_repeats_and_reorders() {
    for seed in 0..12 {
        let node = Node::start(seed, Faults { loss: 0.3, repeat: 0.3, late: 0.3, bare: 0.2 }).await;
        let mut applied = node.feed.applied();
        let stream = StreamId(Uuid::from_u128(5));
        for n in 1..=120 {
            node.append(StreamKind::Vault, new_event(stream, n)).await;
            tokio::task::yield_now().await;
        }
        let mut seen = Vec::new();
        while seen.len() < 120 {
            let batch = timeout(SOON, applied.recv()).await.expect("an event never came").unwrap();
            seen.extend(positions(&batch.events));
        }
        assert_eq!(seen, (1..=120).collect::<Vec<_>>(), "seed {seed}");
        node.feed.stop().await;
    }
}

#[tokio::test]
async fn a_bus_that_delivers_nothing_costs_only_the_time_of_the_poll() {
    let node = Node::start(1, Faults { loss: 1.0, ..Faults::default() }).await;
    let position = node.append(StreamKind::Vault, new_event(StreamId(Uuid::from_u128(5)), 1)).await;
    reaches(&node.feed, position).await;
}

#[tokio::test]
async fn a_node_whose_log_is_away_is_not_ready_and_heals_by_itself() {
    let node = Node::start(1, Faults { bare: 1.0, ..Faults::default() }).await;
    assert!(node.feed.ready());
    node.log.set_down(true);
    let stream = StreamId(Uuid::from_u128(5));
    let position = node.append(StreamKind::Vault, new_event(stream, 1)).await;
    timeout(SOON, async {
        while node.feed.ready() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the node does not notice");
    assert_eq!(*node.feed.position().borrow(), Position(0));
    node.log.set_down(false);
    reaches(&node.feed, position).await;
    assert!(node.feed.ready());
}

#[tokio::test]
async fn whoever_listens_gets_every_event_after_the_head_it_was_told() {
    let node = Node::start(1, Faults::default()).await;
    let (vault, account) = (node.vault(7, 1).await, AccountId(Uuid::from_u128(1)));
    let signal = Arc::new(Signal::default());
    let listening = node.feed.listen(vault, account, &signal).await.unwrap().unwrap();
    let (epoch, head) = listening.hub.head();
    assert_eq!(head, Seq(1));
    node.append(StreamKind::Vault, new_event(vault, 1)).await;
    timeout(SOON, async {
        loop {
            signal.woken().await;
            if let Next::Frame(_, to) = listening.hub.next(epoch, head, DeviceId::NIL) {
                return assert_eq!(to, Seq(2));
            }
        }
    })
    .await
    .expect("nobody was woken");
}

#[tokio::test]
async fn a_foreign_stream_looks_like_one_that_does_not_exist() {
    let node = Node::start(1, Faults::default()).await;
    let vault = node.vault(7, 1).await;
    let signal = Arc::new(Signal::default());
    let stranger = AccountId(Uuid::from_u128(2));
    assert!(node.feed.listen(vault, stranger, &signal).await.unwrap().is_none());
    assert!(node.feed.listen(StreamId(Uuid::from_u128(9)), stranger, &signal).await.unwrap().is_none());
    assert!(node.feed.listen(StreamId::SYSTEM, stranger, &signal).await.unwrap().is_none());
    assert_eq!(node.feed.owner(vault).await.unwrap(), Some(AccountId(Uuid::from_u128(1))));
}

#[tokio::test]
async fn a_thousand_listeners_of_one_stream_read_its_head_once() {
    let node = Node::start(1, Faults::default()).await;
    let (vault, account) = (node.vault(7, 1).await, AccountId(Uuid::from_u128(1)));
    let signals: Vec<_> = (0..1_000).map(|_| Arc::new(Signal::default())).collect();
    let all = signals.iter().map(|signal| node.feed.listen(vault, account, signal));
    let listening = futures_util::future::join_all(all).await;
    assert!(listening.iter().all(|one| matches!(one, Ok(Some(_)))));
    assert_eq!(node.log.head_reads(), 1);
}

#[tokio::test]
async fn lost_data_begins_another_life_that_every_listener_is_told_of() {
    let node = Node::start(1, Faults::default()).await;
    let (vault, account) = (node.vault(7, 1).await, AccountId(Uuid::from_u128(1)));
    let signal = Arc::new(Signal::default());
    let listening = node.feed.listen(vault, account, &signal).await.unwrap().unwrap();
    let (epoch, head) = listening.hub.head();
    node.feed.data_was_lost(vault, 99, head.0).await.unwrap();
    assert_ne!(listening.hub.head().0, epoch);
    assert_eq!(listening.hub.next(epoch, head, DeviceId::NIL), Next::OtherEpoch);
}

/// Lets a read of heads that is on its way answer only after the stream has begun another life and its hub knows it.
async fn held_over_a_renewal(
    node: &Node,
    vault: StreamId,
    asking: impl Future<Output = ()> + Send + 'static,
) {
    let renewed = Epoch([7; 16]);
    let (is_read, go) = node.log.hold_heads();
    let held = tokio::spawn(asking);
    timeout(SOON, is_read).await.expect("nobody asks").unwrap();
    node.log.renew_epoch(vault, renewed).await.unwrap();
    node.feed.renewed(vault).await.unwrap();
    go.send(()).unwrap();
    timeout(SOON, held).await.expect("the held read does not end").unwrap();
}

#[tokio::test]
async fn an_answer_from_before_a_renewal_does_not_bring_the_former_life_back() {
    for by_tidy in [false, true] {
        let node = Node::start(1, Faults::default()).await;
        let (vault, account) = (node.vault(7, 1).await, AccountId(Uuid::from_u128(1)));
        let signal = Arc::new(Signal::default());
        let listening = node.feed.listen(vault, account, &signal).await.unwrap().unwrap();
        let feed = Arc::clone(&node.feed);
        feed.hubs.doubt();
        let asking = async move {
            if by_tidy {
                feed.hubs.tidy(feed.log()).await.unwrap();
            } else {
                feed.renewed(vault).await.unwrap();
            }
        };
        held_over_a_renewal(&node, vault, asking).await;
        assert_eq!(listening.hub.head().0, Epoch([7; 16]), "by tidy: {by_tidy}");
    }
}

#[tokio::test]
async fn a_hub_that_is_opened_over_a_renewal_begins_in_the_new_life() {
    let node = Node::start(1, Faults::default()).await;
    let (vault, account) = (node.vault(7, 1).await, AccountId(Uuid::from_u128(1)));
    let (feed, signal) = (Arc::clone(&node.feed), Arc::new(Signal::default()));
    let (tell, told) = tokio::sync::oneshot::channel();
    let asking = async move {
        let listening = feed.listen(vault, account, &signal).await.unwrap().unwrap();
        tell.send(listening).unwrap();
    };
    held_over_a_renewal(&node, vault, asking).await;
    assert_eq!(told.await.unwrap().hub.head().0, Epoch([7; 16]));
}

#[tokio::test]
async fn a_hub_that_is_doubted_while_the_log_is_asked_is_asked_about_again() {
    let node = Node::start(1, Faults::default()).await;
    let (vault, account) = (node.vault(7, 1).await, AccountId(Uuid::from_u128(1)));
    let signal = Arc::new(Signal::default());
    let listening = node.feed.listen(vault, account, &signal).await.unwrap().unwrap();
    let (is_read, go) = node.log.hold_heads();
    let feed = Arc::clone(&node.feed);
    let held = tokio::spawn(async move { feed.renewed(vault).await });
    timeout(SOON, is_read).await.expect("nobody asks").unwrap();
    // The bus loses the news of another life, and says so.
    node.log.renew_epoch(vault, Epoch([7; 16])).await.unwrap();
    node.feed.hubs.doubt();
    go.send(()).unwrap();
    held.await.unwrap().unwrap();
    node.feed.hubs.tidy(node.feed.log()).await.unwrap();
    assert_eq!(listening.hub.head().0, Epoch([7; 16]));
}

/// Somebody listens to so many vaults.
async fn many_hubs(node: &Node, number: u128) -> Vec<Listening> {
    let (account, signal) = (AccountId(Uuid::from_u128(1)), Arc::new(Signal::default()));
    let mut all = Vec::new();
    for n in 0..number {
        let vault = node.vault(100 + n, 1).await;
        all.push(node.feed.listen(vault, account, &signal).await.unwrap().unwrap());
    }
    all
}

fn stream(n: usize) -> StreamId {
    StreamId(Uuid::from_u128(100 + n as u128))
}

#[tokio::test]
async fn every_hub_whose_news_may_be_lost_is_asked_about_in_one_round_however_many_there_are() {
    let node = Node::start(1, Faults::default()).await;
    let hubs = many_hubs(&node, 1_201).await;
    for n in 0..hubs.len() {
        node.log.renew_epoch(stream(n), Epoch([7; 16])).await.unwrap();
    }
    node.feed.hubs.doubt();
    node.feed.hubs.tidy(node.feed.log()).await.unwrap();
    let old = hubs.iter().filter(|one| one.hub.head().0 != Epoch([7; 16])).count();
    assert_eq!(old, 0);
}

#[tokio::test]
async fn the_hubs_that_were_not_asked_about_for_longest_come_first() {
    let node = Node::start(1, Faults::default()).await;
    let hubs = many_hubs(&node, 40).await;
    let (now, seconds) = (Instant::now(), Duration::from_secs);
    for (n, one) in hubs.iter().enumerate() {
        let head = node.log.stream_heads(&[stream(n)]).await.unwrap()[0];
        one.hub.set_head(one.hub.ask(), &head, now + seconds(100 - n as u64));
    }
    hubs[7].hub.doubt();
    let due: Vec<_> = node.feed.hubs.due(now + seconds(200)).into_iter().map(|(stream, _)| stream).collect();
    let others = (0..hubs.len()).rev().filter(|n| *n != 7);
    assert_eq!(due, std::iter::once(7).chain(others).map(stream).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_revoked_device_is_refused_and_its_socket_closed_also_when_the_bus_is_silent() {
    for faults in [Faults::default(), Faults { loss: 1.0, ..Faults::default() }] {
        let node = Node::start(1, faults).await;
        let device = DeviceId(Uuid::from_u128(3));
        let access = Access {
            account: AccountId(Uuid::from_u128(1)),
            device,
            session: Uuid::from_u128(4).into(),
            auth_epoch: 0,
        };
        let connected =
            node.feed.sockets.live(access, crate::auth::signing_keys::Kid::default(), 10).unwrap();
        let account = StreamId(Uuid::from_u128(1));
        let revoked = NewEvent {
            kind: "device.revoked".to_owned(),
            subject: Some(device.into()),
            ..new_event(account, 1)
        };
        let position = node.append(StreamKind::Account, revoked).await;
        reaches(&node.feed, position).await;
        assert_eq!(connected.signal.closed(), Some(Close::now(close::REVOKED)));
        assert!(node.feed.revocations.refuses(&access));
        let other = Access { device: Uuid::from_u128(9).into(), ..access };
        assert!(!node.feed.revocations.refuses(&other));
    }
}

#[tokio::test]
async fn more_events_than_fit_a_page_are_all_read_from_the_log() {
    let node = Node::start(1, Faults { loss: 1.0, ..Faults::default() }).await;
    let mut applied = node.feed.applied();
    let stream = StreamId(Uuid::from_u128(5));
    let units: Vec<_> = (1..=1_001).map(|n| unit(StreamKind::Vault, new_event(stream, n))).collect();
    node.log.append(&units, Micros(1)).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 1_001 {
        let batch = timeout(SOON, applied.recv()).await.expect("an event never came").unwrap();
        seen.extend(positions(&batch.events));
    }
    assert_eq!(seen, (1..=1_001).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_feed_ends_when_the_log_lacks_what_it_had() {
    let node = Node::start(1, Faults::default()).await;
    let position = node.append(StreamKind::Vault, new_event(StreamId(Uuid::from_u128(5)), 1)).await;
    reaches(&node.feed, position).await;
    // What a primary committed and a standby that takes over never had.
    let (after, to) = (position, Position(position.0 + 1));
    let events = testing::some_batch(after.0, to.0).events.clone();
    node.bus.publish(Arc::new(CommittedBatch { after, to, events }));
    reaches(&node.feed, to).await;
    timeout(SOON, node.feed.ended()).await.expect("it goes on as if nothing had happened");
}
