//! The rebuild: fills a new generation of a family from position 0 while the live one goes on, proves that both
//! are the same, and switches.
//!
//! 1. An empty generation is started; the live one is not touched before the switch, whenever this is killed.
//! 2. Each event must follow the one before it in its stream, or the rebuild ends: read models are made of what was written.
//! 3. It is filled up to where the live one stands. For each read model the checksum of the live one is taken
//!    at some position, the new one is filled to exactly that position, and its checksum compared.
//! 4. It is filled to the end of the log and switched by compare-and-set: the store refuses while the live one
//!    is further, then the rest is folded and it is tried again.
//! 5. The old generation is deleted. A follower that still writes into it meets `Moved` and loads the new one.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lockstep_events::{
    Clock, EventLog, LogError, Micros, Position, Recorded, Seq, StreamId,
    chains::Chains,
    log::{Contents, Filter},
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    fold::{Decoded, Fold, FoldError},
    key::{Family, Projection},
    project::{self, ProjectError},
    store::{Advance, Checkpoint, Checksum, Generation, ReadError, ReadStore, Write},
};

/// Events that are read and folded at once.
const PAGE: usize = 2_000;
/// Rows that wait at most, before all of them are written in the order of their keys: the more, the fewer pages of an
/// index each row touches, and the fewer times an entry is written that changes again. Some tens of megabytes.
const WRITTEN: usize = 20_000;
/// Rows that stay in memory; below it nothing is ever loaded.
const CAPACITY: usize = 100_000;
/// The switch is tried at most so often against a store that runs away.
const SWITCH_ATTEMPTS: usize = 1_000;

/// Why a rebuild ended. The live generation is untouched.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log did not answer.
    #[error("the rebuild cannot read the log")]
    Log(#[from] LogError),
    /// The read store did not answer.
    #[error("the rebuild cannot write the read store")]
    Read(#[from] ReadError),
    /// An event that cannot be folded: a rebuild stops at once.
    #[error("the rebuild met an event that it cannot fold")]
    Project(#[from] ProjectError),
    /// The log has something else than what was written.
    #[error(
        "the log is damaged at position {position} ({stream} at {seq}): {what}. The read models stay as they are; \
         `lockstepd log verify` names every fault"
    )]
    Damaged {
        /// Where in the log.
        position: Position,
        /// In which stream.
        stream: StreamId,
        /// Where in the stream.
        seq: Seq,
        /// What is wrong there.
        what: &'static str,
    },
    /// Another rebuild has switched meanwhile.
    #[error("another rebuild of {0} was faster")]
    Superseded(&'static str),
    /// The callback asked to stop.
    #[error("the rebuild was stopped")]
    Stopped,
    /// A task that reads ahead, or writes behind, ended.
    #[error("the rebuild's reader or writer failed")]
    Task(#[from] tokio::task::JoinError),
}

impl From<FoldError> for RebuildError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::Read(error) => Self::Read(error),
            FoldError::Project(error) => Self::Project(error),
        }
    }
}

/// How far a rebuild is; given to the callback after every page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// What is rebuilt.
    pub family: Family,
    /// Folded so far; what is written may be a few pages behind.
    pub position: Position,
    /// Where the log ended when this was last looked at.
    pub target: Position,
    /// Events that were folded.
    pub events: u64,
    /// Events per second since the start; 0 before the first page.
    pub rate: f64,
    /// Seconds that are left at this rate, if it is known.
    pub eta_seconds: Option<f64>,
}

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq)]
pub struct Rebuilt {
    /// What was rebuilt.
    pub family: Family,
    /// The generation that was live before and is deleted now.
    pub replaced: Generation,
    /// The generation that is live now.
    pub live: Generation,
    /// Filled to here when it was switched.
    pub position: Position,
    /// Events that were folded.
    pub events: u64,
    /// Microseconds from start to switch.
    pub micros: i64,
    /// Each read model with the checksum of the old generation and of the new one at the same position.
    pub compared: Vec<(Projection, Checksum, Checksum)>,
    /// Rows of the old generation that were deleted.
    pub dropped_rows: u64,
}

impl Rebuilt {
    /// Whether the rebuilt rows are those that had been kept by following.
    pub fn identical(&self) -> bool {
        self.compared.iter().all(|(_, old, new)| old == new)
    }
}

/// Rebuilds families.
pub struct Rebuild {
    log: Arc<dyn EventLog>,
    reads: Arc<dyn ReadStore>,
    clock: Arc<dyn Clock>,
    page: usize,
}

struct Run<'a> {
    fold: Fold,
    /// What was read so far; a page at a time takes it on.
    chains: Arc<Mutex<Chains>>,
    /// Writes while the next pages are folded.
    writer: Option<Writer>,
    /// Batches that it has written.
    stored: Arc<AtomicU64>,
    events: u64,
    started: Micros,
    on_step: &'a mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
}

