//! Writing to one socket: never longer than a slow client is borne, never past an order to close. And reading from it.

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use lockstep_api::live::{ServerMessage, close};
use tokio::{
    io::{copy, sink},
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::{
    Error, Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{document::meaning, unsent::Unsent, upgrade::WebSocket};
use crate::feed::{Close, Signal};

/// The last words to a client may take so long.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client is gone.
    Gone,
    /// The client has closed it, and is answered.
    Closed,
    /// The server closes it, and says why: a sentence of ours, at most as long as a close frame has room for.
    Close(Close, &'static str),
    /// Nothing came from the client that had to come by now. It is told why, and not waited for.
    Silent(&'static str),
}

impl End {
    /// The server closes it with this code, which says everything.
    pub fn code(code: u16) -> Self {
        Self::Close(Close::now(code), meaning(code))
    }

    /// The client did what is not of the protocol.
    pub const fn bad(what: &'static str) -> Self {
        Self::Close(Close::now(close::BAD_REQUEST), what)
    }
}

impl From<Close> for End {
    fn from(why: Close) -> Self {
        Self::Close(why, meaning(why.code))
    }
}

/// The sending half of what a socket is, without its state.
pub struct Wire {
    socket: WebSocket,
    /// What was heard last, until the next frame is waited for.
    heard: Option<Utf8Bytes>,
    unsent: Unsent,
    /// Something came that is no frame; the rest of it may still be on its way.
    broken: bool,
    /// How the node reaches it.
    pub signal: Arc<Signal>,
    /// A wake-up was used up while writing: look again.
    pub woken: bool,
    /// A write that is blocked for longer ends the socket.
    blocked: Duration,
}

impl Wire {
    /// A socket that nobody knows yet.
    pub fn new(socket: WebSocket, blocked: Duration) -> Self {
        let (unsent, signal) = (Unsent::default(), Arc::new(Signal::default()));
        Self { socket, heard: None, unsent, broken: false, signal, woken: false, blocked }
    }

    /// The next frame; none: the client is gone. Nothing is lost if this is dropped before it has answered.
    pub async fn hear(&mut self) -> Option<Result<Message, Error>> {
        let heard = poll_fn(|context| {
            let polled = self.socket.poll_next_unpin(context);
            // The library reads on into the buffer of the frame before, as long as that was, unless somebody still holds
            // that frame: then it begins a new one, as small as what comes. A greeting is long, an idle socket's pongs
            // are short.
            self.heard = None;
            polled
        })
        .await;
        match &heard {
            Some(Ok(Message::Text(text))) => self.heard = Some(text.clone()),
            Some(Err(_)) => self.broken = true,
            _ => {}
        }
        heard
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &ServerMessage) -> Result<(), End> {
        // Our own types always serialize.
        let text = serde_json::to_string(message).map_err(|_| End::code(close::INTERNAL))?;
        self.send_encoded(text.as_bytes()).await
    }

    /// Sends a message that is encoded already; nothing more once the socket must end.
    pub async fn send_encoded(&mut self, text: &[u8]) -> Result<(), End> {
        if let Some(why) = self.signal.closed() {
            return Err(why.into());
        }
        self.unsent.add(text);
        let mut blocked = pin!(sleep(self.blocked));
        let mut sending = pin!(self.unsent.send(&mut self.socket));
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map_err(|_| End::Gone),
                () = self.signal.woken() => {
                    self.woken = true;
                    if let Some(why) = self.signal.closed() {
                        return Err(why.into());
                    }
                }
                () = &mut blocked => return Err(End::code(close::TOO_SLOW)),
            }
        }
    }

    /// Says why, and closes.
    pub async fn end(mut self, end: End) {
        let (why, reason, patience) = match end {
            End::Gone => return,
            End::Closed => {
                // The library has its answer ready, of the same code (RFC 6455, §5.5.1), behind all that was sent.
                let _ = timeout(FAREWELL, self.unsent.send(&mut self.socket)).await;
                return;
            }
            // Who was too slow so far is given as long again, or it would never hear why.
            End::Close(why, reason) if why.code == close::TOO_SLOW => {
                (why, reason, self.blocked.max(FAREWELL))
            }
            End::Close(why, reason) => (why, reason, FAREWELL),
            End::Silent(reason) => (Close::now(close::TOO_SLOW), reason, FAREWELL),
        };
        let (code, reconnect) = (why.code, close::reconnects(why.code));
        let bye = ServerMessage::Bye { code, reconnect, wait_ms: wait(why), reason: reason.to_owned() };
        let Ok(text) = serde_json::to_string(&bye) else { return };
        let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from_static(reason) };
        let _ = timeout(patience, async {
            self.unsent.add(text.as_bytes());
            if self.unsent.send(&mut self.socket).await.is_ok() {
                let _ = self.socket.send(Message::Close(Some(frame))).await;
                // Until the client has answered: closing at once could throw away what is on its way to it.
                while let Some(Ok(_)) = self.socket.next().await {}
                if self.broken {
                    // So could closing over what is still coming in.
                    let _ = copy(self.socket.get_mut(), &mut sink()).await;
                }
            }
        })
        .await;
    }
}

fn wait(why: Close) -> (u32, u32) {
    match why.code {
        close::TOO_SLOW | close::INTERNAL => (1_000, 60_000),
        close::RATE => (10_000, 60_000),
        _ => why.wait_ms,
    }
}
