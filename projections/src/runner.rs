//! The runner: keeps all live read models at the end of the log.

use std::sync::Arc;

use lockstep_events::{
    EventLog, LogError, Position, Recorded,
    log::{Contents, Filter},
};
use tokio::sync::watch;

use crate::{
    fold::{Decoded, Fold, FoldError},
    key::Family,
    progress::{Progress, Standing, index},
    project::{self, ProjectError},
    store::{Checkpoint, ReadError, ReadStore, Write},
};

/// Events that are read from the log at once.
const PAGE: usize = 1_000;
/// Rows of a family that stay in memory between two batches.
const CAPACITY: usize = 2_000;

/// Why a batch could not be applied. The runner stands where it stood; call again.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log did not answer.
    #[error("the read models cannot follow the log")]
    Log(#[from] LogError),
    /// The read store did not answer.
    #[error("the read models cannot be written")]
    Read(#[from] ReadError),
}

struct Lane {
    fold: Fold,
    stopped: Option<ProjectError>,
}

/// Folds the log into the live generations of all read models.
///
/// A family that meets an event it cannot fold stops before it and says so; the other goes on. Several runners
/// may work on one store (one per node): each batch is committed by the one that is first, the others see that
/// the checkpoint moved and go on from there.
pub struct Runner {
    log: Arc<dyn EventLog>,
    reads: Arc<dyn ReadStore>,
    lanes: Vec<Lane>,
    standings: watch::Sender<[Standing; 2]>,
    wanted: Arc<watch::Sender<Position>>,
}

impl Runner {
    /// A runner at the stored checkpoints. Nothing is folded yet: call [`Self::catch_up`].
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn start(log: Arc<dyn EventLog>, reads: Arc<dyn ReadStore>) -> Result<Self, ReadError> {
        let (standings, wanted) = (watch::Sender::default(), Arc::default());
        let mut runner = Self { log, reads, lanes: Vec::new(), standings, wanted };
        runner.reload().await?;
        Ok(runner)
    }

    /// A view for those who wait and watch.
    pub fn progress(&self) -> Progress {
        Progress { standings: self.standings.subscribe(), wanted: Arc::clone(&self.wanted) }
    }

    /// Folds everything that the log has, from where the store says that it stands: a database that crashed may have lost
    /// the last commits, and a backup has fewer. The position that all families reached.
    ///
    /// # Errors
    /// [`RunError`]; what was committed before it stays.
    pub async fn catch_up(&mut self) -> Result<Position, RunError> {
        self.compare().await?;
        while let Some(from) = self.lowest() {
            if !self.step_from_log(from).await? {
                break;
            }
        }
        Ok(self.progress().position())
    }

    /// Folds a committed batch as the follower hands it over. What is old is ignored; if the batch does not
    /// join on to what is folded, the log is read instead.
    ///
    /// # Errors
    /// [`RunError`]; what was committed before it stays.
    pub async fn apply(&mut self, batch: &[Recorded]) -> Result<Position, RunError> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return Ok(self.progress().position());
        };
        self.revive().await?;
        let gapless = batch.windows(2).all(|pair| pair[1].position == pair[0].position.next());
        while let Some(from) = self.lowest().filter(|from| *from < last.position) {
            if gapless && first.position <= from.next() {
                let known = batch.partition_point(|recorded| recorded.position <= from);
                self.step(from, &batch[known..]).await?;
            } else if !self.step_from_log(from).await? {
                break;
            }
        }
        Ok(self.progress().position())
    }

    /// Forgets all rows. Whoever gave up waiting for [`Self::catch_up`] or [`Self::apply`] calls this before the next:
    /// it is not known what of it was committed.
    pub fn forget(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.fold.forget());
    }

    /// Reads checkpoints and forgets all rows.
    async fn reload(&mut self) -> Result<(), ReadError> {
        let mut lanes = Vec::with_capacity(Family::ALL.len());
        for family in Family::ALL {
            let at = self.reads.checkpoint_of(family).await?;
            lanes.push(Lane { fold: Fold::resume(family, at.live, at.position, CAPACITY), stopped: None });
        }
        self.lanes = lanes;
        self.publish();
        Ok(())
    }

    /// A family that stopped goes on from where a rebuild has come since.
    async fn revive(&mut self) -> Result<(), ReadError> {
        for at in 0..self.lanes.len() {
            let lane = &self.lanes[at];
            let Fold { family, generation, .. } = lane.fold;
            if lane.stopped.is_some() && self.reads.checkpoint_of(family).await?.live != generation {
                self.reload().await?;
            }
        }
        Ok(())
    }

    /// Goes on from the stored checkpoints if they are not those that are known here.
    async fn compare(&mut self) -> Result<(), ReadError> {
        for lane in &self.lanes {
            if !lane.is_stored(&*self.reads).await? {
                return self.reload().await;
            }
        }
        Ok(())
    }

    fn publish(&self) {
        self.standings.send_if_modified(|standings| {
            let before = standings.clone();
            for lane in &self.lanes {
                standings[index(lane.fold.family)] = Standing {
                    position: lane.fold.position,
                    stopped: lane.stopped.as_ref().map(ToString::to_string),
                };
            }
            before != *standings
        });
    }

    /// The position of the family that is furthest behind; none if all have stopped.
    fn lowest(&self) -> Option<Position> {
        self.lanes.iter().filter(|lane| lane.stopped.is_none()).map(|lane| lane.fold.position).min()
    }

    async fn step_from_log(&mut self, from: Position) -> Result<bool, RunError> {
        let page = self.log.read_all(from, PAGE, &Filter::default(), Contents::No).await?;
        if page.is_empty() {
            return Ok(false);
        }
        self.step(from, &page).await?;
        Ok(true)
    }

    /// Folds events that start right after `from` into every family that stands there.
    async fn step(&mut self, from: Position, events: &[Recorded]) -> Result<(), RunError> {
        let outcome = self.fold_and_commit(from, events).await;
        match outcome {
            Ok(()) => self.publish(),
            // Another runner was faster, or a rebuild has taken the place of a generation.
            Err(RunError::Read(ReadError::Moved(_))) => self.reload().await?,
            Err(error) => {
                self.forget();
                return Err(error);
            }
        }
        Ok(())
    }

    async fn fold_and_commit(&mut self, from: Position, events: &[Recorded]) -> Result<(), RunError> {
        // A family that is ahead takes part again where the others have reached it.
        let ahead = self.lanes.iter().filter(|lane| lane.stopped.is_none() && lane.fold.position > from);
        let until = ahead.map(|lane| lane.fold.position).min().unwrap_or(Position(u64::MAX));
        let events = &events[..events.partition_point(|recorded| recorded.position <= until)];
        let Some(to) = events.last().map(|recorded| recorded.position) else {
            return Ok(());
        };
        let (mut steps, mut writes) = (Vec::new(), Vec::new());
        for lane in &mut self.lanes {
            let takes_part = lane.stopped.is_none() && lane.fold.position == from;
            if takes_part && let Some(changes) = lane.fold_or_stop(&*self.reads, events).await? {
                steps.push(lane.fold.advance(true));
                writes.extend(changes);
            }
        }
        if !steps.is_empty() {
            self.reads.commit(&steps, to, &writes).await?;
        }
        let moved = self.lanes.iter_mut().filter(|l| steps.iter().any(|s| s.family == l.fold.family));
        moved.for_each(|lane| lane.fold.committed(to));
        Ok(())
    }
}