/// What is written in one commit: the step that it makes, to where, and the rows.
type Batch = (Advance, Position, Vec<Write>);

/// Writes one batch while the next one waits.
struct Writer {
    queue: mpsc::Sender<Batch>,
    task: Writing,
}

/// Stops with whoever waits for it: a rebuild that has ended writes no more.
struct Writing(JoinHandle<Result<(), ReadError>>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Writer {
    fn start(reads: Arc<dyn ReadStore>, stored: Arc<AtomicU64>) -> Self {
        let (queue, mut batches) = mpsc::channel::<Batch>(1);
        let task = tokio::spawn(async move {
            while let Some((step, to, writes)) = batches.recv().await {
                reads.commit(&[step], to, &writes).await?;
                stored.fetch_add(1, Ordering::Release);
            }
            Ok(())
        });
        Self { queue, task: Writing(task) }
    }

    /// Writes what waits, and ends.
    async fn end(self) -> Result<(), RebuildError> {
        let Self { queue, mut task } = self;
        drop(queue);
        Ok((&mut task.0).await??)
    }
}

impl Run<'_> {
    /// Writes what it is time for. While there is a place, it is time for versions, which nothing comes back to; what may
    /// change again waits until there is much of it, or until the end: nobody reads the rows before.
    async fn write_on(
        &mut self,
        reads: &Arc<dyn ReadStore>,
        to: Position,
        last: bool,
    ) -> Result<(), RebuildError> {
        if last || self.fold.waiting() >= WRITTEN {
            let all = self.fold.changes();
            self.write(reads, to, all).await?;
        } else if self.has_place() && self.fold.waiting_versions() > 0 {
            let versions = self.fold.versions();
            self.write(reads, to, versions).await?;
        }
        if last { self.written().await } else { Ok(()) }
    }

    fn has_place(&self) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.queue.capacity() > 0)
    }

    /// Hands on what is to be written, once there is a place for it.
    async fn write(
        &mut self,
        reads: &Arc<dyn ReadStore>,
        to: Position,
        rows: Vec<Write>,
    ) -> Result<(), RebuildError> {
        let step = self.fold.advance(false);
        self.fold.position = to;
        let start = || Writer::start(Arc::clone(reads), Arc::clone(&self.stored));
        let sent = self.writer.get_or_insert_with(start).queue.send((step, to, rows)).await;
        // If it has ended, it says why. What is forgotten is loaded again when it is needed: it must be there.
        if sent.is_err() || self.fold.is_full() {
            self.written().await?;
        }
        if self.fold.is_full() {
            self.fold.forget();
        }
        Ok(())
    }

    /// Gives up what is not written yet. Nothing of this run writes afterwards.
    async fn stop(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            writer.task.0.abort();
            let _ = (&mut writer.task.0).await;
        }
    }

    /// Lets go of what the store has by now.
    fn let_go(&mut self) {
        self.fold.stored(self.stored.load(Ordering::Acquire));
    }

    /// Waits until everything stands that was handed on.
    async fn written(&mut self) -> Result<(), RebuildError> {
        if let Some(writer) = self.writer.take() {
            writer.end().await?;
        }
        self.let_go();
        Ok(())
    }
}

impl Rebuild {
    /// A rebuild of what stands in `log` into `reads`. The clock is for rate and ETA only.
    pub fn new(log: Arc<dyn EventLog>, reads: Arc<dyn ReadStore>, clock: Arc<dyn Clock>) -> Self {
        Self { log, reads, clock, page: PAGE }
    }

    /// The same with pages of another size.
    #[must_use]
    pub fn with_page(self, events: usize) -> Self {
        Self { page: events.max(1), ..self }
    }

    /// Rebuilds a family. The callback sees every page and may stop the rebuild.
    ///
    /// # Errors
    /// [`RebuildError`]; the live generation is untouched then, and the rebuild can be started again.
    pub async fn run(
        &self,
        family: Family,
        on_step: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
    ) -> Result<Rebuilt, RebuildError> {
        let old = self.reads.checkpoint_of(family).await?;
        let generation = self.reads.start_generation(family).await?;
        let fold = Fold::begin(family, generation, CAPACITY);
        let (chains, stored, started) = (Arc::default(), Arc::default(), self.clock.now());
        let mut run = Run { fold, chains, writer: None, stored, events: 0, started, on_step };
        let compared = match self.to_the_switch(&mut run, old).await {
            Ok(compared) => compared,
            Err(error) => {
                run.stop().await;
                return Err(error);
            }
        };
        let micros = self.clock.now().0 - run.started.0;
        let dropped_rows = self.reads.drop_generation(family, old.live).await?;
        Ok(Rebuilt {
            family,
            replaced: old.live,
            live: generation,
            position: run.fold.position,
            events: run.events,
            micros,
            compared,
            dropped_rows,
        })
    }

