//! What is being written to a socket: whole text frames (RFC 6455, §5.2), freed as soon as they are sent.
//!
//! The library's own buffer for what it writes keeps the room of the longest frame for as long as the socket lives:
//! more than anything else of a socket. So it writes only its pongs and its close; what we say goes past it.

use std::io;

use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::{WebSocketStream, tungstenite::Error};

/// A whole message in one frame, of text.
const WHOLE_TEXT: u8 = 0x81;

/// Frames, and how much of them is written.
#[derive(Debug, Default)]
pub struct Unsent {
    bytes: Vec<u8>,
    written: usize,
}

impl Unsent {
    /// Adds a message behind what is still to be written.
    pub fn add(&mut self, text: &[u8]) {
        self.bytes.reserve_exact(text.len() + 10);
        self.bytes.push(WHOLE_TEXT);
        // Frames of a server are not masked. The length is one byte, or a mark and two or eight bytes.
        match (u8::try_from(text.len()), u16::try_from(text.len())) {
            (Ok(short @ ..=125), _) => self.bytes.push(short),
            (_, Ok(long)) => {
                self.bytes.push(126);
                self.bytes.extend(long.to_be_bytes());
            }
            _ => {
                self.bytes.push(127);
                self.bytes.extend((text.len() as u64).to_be_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
    }

    /// Writes everything. Dropped before it is done, it goes on where it was the next time; until then nobody may
    /// read from the socket, because what is heard may be answered by the library in the middle of a frame.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send<S>(&mut self, socket: &mut WebSocketStream<S>) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.written == 0 {
            // A pong that was not sent whole goes first.
            socket.flush().await?;
        }
        let stream = socket.get_mut();
        while self.written < self.bytes.len() {
            let wrote = stream.write(&self.bytes[self.written..]).await?;
            if wrote == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.written += wrote;
        }
        stream.flush().await?;
        *self = Self::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;
    use tokio::{io::duplex, time::timeout};
    use tokio_tungstenite::tungstenite::{Message, protocol::Role};

    use super::*;

    #[tokio::test]
    async fn messages_of_every_length_arrive_whole_and_in_order() {
        let (ours, theirs) = duplex(1000);
        let mut server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000];
        let sender = tokio::spawn(async move {
            let mut unsent = Unsent::default();
            for length in lengths {
                unsent.add("x".repeat(length).as_bytes());
                unsent.send(&mut server).await.unwrap();
                assert_eq!(unsent.bytes.capacity(), 0);
            }
        });
        for length in lengths {
            assert_eq!(client.next().await.unwrap().unwrap(), Message::text("x".repeat(length)));
        }
        sender.await.unwrap();
    }

    #[tokio::test]
    async fn a_message_that_was_interrupted_is_finished_before_the_next_one() {
        let (ours, theirs) = duplex(1000);
        let mut server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let mut unsent = Unsent::default();
        unsent.add("x".repeat(5000).as_bytes());
        let blocked = timeout(Duration::from_millis(20), unsent.send(&mut server)).await;
        assert!(blocked.is_err() && unsent.written >= 1000);
        unsent.add(b"bye");
        let (sent, heard) = tokio::join!(unsent.send(&mut server), async {
            [client.next().await.unwrap().unwrap(), client.next().await.unwrap().unwrap()]
        });
        sent.unwrap();
        assert_eq!(heard, [Message::text("x".repeat(5000)), Message::text("bye")]);
    }

    #[tokio::test]
    async fn a_ping_is_answered_between_messages_and_never_inside_one() {
        let (ours, theirs) = duplex(200);
        let mut server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        client.send(Message::Ping("are you there".into())).await.unwrap();
        assert!(matches!(server.next().await, Some(Ok(Message::Ping(_)))));
        let mut unsent = Unsent::default();
        unsent.add("y".repeat(3000).as_bytes());
        let (sent, heard) = tokio::join!(unsent.send(&mut server), async {
            [client.next().await.unwrap().unwrap(), client.next().await.unwrap().unwrap()]
        });
        sent.unwrap();
        assert_eq!(heard, [Message::Pong("are you there".into()), Message::text("y".repeat(3000))]);
    }
}
