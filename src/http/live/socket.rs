//! One live socket after its greeting: waits for news, for the client and for the clock, and answers each.

use std::{sync::Arc, time::Duration};

use lockstep_api::{
    live::{ClientMessage, HeadAt, MAX_SUBS, ServerMessage, Sub, close},
    sync::ResetReason,
};
use lockstep_events::{Micros, StreamId};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{
    hello, refusal,
    sending::{End, Wire},
    subscription::{self, Step, Subscription, Unserved},
    timing::{Beat, Due, Timing},
};
use crate::{
    feed::{Close, Connected},
    http::caller::Caller,
    limits::{Action, Stop},
    state::Shared,
};

/// Clients of old sockets come back within so many milliseconds.
const RENEWAL_MS: u32 = 5_000;

/// What a socket holds. No event is among it.
pub struct Socket {
    pub caller: Caller,
    pub beat: Beat,
    pub timing: Timing,
    pub subs: Vec<Subscription>,
    /// The time of the last ping, which its answer repeats.
    pub pinged: Micros,
    /// What became of streams that were wished for and are not followed.
    pub void: Void,
    pub connected: Connected,
}

/// Wishes and subscriptions that came to nothing, or to an end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Void {
    /// Because the stream is not there.
    pub gone: usize,
    /// Because the cursor is of another life.
    pub reset: usize,
}

impl Void {
    fn count(&mut self, reason: ResetReason) {
        match reason {
            ResetReason::StreamGone => self.gone += 1,
            ResetReason::EpochChanged | ResetReason::CursorAhead => self.reset += 1,
        }
    }

    /// How a socket ends that follows nothing any more. If one of its streams lives on, its client comes back.
    pub fn end(self) -> End {
        End::code(if self.reset > 0 { close::RESET } else { close::STREAM_GONE })
    }
}

impl Socket {
    /// Serves until the end.
    pub async fn serve(mut self, server: &Shared, wire: &mut Wire) -> End {
        loop {
            if let Err(end) = self.round(server, wire).await {
                return end;
            }
        }
    }

    async fn round(&mut self, server: &Shared, wire: &mut Wire) -> Result<(), End> {
        if let Some(why) = wire.signal.closed() {
            return Err(why.into());
        }
        wire.woken = false;
        let again_at = self.send_news(server, wire).await?;
        self.by_the_clock(server, wire).await?;
        if wire.woken {
            return Ok(());
        }
        let until = again_at.map_or(self.timing.next(), |at| at.min(self.timing.next()));
        let signal = Arc::clone(&wire.signal);
        tokio::select! {
            biased;
            heard = wire.hear() => Box::pin(self.hear(server, wire, heard)).await,
            () = signal.woken() => Ok(()),
            () = sleep_until(until) => Ok(()),
        }
    }

    /// One step for every stream; when to come back if not everything is sent.
    async fn send_news(&mut self, server: &Shared, wire: &mut Wire) -> Result<Option<Instant>, End> {
        let mut again: Option<Instant> = None;
        let mut over: Vec<StreamId> = Vec::new();
        for sub in &mut self.subs {
            let at = match sub.step(server, wire, self.caller.device).await? {
                Step::Done => continue,
                Step::More => Instant::now(),
                Step::Later(at) => at,
                Step::Over(reason) => {
                    self.void.count(reason);
                    over.push(sub.stream);
                    continue;
                }
            };
            again = Some(again.map_or(at, |again| again.min(at)));
        }
        if !over.is_empty() {
            self.subs.retain(|sub| !over.contains(&sub.stream));
            if self.subs.is_empty() {
                return Err(self.void.end());
            }
        }
        Ok(again)
    }

    async fn by_the_clock(&mut self, server: &Shared, wire: &mut Wire) -> Result<(), End> {
        loop {
            match self.timing.due(Instant::now()) {
                Due::Nothing => return Ok(()),
                Due::Ping => wire.send(&self.ping(server)).await?,
                Due::Renew(in_s) => wire.send(&ServerMessage::TokenDue { in_s }).await?,
                Due::Expired => return Err(End::code(close::TOKEN_EXPIRED)),
                Due::Old => return Err(Close::draining((0, RENEWAL_MS)).into()),
                Due::Dead => return Err(End::Silent(refusal::NO_PONG)),
            }
        }
    }