    /// Fills, compares with what is live, and switches. Each read model with its two checksums.
    async fn to_the_switch(
        &self,
        run: &mut Run<'_>,
        old: Checkpoint,
    ) -> Result<Vec<(Projection, Checksum, Checksum)>, RebuildError> {
        let (family, generation) = (run.fold.family, run.fold.generation);
        self.fill(run, old.position).await?;
        let mut compared = Vec::new();
        for member in family.members() {
            let kept = self.reads.checksum(*member, old.live).await?;
            self.fill(run, kept.position).await?;
            compared.push((*member, kept, self.reads.checksum(*member, generation).await?));
        }
        self.switch(run, old.live).await?;
        Ok(compared)
    }

    /// Folds up to a position, reading the next page and writing the last ones meanwhile.
    async fn fill(&self, run: &mut Run<'_>, target: Position) -> Result<(), RebuildError> {
        let mut reached = run.fold.position;
        if reached >= target {
            return Ok(());
        }
        let mut next = self.read_ahead(run, reached, target);
        while reached < target {
            let (page, to) = next.await??;
            next = self.read_ahead(run, to, target);
            let folded = self.fold(run, &page, to, target).await;
            if let Err(error) = folded {
                next.abort();
                return Err(error);
            }
            reached = to;
        }
        next.abort();
        Ok(())
    }

    async fn fold(
        &self,
        run: &mut Run<'_>,
        page: &[Decoded],
        to: Position,
        target: Position,
    ) -> Result<(), RebuildError> {
        // What is on its way into the store is still in memory: what is loaded may be without it.
        run.let_go();
        let missing = run.fold.missing(page.iter());
        run.fold.more(missing, &*self.reads, page.iter()).await?;
        run.write_on(&self.reads, to, to >= target).await?;
        run.events += page.len() as u64;
        let step = step(run, to, target, self.clock.now());
        if (run.on_step)(step).is_break() { Err(RebuildError::Stopped) } else { Ok(()) }
    }

    fn read_ahead(
        &self,
        run: &Run<'_>,
        after: Position,
        target: Position,
    ) -> JoinHandle<Result<(Vec<Decoded>, Position), RebuildError>> {
        let (log, limit) = (Arc::clone(&self.log), self.page);
        let (family, chains) = (run.fold.family, Arc::clone(&run.chains));
        tokio::spawn(async move {
            if after >= target {
                return Ok((Vec::new(), target));
            }
            let filter = Filter { stream_kind: Some(family.stream_kind()), kinds: Vec::new() };
            let events = log.read_all(after, limit, &filter, Contents::No).await?;
            let last = events.last().map_or(target, |recorded| recorded.position);
            // A page that is not full has everything of this family that there is up to the target.
            let to = if events.len() < limit { target } else { last.min(target) };
            let mut chains = chains.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = events.into_iter().take_while(|recorded| recorded.position <= target);
            let decoded: Result<Vec<Decoded>, RebuildError> = wanted
                .map(|recorded| {
                    followed(&mut chains, &recorded)?;
                    let event = project::decode(family, &recorded)?;
                    Ok((recorded, event))
                })
                .collect();
            Ok((decoded?, to))
        })
    }

    async fn switch(&self, run: &mut Run<'_>, old: Generation) -> Result<(), RebuildError> {
        let family = run.fold.family;
        for _ in 0..SWITCH_ATTEMPTS {
            let tail = self.log.tail().await?.position;
            self.fill(run, tail).await?;
            match self.reads.switch_generation(family, old, run.fold.generation).await {
                Err(ReadError::Moved(_)) => {
                    if self.reads.checkpoint_of(family).await?.live != old {
                        return Err(RebuildError::Superseded(family.name()));
                    }
                }
                switched => return Ok(switched?),
            }
        }
        Err(ReadError::Moved(family.name()).into())
    }
}

/// Before anything is made of an event.
fn followed(chains: &mut Chains, recorded: &Recorded) -> Result<(), RebuildError> {
    let Recorded { position, stream, seq, .. } = *recorded;
    chains.take(recorded).map_or(Ok(()), |what| Err(RebuildError::Damaged { position, stream, seq, what }))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people; exact far beyond any log")]
fn step(run: &Run<'_>, position: Position, target: Position, now: Micros) -> Step {
    let seconds = (now.0 - run.started.0) as f64 / 1e6;
    let per_second = if seconds > 0.0 { position.0 as f64 / seconds } else { 0.0 };
    let left = target.0.saturating_sub(position.0) as f64;
    Step {
        family: run.fold.family,
        position,
        target,
        events: run.events,
        rate: if seconds > 0.0 { run.events as f64 / seconds } else { 0.0 },
        eta_seconds: (per_second > 0.0).then(|| left / per_second),
    }
}
