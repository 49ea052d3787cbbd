//! The live socket of `/v1/live`: the greeting, the frames, the ends.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use lockstep_api::{
    Code, Cursor,
    account::Tokens,
    live::{ClientMessage, ServerMessage, Sub, SubState, Ticket, close},
    sync::ResetReason,
};
use lockstep_events::{Epoch, Micros, Seq, SessionId, StreamId, VaultId, event::Method};
use lockstepd::auth::{minting::Bearer, token::Scope};
use reqwest::StatusCode;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};
use uuid::Uuid;

use crate::{
    socket::{Heard, SOON, Socket, all, hello},
    support::{Mode, Node, Person, assert_problem, body},
};

/// Both modes run the same test.
macro_rules! in_both_modes {
    ($($test:ident)+) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(crate::support::Mode::Embedded).await; })+
        }
        mod distributed {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(crate::support::Mode::Distributed).await; })+
        }
    };
}
pub(crate) use in_both_modes;

in_both_modes! {
    a_change_reaches_the_other_device_with_its_content_and_its_author_without
    a_socket_that_is_one_event_more_than_the_ring_behind_gets_every_event_once
    a_stream_of_somebody_else_looks_like_one_that_does_not_exist
    a_newer_socket_of_the_same_device_takes_over
    a_revoked_device_is_closed_within_a_second
    a_ticket_opens_one_socket
    a_close_of_the_client_is_answered_by_the_same_behind_all_that_it_asked_for
}

async fn a_change_reaches_the_other_device_with_its_content_and_its_author_without(mode: Mode) {
    let node = Node::start(mode).await;
    let author = Person::register(&node).await;
    let reader = author.enrol(&node).await;
    let (epoch, stream) = (author.epoch(&node).await, StreamId::from(author.vault));
    let mut own = Socket::hello(&node, &author, &[all(author.vault)]).await;
    let mut other = Socket::hello(&node, &reader, &[all(author.account), all(author.vault)]).await;
    let head = author.write(&node, epoch, &[b"sealed".to_vec()]).await.head;
    let echo = own.events(stream, Seq::ZERO, head).await;
    let news = other.events(stream, Seq::ZERO, head).await;
    assert_eq!(news.last().unwrap().content.as_ref().unwrap().0, b"sealed");
    assert_eq!(echo.last().unwrap().content, None);
    assert_eq!(echo.last().unwrap().event_id, news.last().unwrap().event_id);
    assert_eq!(news.last().unwrap().device, Some(author.device));
}

async fn a_socket_that_is_one_event_more_than_the_ring_behind_gets_every_event_once(mode: Mode) {
    let node = Node::start(mode).await;
    let author = Person::register(&node).await;
    let reader = author.enrol(&node).await;
    let (epoch, stream) = (author.epoch(&node).await, StreamId::from(author.vault));
    for number in [200, 57, 101] {
        author.write(&node, epoch, &vec![vec![7; 40]; number]).await;
    }
    let mut late = Socket::hello(&node, &reader, &[all(author.vault)]).await;
    let head = author.write(&node, epoch, &[vec![8; 5_000]]).await.head;
    let events = late.events(stream, Seq::ZERO, head).await;
    assert_eq!(events.len() as u64, head.0);
    assert_eq!(events.last().unwrap().content, None, "a content over 4 KiB is not sent");
    let after = Some(Cursor { epoch, seq: Seq(head.0 - 1) });
    let mut almost = Socket::hello(&node, &author, &[Sub { stream, after }]).await;
    assert_eq!(almost.events(stream, Seq(head.0 - 1), head).await.len(), 1);
}

async fn a_stream_of_somebody_else_looks_like_one_that_does_not_exist(mode: Mode) {
    let node = Node::start(mode).await;
    let (owner, stranger) = (Person::register(&node).await, Person::register(&node).await);
    let mut socket = Socket::hello(&node, &stranger, &[]).await;
    let missing = VaultId(Uuid::new_v4());
    for stream in [owner.vault.into(), owner.account.into(), missing.into(), StreamId::SYSTEM] {
        let after = Some(Cursor { epoch: Epoch([1; 16]), seq: Seq(9) });
        socket.send(&ClientMessage::Sub(Sub { stream, after })).await;
        let reason = ResetReason::StreamGone;
        let expected = ServerMessage::Reset { stream, reason, epoch: None, head: None };
        assert_eq!(socket.next_but_pings().await, Heard::Message(expected));
    }
    let own = StreamId::from(stranger.vault);
    socket.send(&ClientMessage::Sub(all(own))).await;
    let Heard::Message(ServerMessage::Subbed { stream, state, .. }) = socket.next_but_pings().await else {
        panic!("not subscribed");
    };
    assert_eq!((stream, state), (own, SubState::CatchingUp));
}

async fn a_newer_socket_of_the_same_device_takes_over(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    let mut beside = Socket::hello(&node, &other, &[]).await;
    let mut older = Socket::hello(&node, &person, &[]).await;
    let mut newer = Socket::hello(&node, &person, &[]).await;
    older.says_bye(close::SUPERSEDED).await;
    for socket in [&mut newer, &mut beside] {
        socket.send(&ClientMessage::Sub(all(person.vault))).await;
        assert!(matches!(socket.next_but_pings().await, Heard::Message(ServerMessage::Subbed { .. })));
    }
}

