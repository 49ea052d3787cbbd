//! The follower: one task that brings every committed batch, in order and exactly once, to all who hang on the feed.

use std::{
    sync::Arc,
    time::{Duration, Instant as Asked},
};

use lockstep_api::MAX_LIVE_INLINE;
use lockstep_events::{
    EventId, Position, Recorded,
    log::{Contents, Filter},
};
use rand::Rng;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Feed, Pace, order::Order};
use crate::bus::{CommittedBatch, News};

/// Events that are read from the log at once.
const PAGE: usize = 500;
/// A look at the tail that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// After an error of the log, at most so long until the next attempt.
const SLOWEST: Duration = Duration::from_secs(1);
/// Between two rounds in which hubs are tidied.
const TIDY: Duration = Duration::from_secs(10);

/// Starts the follower after a position, and what works for it.
pub fn start(feed: &Arc<Feed>, news: broadcast::Receiver<News>, after: Position, pace: Pace) {
    let (looks, seen) = mpsc::channel(1);
    feed.tasks.spawn(until_stopped(Arc::clone(feed), poll(Arc::clone(feed), looks, pace.poll)));
    feed.tasks.spawn(until_stopped(Arc::clone(feed), tidy(Arc::clone(feed))));
    let follower = Follower {
        feed: Arc::clone(feed),
        order: Order::new(after),
        last: None,
        unreached: None,
        news: Some(news),
        pace,
        // Only to learn which event is the last.
        refill_at: Some(Instant::now()),
        failures: 0,
    };
    feed.tasks.spawn(until_stopped(Arc::clone(feed), follower.run(seen)));
}

async fn until_stopped(feed: Arc<Feed>, work: impl Future<Output = ()>) {
    // Also by a panic.
    let _ended = feed.ended.clone().drop_guard();
    tokio::select! {
        () = feed.stop.cancelled() => {}
        () = work => {}
    }
}

/// A look at the tail of the log.
struct Look {
    tail: Position,
    asked: Asked,
    /// The log did not answer before: perhaps another one answers now.
    doubtful: bool,
}

/// Looks at the tail of the log, so that a lost message costs at most this long. Ends if the log has gone back behind what
/// was applied already.
async fn poll(feed: Arc<Feed>, looks: mpsc::Sender<Look>, every: Duration) {
    let mut doubtful = false;
    loop {
        sleep(spread(every, 1.0..2.0)).await;
        let (applied, asked) = (*feed.position.borrow(), Asked::now());
        match timeout(PATIENCE, feed.log.tail()).await {
            Ok(Ok(tail)) if tail.position < applied => return went_back(applied, Some(tail.position)),
            Ok(Ok(tail)) => {
                // If the follower has not yet looked at the last one, this one can wait for the next round.
                let look = Look { tail: tail.position, asked, doubtful };
                doubtful &= looks.try_send(look).is_err();
            }
            Ok(Err(error)) => {
                doubtful = true;
                failing(&feed, &error);
            }
            Err(late) => {
                doubtful = true;
                failing(&feed, &late);
            }
        }
    }
}

/// A standby that was behind took over. What is written in those places now, ends of access among it, would never be
/// applied here; a node that begins anew knows nothing of what is no more.
fn went_back(applied: Position, end: Option<Position>) {
    let (claimed, position) = (applied.0, end.map(|end| end.0));
    tracing::error!(
        claimed,
        position,
        incident = "log_went_back",
        "the log lacks events that it had: stop all nodes and say `lockstepd log restored`"
    );
}

fn failing(feed: &Feed, error: &dyn std::error::Error) {
    if feed.ready() {
        tracing::warn!(%error, "the log does not answer; this node is not ready until it does");
    }
    feed.failing(true);
}

fn answers(feed: &Feed) {
    if !feed.ready() {
        tracing::info!("the log answers again");
        // Perhaps it is another one: a backup.
        feed.hubs.doubt();
    }
    feed.failing(false);
}

/// Drops hubs that nobody needs and looks after those whose news the bus may have lost.
async fn tidy(feed: Arc<Feed>) {
    loop {
        sleep(TIDY).await;
        match timeout(TIDY, feed.hubs.tidy(feed.log.as_ref())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the hubs were not checked; next time"),
            Err(late) => tracing::debug!(error = %late, "the hubs were not checked; next time"),
        }
    }
}

struct Follower {
    feed: Arc<Feed>,
    order: Order,
    /// The last event that was applied; not known until something was read or applied.
    last: Option<EventId>,
    /// The oldest tail that was looked at and is not reached yet, and when it was asked for.
    unreached: Option<(Position, Asked)>,
    news: Option<broadcast::Receiver<News>>,
    pace: Pace,
    refill_at: Option<Instant>,
    failures: u32,
}

impl Follower {
    async fn run(mut self, mut looks: mpsc::Receiver<Look>) {
        loop {
            self.apply_ready();
            self.reach();
            if self.refill_at.is_some_and(|at| at <= Instant::now()) {
                if !self.refill().await {
                    return;
                }
                continue;
            }
            let refill_at = self.refill_at.unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
            tokio::select! {
                biased;
                // There are few of them: else news that do not end would keep this node out of touch.
                look = looks.recv() => match look {
                    Some(look) => self.see(&look),
                    None => return,
                },
                news = next(&mut self.news) => self.hear(news),
                () = sleep_until(refill_at), if self.refill_at.is_some() => {}
            }
        }
    }

