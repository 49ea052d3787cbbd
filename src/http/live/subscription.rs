//! One stream that a socket follows: only how far it was sent. What there is to send lies in the hub or in the log.

use std::time::Duration;

use bytes::Bytes;
use lockstep_api::{
    MAX_LIVE_INLINE,
    live::{ServerMessage, SubState, close},
    sync::ResetReason,
};
use lockstep_events::{AccountId, DeviceId, Epoch, LogError, Seq, StreamId, log::Contents};
use tokio::time::Instant;

use super::sending::{End, Wire};
use crate::{
    feed::{Listening, Next, Piece, Signal, fitting, frame},
    limits::{Action, Stop, Subject},
    state::{Server, Shared},
};
use lockstep_api::live::Sub;

/// Events that are read from the log at once for a socket that is behind.
const PAGE: usize = 100;
/// After the log did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// How far a stream was sent.
pub struct Subscription {
    /// The stream.
    pub stream: StreamId,
    /// Whether it is a vault's.
    pub of_vault: bool,
    /// Its life.
    pub epoch: Epoch,
    listening: Listening,
    sent: Seq,
    /// How far it was sent when the client was pinged the last time.
    pinged: Seq,
    live: bool,
    behind_since: Option<Instant>,
    retry_at: Option<Instant>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Everything is sent.
    Done,
    /// There is more.
    More,
    /// Not before this time.
    Later(Instant),
    /// The stream has begun another life, or is gone; the client is told, and the subscription is over.
    Over(ResetReason),
}

/// Why a wish to follow a stream has no answer now.
#[derive(Debug, thiserror::Error)]
pub enum Unserved {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The account said too often that data was lost, or nobody can say how often.
    #[error(transparent)]
    Renewal(#[from] Stop),
}

/// What a wish to follow a stream came to: the answer, and the subscription if there is one.
///
/// # Errors
/// [`Unserved`]
pub async fn subscribe(
    server: &Server,
    account: AccountId,
    signal: &std::sync::Arc<Signal>,
    sub: &Sub,
) -> Result<(ServerMessage, Option<Subscription>), Unserved> {
    let (feed, stream) = (&server.feed, sub.stream);
    let reset = |reason, at: Option<(Epoch, Seq)>| {
        let (epoch, head) = (at.map(|at| at.0), at.map(|at| at.1));
        Ok((ServerMessage::Reset { stream, reason, epoch, head }, None))
    };
    let Some(listening) = feed.listen(stream, account, signal).await? else {
        return reset(ResetReason::StreamGone, None);
    };
    let (mut epoch, mut head) = listening.hub.head();
    let from = sub.after.map_or(Seq::ZERO, |cursor| cursor.seq);
    let other_life = |epoch| sub.after.is_some_and(|cursor| cursor.epoch != epoch);
    if other_life(epoch) || from > head {
        // Another node may have told the client first, and the bus may have lost that: the log decides.
        feed.renewed(stream).await?;
        if listening.hub.is_gone() {
            return reset(ResetReason::StreamGone, None);
        }
        (epoch, head) = listening.hub.head();
        if other_life(epoch) {
            return reset(ResetReason::EpochChanged, Some((epoch, head)));
        }
        if from > head {
            let asked = server.limits.subject(Action::Renew, Subject::Account(account), server.clock.now());
            asked.await?;
            let reason = feed.data_was_lost(stream, from.0, head.0).await?;
            return reset(reason, Some(listening.hub.head()));
        }
    }
    let live = from == head;
    let state = if live { SubState::Live } else { SubState::CatchingUp };
    let subbed = ServerMessage::Subbed { stream, epoch, from, head, state };
    let subscription = Subscription {
        stream,
        of_vault: StreamId::from(account) != stream,
        epoch,
        listening,
        sent: from,
        pinged: from,
        live,
        behind_since: None,
        retry_at: None,
    };
    Ok((subbed, Some(subscription)))
}

impl Subscription {
    /// The stream's life and last seq, as far as this node knows.
    pub fn head(&self) -> (Epoch, Seq) {
        self.listening.hub.head()
    }

    /// The client is being pinged. Whoever answers has what was sent before.
    pub fn ping(&mut self) {
        self.pinged = self.sent;
    }

    /// The client has what it was sent before the last ping, or what it said when it subscribed.
    pub fn has(&self, server: &Server, device: DeviceId) {
        server.served.note(device, self.stream, self.epoch, self.pinged);
    }

    /// Sends the next frame, or the next page of the log.
    pub async fn step(&mut self, server: &Shared, wire: &mut Wire, device: DeviceId) -> Result<Step, End> {
        if let Some(at) = self.retry_at.filter(|at| *at > Instant::now()) {
            return Ok(Step::Later(at));
        }
        match self.listening.hub.next(self.epoch, self.sent, device) {
            Next::Nothing => {
                (self.live, self.behind_since) = (true, None);
                Ok(Step::Done)
            }
            Next::Frame(frame, to) => {
                // It has come as far as what is kept in memory: whatever comes next is counted from here.
                self.behind_since = self.behind_since.map(|_| Instant::now());
                self.send(wire, frame, to).await?;
                Ok(Step::More)
            }
            Next::Behind => Box::pin(self.read_log(server, wire, device)).await,
            Next::OtherEpoch => {
                let (reason, epoch, head) = self.listening.hub.reset();
                wire.send(&ServerMessage::Reset { stream: self.stream, reason, epoch, head }).await?;
                Ok(Step::Over(reason))
            }
        }
    }

    async fn read_log(&mut self, server: &Shared, wire: &mut Wire, device: DeviceId) -> Result<Step, End> {
        if self.live {
            (self.live, self.behind_since) = (false, Some(Instant::now()));
            wire.send(&ServerMessage::Lag { stream: self.stream, head: self.head().1 }).await?;
        }
        let borne = Duration::from_secs(server.config.live_behind_s);
        if self.behind_since.is_some_and(|since| since.elapsed() > borne) {
            return Err(End::code(close::TOO_SLOW));
        }
        let contents = Contents::ForDevice(device, MAX_LIVE_INLINE);
        let page = server.log.read_stream(self.stream, self.sent, PAGE, contents).await;
        let Ok(events) = page else {
            // The socket stays: it heals when the log is back.
            return Ok(self.later());
        };
        let pieces: Vec<Piece> = events.iter().filter_map(Piece::new).collect();
        if pieces.is_empty() || pieces.len() != events.len() {
            return Ok(self.later());
        }
        drop(events);
        let mut rest: Vec<&Piece> = pieces.iter().collect();
        while !rest.is_empty() {
            let tail = rest.split_off(fitting(rest.iter().copied()));
            let to = rest.last().map_or(self.sent, |last| last.seq);
            let bytes = frame(self.stream, self.epoch, &rest, device);
            self.send(wire, bytes, to).await?;
            rest = tail;
        }
        Ok(Step::More)
    }

    fn later(&mut self) -> Step {
        let at = Instant::now() + RETRY;
        self.retry_at = Some(at);
        Step::Later(at)
    }

    async fn send(&mut self, wire: &mut Wire, frame: Bytes, to: Seq) -> Result<(), End> {
        wire.send_encoded(&frame).await?;
        self.sent = to;
        self.retry_at = None;
        Ok(())
    }
}
