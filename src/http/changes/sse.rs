//! Server-sent events: the frames of the live feed over plain HTTP.
//!
//! `event: ev` with the cursor after it as its `id`; `event: reset` and `event: bye` are the last of a stream. A
//! comment comes every 20 s, so that proxies and clients see that it lives.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use lockstep_api::{
    Code, Cursor, MAX_LIVE_INLINE,
    live::{ServerMessage, close},
};
use lockstep_events::{Epoch, Seq, log::Contents};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Wish, page};
use crate::{
    feed::{Close, Connected, Listening, Next, Piece, fitting, frame},
    http::{caller::Caller, live::meaning, problem::Failure},
    state::Shared,
};

/// Between two comments.
const ALIVE: Duration = Duration::from_secs(20);
/// Events that are read from the log at once.
const PAGE: usize = 100;
/// After the log did not answer.
const RETRY: Duration = Duration::from_millis(500);

struct Events {
    server: Shared,
    caller: Caller,
    wish: Wish,
    contents: Contents,
    listening: Listening,
    connected: Connected,
    epoch: Epoch,
    sent: Seq,
    ready: VecDeque<Bytes>,
    expires_at: Instant,
    over: bool,
}

/// Opens the stream.
///
/// # Errors
/// As for a page: a cursor that is void is told before the stream begins.
pub async fn events(server: Shared, caller: Caller, wish: Wish) -> Result<Response, Failure> {
    let connected = server.feed.sockets.watch(caller.access(), caller.key).ok_or(Code::TooManyRequests)?;
    // Known first, then asked: a revocation from now on closes the stream by its signal.
    caller.still(&server)?;
    let signal = Arc::clone(&connected.signal);
    let listening = server.feed.listen(wish.stream, caller.account, &signal).await?.ok_or(Code::NotFound)?;
    let first = page::read(&server, &Wish { limit: 1, contents: Contents::No, ..wish }).await?;
    if listening.hub.head().0 != first.epoch {
        // The bus may have lost the news of this life.
        server.feed.renewed(wish.stream).await?;
    }
    let left = caller.expires_at.saturating_mul(1_000_000).saturating_sub(server.clock.now().0);
    let grace = Duration::from_secs(server.config.live_token_grace_s);
    let expires_at = Instant::now() + Duration::from_micros(u64::try_from(left).unwrap_or(0)) + grace;
    let contents = match wish.contents {
        // What a device made comes back to it without its ciphertext, whatever it asks for.
        Contents::UpTo(most) => Contents::ForDevice(caller.device, most),
        other => other,
    };
    let events = Events {
        server,
        caller,
        wish,
        contents,
        listening,
        connected,
        epoch: first.epoch,
        sent: first.from,
        ready: VecDeque::from([Bytes::from_static(b": lockstep.v1\n\n")]),
        expires_at,
        over: false,
    };
    let body = stream::unfold(events, |mut events| async {
        let bytes = events.next().await?;
        Some((Ok::<_, Infallible>(bytes), events))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        let alive_at = Instant::now() + ALIVE;
        loop {
            if self.over {
                return None;
            }
            // Also while there is more and more to send.
            if Instant::now() >= self.expires_at {
                return Some(self.bye(Close::now(close::TOKEN_EXPIRED)));
            }
            if let Some(why) = self.connected.signal.closed() {
                return Some(self.bye(why));
            }
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            match self.listening.hub.next(self.epoch, self.sent, self.caller.device) {
                Next::Frame(frame, to) if self.wants_what_frames_have() => return Some(self.ev(&frame, to)),
                Next::Frame(..) | Next::Behind => self.read_log().await,
                Next::OtherEpoch => return Some(self.reset()),
                Next::Nothing => tokio::select! {
                    () = self.connected.signal.woken() => {}
                    () = sleep_until(self.expires_at) => return Some(self.bye(Close::now(close::TOKEN_EXPIRED))),
                    () = sleep_until(alive_at) => return Some(Bytes::from_static(b": alive\n\n")),
                },
            }
        }
    }

    /// Whether the frames that all who listen share have the ciphertexts that were asked for.
    fn wants_what_frames_have(&self) -> bool {
        self.contents == Contents::ForDevice(self.caller.device, MAX_LIVE_INLINE)
    }

    async fn read_log(&mut self) {
        let page = self.server.log.read_stream(self.wish.stream, self.sent, PAGE, self.contents).await;
        let events = page.unwrap_or_default();
        let pieces: Vec<Piece> = events.iter().filter_map(Piece::whole).collect();
        if pieces.is_empty() || pieces.len() != events.len() {
            sleep(RETRY).await;
            return;
        }
        let mut rest: Vec<&Piece> = pieces.iter().collect();
        while !rest.is_empty() {
            let tail = rest.split_off(fitting(rest.iter().copied()));
            let to = rest.last().map_or(self.sent, |last| last.seq);
            let frame = frame(self.wish.stream, self.epoch, &rest, self.caller.device);
            let bytes = self.ev(&frame, to);
            self.ready.push_back(bytes);
            rest = tail;
        }
    }

    fn ev(&mut self, frame: &Bytes, to: Seq) -> Bytes {
        self.sent = to;
        event("ev", Some(Cursor { epoch: self.epoch, seq: to }), frame)
    }

    fn reset(&mut self) -> Bytes {
        self.over = true;
        let (reason, epoch, head) = self.listening.hub.reset();
        last("reset", &ServerMessage::Reset { stream: self.wish.stream, reason, epoch, head })
    }

    fn bye(&mut self, why: Close) -> Bytes {
        self.over = true;
        let (code, reconnect) = (why.code, close::reconnects(why.code));
        let reason = meaning(code).to_owned();
        last("bye", &ServerMessage::Bye { code, reconnect, wait_ms: why.wait_ms, reason })
    }
}

fn last(name: &str, message: &ServerMessage) -> Bytes {
    // Our own types always serialize; without data the event still ends the stream.
    event(name, None, &serde_json::to_vec(message).unwrap_or_default())
}

fn event(name: &str, id: Option<Cursor>, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 96);
    if let Some(id) = id {
        out.put_slice(format!("id: {id}\n").as_bytes());
    }
    out.put_slice(format!("event: {name}\ndata: ").as_bytes());
    out.put_slice(data);
    out.put_slice(b"\n\n");
    out.freeze()
}