async fn a_revoked_device_is_closed_within_a_second(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let lost = person.enrol(&node).await;
    let mut socket = Socket::hello(&node, &lost, &[all(person.vault)]).await;
    let mut own = Socket::hello(&node, &person, &[all(person.vault)]).await;
    assert!(person.revoke(&node, lost.device).await.status().is_success());
    let began = Instant::now();
    socket.says_bye(close::REVOKED).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_problem(lost.get(&node, "/v1/streams").await, Code::Revoked).await;
    let mut again = Socket::open(&node).await;
    again.send(&hello(Some(&lost.tokens.access_token), None, &[])).await;
    again.says_bye(close::REVOKED).await;
    let epoch = person.epoch(&node).await;
    let head = person.write(&node, epoch, &[vec![1; 40]]).await.head;
    own.events(person.vault.into(), Seq::ZERO, head).await;
}

/// Made by one server, it is good at the next one, once, and worth nothing at the third.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_socket_over_three_nodes() {
    a_ticket_opens_one_socket(Mode::ThreeNodes).await;
}

async fn a_ticket_opens_one_socket(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let answer =
        node.request("POST", "/v1/live/ticket").bearer_auth(&person.tokens.access_token).send().await;
    let ticket: Ticket = body(answer.unwrap(), StatusCode::OK).await;
    let first = hello(None, Some(&ticket.ticket.to_string()), &[all(person.vault)]);
    let mut socket = Socket::open(&node).await;
    socket.send(&first).await;
    assert!(matches!(socket.next().await, Heard::Message(ServerMessage::Welcome { .. })));
    let mut again = Socket::open(&node).await;
    again.send(&first).await;
    again.says_bye(close::TOKEN_EXPIRED).await;
    let late = node.request("POST", "/v1/live/ticket").bearer_auth(&person.tokens.access_token).send().await;
    let late: Ticket = body(late.unwrap(), StatusCode::OK).await;
    node.clock.pass(31);
    let mut too_late = Socket::open(&node).await;
    too_late.send(&hello(None, Some(&late.ticket.to_string()), &[])).await;
    too_late.says_bye(close::TOKEN_EXPIRED).await;
}

/// What is heard of a socket that its client has closed: so many messages, and the answer.
async fn answered(mut socket: Socket, frame: Option<CloseFrame>) -> usize {
    socket.ws.send(Message::Close(frame.clone())).await.unwrap();
    for messages in 0.. {
        match timeout(SOON, socket.ws.next()).await.expect("the server is silent") {
            Some(Ok(Message::Text(_))) => {}
            other => {
                assert_eq!(other.unwrap().unwrap(), Message::Close(frame));
                assert!(timeout(SOON, socket.ws.next()).await.expect("it is still open").is_none());
                return messages;
            }
        }
    }
    unreachable!("the answer ends it")
}

