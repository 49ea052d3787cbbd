//! A live socket, spoken by hand.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lockstep_api::live::{ClientMessage, PROTOCOL, ServerMessage, Sub, close};
use lockstep_events::{Seq, StreamId};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{ClientRequestBuilder, Message},
};

use crate::{
    documented::{FROM_CLIENT, FROM_SERVER, as_documented},
    support::{Node, Person},
};

/// Longer than anything here may take.
pub const SOON: Duration = Duration::from_secs(60);

/// What a client hears.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A message.
    Message(ServerMessage),
    /// The socket was closed with a code; 0 without one.
    Closed(u16),
}

/// A live socket.
pub struct Socket {
    pub ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// Everything of a stream from its beginning.
pub fn all(stream: impl Into<StreamId>) -> Sub {
    Sub { stream: stream.into(), after: None }
}

/// A first frame.
pub fn hello(token: Option<&str>, ticket: Option<&str>, subs: &[Sub]) -> ClientMessage {
    ClientMessage::Hello {
        token: token.map(str::to_owned),
        ticket: ticket.map(str::to_owned),
        client: "test/1".to_owned(),
        caps: Vec::new(),
        subs: subs.to_vec(),
    }
}

impl Socket {
    /// Opens a socket and says nothing yet.
    pub async fn open(node: &Node) -> Self {
        let url = format!("{}/v1/live", node.url().replacen("http", "ws", 1));
        let request = ClientRequestBuilder::new(url.parse().unwrap()).with_sub_protocol(PROTOCOL);
        Self { ws: connect_async(request).await.unwrap().0 }
    }

    /// Opens a socket, greets and is welcomed.
    pub async fn hello(node: &Node, person: &Person, subs: &[Sub]) -> Self {
        let mut socket = Self::open(node).await;
        socket.send(&hello(Some(&person.tokens.access_token), None, subs)).await;
        let Heard::Message(ServerMessage::Welcome { session, .. }) = socket.next().await else {
            panic!("no welcome");
        };
        assert_eq!(session, person.tokens.session);
        for sub in subs {
            match socket.next_but_pings().await {
                Heard::Message(ServerMessage::Subbed { stream, .. }) => assert_eq!(stream, sub.stream),
                // What came between the two subscriptions.
                Heard::Message(ServerMessage::Ev { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        socket
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &ClientMessage) {
        let text = serde_json::to_string(message).unwrap();
        as_documented(FROM_CLIENT, &text);
        self.ws.send(Message::text(text)).await.unwrap();
    }

    /// The next thing heard, which is as the document says. Pings are answered.
    pub async fn next(&mut self) -> Heard {
        loop {
            return match timeout(SOON, self.ws.next()).await.expect("the server is silent") {
                Some(Ok(Message::Text(text))) => {
                    as_documented(FROM_SERVER, &text);
                    let message = serde_json::from_str(&text).unwrap();
                    if let ServerMessage::Ping { t, .. } = &message {
                        self.send(&ClientMessage::Pong { t: *t }).await;
                    }
                    Heard::Message(message)
                }
                Some(Ok(Message::Close(frame))) => Heard::Closed(frame.map_or(0, |frame| frame.code.into())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Heard::Closed(0),
            };
        }
    }

    /// The next thing heard that is not a ping.
    pub async fn next_but_pings(&mut self) -> Heard {
        loop {
            match self.next().await {
                Heard::Message(ServerMessage::Ping { .. } | ServerMessage::TokenDue { .. }) => {}
                other => return other,
            }
        }
    }

    /// The code with which the server closes; what comes before is not looked at.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.next().await {
                return code;
            }
        }
    }

    /// Says `bye` first, then closes with the same code.
    pub async fn says_bye(&mut self, expected: u16) -> (u32, u32) {
        loop {
            match self.next().await {
                Heard::Message(ServerMessage::Bye { code, reconnect, wait_ms, reason }) => {
                    assert_eq!((code, reconnect), (expected, close::reconnects(expected)));
                    assert!(!reason.is_empty(), "{code} without a word");
                    assert_eq!(self.close_code().await, expected);
                    return wait_ms;
                }
                Heard::Message(_) => {}
                Heard::Closed(code) => panic!("closed with {code} without bye"),
            }
        }
    }

    /// Reads the events of a stream, gapless after `from`, until `to`.
    pub async fn events(
        &mut self,
        stream: StreamId,
        from: Seq,
        to: Seq,
    ) -> Vec<lockstep_api::sync::StreamEvent> {
        let mut all = Vec::new();
        let mut at = from;
        while at < to {
            match self.next_but_pings().await {
                Heard::Message(ServerMessage::Ev { stream: of, from, to, events, .. }) if of == stream => {
                    assert_eq!(from, at);
                    let seqs: Vec<u64> = events.iter().map(|event| event.seq.0).collect();
                    assert_eq!(seqs, (from.0 + 1..=to.0).collect::<Vec<_>>());
                    all.extend(events);
                    at = to;
                }
                Heard::Message(
                    ServerMessage::Ev { .. } | ServerMessage::Subbed { .. } | ServerMessage::Lag { .. },
                ) => {}
                other => panic!("{other:?}"),
            }
        }
        all
    }
}
