//! A client that does not read, beside twenty that do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use lockstep_api::{
    Cursor,
    live::{ClientMessage, PROTOCOL, ServerMessage, Sub, close},
};
use lockstep_events::{Epoch, Micros, Seq, StreamId};
use lockstepd::config::Layer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, client_async,
    tungstenite::{ClientRequestBuilder, Message},
};
use tokio_util::sync::CancellationToken;

use crate::{
    changes::{event, open},
    live::in_both_modes,
    socket::{Heard, SOON, Socket, all, hello},
    support::{Mode, Node, Person},
};

const FAST: usize = 20;
/// Versions of one push, and how many pushes before and while the slow one is there.
const VERSIONS: usize = 128;
const BEFORE: usize = 12;
const BESIDE: usize = 40;
/// How long a blocked write is borne here, in seconds.
const BORNE_S: u64 = 8;

in_both_modes! {
    a_client_that_does_not_read_is_closed_as_too_slow_has_everything_afterwards_and_costs_twenty_others_nothing
    a_stream_of_server_sent_events_that_nobody_reads_is_cut_off_and_goes_on_where_it_stopped
}

/// A socket whose client has little room and does not read after its greeting.
async fn not_reading(node: &Node, person: &Person, sub: Sub) -> Socket {
    let addr = node.running().addr;
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = MaybeTlsStream::Plain(tcp.connect(addr).await.unwrap());
    let url = format!("ws://{addr}/v1/live");
    let request = ClientRequestBuilder::new(url.parse().unwrap()).with_sub_protocol(PROTOCOL);
    let mut socket = Socket { ws: client_async(request, stream).await.unwrap().0 };
    socket.send(&hello(Some(&person.tokens.access_token), None, &[sub])).await;
    assert!(matches!(socket.next().await, Heard::Message(ServerMessage::Welcome { .. })));
    socket
}

/// What a fast reader looks at: twenty of them share this machine with the server.
#[derive(serde::Deserialize)]
struct Frame {
    m: String,
    from: Option<Seq>,
    to: Option<Seq>,
    t: Option<Micros>,
}

/// Reads, and tells how far it is; at the end it stays until it is let go.
async fn read(mut socket: Socket, mut at: Seq, told: Arc<AtomicU64>, go: CancellationToken) {
    loop {
        let heard = tokio::select! {
            () = go.cancelled() => return,
            heard = timeout(SOON, socket.ws.next()) => heard.expect("the server is silent"),
        };
        let Some(Ok(Message::Text(text))) = heard else { panic!("a fast reader was closed: {heard:?}") };
        let frame: Frame = serde_json::from_str(&text).unwrap();
        match (frame.m.as_str(), frame.from, frame.to, frame.t) {
            ("ev", Some(from), Some(to), _) => {
                assert_eq!(from, at);
                at = to;
                told.store(to.0, Ordering::SeqCst);
            }
            ("ping", _, _, Some(t)) => socket.send(&ClientMessage::Pong { t }).await,
            _ => {}
        }
    }
}