    fn ping(&mut self, server: &Shared) -> ServerMessage {
        self.pinged = server.clock.now();
        self.subs.iter_mut().for_each(Subscription::ping);
        let place = |sub: &Subscription| {
            let (epoch, head) = sub.head();
            let set_digest = sub.of_vault.then(|| server.digests.known(sub.stream, head)).flatten();
            HeadAt { stream: sub.stream, epoch, head, set_digest }
        };
        ServerMessage::Ping { t: self.pinged, pos: self.subs.iter().map(place).collect() }
    }

    async fn hear(
        &mut self,
        server: &Shared,
        wire: &mut Wire,
        heard: Option<Result<Message, Error>>,
    ) -> Result<(), End> {
        let message = match heard {
            None => return Err(End::Gone),
            Some(Ok(Message::Close(_))) => return Err(End::Closed),
            // If the connection is broken the farewell fails at once.
            Some(Err(error)) => return Err(refusal::of_frame(&error)),
            Some(Ok(message)) => message,
        };
        if !self.timing.heard(Instant::now()) {
            return Err(End::code(close::RATE));
        }
        match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => self.answer(server, wire, message).await,
                Err(error) => Err(refusal::of_text(&error)),
            },
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Binary(_) | Message::Close(_) | Message::Frame(_) => Err(End::bad(refusal::BINARY)),
        }
    }

    async fn answer(&mut self, server: &Shared, wire: &mut Wire, message: ClientMessage) -> Result<(), End> {
        match message {
            ClientMessage::Sub(sub) => self.subscribe(server, wire, sub).await,
            ClientMessage::Unsub { stream } => {
                self.subs.retain(|sub| sub.stream != stream);
                Ok(())
            }
            ClientMessage::Token { token } => self.renew(server, &token),
            ClientMessage::Pong { t } => {
                if t == self.pinged {
                    self.subs.iter().for_each(|sub| sub.has(server, self.caller.device));
                }
                Ok(())
            }
            ClientMessage::Hello { .. } => Err(End::bad(refusal::SECOND_HELLO)),
        }
    }

    /// Follows a stream from now on; a subscription to the same stream is replaced.
    pub async fn subscribe(&mut self, server: &Shared, wire: &mut Wire, sub: Sub) -> Result<(), End> {
        self.subs.retain(|known| known.stream != sub.stream);
        if self.subs.len() >= MAX_SUBS {
            return wire.send(&error("too_many_subs", "this socket follows too many streams", false)).await;
        }
        match subscription::subscribe(server, self.caller.account, &wire.signal, &sub).await {
            Ok((answer, subscription)) => {
                if let ServerMessage::Reset { reason, .. } = &answer {
                    self.void.count(*reason);
                }
                if let Some(subscription) = &subscription {
                    subscription.has(server, self.caller.device);
                }
                self.subs.extend(subscription);
                wire.send(&answer).await
            }
            Err(Unserved::Renewal(Stop::TooMany { .. })) => {
                server.metrics.refused(Action::Renew);
                Err(End::code(close::RATE))
            }
            Err(cause) => {
                tracing::warn!(%cause, "a subscription could not be served");
                wire.send(&error("log_unavailable", "the event log is not reachable; subscribe again", true))
                    .await
            }
        }
    }

    /// Goes on with a newer token of the same session. The node knows by the first one whose end closes this socket,
    /// and that stays right for all tokens of that session, but of no other one; which key it depends on is told anew.
    fn renew(&mut self, server: &Shared, token: &str) -> Result<(), End> {
        let renewed = Caller::verified(server, token).map_err(|failure| hello::refused(&failure))?;
        let same = |caller: &Caller| (caller.account, caller.device, caller.session, caller.scope);
        if same(&renewed) != same(&self.caller) {
            return Err(End::bad(refusal::OTHER_SESSION));
        }
        self.caller = renewed;
        self.connected.renewed(renewed.key);
        let left: Duration = hello::left(server, &renewed);
        self.timing.renewed(Instant::now(), left);
        Ok(())
    }
}

fn error(code: &str, msg: &str, retry: bool) -> ServerMessage {
    ServerMessage::Error { code: code.to_owned(), msg: msg.to_owned(), retry }
}
