//! Postgres is killed in the middle of writes, again and again: whoever writes is told to come back, and what was
//! acknowledged stands, once. And its host is gone without a word: the server finds the next one by itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use lockstep_api::{
    Code, Problem,
    live::ServerMessage,
    sync::{Push, PushOutcome, Pushed, StreamEvent},
};
use lockstep_events::{BatchId, Epoch, EventId, Seq, StreamId, log::Contents};
use lockstepd::config::Layer;
use reqwest::StatusCode;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use uuid::Uuid;

use crate::{
    services::{PostgresProcess, stores_in},
    socket::{Heard, Socket, all},
    support::{Mode, Node, Person, letters::letters},
};

const DEVICES: usize = 4;
const KILLS: u64 = 3;
const CONNECTIONS: u32 = 16;

/// What one writer was answered.
#[derive(Default)]
struct Answers {
    /// The seq that was answered for each version, by the id of its event.
    acknowledged: BTreeMap<EventId, Seq>,
    /// Answers that told to come back.
    refused: u64,
}

/// Writes until told to stop; every push is repeated until it is answered.
async fn write(
    node: Arc<Node>,
    person: Person,
    epoch: Epoch,
    acks: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Answers {
    let mut heard = Answers::default();
    while !stop.load(Ordering::SeqCst) {
        let items = vec![person.entry(b"one"), person.entry(b"two")];
        let ids: Vec<EventId> = items.iter().map(|item| item.header.version_id().event_id()).collect();
        let push =
            Push { epoch, batch_id: BatchId(Uuid::new_v4()), items, groups: Vec::new(), reoffer: false };
        let pushed = until_answered(&node, &person, &push, &mut heard.refused).await;
        for (id, result) in ids.into_iter().zip(&pushed.results) {
            assert!(matches!(result.outcome, PushOutcome::Accepted | PushOutcome::Duplicate), "{result:?}");
            heard.acknowledged.insert(id, result.seq.unwrap());
        }
        acks.fetch_add(1, Ordering::SeqCst);
    }
    heard
}

async fn until_answered(node: &Node, person: &Person, push: &Push, refused: &mut u64) -> Pushed {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let answer = person.post(node, &format!("/v1/vaults/{}/versions", person.vault), push).await;
        if answer.status() == StatusCode::OK {
            return answer.json().await.unwrap();
        }
        assert!(Instant::now() < until, "never answered");
        // A clear word, and when to come back; nothing else.
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let problem: Problem = answer.json().await.unwrap();
        // All of its stores lie in the one database: it depends on the moment which of them is asked first.
        let away = [Code::LogUnavailable, Code::ReadsUnavailable, Code::CredentialsUnavailable];
        assert!(away.contains(&problem.code) || problem.code == Code::TimedOut, "{problem:?}");
        *refused += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What comes live, gapless from the beginning, until as much is there as is told in the end.
async fn listen(mut socket: Socket, stream: StreamId, mut end: watch::Receiver<Seq>) -> Vec<StreamEvent> {
    let (mut all, mut at) = (Vec::new(), Seq::ZERO);
    while at < *end.borrow() {
        let heard = tokio::select! {
            changed = end.changed() => {
                changed.unwrap();
                continue;
            }
            heard = socket.next_but_pings() => heard,
        };
        match heard {
            Heard::Message(ServerMessage::Ev { stream: of, from, to, events, .. }) if of == stream => {
                assert_eq!(from, at, "a gap, or news that came twice");
                at = to;
                all.extend(events);
            }
            Heard::Message(ServerMessage::Subbed { .. } | ServerMessage::Lag { .. }) => {}
            other => panic!("the live feed did not outlive the outage: {other:?}"),
        }
    }
    all
}

async fn more(acks: &AtomicU64, by: u64) {
    let (from, until) = (acks.load(Ordering::SeqCst), Instant::now() + Duration::from_secs(120));
    while acks.load(Ordering::SeqCst) < from + by {
        assert!(Instant::now() < until, "nothing is acknowledged any more");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_killed_under_writes_loses_no_acknowledged_version_doubles_none_and_the_feed_heals() {
    let mut postgres = PostgresProcess::start().await;
    let url = postgres.url();
    let stores = Layer { access_token_s: Some(1200), ..stores_in(&url) };
    let node = Arc::new(Node::start_with(Mode::Distributed, stores).await);
    let first = Person::register(&node).await;
    let reader = first.enrol(&node).await;
    let (epoch, stream) = (first.epoch(&node).await, StreamId::from(first.vault));
    let mut writers = vec![first.clone()];
    for _ in 1..DEVICES {
        writers.push(first.enrol(&node).await);
    }
    let socket = Socket::hello(&node, &reader, &[all(stream)]).await;
    let (tell, told) = watch::channel(Seq(u64::MAX));
    let listening = tokio::spawn(listen(socket, stream, told));
    let (acks, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = writers
        .into_iter()
        .map(|person| {
            tokio::spawn(write(Arc::clone(&node), person, epoch, Arc::clone(&acks), Arc::clone(&stop)))
        })
        .collect();
    for _ in 0..KILLS {
        more(&acks, 20).await;
        postgres.stop_at_once();
        tokio::time::sleep(Duration::from_millis(700)).await;
        postgres.start_again().await;
    }
    more(&acks, 20).await;
    stop.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut refused) = (BTreeMap::new(), 0);
    for writer in writers {
        let heard = writer.await.unwrap();
        refused += heard.refused;
        acknowledged.extend(heard.acknowledged);
    }
    assert!(refused >= KILLS, "nobody was told to come back");
    let head = first.changes(&node, "?limit=1").await.head;
    tell.send_replace(head);
    let live = listening.await.unwrap();
    let seqs: BTreeMap<EventId, Seq> = live.iter().map(|event| (event.event_id, event.seq)).collect();
    assert_eq!(seqs.len(), live.len(), "a version stands twice");
    for (id, seq) in &acknowledged {
        assert_eq!(seqs.get(id), Some(seq), "an acknowledged version is not where it was said to be");
    }
    // All pushes were answered in the end, so nothing stands that nobody heard of but the vault's beginning.
    assert_eq!(live.len(), acknowledged.len() + 1);
}

/// A line to a database: its port, and a cut. Through the connections that there are then nothing goes any more, and
/// nobody is told; new ones go through.
async fn line(upstream: u16) -> (u16, watch::Sender<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, cut) = (listener.local_addr().unwrap().port(), watch::Sender::new(0));
    let cuts = cut.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut cut = cuts.subscribe();
            let born = *cut.borrow();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
                let silence = async {
                    let _ = cut.wait_for(|now| *now > born).await;
                };
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => return,
                    () = silence => {}
                }
                std::future::pending::<()>().await;
            });
        }
    });
    (port, cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_without_a_word_is_found_again_by_everything_that_a_node_does_by_itself() {
    let postgres = PostgresProcess::start().await;
    let upstream = postgres.url().parse::<url::Url>().unwrap().port().unwrap();
    let (port, cut) = line(upstream).await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let stores = Layer { access_token_s: Some(1200), ..stores_in(&url) };
    let node = Arc::new(Node::start_with(Mode::Distributed, stores).await);
    let person = Person::register(&node).await;
    let epoch = person.epoch(&node).await;
    let (acks, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writing = (Arc::clone(&node), person.clone(), Arc::clone(&acks), Arc::clone(&stop));
    let writer = tokio::spawn(async move {
        let (node, person, acks, stop) = writing;
        while !stop.load(Ordering::SeqCst) {
            let items = vec![person.entry(b"one")];
            let batch_id = BatchId(Uuid::new_v4());
            let push = Push { epoch, batch_id, items, groups: Vec::new(), reoffer: false };
            // Who is refused, or waited too long, comes again with something else.
            let path = format!("/v1/vaults/{}/versions", person.vault);
            let answer = person.post(&node, &path, &push).await;
            acks.fetch_add(u64::from(answer.status() == StatusCode::OK), Ordering::SeqCst);
        }
    });
    // The read models are in the middle of something when it happens.
    more(&acks, 20).await;
    cut.send_modify(|cuts| *cuts += 1);
    more(&acks, 20).await;
    stop.store(true, Ordering::SeqCst);
    writer.await.unwrap();
    let server = &node.running().server;
    let tail = server.log.tail().await.unwrap().position;
    let patience = Duration::from_secs(150);
    server.progress.wait_for(tail, patience).await.expect("the read models do not follow any more");
    assert_eq!(person.name_email(&node, "after@example.org").await.status(), StatusCode::ACCEPTED);
    let until = Instant::now() + patience;
    while letters(&node.mail_folder()).is_empty() {
        assert!(Instant::now() < until, "mail does not go out any more");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads that take all connections, each its own; a stream that nobody listened to yet; a transaction that begins. How
/// many of them come to nothing.
async fn asked_at_once(node: &Node, person: &Person) -> usize {
    let server = &node.running().server;
    let read =
        async || server.log.read_stream(person.vault.into(), Seq::ZERO, 10, Contents::No).await.is_err();
    let listening = async || {
        let signal = Arc::default();
        server.feed.listen(person.vault.into(), person.account, &signal).await.is_err()
    };
    let begun = async || server.log.turn_to_renew().await.is_err();
    let (listening, begun, read) =
        tokio::join!(listening(), begun(), join_all((0..CONNECTIONS).map(|_| read())));
    [listening, begun].into_iter().chain(read).filter(|failed| *failed).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_database_that_is_gone_without_a_word_ends_and_leaves_its_connections_free() {
    let postgres = PostgresProcess::start().await;
    let upstream = postgres.url().parse::<url::Url>().unwrap().port().unwrap();
    let (port, cut) = line(upstream).await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let stores = Layer { database_connections: Some(CONNECTIONS), ..stores_in(&url) };
    let node = Node::start_with(Mode::Distributed, stores).await;
    let person = Person::register(&node).await;
    // All connections have worked a moment ago, so none of them is asked whether it still does.
    let tails = join_all((0..CONNECTIONS).map(|_| node.running().server.log.tail())).await;
    assert!(tails.iter().all(Result::is_ok));
    cut.send_modify(|cuts| *cuts += 1);
    let patience = Duration::from_secs(150);
    timeout(patience, asked_at_once(&node, &person)).await.expect("it waits for good");
    let free = async { while asked_at_once(&node, &person).await > 0 {} };
    timeout(patience, free).await.expect("there are no connections left");
}
