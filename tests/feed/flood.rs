//! What a client may send over a socket, and how many sockets it may open: at one less, at, and one more.

use futures_util::SinkExt;
use lockstep_api::{
    Code,
    live::{ClientMessage, close},
};
use lockstep_events::Micros;
use lockstepd::config::Layer;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    socket::{Socket, all, hello},
    support::{Mode, Node, Person, assert_problem},
};

const MOST: usize = 64 * 1024;

/// A message of the protocol of exactly so many bytes.
fn message(length: usize) -> Message {
    let mut text = serde_json::to_string(&ClientMessage::Pong { t: Micros(1) }).unwrap();
    text.push_str(&" ".repeat(length - text.len()));
    Message::text(text)
}

async fn is_served(socket: &mut Socket, person: &Person) -> bool {
    // Subscribing anew is answered, if anybody is there.
    let again = serde_json::to_string(&ClientMessage::Sub(all(person.vault))).unwrap();
    let sent = socket.ws.send(Message::text(again)).await;
    sent.is_ok() && matches!(socket.next_but_pings().await, crate::socket::Heard::Message(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn ws_flood() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let mut socket = Socket::hello(&node, &person, &[]).await;
    for length in [MOST - 1, MOST] {
        socket.ws.send(message(length)).await.unwrap();
        assert!(is_served(&mut socket, &person).await, "a frame of {length}");
    }
    let _ = socket.ws.send(message(MOST + 1)).await;
    assert_eq!(socket.close_code().await, close::BAD_REQUEST, "a frame of {}", MOST + 1);

    let mut socket = Socket::hello(&node, &person, &[]).await;
    for _ in 0..99 {
        socket.ws.send(message(100)).await.unwrap();
    }
    assert!(is_served(&mut socket, &person).await, "the hundredth is answered");
    let _ = socket.ws.send(message(100)).await;
    assert_eq!(socket.close_code().await, close::RATE, "a hundred and one in a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_ten_open_sockets_and_the_eleventh_is_sent_away_while_the_ten_go_on() {
    let node = Node::start(Mode::Embedded).await;
    let mut devices = vec![Person::register(&node).await];
    for _ in 0..10 {
        devices.push(devices[0].enrol(&node).await);
    }
    let mut open = Vec::new();
    for device in &devices[..10] {
        open.push(Socket::hello(&node, device, &[]).await);
    }
    let mut eleventh = Socket::open(&node).await;
    eleventh.send(&hello(Some(&devices[10].tokens.access_token), None, &[])).await;
    assert_eq!(eleventh.close_code().await, close::RATE);
    let mut again = Socket::hello(&node, &devices[3], &[]).await;
    assert!(is_served(&mut again, &devices[3]).await, "a device that comes back is no eleventh");
    assert!(is_served(&mut open[0], &devices[0]).await);
    drop(open.pop());
    for attempt in 0.. {
        let mut eleventh = Socket::open(&node).await;
        eleventh.send(&hello(Some(&devices[10].tokens.access_token), None, &[])).await;
        match eleventh.next().await {
            crate::socket::Heard::Message(lockstep_api::live::ServerMessage::Welcome { .. }) => break,
            other => assert!(attempt < 1000, "there is a place again: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_opens_twenty_sockets_a_minute() {
    let limits = Layer { rate_limit_factor: Some(1), ..Layer::default() };
    let node = Node::start_with(Mode::Embedded, limits).await;
    node.clock.stop();
    for _ in 0..20 {
        let _unheard = Socket::open(&node).await;
    }
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let socket = node.get("/v1/live").header("connection", "upgrade").header("upgrade", "websocket");
    let socket = socket.header("sec-websocket-version", "13").header("sec-websocket-key", key);
    let refused = socket.header("sec-websocket-protocol", "lockstep.v1").send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    assert_problem(refused, Code::TooManyRequests).await;
}
