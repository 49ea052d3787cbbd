//! The revocation matrix: whatever ends access, ends every kind of it, on every node.
//!
//! Eleven triggers; for each, an access token, a refresh token, an open socket, a live ticket and the way to presigned
//! addresses, all of them given before it, are tried after it on each of three nodes. A signing key that is revoked ends
//! all of them but the refresh token, which no such key has signed: its session goes on (ADR 27).

use std::time::{Duration, Instant};

use lockstep_api::{
    Code,
    account::{LoggedIn, Tokens},
    live::{Ticket, close},
    sync::{BlobRef, PrepareBlobs},
};
use lockstep_events::{AccountId, BlobHash};
use lockstepd::config::Layer;
use rand::rngs::OsRng;
use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use crate::{
    keys::{kid, operator},
    port::Port,
    socket::{Socket, hello},
    support::{Mode, Node, Person, assert_problem, body, ways::press},
    ways::{change_password, recover, set_recovery},
};

/// What ends access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Password,
    Recovery,
    Email,
    Role,
    PlanBan,
    DeviceRemoval,
    LogOut,
    Admin,
    Deletion,
    SigningKey,
    RefreshReuse,
}

impl Trigger {
    const ALL: [Self; 11] = [
        Self::Password,
        Self::Recovery,
        Self::Email,
        Self::Role,
        Self::PlanBan,
        Self::DeviceRemoval,
        Self::LogOut,
        Self::Admin,
        Self::Deletion,
        Self::SigningKey,
        Self::RefreshReuse,
    ];

    /// What is said to whoever comes with something from before, and how a socket is closed.
    fn refusal(self) -> (Code, u16) {
        match self {
            // The session goes on: whoever has the refresh token renews and comes back.
            Self::SigningKey => (Code::Unauthenticated, close::TOKEN_EXPIRED),
            _ => (Code::Revoked, close::REVOKED),
        }
    }

    /// The route by which an administrator pulls it, and what is sent there.
    fn by_administrator(self) -> Option<(&'static str, serde_json::Value)> {
        match self {
            Self::Role => Some(("role", json!({"role": "auditor", "reason": "ticket 12"}))),
            Self::PlanBan => Some(("disable", json!({"reason": "ticket 12"}))),
            Self::Admin => Some(("sessions/end", json!({"reason": "ticket 12"}))),
            Self::Deletion => Some(("delete", json!({"reason": "ticket 12"}))),
            _ => None,
        }
    }
}

/// The first administrator of a server, whose session is never too old for what takes a fresh proof.
struct Office(Person);

impl Office {
    async fn open(node: &Node) -> Self {
        let admin = Person::register(node).await;
        let token = node.running().bootstrap.as_ref().unwrap().token.clone();
        let named = admin.post(node, "/v1/admin/bootstrap", &json!({ "token": token })).await;
        assert_eq!(named.status(), StatusCode::OK);
        Self(admin)
    }

    async fn pull(&self, node: &Node, account: AccountId, (route, sent): (&str, serde_json::Value)) {
        let login = self.0.login(node, &self.0.password, true).await;
        let tokens = body::<LoggedIn>(login, StatusCode::OK).await.tokens.unwrap();
        let admin = Person { tokens, ..self.0.clone() };
        let answer = admin.post(node, &format!("/v1/admin/accounts/{account}/{route}"), &sent).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }
}

