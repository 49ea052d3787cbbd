//! Two nodes of one log whose bus loses, doubles, reorders and stalls: devices notice nothing but a little delay.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use lockstep_api::{
    live::{ServerMessage, Sub},
    sync::StreamEvent,
};
use lockstep_events::{
    Chain, Event, Seq, StreamId, StreamKind,
    event::VaultEvent,
    header::{public_key, verify_version},
};
use lockstepd::config::Layer;

use crate::{
    cluster::Looks,
    faulty_nats::{Faults, FaultyNats},
    nats_process::shared_url,
    socket::{Heard, Socket, all},
    support::{Mode, Node, Person},
};

const PUSHES: u64 = 1_200;

/// Follows a stream as an auditor would: every event once, in order, its chain made anew and compared with the one
/// that the frame states.
struct Auditor {
    socket: Socket,
    stream: StreamId,
    at: Seq,
    chain: Chain,
}

impl Auditor {
    async fn start(node: &Node, person: &Person, sub: Sub) -> Self {
        let stream = sub.stream;
        let socket = Socket::hello(node, person, &[sub]).await;
        Self { socket, stream, at: Seq::ZERO, chain: Chain::ZERO }
    }

    /// The next frame's events.
    async fn hear(&mut self) -> Vec<StreamEvent> {
        loop {
            match self.socket.next_but_pings().await {
                Heard::Message(ServerMessage::Ev { from, to, chain, events, .. }) => {
                    assert_eq!(from, self.at, "a frame over a gap, or one that came twice");
                    for event in &events {
                        self.at = self.at.next();
                        assert_eq!(event.seq, self.at);
                        let stream = (self.stream, StreamKind::Vault);
                        self.chain = event.recorded(stream, &self.chain).chain;
                    }
                    assert_eq!((self.at, self.chain), (to, chain), "the chain does not verify");
                    return events;
                }
                Heard::Message(ServerMessage::Lag { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn author_signed(person: &Person, event: &StreamEvent) -> bool {
    let recorded = event.recorded((person.vault.into(), StreamKind::Vault), &Chain::ZERO);
    let Ok(Event::Vault(VaultEvent::VersionAdded(added))) = recorded.event() else {
        return false;
    };
    let key = public_key(&person.device_key);
    verify_version(&key, &added.header.version_id(), &added.signature)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_bus_that_loses_doubles_reorders_and_stalls_every_event_comes_once_in_order_and_soon() {
    let faults = Faults { lost: 0.25, doubled: 0.25, late: 0.25, stalled: 0.002 };
    let proxy = FaultyNats::start(&shared_url(), 7, faults).await;
    let tail_poll_ms = 250;
    // It takes minutes on a busy machine, and nobody here renews a token.
    let patient = Layer { access_token_s: Some(1200), ..Layer::default() };
    let node = Node::start_with(Mode::Distributed, patient).await;
    let bus = Layer { bus: Some(proxy.url.as_str().into()), ..Layer::default() };
    let second = node.second_with(Layer { tail_poll_ms: Some(tail_poll_ms), ..bus }).await;
    let author = Person::register(&node).await;
    let reader = author.enrol(&node).await;
    let epoch = author.epoch(&node).await;
    let mut auditor = Auditor::start(&second, &reader, all(author.vault)).await;
    let until = Instant::now() + Duration::from_secs(30);
    while !second.running().server.bus.connected() {
        assert!(Instant::now() < until, "the second node does not find NATS through the proxy");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = author.changes(&node, "").await.head;
    while auditor.at < before {
        auditor.hear().await;
    }
    let (mut delays, mut looks) = (Vec::new(), Looks::default());
    for n in 0..PUSHES {
        let bytes = format!("number {n}").into_bytes();
        let head = author.write(&node, epoch, std::slice::from_ref(&bytes)).await.head;
        // Every sixth waits for its news, to be measured; between them several are on their way at once.
        let acknowledged = Instant::now();
        // Whatever became of its news, one look at the log finds it.
        if n % 40 == 39 {
            looks.at(&second).await;
        }
        while n % 6 == 0 && auditor.at < head {
            let events = auditor.hear().await;
            assert!(events.iter().all(|event| author_signed(&author, event)));
            if auditor.at == head {
                assert_eq!(events.last().unwrap().content.as_ref().unwrap().0, bytes);
                delays.push(acknowledged.elapsed());
            }
        }
    }
    while auditor.at.0 < before.0 + PUSHES {
        auditor.hear().await;
    }
    let end = author.changes(&node, &format!("?after={epoch}.{}", auditor.at)).await;
    assert_eq!((end.to, end.chain), (auditor.at, auditor.chain));
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::SeqCst);
    let counts = &proxy.counts;
    assert!(
        count(&counts.lost) > 100 && count(&counts.doubled) > 50 && count(&counts.late) > 100,
        "{counts:?}"
    );
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    eprintln!("{counts:?}: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}", at(50), at(90), at(99), at(100));
    // A lost message is found by the next look at the tail, 250 to 500 ms later.
    looks.were_often();
}