    fn see(&mut self, look: &Look) {
        self.order.heard(look.tail);
        if look.doubtful {
            self.refill_at = Some(Instant::now());
        } else {
            self.unreached.get_or_insert((look.tail, look.asked));
        }
    }

    /// This node is in touch with the log by what it has applied: a log of which no more than the tail can be read tells
    /// nothing of what has ended.
    fn reach(&mut self) {
        let reached = |(tail, _): &mut (Position, Asked)| *tail <= self.order.position();
        if self.failures == 0
            && let Some((_, asked)) = self.unreached.take_if(reached)
        {
            self.feed.knows(asked);
        }
    }

    fn hear(&mut self, news: Result<News, RecvError>) {
        match news {
            // The log is asked which of the two it has.
            Ok(News::Batch(batch)) if self.contradicts(&batch) => self.refill_at = Some(Instant::now()),
            Ok(News::Batch(batch)) => self.order.offer(batch),
            Ok(News::Renewed(stream)) => {
                let feed = Arc::clone(&self.feed);
                self.feed.tasks.spawn(async move {
                    if let Err(error) = feed.renewed(stream).await {
                        tracing::debug!(%error, "a hub did not learn of its stream's new life; it asks again");
                    }
                });
            }
            Ok(News::Reconnected) | Err(RecvError::Lagged(_)) => {
                self.refill_at = Some(Instant::now());
                // News of another life are not in the log's order: they may have been among what was lost.
                self.feed.hubs.doubt();
            }
            // The bus is closed: the tail is still looked at.
            Err(RecvError::Closed) => self.news = None,
        }
    }

    /// Whether a batch has another event than the one that was applied last, in its place.
    fn contradicts(&self, batch: &CommittedBatch) -> bool {
        let (at, last) = (self.order.position(), self.last);
        let there = batch.events.iter().find(|event| event.position == at);
        there.is_some_and(|there| last.is_some_and(|last| last != there.event_id))
    }

    fn apply_ready(&mut self) {
        while let Some(batch) = self.order.next() {
            self.apply(batch);
        }
        if self.order.has_gap() {
            self.refill_at = self.refill_at.or_else(|| Some(Instant::now() + self.pace.reorder));
        } else if self.failures == 0 {
            // The gap has closed by itself; a refill that is already due was asked for by the bus.
            self.refill_at = self.refill_at.filter(|at| *at <= Instant::now());
        }
    }

    fn apply(&mut self, batch: Arc<CommittedBatch>) {
        self.last = batch.events.last().map(|event| event.event_id).or(self.last);
        let feed = &self.feed;
        let revoked = feed.revocations.apply(&batch.events);
        feed.sockets.revoke(&revoked);
        feed.standings.apply(&batch.events);
        feed.administrators.apply(&batch.events);
        feed.usage.apply(&batch.events);
        feed.attached.apply(&batch.events);
        feed.hubs.push(&batch.events);
        feed.position.send_replace(batch.to);
        // An error means that nobody listens.
        let _ = feed.applied.send(batch);
    }

    /// Reads what is missing from the log, if it still has what was applied last: else it has gone back.
    async fn refill(&mut self) -> bool {
        self.refill_at = None;
        loop {
            let (after, asked, everything) = (self.order.position(), Asked::now(), Filter::default());
            let from = Position(after.0.saturating_sub(1));
            let read = self.feed.log.read_all(from, PAGE, &everything, Contents::UpTo(MAX_LIVE_INLINE));
            let mut events = match timeout(2 * PATIENCE, read).await {
                Ok(Ok(events)) => events,
                Ok(Err(error)) => return self.try_again(&error),
                Err(late) => return self.try_again(&late),
            };
            let whole_page = events.len() == PAGE;
            if after > Position::ZERO && !self.joins_on(after, &mut events) {
                went_back(after, events.last().map(|last| last.position));
                return false;
            }
            self.failures = 0;
            answers(&self.feed);
            if let Some(to) = events.last().map(|last| last.position) {
                self.order.offer_read(Arc::new(CommittedBatch { after, to, events }));
                while let Some(batch) = self.order.next() {
                    self.apply(batch);
                }
            }
            if !whole_page {
                self.order.settle();
                // A tail beyond it was of a log that is no more.
                self.unreached = None;
                self.feed.knows(asked);
                return true;
            }
        }
    }

    /// Takes away the first event that was read, if it is the one that was applied last.
    fn joins_on(&mut self, after: Position, events: &mut Vec<Recorded>) -> bool {
        let Some(first) = events.first().filter(|first| first.position == after) else { return false };
        let id = first.event_id;
        if self.last.is_some_and(|last| last != id) {
            return false;
        }
        self.last = Some(id);
        events.remove(0);
        true
    }

    fn try_again(&mut self, error: &dyn std::error::Error) -> bool {
        failing(&self.feed, error);
        self.failures = (self.failures + 1).min(8);
        let most = (Duration::from_millis(25) * 2_u32.pow(self.failures)).min(SLOWEST);
        self.refill_at = Some(Instant::now() + spread(most, 0.5..1.0));
        true
    }
}

async fn next(news: &mut Option<broadcast::Receiver<News>>) -> Result<News, RecvError> {
    match news {
        Some(news) => news.recv().await,
        None => std::future::pending().await,
    }
}

fn spread(duration: Duration, factors: std::ops::Range<f64>) -> Duration {
    duration.mul_f64(rand::thread_rng().gen_range(factors))
}