/// Pushes, and for each push how long it took until the last of the readers had it.
async fn pushes(
    node: &Node,
    author: &Person,
    epoch: Epoch,
    number: usize,
    readers: &[Arc<AtomicU64>],
) -> Vec<Duration> {
    let mut delays = Vec::new();
    for n in 0..number {
        let bytes = vec![u8::try_from(n).unwrap(); 500];
        let head = author.write(node, epoch, &vec![bytes; VERSIONS]).await.head;
        let acknowledged = Instant::now();
        while readers.iter().any(|at| at.load(Ordering::SeqCst) < head.0) {
            assert!(acknowledged.elapsed() < Duration::from_secs(60), "a fast reader waits for ever");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        delays.push(acknowledged.elapsed());
    }
    delays.sort_unstable();
    delays
}

/// Waits until the server has let go of the one that does not read; then it reads, and finds out why: within as long
/// again. Gives how far it came.
async fn let_go_of(node: &Node, mut blocked: Socket) -> Seq {
    let began = Instant::now();
    while node.running().server.feed.sockets.len() > FAST {
        assert!(began.elapsed() < Duration::from_secs(120), "the slow socket was never ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(BORNE_S - 1), "it was not borne: {:?}", began.elapsed());
    let mut at = Seq::ZERO;
    loop {
        match blocked.next_but_pings().await {
            Heard::Message(ServerMessage::Ev { from, to, .. }) => {
                assert_eq!(from, at);
                at = to;
            }
            Heard::Message(ServerMessage::Subbed { .. } | ServerMessage::Lag { .. }) => {}
            Heard::Message(ServerMessage::Bye { code, reconnect, wait_ms, .. }) => {
                assert_eq!((code, reconnect), (close::TOO_SLOW, true));
                break assert!(wait_ms.0 >= 1_000);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(blocked.close_code().await, close::TOO_SLOW);
    at
}

async fn a_client_that_does_not_read_is_closed_as_too_slow_has_everything_afterwards_and_costs_twenty_others_nothing(
    mode: Mode,
) {
    let patience = Layer {
        live_blocked_s: Some(BORNE_S),
        live_per_account: Some(32),
        access_token_s: Some(1200),
        ..Layer::default()
    };
    let node = Node::start_with(mode, patience).await;
    let author = Person::register(&node).await;
    let slow = author.enrol(&node).await;
    let (epoch, stream) = (author.epoch(&node).await, StreamId::from(author.vault));
    let start = author.changes(&node, "").await.head;
    let end = Seq(start.0 + u64::try_from((BEFORE + BESIDE) * VERSIONS).unwrap());
    let (mut readers, mut tasks, go) = (Vec::new(), Vec::new(), CancellationToken::new());
    for _ in 0..FAST {
        let device = author.enrol(&node).await;
        let after = Some(Cursor { epoch, seq: start });
        let socket = Socket::hello(&node, &device, &[Sub { stream, after }]).await;
        let told = Arc::new(AtomicU64::new(start.0));
        readers.push(Arc::clone(&told));
        tasks.push(tokio::spawn(read(socket, start, told, go.clone())));
    }
    let alone = pushes(&node, &author, epoch, BEFORE, &readers).await;
    let blocked = not_reading(&node, &slow, all(author.vault)).await;
    let (beside, at) =
        tokio::join!(pushes(&node, &author, epoch, BESIDE, &readers), let_go_of(&node, blocked));
    go.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    let middle = |delays: &[Duration]| delays[delays.len() / 2];
    let (worst, count) = (beside[beside.len() - 1], BESIDE * VERSIONS);
    eprintln!("{count} events beside it: p50 {:?} → {:?}, worst {worst:?}", middle(&alone), middle(&beside));
    assert!(count > 5_000);
    assert!(middle(&beside) < 3 * middle(&alone) + Duration::from_millis(300), "the others are slower");
    assert!(worst < Duration::from_secs(BORNE_S), "somebody waited for the one that does not read");
    assert!(at > Seq::ZERO && at < end, "nothing was left to catch up: {at}");
    let after = Some(Cursor { epoch, seq: at });
    let mut again = Socket::hello(&node, &slow, &[Sub { stream, after }]).await;
    let rest = again.events(stream, at, end).await;
    assert_eq!(rest.len() as u64, end.0 - at.0);
}

/// Asks for events on a connection with little room, and does not read the answer.
async fn not_reading_events(node: &Node, person: &Person) -> TcpStream {
    let addr = node.running().addr;
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = tcp.connect(addr).await.unwrap();
    let (path, token) = (format!("/v1/streams/{}/changes", person.vault), &person.tokens.access_token);
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: text/event-stream\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn a_stream_of_server_sent_events_that_nobody_reads_is_cut_off_and_goes_on_where_it_stopped(
    mode: Mode,
) {
    let patience = Layer { live_blocked_s: Some(2), access_token_s: Some(1200), ..Layer::default() };
    let node = Node::start_with(mode, patience).await;
    let author = Person::register(&node).await;
    let slow = author.enrol(&node).await;
    let epoch = author.epoch(&node).await;
    let mut blocked = not_reading_events(&node, &slow).await;
    let streams = || node.running().server.feed.sockets.len();
    let until = Instant::now() + Duration::from_secs(120);
    while streams() == 0 {
        assert!(Instant::now() < until, "the stream was never opened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // More than the buffers of both ends hold: the server's grow to some megabytes.
    let mut end = Seq::ZERO;
    while streams() == 1 {
        assert!(Instant::now() < until, "the stream was never cut off");
        if end < Seq(10_000) {
            end = author.write(&node, epoch, &vec![vec![7; 3_000]; VERSIONS]).await.head;
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut came = Vec::new();
    // What was under way arrives still; how the connection ends does not matter.
    let _ = blocked.read_to_end(&mut came).await;
    let came = String::from_utf8_lossy(&came);
    let (whole, _) = came.rsplit_once("\n\n").expect("nothing came");
    let mut ids = whole.lines().filter_map(|line| line.trim_end().strip_prefix("id: "));
    let last = ids.next_back().expect("no event came").to_owned();
    let mut at: Cursor = last.parse().unwrap();
    assert!(at.seq < end, "nothing was left to catch up: {last}");
    let answer = open(&node, &slow, Some(&last)).await;
    let (mut stream, mut rest) = (answer.bytes_stream(), String::new());
    while at.seq < end {
        let (id, name, data) = event(&mut stream, &mut rest).await;
        let ServerMessage::Ev { from, .. } = serde_json::from_str(&data).unwrap() else { panic!("{name}") };
        assert_eq!(from, at.seq);
        at = id.parse().unwrap();
    }
}