/// Pulls a trigger on a node: `person` ends the access of `lost`, another device of the same account. Since when it is
/// pulled.
async fn pull(trigger: Trigger, nodes: &[&Node], office: &Office, person: &Person, lost: &Person) -> Instant {
    let node = nodes[0];
    if let Some(route) = trigger.by_administrator() {
        office.pull(node, person.account, route).await;
        return Instant::now();
    }
    match trigger {
        Trigger::Password => drop(change_password(node, person, "another horse entirely", 2).await),
        Trigger::Recovery => {
            assert_eq!(set_recovery(node, person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
            recover(node, person, [7; 32], "another horse entirely", 2).await;
        }
        Trigger::DeviceRemoval => {
            assert!(person.revoke(node, lost.device).await.status().is_success());
        }
        Trigger::LogOut => {
            let path = format!("/v1/sessions/{}", lost.tokens.session);
            let end = node.request("DELETE", &path).bearer_auth(&lost.tokens.access_token);
            assert!(end.send().await.unwrap().status().is_success());
        }
        Trigger::Email => confirm_address(nodes, person).await,
        Trigger::SigningKey => {
            operator(node).revoke(&kid(&lost.tokens.access_token), &mut OsRng).await.unwrap();
        }
        Trigger::RefreshReuse => {
            let again = lost.refresh(node, &lost.tokens.refresh_token).await;
            assert_problem(again, Code::RefreshFailed).await;
        }
        _ => unreachable!("{trigger:?} is pulled otherwise"),
    }
    Instant::now()
}

/// Names an address and presses the link that is mailed to it, by whichever node.
async fn confirm_address(nodes: &[&Node], person: &Person) {
    let address = format!("{}@example.org", uuid::Uuid::new_v4());
    assert_eq!(person.name_email(nodes[0], &address).await.status(), StatusCode::ACCEPTED);
    let sent = nodes.iter().map(|node| Box::pin(node.letter(&address, "Confirm", 1)));
    let (letter, ..) = futures_util::future::select_all(sent).await;
    assert_eq!(press(nodes[0], &letter.link()).await.status(), StatusCode::OK);
}

/// What must have happened before anything is given: a token can only be used again if it was used,
/// and an address can only be changed if there was one.
async fn prepare(trigger: Trigger, nodes: &[&Node], person: &Person, lost: &Person) {
    let node = nodes[0];
    if trigger == Trigger::Email {
        confirm_address(nodes, person).await;
    }
    if trigger == Trigger::RefreshReuse {
        let refreshed = lost.refresh(node, &lost.tokens.refresh_token).await;
        assert_eq!(refreshed.status(), StatusCode::OK);
        node.clock.pass(61);
    }
}

async fn ticket(node: &Node, person: &Person) -> String {
    let answer = person.post(node, "/v1/live/ticket", &()).await;
    body::<Ticket>(answer, StatusCode::OK).await.ticket.to_string()
}

/// Everything that was given before is refused on this node.
async fn all_refused(trigger: Trigger, node: &Node, lost: &Person, ticket: &str) {
    let (code, closed) = trigger.refusal();
    assert_problem(lost.get(node, "/v1/account").await, code).await;
    let refreshed = lost.refresh(node, &lost.tokens.refresh_token).await;
    if trigger == Trigger::SigningKey {
        let Tokens { access_token, .. } = body(refreshed, StatusCode::OK).await;
        let renewed = node.get("/v1/account").bearer_auth(access_token).send().await.unwrap();
        assert_eq!(renewed.status(), StatusCode::OK, "the session goes on by another key");
    } else {
        assert_eq!(refreshed.status(), StatusCode::UNAUTHORIZED, "{trigger:?}");
    }
    let mut socket = Socket::open(node).await;
    socket.send(&hello(None, Some(ticket), &[])).await;
    assert_eq!(socket.close_code().await, closed, "{trigger:?}: a ticket from before");
    let blobs =
        PrepareBlobs { blobs: vec![BlobRef { hash: BlobHash([7; 32]), size: 100_000, attachment: false }] };
    let presigned = lost.post(node, &format!("/v1/vaults/{}/blobs/prepare", lost.vault), &blobs).await;
    assert_problem(presigned, code).await;
}

/// One row: how long it took on each node until the socket was closed.
async fn row(trigger: Trigger, office: &Office, nodes: &[&Node]) -> Vec<Duration> {
    let person = Person::register(nodes[0]).await;
    let lost = person.enrol(nodes[0]).await;
    prepare(trigger, nodes, &person, &lost).await;
    let mut sockets = Vec::new();
    let mut tickets = Vec::new();
    for node in nodes {
        sockets.push(Socket::hello(node, &lost, &[]).await);
        tickets.push(ticket(node, &lost).await);
    }
    let began = pull(trigger, nodes, office, &person, &lost).await;
    let closing = sockets.iter_mut().map(|socket| async {
        socket.says_bye(trigger.refusal().1).await;
        began.elapsed()
    });
    let times = futures_util::future::join_all(closing).await;
    for (node, ticket) in nodes.iter().zip(&tickets) {
        all_refused(trigger, node, &lost, ticket).await;
    }
    times
}

/// One row that has to be quick. A moment in which the machine did something else is not the server's: then it is
/// measured once more, and what is slow in itself is slow again.
async fn quick_row(trigger: Trigger, office: &Office, nodes: &[&Node], at_most: Duration) -> Vec<Duration> {
    let times = row(trigger, office, nodes).await;
    if times.iter().all(|time| *time <= at_most) {
        return times;
    }
    let again = row(trigger, office, nodes).await;
    assert!(again.iter().all(|time| *time <= at_most), "{trigger:?}: {times:?}, and again {again:?}");
    again
}

async fn matrix(bus: Layer, at_most: Duration) {
    let first = Node::start_with(Mode::Distributed, bus).await;
    let (second, third) = (first.second().await, first.second().await);
    let office = Office::open(&first).await;
    let mut times = Vec::new();
    for trigger in Trigger::ALL {
        times.extend(quick_row(trigger, &office, &[&first, &second, &third], at_most).await);
    }
    times.sort_unstable();
    let (count, middle, last) = (times.len(), times[times.len() / 2], times[times.len() - 1]);
    eprintln!("revocation over {count} cells: p50 {middle:?}, the last {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_matrix() {
    matrix(Layer::default(), Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_matrix_without_a_bus() {
    matrix(Layer { bus: Some("in_process".into()), ..Layer::default() }, Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_matrix_of_one_node() {
    let node = Node::start(Mode::Embedded).await;
    let office = Office::open(&node).await;
    for trigger in Trigger::ALL {
        quick_row(trigger, &office, &[&node], Duration::from_secs(1)).await;
    }
}

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
    ask: impl AsyncFn() -> reqwest::Response,
) -> (Duration, reqwest::Response) {
    loop {
        let answer = ask().await;
        if answer.status() == status {
            return (began.elapsed(), answer);
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{status} never came");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_lost_the_log_refuses_writes_after_ten_seconds_and_everything_after_thirty() {
    let first =
        Node::start_with(Mode::Distributed, Layer { bus: Some("in_process".into()), ..Layer::default() })
            .await;
    let (mut way, log) = Way::to(first.running().server.config.log.expose()).await;
    let cut_off = first.second_with(Layer { log: Some(log.as_str().into()), ..Layer::default() }).await;
    let person = Person::register(&first).await;
    let lost = person.enrol(&first).await;
    let read = async || lost.get(&cut_off, "/v1/devices").await;
    let write = async || lost.post(&cut_off, "/v1/live/ticket", &()).await;
    until(Instant::now(), StatusCode::OK, &read).await;
    let began = Instant::now();
    way.cut();
    assert!(person.revoke(&first, lost.device).await.status().is_success());
    let (after, answer) = until(began, StatusCode::SERVICE_UNAVAILABLE, &write).await;
    assert_problem(answer, Code::LogUnavailable).await;
    assert!(after >= Duration::from_secs(9), "{after:?}");
    if began.elapsed() < Duration::from_secs(25) {
        assert_eq!(read().await.status(), StatusCode::OK, "it reads on for a while");
    }
    let (after, answer) = until(began, StatusCode::SERVICE_UNAVAILABLE, &read).await;
    assert_problem(answer, Code::LogUnavailable).await;
    assert!((29..60).contains(&after.as_secs()), "{after:?}");
    // Back in touch it knows at once what it missed.
    way.restore().await;
    let (_, answer) = until(Instant::now(), StatusCode::UNAUTHORIZED, &read).await;
    assert_problem(answer, Code::Revoked).await;
}
