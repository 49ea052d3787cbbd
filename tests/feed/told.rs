//! What a socket is told by the clock, and when it ends: pings whatever else is heard, and a sentence with every end.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lockstep_api::live::{ClientMessage, ServerMessage, close};
use lockstep_events::SessionId;
use lockstepd::{
    auth::{minting::Bearer, token::Scope},
    config::Layer,
};
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{
    socket::{SOON, Socket, all, hello},
    support::{Mode, Node, Person},
};

/// The code and the sentence of a farewell, which `bye` and the close frame have in common. Nothing is answered.
async fn farewell(socket: &mut Socket) -> (u16, String) {
    let mut said = None;
    loop {
        match timeout(SOON, socket.ws.next()).await.expect("the server is silent") {
            Some(Ok(Message::Text(text))) => {
                if let ServerMessage::Bye { code, reason, .. } = serde_json::from_str(&text).unwrap() {
                    said = Some((code, reason));
                }
            }
            Some(Ok(Message::Close(Some(frame)))) => {
                let closed = (u16::from(frame.code), frame.reason.to_string());
                assert_eq!(said, Some(closed.clone()), "`bye` and the close frame say the same");
                assert!(!closed.1.is_empty() && closed.1.len() <= 123, "{closed:?}");
                return closed;
            }
            Some(Ok(_)) => {}
            other => panic!("closed without a word: {other:?}"),
        }
    }
}

fn beating(ping: u64, pong: u64) -> Layer {
    Layer { live_ping_s: Some(ping), live_pong_s: Some(pong), ..Layer::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_pings_of_its_own_is_told_the_heads_all_the_same() {
    let node = Node::start_with(Mode::Embedded, beating(2, 20)).await;
    let person = Person::register(&node).await;
    let mut socket = Socket::hello(&node, &person, &[all(person.vault)]).await;
    let mut own = interval(Duration::from_millis(900));
    let mut pings = 0;
    // More often than the server pings, and less often than a hundred times a minute.
    let told = timeout(SOON, async {
        while pings < 2 {
            tokio::select! {
                _ = own.tick() => socket.ws.send(Message::Ping("mine".into())).await.unwrap(),
                heard = socket.ws.next() => match heard.unwrap().unwrap() {
                    Message::Text(text) => {
                        let message = serde_json::from_str(&text).unwrap();
                        if let ServerMessage::Ping { pos, .. } = message {
                            assert_eq!(pos.iter().map(|at| at.stream).collect::<Vec<_>>(), [person.vault.into()]);
                            pings += 1;
                        }
                    }
                    Message::Pong(_) => {}
                    other => panic!("{other:?}"),
                },
            }
        }
    });
    told.await.expect("no ping comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gives_no_sign_of_life_is_told_so_and_may_come_back() {
    let node = Node::start_with(Mode::Embedded, beating(1, 1)).await;
    let person = Person::register(&node).await;
    let mut socket = Socket::hello(&node, &person, &[]).await;
    let (code, reason) = farewell(&mut socket).await;
    assert!(code == close::TOO_SLOW && reason.contains("`ping`"), "{code} {reason}");
}

/// A first frame that is refused, and a word of the sentence that says why.
fn refused_greetings(person: &Person) -> Vec<(Message, &'static str)> {
    let token = &person.tokens.access_token;
    let message = |message: &ClientMessage| Message::text(serde_json::to_string(message).unwrap());
    let field = format!(r#"{{"m":"hello","token":"{token}","client":"x","canary":1}}"#);
    let cursor = format!(
        r#"{{"m":"hello","token":"{token}","client":"x","subs":[{{"stream":"{}","after":"canary"}}]}}"#,
        person.vault
    );
    vec![
        (Message::binary(b"canary".to_vec()), "binary"),
        (Message::text("canary"), "JSON"),
        (Message::text(r#"{"m":"canary"}"#), "`m`"),
        (Message::text(field), "field"),
        (Message::text(cursor), "cursor"),
        (Message::text("x".repeat(64 * 1024 + 1)), "64 KiB"),
        (message(&ClientMessage::Pong { t: lockstep_events::Micros(1) }), "first frame"),
        (message(&hello(Some(token), Some("canary"), &[])), "exactly one"),
        (message(&hello(Some(token), None, &vec![all(person.vault); 65])), "64 streams"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_the_protocol_is_told_what_is_wrong_with_it_and_nothing_of_itself() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    for (message, expected) in refused_greetings(&person) {
        let mut socket = Socket::open(&node).await;
        let _ = socket.ws.send(message).await;
        let (code, reason) = farewell(&mut socket).await;
        assert!(code == close::BAD_REQUEST && reason.contains(expected), "{expected}: {code} {reason}");
        assert!(!reason.contains("canary") && !reason.contains(&person.tokens.access_token), "{reason}");
    }
    let server = &node.running().server;
    let (scope, method) = (Scope::Vault, lockstep_events::event::Method::Password);
    let (session, proven_at) = (SessionId(Uuid::new_v4()), lockstep_events::Micros(0));
    let Person { account, device, .. } = person;
    let bearer = Bearer { account, device, session, scope, method, proven_at, auth_epoch: 0 };
    let other = ClientMessage::Token { token: server.tokens.mint(bearer, server.clock.now()).unwrap() };
    let again = hello(Some(&person.tokens.access_token), None, &[]);
    for (message, expected) in [(other, "same session"), (again, "first frame only")] {
        let mut socket = Socket::hello(&node, &person, &[]).await;
        socket.send(&message).await;
        let (code, reason) = farewell(&mut socket).await;
        assert!(code == close::BAD_REQUEST && reason.contains(expected), "{expected}: {code} {reason}");
    }
}
