//! The batcher: everything this process appends goes through it, many units in one transaction.
//!
//! It takes what waits and never waits for more, so a lone writer pays one commit and sixty-four pay one commit
//! together. One batch is in flight at a time: while it commits, the next one gathers.

use std::{fmt, sync::Arc};

use lockstep_events::{
    Clock, EventLog, LogError, Outcome, Position, Recorded, Unit, envelope::Place, log::StreamClaim,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::bus::CommittedBatch;

/// A batch has at most so many units.
const MAX_UNITS: usize = 256;
/// A batch has at most so many bytes, unless a single unit is larger.
const MAX_BYTES: usize = 1 << 20;
/// What a row costs beside its bodies, so that many small events also fill a batch.
const ROW_BYTES: usize = 256;
/// Units that may wait; past that, callers wait to be let in.
const QUEUE: usize = 1024;

/// A handle to the one batcher of this process; clones share it.
#[derive(Clone)]
pub struct Batcher {
    queue: mpsc::Sender<Waiting>,
    closing: CancellationToken,
    task: TaskTracker,
}

struct Waiting {
    unit: Unit,
    bytes: usize,
    answer: oneshot::Sender<Result<Outcome, LogError>>,
}

impl Batcher {
    /// Starts the task.
    ///
    /// `committed` is given every batch right after its commit, in position order, before its writers are
    /// answered. It must not block: the next batch waits for it. A batch whose commit is unknown is not given;
    /// followers find it by the tail of the log.
    pub fn start(
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        committed: impl Fn(Arc<CommittedBatch>) + Send + Sync + 'static,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let batcher = Self { queue, closing: CancellationToken::new(), task: TaskTracker::new() };
        let worker = Worker { log, clock, committed: Box::new(committed) };
        batcher.task.spawn(worker.run(waiting, batcher.closing.clone()));
        batcher.task.close();
        batcher
    }

    /// Appends a unit and answers when it is durable, or why it is not there. A unit whose batch has begun is appended
    /// even if the caller goes away meanwhile; one that still waits then is left out.
    ///
    /// # Errors
    /// [`LogError`]. After `Unavailable` it is not known whether the unit was committed: send the same ids again.
    pub async fn append(&self, unit: Unit) -> Result<Outcome, LogError> {
        unit.check()?;
        let bytes = unit.size() + ROW_BYTES * unit.events.len();
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { unit, bytes, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Returns when the task has ended: before [`Self::shutdown`] only by a defect.
    pub async fn ended(&self) {
        self.task.wait().await;
    }

    /// Takes no more units, commits those that wait, and ends.
    pub async fn shutdown(&self) {
        self.closing.cancel();
        self.task.wait().await;
    }
}

fn stopped() -> LogError {
    LogError::Unavailable("the server is shutting down".into())
}

struct Worker {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    committed: Box<dyn Fn(Arc<CommittedBatch>) + Send + Sync>,
}

impl Worker {
    async fn run(self, mut waiting: mpsc::Receiver<Waiting>, closing: CancellationToken) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(first) => first,
                None => tokio::select! {
                    biased;
                    () = closing.cancelled(), if !waiting.is_closed() => {
                        waiting.close();
                        continue;
                    }
                    first = waiting.recv() => match first {
                        Some(first) => first,
                        None => return,
                    },
                },
            };
            settle(&waiting).await;
            let mut batch = gather(first, &mut waiting, &mut next);
            // Whoever gave up was told that it was not done: it is not done later, when the log takes writes again.
            batch.retain(|waiting| !waiting.answer.is_closed());
            if !batch.is_empty() {
                self.commit_or_split(batch).await;
            }
        }
    }

    /// Commits a batch. If the log refuses it as a whole, each unit gets a transaction of its own, so that one
    /// that the database chokes on cannot fail its neighbours.
    async fn commit_or_split(&self, batch: Vec<Waiting>) {
        let Err((error, batch)) = self.commit(batch).await else { return };
        let unit_to_blame = !matches!(error, LogError::Unavailable(_) | LogError::Full(_));
        if !unit_to_blame || batch.len() < 2 {
            return refuse(batch, error);
        }
        tracing::error!(units = batch.len(), %error, "a batch failed as a whole; appending its units one by one");
        let mut units = batch.into_iter();
        while let Some(unit) = units.next() {
            match self.commit(vec![unit]).await {
                Ok(()) => {}
                Err((error @ LogError::Unavailable(_), unit)) => {
                    return refuse(unit.into_iter().chain(units).collect(), error);
                }
                Err((error, unit)) => refuse(unit, error),
            }
        }
    }

    async fn commit(&self, batch: Vec<Waiting>) -> Result<(), (LogError, Vec<Waiting>)> {
        let (units, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|w| (w.unit, (w.bytes, w.answer))).unzip();
        match self.log.append(&units, self.clock.now()).await {
            Ok(outcomes) => {
                self.tell(units, &outcomes);
                for ((_, answer), outcome) in answers.into_iter().zip(outcomes) {
                    // A caller that has gone away no longer wants to know.
                    let _ = answer.send(Ok(outcome));
                }
                Ok(())
            }
            Err(error) => {
                let back = units.into_iter().zip(answers);
                Err((error, back.map(|(unit, (bytes, answer))| Waiting { unit, bytes, answer }).collect()))
            }
        }
    }

    fn tell(&self, units: Vec<Unit>, outcomes: &[Outcome]) {
        let events: Vec<_> =
            units.into_iter().zip(outcomes).flat_map(|(unit, outcome)| recorded(unit, outcome)).collect();
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            let (after, to) = (Position(first.position.0 - 1), last.position);
            (self.committed)(Arc::new(CommittedBatch { after, to, events }));
        }
    }
}

