//! The revocation matrix: whatever ends access, ends every kind of it, on every node, within the stated time.
//!
//! Eleven triggers; for each, an access token, a refresh token, an open socket, live tickets and the way to presigned
//! addresses, all of them given before it, are tried on each of three nodes from the moment it is pulled: each kind by
//! itself, again and again until it is refused for good. A signing key that is revoked ends all of them but the refresh
//! token, which no such key has signed: its session goes on (ADR 27). An address that was given before is another matter:
//! see `addresses.rs`.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lockstep_api::{
    account::Tokens,
    live::{ClientMessage, ServerMessage, Ticket},
    sync::{PreparedBlob, PreparedBlobs},
};
use lockstep_events::BlobHash;
use lockstepd::config::Layer;
use reqwest::{Response, StatusCode};
use tokio::{join, sync::Mutex, time::sleep};

use crate::{
    addresses::{is_bounded, prepare, with_addresses},
    socket::{Heard, Socket, hello},
    support::{Mode, Node, Person, assert_problem, body},
    triggers::{Office, Trigger},
};

/// Between two tries of one kind.
const PACE: Duration = Duration::from_millis(20);
/// After so many refusals in a row it is for good; once all are refused, each is tried once more.
const FOR_GOOD: usize = 5;
/// Tickets that are taken beforehand on each node; each is good for one try.
const TICKETS: usize = 40;
/// A row in which something was slow is measured so often.
const MEASURED: usize = 3;
const SIZE: usize = 100_000;

/// What gives access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
    Socket,
    Ticket,
    Address,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Access, Self::Refresh, Self::Socket, Self::Ticket, Self::Address];
}

/// How long after a trigger a kind was refused by a node.
type Cell = (Kind, Duration);

/// What is tried at the same time. A ticket opens a socket, which takes the place of one that its device has open: not
/// these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Connected,
    Coming,
}

enum Has {
    Socket(Box<Socket>),
    Tickets(Vec<String>),
}

/// A device at one node, and a trigger that ends its access.
struct Given<'a> {
    trigger: Trigger,
    node: &'a Node,
    lost: &'a Person,
    /// The newest tokens of its session. Each refresh uses one up, so the nodes are asked in turn.
    newest: &'a Mutex<Tokens>,
}

