//! A node that has lost touch with the log cannot know whose access has ended: it refuses all kinds of it.

use std::time::{Duration, Instant};

use lockstep_api::{
    Code,
    live::{Ticket, close},
};
use lockstep_events::{BlobHash, StreamId};
use lockstepd::config::Layer;
use reqwest::{Response, StatusCode};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use crate::{
    addresses::{prepare, with_addresses},
    port::Port,
    socket::{Socket, hello},
    support::{Mode, Node, Person, assert_problem, body},
};

/// The way to a database, which can be cut.
pub struct Way {
    port: Port,
    upstream: String,
    open: CancellationToken,
}

impl Way {
    /// The way to a database; and the same database over it.
    pub async fn to(database: &str) -> (Self, String) {
        let (credentials, rest) = database.split_once('@').unwrap();
        let (upstream, name) = rest.split_once('/').unwrap();
        let port = Port::reserve();
        let addr = port.addr();
        let mut way = Self { port, upstream: upstream.to_owned(), open: CancellationToken::new() };
        way.restore().await;
        (way, format!("{credentials}@{addr}/{name}"))
    }

    pub async fn restore(&mut self) {
        self.open = CancellationToken::new();
        let (listener, open) = (TcpListener::bind(self.port.addr()).await.unwrap(), self.open.clone());
        let upstream = self.upstream.clone();
        tokio::spawn(async move {
            while let Some(Ok((mut near, _))) = open.run_until_cancelled(listener.accept()).await {
                let (open, upstream) = (open.clone(), upstream.clone());
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(upstream).await else { return };
                    open.run_until_cancelled(copy_bidirectional(&mut near, &mut far)).await;
                });
            }
        });
    }

    pub fn cut(&self) {
        self.open.cancel();
    }
}

/// Asks until the answer has this status; since `began`.
pub async fn until(
    began: Instant,
    status: StatusCode,
    ask: impl AsyncFn() -> Response,
) -> (Duration, Response) {
    loop {
        let answer = ask().await;
        if answer.status() == status {
            return (began.elapsed(), answer);
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{status} never came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks until it is said that the log is away; after how long.
async fn closed_to(began: Instant, ask: impl AsyncFn() -> Response) -> Duration {
    let (after, answer) = until(began, StatusCode::SERVICE_UNAVAILABLE, ask).await;
    assert_problem(answer, Code::LogUnavailable).await;
    after
}

/// A node and another one, which has a way of its own to the log and hears of it by polling alone.
async fn two_nodes() -> (Node, Node, Way) {
    let polling = Layer { bus: Some("in_process".into()), ..with_addresses() };
    let first = Node::start_with(Mode::Distributed, polling).await;
    let (way, log) = Way::to(first.running().server.config.log.expose()).await;
    let cut_off = first.second_with(Layer { log: Some(log.as_str().into()), ..Layer::default() }).await;
    (first, cut_off, way)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_lost_the_log_refuses_writes_after_ten_seconds_and_everything_after_thirty() {
    let (first, cut_off, mut way) = two_nodes().await;
    let person = Person::register(&first).await;
    let lost = person.enrol(&first).await;
    let read = async || lost.get(&cut_off, "/v1/devices").await;
    let write = async || lost.post(&cut_off, "/v1/live/ticket", &()).await;
    let addresses = async || prepare(&cut_off, &lost, &[(BlobHash([7; 32]), 100_000)]).await;
    until(Instant::now(), StatusCode::OK, &read).await;
    assert_eq!(addresses().await.status(), StatusCode::OK);
    let began = Instant::now();
    way.cut();
    assert!(person.revoke(&first, lost.device).await.status().is_success());
    assert!(closed_to(began, &write).await >= Duration::from_secs(9));
    closed_to(began, &addresses).await;
    if began.elapsed() < Duration::from_secs(25) {
        assert_eq!(read().await.status(), StatusCode::OK, "it reads on for a while");
    }
    let after = closed_to(began, &read).await;
    assert!((29..60).contains(&after.as_secs()), "{after:?}");
    // Back in touch it knows at once what it missed.
    way.restore().await;
    let (_, answer) = until(Instant::now(), StatusCode::UNAUTHORIZED, &read).await;
    assert_problem(answer, Code::Revoked).await;
}

/// Whose access has not ended is refused as well: the node cannot tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_lost_the_log_renews_nothing_and_sends_away_who_is_connected_and_who_comes() {
    let (first, cut_off, mut way) = two_nodes().await;
    let person = Person::register(&first).await;
    let reader = person.enrol(&first).await;
    // A token that was used a moment ago gives the same successor again, and writes nothing in the log.
    let used = person.tokens.refresh_token.clone();
    assert_eq!(person.refresh(&first, &used).await.status(), StatusCode::OK);
    let refresh = async || person.refresh(&cut_off, &used).await;
    until(Instant::now(), StatusCode::OK, &refresh).await;
    let mut socket = Socket::hello(&cut_off, &person, &[]).await;
    let changes = format!("/v1/streams/{}/changes", StreamId::from(person.vault));
    let events = cut_off.get(&changes).header("accept", "text/event-stream");
    let events = events.bearer_auth(&reader.tokens.access_token).send().await.unwrap();
    assert_eq!(events.status(), StatusCode::OK);
    let began = Instant::now();
    way.cut();
    let closing = async {
        socket.says_bye(close::DRAINING).await;
        began.elapsed()
    };
    let ending = async {
        let heard = events.text().await.unwrap();
        assert!(heard.contains("event: bye") && heard.contains("4503"), "{heard}");
    };
    let (renewed, closed, ()) = tokio::join!(closed_to(began, &refresh), closing, ending);
    assert!((9..29).contains(&renewed.as_secs()), "{renewed:?}");
    assert!((29..60).contains(&closed.as_secs()), "{closed:?}");
    let ticket = person.post(&first, "/v1/live/ticket", &()).await;
    let ticket = body::<Ticket>(ticket, StatusCode::OK).await.ticket.to_string();
    let token = person.tokens.access_token.as_str();
    for first_frame in [hello(None, Some(&ticket), &[]), hello(Some(token), None, &[])] {
        let mut socket = Socket::open(&cut_off).await;
        socket.send(&first_frame).await;
        socket.says_bye(close::DRAINING).await;
    }
    way.restore().await;
    until(Instant::now(), StatusCode::OK, async || person.get(&cut_off, "/v1/account").await).await;
    Socket::hello(&cut_off, &person, &[]).await;
}