/// Lets tasks that are ready to append do so first: those that the last batch has just answered come back one
/// after the other, and without this the first of them would get a commit for itself. Nothing is waited for: with
/// nobody ready it is one turn of the scheduler.
async fn settle(waiting: &mpsc::Receiver<Waiting>) {
    loop {
        let before = waiting.len();
        tokio::task::yield_now().await;
        if waiting.len() == before || waiting.len() >= MAX_UNITS {
            return;
        }
    }
}

/// What waits, up to the limits of a batch. A unit that would go over them is the first of the next batch.
fn gather(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>, next: &mut Option<Waiting>) -> Vec<Waiting> {
    let mut bytes = first.bytes;
    let mut batch = vec![first];
    while batch.len() < MAX_UNITS
        && let Ok(unit) = waiting.try_recv()
    {
        bytes += unit.bytes;
        if bytes > MAX_BYTES {
            *next = Some(unit);
            break;
        }
        batch.push(unit);
    }
    batch
}

/// The events that a unit brought into the log, as their readers will see them.
fn recorded(unit: Unit, outcome: &Outcome) -> Vec<Recorded> {
    let Outcome::Appended(placed) = outcome else { return Vec::new() };
    let claims: Vec<StreamClaim> = unit.streams;
    let fresh = unit.events.into_iter().zip(placed).filter(|(_, placed)| !placed.duplicate);
    fresh
        .filter_map(|(event, placed)| {
            let kind = claims.iter().find(|claim| claim.stream == event.stream)?.kind;
            let place = Place { position: placed.position, seq: placed.seq, recorded_at: placed.recorded_at };
            Some(event.placed(kind, place, placed.chain))
        })
        .collect()
}

fn refuse(batch: Vec<Waiting>, error: LogError) {
    let cause = Arc::new(error);
    for waiting in batch {
        let _ = waiting.answer.send(Err(same(&cause)));
    }
}

/// The same error for each writer of a batch, its cause shared.
fn same(cause: &Arc<LogError>) -> LogError {
    let shared = || Box::new(Shared(Arc::clone(cause)));
    match cause.as_ref() {
        LogError::Unavailable(_) => LogError::Unavailable(shared()),
        LogError::Full(_) => LogError::Full(shared()),
        LogError::Malformed(what) => LogError::Malformed(what),
        LogError::Damaged { position, what } => LogError::Damaged { position: *position, what },
        LogError::Other(_) => LogError::Other(shared()),
    }
}

#[derive(Debug)]
struct Shared(Arc<LogError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the batch was not appended")
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0.as_ref())
    }
}

#[cfg(test)]
mod tests;
