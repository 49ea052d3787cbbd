//! The follower: one task that brings every committed batch, in order and exactly once, to all who hang on the feed.

use std::{sync::Arc, time::Duration};

use lockstep_api::MAX_LIVE_INLINE;
use lockstep_events::{
    Position,
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
    let (tails, heard) = mpsc::channel(1);
    feed.tasks.spawn(until_stopped(Arc::clone(feed), poll(Arc::clone(feed), tails, pace.poll)));
    feed.tasks.spawn(until_stopped(Arc::clone(feed), tidy(Arc::clone(feed))));
    let follower = Follower {
        feed: Arc::clone(feed),
        order: Order::new(after),
        news: Some(news),
        pace,
        refill_at: None,
        failures: 0,
    };
    feed.tasks.spawn(until_stopped(Arc::clone(feed), follower.run(heard)));
}

async fn until_stopped(feed: Arc<Feed>, work: impl Future<Output = ()>) {
    // Also by a panic.
    let _ended = feed.ended.clone().drop_guard();
    tokio::select! {
        () = feed.stop.cancelled() => {}
        () = work => {}
    }
}

/// Looks at the tail of the log, so that a lost message costs at most this long. Ends if the log has gone back behind what
/// was applied already: a standby that was behind took over. What is written in those places now, ends of access among
/// it, would never be applied here; a node that begins anew knows nothing of what is no more.
async fn poll(feed: Arc<Feed>, tails: mpsc::Sender<Position>, every: Duration) {
    loop {
        sleep(spread(every, 1.0..2.0)).await;
        let applied = *feed.position.borrow();
        match timeout(PATIENCE, feed.log.tail()).await {
            Ok(Ok(tail)) if tail.position < applied => {
                let (claimed, position) = (applied.0, tail.position.0);
                tracing::error!(
                    claimed,
                    position,
                    incident = "log_went_back",
                    "the log lacks events that it had: stop all nodes and say `lockstepd log restored`"
                );
                return;
            }
            Ok(Ok(tail)) => {
                if !feed.ready() {
                    tracing::info!("the log answers again");
                    // Perhaps it is another one: a backup.
                    feed.hubs.doubt();
                }
                feed.touched(false);
                // If the follower has not yet looked at the last one, this one can wait for the next round.
                let _ = tails.try_send(tail.position);
            }
            Ok(Err(error)) => failing(&feed, &error),
            Err(late) => failing(&feed, &late),
        }
    }
}

fn failing(feed: &Feed, error: &dyn std::error::Error) {
    if feed.ready() {
        tracing::warn!(%error, "the log does not answer; this node is not ready until it does");
    }
    feed.touched(true);
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
    news: Option<broadcast::Receiver<News>>,
    pace: Pace,
    refill_at: Option<Instant>,
    failures: u32,
}

impl Follower {
    async fn run(mut self, mut tails: mpsc::Receiver<Position>) {
        loop {
            self.apply_ready();
            if self.refill_at.is_some_and(|at| at <= Instant::now()) {
                self.refill().await;
                continue;
            }
            let refill_at = self.refill_at.unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
            tokio::select! {
                biased;
                news = next(&mut self.news) => self.hear(news),
                () = sleep_until(refill_at), if self.refill_at.is_some() => {}
                tail = tails.recv() => match tail {
                    Some(tail) => self.order.heard(tail),
                    None => return,
                },
            }
        }
    }

    fn hear(&mut self, news: Result<News, RecvError>) {
        match news {
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

    fn apply(&self, batch: Arc<CommittedBatch>) {
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

    /// Reads what is missing from the log.
    async fn refill(&mut self) {
        self.refill_at = None;
        loop {
            let (after, everything) = (self.order.position(), Filter::default());
            let read = self.feed.log.read_all(after, PAGE, &everything, Contents::UpTo(MAX_LIVE_INLINE));
            let events = match timeout(2 * PATIENCE, read).await {
                Ok(Ok(events)) => events,
                Ok(Err(error)) => return self.try_again(&error),
                Err(late) => return self.try_again(&late),
            };
            self.failures = 0;
            self.feed.touched(false);
            let whole_page = events.len() == PAGE;
            if let Some(to) = events.last().map(|last| last.position) {
                self.order.offer_read(Arc::new(CommittedBatch { after, to, events }));
                while let Some(batch) = self.order.next() {
                    self.apply(batch);
                }
            }
            if !whole_page {
                return self.order.settle();
            }
        }
    }

    fn try_again(&mut self, error: &dyn std::error::Error) {
        failing(&self.feed, error);
        self.failures = (self.failures + 1).min(8);
        let most = (Duration::from_millis(25) * 2_u32.pow(self.failures)).min(SLOWEST);
        self.refill_at = Some(Instant::now() + spread(most, 0.5..1.0));
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