async fn a_close_of_the_client_is_answered_by_the_same_behind_all_that_it_asked_for(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let first = hello(Some(&person.tokens.access_token), None, &[all(person.account), all(person.vault)]);
    let with = |code: u16| Some(CloseFrame { code: code.into(), reason: "that was all".into() });
    for frame in [with(1000), with(4321), None] {
        assert_eq!(answered(Socket::open(&node).await, frame.clone()).await, 0, "before the greeting");
        let mut socket = Socket::open(&node).await;
        socket.send(&first).await;
        // Nothing of what is said is read before.
        assert!(answered(socket, frame.clone()).await >= 3, "welcome, and two subscriptions");
        assert_eq!(answered(Socket::hello(&node, &person, &[]).await, frame).await, 0, "in silence");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_the_protocol_closes_the_socket_for_good() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let token = &person.tokens.access_token;
    let first = |message: &ClientMessage| Message::text(serde_json::to_string(message).unwrap());
    let both = hello(Some(token), Some("x"), &[]);
    let many = vec![all(person.vault); 65];
    let wrong = [
        Message::binary(vec![1, 2, 3]),
        Message::text("{}"),
        Message::text(format!(r#"{{"m":"hello","token":"{token}","client":"x","unknown":1}}"#)),
        Message::text(r#"{"m":"unsub","stream":"00000000-0000-0000-0000-000000000000"}"#),
        Message::text("x".repeat(64 * 1024 + 1)),
        first(&both),
        first(&hello(None, None, &[])),
        first(&hello(Some(token), None, &many)),
    ];
    for message in wrong {
        let mut socket = Socket::open(&node).await;
        let shown = message.to_string().chars().take(40).collect::<String>();
        socket.ws.send(message).await.unwrap();
        assert_eq!(socket.close_code().await, close::BAD_REQUEST, "{shown}");
    }
    for message in [Message::binary(vec![1]), Message::text("[]"), first(&hello(Some(token), None, &[]))] {
        let mut socket = Socket::hello(&node, &person, &[]).await;
        socket.ws.send(message).await.unwrap();
        assert_eq!(socket.close_code().await, close::BAD_REQUEST);
    }
    for token in ["", "x.y.z", &format!("{token}x")] {
        let mut socket = Socket::open(&node).await;
        socket.send(&hello(Some(token), None, &[])).await;
        socket.says_bye(close::TOKEN_EXPIRED).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_sent_away_after_five_seconds() {
    let node = Node::start(Mode::Embedded).await;
    let mut socket = Socket::open(&node).await;
    let began = Instant::now();
    // Its network may be slow: it may come back.
    socket.says_bye(close::TOO_SLOW).await;
    assert!(began.elapsed() > Duration::from_secs(4) && began.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_sub_protocol_there_is_no_socket() {
    let node = Node::start(Mode::Embedded).await;
    let upgrade = |protocol: Option<&str>| {
        let request = node
            .get("/v1/live")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        match protocol {
            Some(protocol) => request.header("sec-websocket-protocol", protocol),
            None => request,
        }
    };
    for protocol in [None, Some("lockstep.v2")] {
        assert_problem(upgrade(protocol).send().await.unwrap(), Code::InvalidHeader).await;
    }
    let answer = upgrade(Some("other, lockstep.v1")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "lockstep.v1");
    assert_eq!(node.get("/v1/live").send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_hundred_messages_a_minute_are_too_many() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let mut socket = Socket::hello(&node, &person, &[]).await;
    for _ in 0..101 {
        socket.send(&ClientMessage::Pong { t: Micros(1) }).await;
    }
    let (from, to) = socket.says_bye(close::RATE).await;
    assert!(from >= 1_000 && to > from);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_borne_for_its_grace_and_a_renewed_one_keeps_the_socket() {
    let node = Node::start(Mode::Embedded).await;
    let (person, other) = (Person::register(&node).await, Person::register(&node).await);
    let device = person.enrol(&node).await;
    node.clock.pass(297);
    let (mut lapses, mut renews) =
        (Socket::hello(&node, &person, &[]).await, Socket::hello(&node, &device, &[]).await);
    for socket in [&mut lapses, &mut renews] {
        let Heard::Message(ServerMessage::TokenDue { in_s }) = socket.next().await else {
            panic!("the token is not asked for");
        };
        assert!(in_s <= 3);
    }
    let answer = device.refresh(&node, &device.tokens.refresh_token).await;
    let fresh: Tokens = body(answer, StatusCode::OK).await;
    renews.send(&ClientMessage::Token { token: fresh.access_token }).await;
    let began = Instant::now();
    lapses.says_bye(close::TOKEN_EXPIRED).await;
    assert!(began.elapsed() > Duration::from_secs(10), "without grace: {:?}", began.elapsed());
    renews.send(&ClientMessage::Sub(all(person.vault))).await;
    assert!(matches!(renews.next_but_pings().await, Heard::Message(ServerMessage::Subbed { .. })));
    let foreign: Tokens = body(other.refresh(&node, &other.tokens.refresh_token).await, StatusCode::OK).await;
    renews.send(&ClientMessage::Token { token: foreign.access_token }).await;
    assert_eq!(renews.close_code().await, close::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_gives_everyone_a_time_of_their_own_to_come_back() {
    let mut node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    let mut sockets = [Socket::hello(&node, &person, &[]).await, Socket::hello(&node, &other, &[]).await];
    let (one, two) = sockets.split_at_mut(1);
    let began = Instant::now();
    let (first, second, ()) =
        tokio::join!(one[0].says_bye(close::DRAINING), two[0].says_bye(close::DRAINING), node.restart());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let mut slots = [first, second];
    slots.sort_unstable();
    assert_eq!(slots, [(0, 15_000), (15_000, 30_000)]);
    let mut socket = Socket::hello(&node, &person, &[all(person.vault)]).await;
    let epoch = person.epoch(&node).await;
    let head = person.write(&node, epoch, &[vec![1; 40]]).await.head;
    socket.events(person.vault.into(), Seq::ZERO, head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_renewed_with_a_token_of_its_own_session_and_of_no_other_one_of_its_device() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let mut socket = Socket::hello(&node, &person, &[]).await;
    let server = &node.running().server;
    let token = |session| {
        let Person { account, device, .. } = person;
        let (scope, method, proven_at) = (Scope::Vault, Method::Password, Micros(0));
        let bearer = Bearer { account, device, session, scope, method, proven_at, auth_epoch: 0 };
        ClientMessage::Token { token: server.tokens.mint(bearer, server.clock.now()).unwrap() }
    };
    socket.send(&token(person.tokens.session)).await;
    socket.send(&ClientMessage::Sub(all(person.vault))).await;
    assert!(matches!(socket.next_but_pings().await, Heard::Message(ServerMessage::Subbed { .. })));
    // Nobody would close the socket when that session ends.
    socket.send(&token(SessionId(Uuid::new_v4()))).await;
    assert_eq!(socket.close_code().await, close::BAD_REQUEST);
}