impl Given<'_> {
    /// What it has of the node before the trigger: all of it is good.
    async fn has(&self, half: Half) -> Has {
        if half == Half::Connected {
            assert!(!self.access().await && !self.address().await);
            return Has::Socket(Box::new(Socket::hello(self.node, self.lost, &[]).await));
        }
        assert!(!self.refresh().await);
        let mut tickets = Vec::new();
        for _ in 0..TICKETS {
            let ticket = self.another_ticket().await;
            tickets.push(body::<Ticket>(ticket, StatusCode::OK).await.ticket.to_string());
        }
        assert!(!self.ticket(&mut tickets).await);
        Has::Tickets(tickets)
    }

    /// Tries each kind until it is refused for good.
    async fn tried(&self, began: Instant, has: &mut Has) -> Vec<Cell> {
        match has {
            Has::Socket(socket) => {
                let closing = async {
                    socket.says_bye(self.trigger.refusal().1).await;
                    began.elapsed()
                };
                let access = since(began, async || self.access().await);
                let address = since(began, async || self.address().await);
                let (access, socket, address) = join!(access, closing, address);
                vec![(Kind::Access, access), (Kind::Socket, socket), (Kind::Address, address)]
            }
            Has::Tickets(tickets) => {
                let ticket = since(began, async || self.ticket(tickets).await);
                if self.trigger == Trigger::SigningKey {
                    let (ticket, ()) = join!(ticket, self.goes_on());
                    return vec![(Kind::Ticket, ticket)];
                }
                let (ticket, refresh) = join!(ticket, since(began, async || self.refresh().await));
                vec![(Kind::Ticket, ticket), (Kind::Refresh, refresh)]
            }
        }
    }

    /// Once everything is refused on all nodes, it stays so.
    async fn stays_refused(&self, has: Has) {
        match has {
            Has::Socket(_) => {
                assert!(self.access().await && self.address().await);
                let token = &self.lost.tokens.access_token;
                assert!(self.opens_none(&hello(Some(token), None, &[])).await);
            }
            Has::Tickets(tickets) => {
                assert!(self.opens_none(&hello(None, Some(&tickets[0]), &[])).await);
                // The end of a key is no session's: it renews, and goes on by another key.
                let goes_on = self.trigger == Trigger::SigningKey;
                assert_eq!(self.refresh().await, !goes_on);
                // What a refresh gave last, perhaps while the trigger was pulled.
                let token = self.newest.lock().await.access_token.clone();
                let answer = self.node.get("/v1/account").bearer_auth(token).send().await.unwrap();
                assert_eq!(self.refuses(answer).await, !goes_on);
            }
        }
    }

    /// Whether an answer is the refusal; else it lets in, and is nothing else.
    async fn refuses(&self, answer: Response) -> bool {
        let refused = !answer.status().is_success();
        if refused {
            assert_problem(answer, self.trigger.refusal().0).await;
        }
        refused
    }

    async fn access(&self) -> bool {
        self.refuses(self.lost.get(self.node, "/v1/account").await).await
    }

    async fn address(&self) -> bool {
        let answer = prepare(self.node, self.lost, &[(BlobHash([7; 32]), SIZE)]).await;
        if !answer.status().is_success() {
            return self.refuses(answer).await;
        }
        let prepared = body::<PreparedBlobs>(answer, StatusCode::OK).await.blobs;
        let [PreparedBlob::Put { url, expires_in, .. }] = prepared.as_slice() else { panic!("{prepared:?}") };
        match self.node.running().server.shelf.store.is_reached_by_clients() {
            true => is_bounded(url, *expires_in),
            false => assert!(url.starts_with("/v1/"), "it asks for a token"),
        }
        false
    }

    async fn refresh(&self) -> bool {
        let mut newest = self.newest.lock().await;
        let answer = self.lost.refresh(self.node, &newest.refresh_token).await;
        let refused = answer.status() == StatusCode::UNAUTHORIZED;
        if !refused {
            *newest = body(answer, StatusCode::OK).await;
        }
        refused
    }

    /// Refreshes end by nothing.
    async fn goes_on(&self) {
        for _ in 0..FOR_GOOD {
            assert!(!self.refresh().await);
            sleep(PACE).await;
        }
    }

    async fn another_ticket(&self) -> Response {
        self.lost.post(self.node, "/v1/live/ticket", &()).await
    }

    /// Uses one of the tickets; if there is only one left, which is for the end, another one.
    async fn ticket(&self, tickets: &mut Vec<String>) -> bool {
        if tickets.len() > 1 {
            return self.opens_none(&hello(None, tickets.pop().as_deref(), &[])).await;
        }
        let answer = self.another_ticket().await;
        if !answer.status().is_success() {
            return self.refuses(answer).await;
        }
        let ticket = body::<Ticket>(answer, StatusCode::OK).await.ticket.to_string();
        self.opens_none(&hello(None, Some(&ticket), &[])).await
    }

    async fn opens_none(&self, first_frame: &ClientMessage) -> bool {
        let mut socket = Socket::open(self.node).await;
        socket.send(first_frame).await;
        match socket.next().await {
            Heard::Message(ServerMessage::Welcome { .. }) => false,
            Heard::Message(ServerMessage::Bye { code, .. }) => {
                assert_eq!(code, self.trigger.refusal().1, "{:?}", self.trigger);
                true
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Tries until it is refused for good: since when, from the moment the trigger was pulled.
async fn since(began: Instant, mut refuses: impl AsyncFnMut() -> bool) -> Duration {
    let (mut since, mut in_a_row) = (Duration::ZERO, 0);
    while in_a_row < FOR_GOOD {
        if !refuses().await {
            in_a_row = 0;
            assert!(began.elapsed() < Duration::from_secs(60), "it is let in for ever");
        } else {
            if in_a_row == 0 {
                since = began.elapsed();
            }
            in_a_row += 1;
        }
        sleep(PACE).await;
    }
    since
}

/// One trigger, and some kinds on all nodes: how long it took from the moment it was pulled until each was refused.
async fn measured(trigger: Trigger, half: Half, office: &Office, nodes: &[&Node]) -> Vec<Cell> {
    let person = Person::register(nodes[0]).await;
    let mut lost = person.enrol(nodes[0]).await;
    let ready = trigger.ready(nodes, office, &person, &mut lost).await;
    let newest = Mutex::new(lost.tokens.clone());
    let given = |node| Given { trigger, node, lost: &lost, newest: &newest };
    let given: Vec<_> = nodes.iter().copied().map(given).collect();
    let mut all = join_all(given.iter().map(|given| given.has(half))).await;
    let began = Instant::now();
    let tried = join_all(given.iter().zip(&mut all).map(|(given, has)| given.tried(began, has)));
    let (cells, ()) = join!(tried, ready.pull());
    for (given, has) in given.iter().zip(all) {
        given.stays_refused(has).await;
    }
    cells.concat()
}

/// A moment in which the machine did something else is not the server's: what was slow is measured again, and what is slow
/// in itself is slow again.
async fn row(trigger: Trigger, half: Half, office: &Office, nodes: &[&Node], at_most: Duration) -> Vec<Cell> {
    let mut cells = Vec::new();
    for _ in 0..MEASURED {
        cells = measured(trigger, half, office, nodes).await;
        if cells.iter().all(|(_, took)| *took <= at_most) {
            break;
        }
        eprintln!("{trigger:?}: slow: {cells:?}");
    }
    cells
}

/// Of a hundred, ninety-nine are no longer than that.
fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99).div_ceil(100) - 1]
}

async fn matrix(nodes: &[&Node], at_most: Duration) {
    let office = Office::open(nodes[0]).await;
    let mut cells = Vec::new();
    for trigger in Trigger::ALL {
        for half in [Half::Connected, Half::Coming] {
            cells.extend(row(trigger, half, &office, nodes, at_most).await);
        }
    }
    // Every trigger ends every kind everywhere, but that one goes on by its refresh token.
    assert_eq!(cells.len(), (Trigger::ALL.len() * Kind::ALL.len() - 1) * nodes.len());
    for kind in Kind::ALL {
        let mut times: Vec<_> = cells.iter().filter(|cell| cell.0 == kind).map(|cell| cell.1).collect();
        let (last, count) = (p99(&mut times), times.len());
        eprintln!("{kind:?} over {count} cells: p50 {:?}, p99 {last:?}", times[count / 2]);
    }
    let p99 = p99(&mut cells.iter().map(|cell| cell.1).collect::<Vec<_>>());
    assert!(p99 <= at_most, "{p99:?} of {cells:?}");
}

async fn matrix_of_three(bus: Layer, at_most: Duration) {
    let first = Node::start_with(Mode::Distributed, bus).await;
    let (second, third) = (first.second().await, first.second().await);
    matrix(&[&first, &second, &third], at_most).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_matrix() {
    matrix_of_three(with_addresses(), Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_matrix_without_a_bus() {
    let polling = Layer { bus: Some("in_process".into()), ..with_addresses() };
    matrix_of_three(polling, Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_matrix_of_one_node() {
    let node = Node::start(Mode::Embedded).await;
    matrix(&[&node], Duration::from_secs(1)).await;
}
