//! More connections than a server has places for.

use std::time::Duration;

use lockstepd::config::Layer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Mode, Node};

/// A connection that stays open.
struct Guest(TcpStream);

impl Guest {
    async fn come(node: &Node) -> Self {
        Self(TcpStream::connect(node.running().addr).await.unwrap())
    }

    async fn asks(&mut self) {
        self.0.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    }

    /// Whether an answer comes within so long.
    async fn is_served_within(&mut self, patience: Duration) -> bool {
        let mut bytes = [0; 4096];
        let Ok(read) = timeout(patience, self.0.read(&mut bytes)).await else { return false };
        let answer = String::from_utf8_lossy(&bytes[..read.unwrap()]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        true
    }

    async fn is_served(&mut self) -> bool {
        self.asks().await;
        self.is_served_within(Duration::from_secs(20)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_are_served_as_there_are_places_and_the_next_one_when_a_place_is_free() {
    let options = Layer { max_connections: Some(3), ..Layer::default() };
    let node = Node::start_with(Mode::Embedded, options).await;
    let mut guests = Vec::new();
    for _ in 0..3 {
        let mut guest = Guest::come(&node).await;
        assert!(guest.is_served().await);
        guests.push(guest);
    }
    let mut waiting = Guest::come(&node).await;
    waiting.asks().await;
    // It is not refused: it waits, while the others are served as before.
    assert!(!waiting.is_served_within(Duration::from_secs(1)).await);
    for guest in &mut guests {
        assert!(guest.is_served().await);
    }
    assert!(!waiting.is_served_within(Duration::from_millis(1)).await);
    guests.pop();
    assert!(waiting.is_served_within(Duration::from_secs(20)).await);
    assert!(guests[0].is_served().await && guests[1].is_served().await);
}