impl Lane {
    /// What the events change; none if the family met one that it cannot fold: then everything before that one
    /// is committed and the family stops.
    async fn fold_or_stop(
        &mut self,
        reads: &dyn ReadStore,
        events: &[Recorded],
    ) -> Result<Option<Vec<Write>>, RunError> {
        let mut page: Vec<Decoded> = Vec::new();
        let mut undecoded = None;
        for recorded in events.iter().filter(|recorded| self.fold.wants(recorded)) {
            match project::decode(self.fold.family, recorded) {
                Ok(event) => page.push((recorded.clone(), event)),
                Err(error) => {
                    undecoded = Some((recorded.position, error));
                    break;
                }
            }
        }
        match (self.fold.page(reads, page.iter()).await, undecoded) {
            (Ok(writes), None) => Ok(Some(writes)),
            (Ok(writes), Some((at, error))) => self.stop(reads, &writes, at, error).await.map(|()| None),
            (Err(FoldError::Read(error)), _) => Err(error.into()),
            (Err(FoldError::Project(error)), _) => {
                self.unmoved(reads).await?;
                let at = error.position();
                let sound = page.iter().filter(|(recorded, _)| recorded.position < at);
                match self.fold.page(reads, sound).await {
                    Ok(writes) => self.stop(reads, &writes, at, error).await.map(|()| None),
                    Err(FoldError::Read(error)) => Err(error.into()),
                    Err(FoldError::Project(error)) => {
                        self.stopped = Some(error);
                        Ok(None)
                    }
                }
            }
        }
    }

    /// An event may not fit because a rebuild has put another generation in the place of this one, whose rows are gone.
    async fn unmoved(&self, reads: &dyn ReadStore) -> Result<(), ReadError> {
        if self.is_stored(reads).await? { Ok(()) } else { Err(ReadError::Moved(self.fold.family.name())) }
    }

    /// Whether the store stands where this does.
    async fn is_stored(&self, reads: &dyn ReadStore) -> Result<bool, ReadError> {
        let Checkpoint { live, position } = reads.checkpoint_of(self.fold.family).await?;
        Ok((live, position) == (self.fold.generation, self.fold.position))
    }

    async fn stop(
        &mut self,
        reads: &dyn ReadStore,
        writes: &[Write],
        at: Position,
        error: ProjectError,
    ) -> Result<(), RunError> {
        let to = Position(at.0 - 1);
        if to > self.fold.position {
            reads.commit(&[self.fold.advance(true)], to, writes).await?;
        }
        self.fold.committed(to);
        tracing::error!(read_models = self.fold.family.name(), position = %to, error = %error,
            "read models stopped at an event that they cannot fold");
        self.stopped = Some(error);
        Ok(())
    }
}
