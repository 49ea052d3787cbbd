//! `lockstepd projections list|rebuild`.

use std::{ops::ControlFlow, sync::Arc};

use lockstep_events::{
    Clock, Epoch, Event, EventId, EventLog, LogError, Micros, Outcome, StreamId, StreamKind, Unit,
    event::{OperatorActed, SystemEvent},
    log::{StreamClaim, StreamExpect},
};
use lockstep_projections::{
    Family, Projection, ReadError, ReadStore, Rebuild,
    rebuild::{RebuildError, Rebuilt, Step},
};
use serde::Serialize;
use uuid::Uuid;

use crate::commands::facts::{new_event, word};

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// No read model has this name.
    #[error("there is no projection {name}; there are: {}", Projection::ALL.map(Projection::name).join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Nothing was named.
    #[error("name projections, or give --all")]
    Nothing,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log refused to note that an operator acted.
    #[error("the log refused the record of this command")]
    Refused,
    /// The read store did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The rebuild ended before it switched.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// The state of one read model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: &'static str,
    /// The live generation.
    pub generation: u32,
    /// The last position that is in its rows.
    pub position: u64,
    /// Events of the log that are not in its rows yet.
    pub lag: u64,
    /// Microseconds since the oldest of them was recorded; 0 without lag.
    pub lag_micros: i64,
    /// Rows of the live generation.
    pub rows: u64,
    /// A generation that is being filled, or was left by a rebuild that was killed, with its position.
    pub filling: Option<(u32, u64)>,
}

/// Lists all read models.
///
/// # Errors
/// If the log or the read store does not answer.
pub async fn list(
    log: &dyn EventLog,
    reads: &dyn ReadStore,
    now: Micros,
) -> Result<Vec<Listed>, OperateError> {
    let tail = log.tail().await?;
    let mut listed = Vec::new();
    for projection in Projection::ALL {
        let at = reads.checkpoint(projection).await?;
        let generations = reads.generations(projection).await?;
        let lag = tail.position.0.saturating_sub(at.position.0);
        let oldest = if lag == 0 { None } else { oldest_after(log, at.position).await? };
        listed.push(Listed {
            name: projection.name(),
            generation: at.live.0,
            position: at.position.0,
            lag,
            lag_micros: oldest.map_or(0, |recorded_at| now.0.saturating_sub(recorded_at.0).max(0)),
            rows: reads.rows(projection, at.live).await?,
            filling: generations.iter().find(|(g, _)| *g != at.live).map(|(g, p)| (g.0, p.0)),
        });
    }
    Ok(listed)
}

async fn oldest_after(
    log: &dyn EventLog,
    position: lockstep_events::Position,
) -> Result<Option<Micros>, LogError> {
    use lockstep_events::log::{Contents, Filter};
    let first = log.read_all(position, 1, &Filter::default(), Contents::No).await?;
    Ok(first.first().map(|recorded| recorded.recorded_at))
}

/// What is about to be rebuilt, or was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The read models that one fold makes together.
    pub projections: Vec<&'static str>,
    /// The generation that was live before.
    pub replaces: u32,
    /// The generation that is live now; none with `--dry-run`.
    pub live: Option<u32>,
    /// Filled up to here; with `--dry-run`: the end of the log.
    pub position: u64,
    /// Events that were folded.
    pub events: u64,
    /// How long it took.
    pub micros: i64,
    /// Whether the rebuilt rows are those that following had kept; none with `--dry-run`.
    pub identical: Option<bool>,
    /// Read models whose rows differ.
    pub different: Vec<&'static str>,
}

impl From<Rebuilt> for Report {
    fn from(done: Rebuilt) -> Self {
        let different = done.compared.iter().filter(|(_, old, new)| old != new);
        Self {
            projections: names(done.family),
            replaces: done.replaced.0,
            live: Some(done.live.0),
            position: done.position.0,
            events: done.events,
            micros: done.micros,
            identical: Some(done.identical()),
            different: different.map(|(projection, _, _)| projection.name()).collect(),
        }
    }
}

fn names(family: Family) -> Vec<&'static str> {
    family.members().iter().map(|member| member.name()).collect()
}

/// The families behind names of read models: one fold makes all members of a family, so they are rebuilt together.
///
/// # Errors
/// If a name is unknown, or nothing is named.
pub fn families(wanted: &[String], all: bool) -> Result<Vec<Family>, OperateError> {
    if all {
        return Ok(Family::ALL.to_vec());
    }
    let mut chosen = Vec::new();
    for name in wanted {
        let found =
            Projection::from_name(name).ok_or_else(|| OperateError::Unknown { name: name.clone() })?;
        if !chosen.contains(&found.family()) {
            chosen.push(found.family());
        }
    }
    if chosen.is_empty() { Err(OperateError::Nothing) } else { Ok(chosen) }
}

/// The ports and the clock that a rebuild works with.
#[derive(Clone)]
pub struct Place {
    /// The log that is read.
    pub log: Arc<dyn EventLog>,
    /// The read store that is filled.
    pub reads: Arc<dyn ReadStore>,
    /// For rate and ETA.
    pub clock: Arc<dyn Clock>,
}

/// What a rebuild of these families would do; changes nothing.
///
/// # Errors
/// If the log or the read store does not answer.
pub async fn plan(place: &Place, families: &[Family]) -> Result<Vec<Report>, OperateError> {
    let position = place.log.tail().await?.position.0;
    let mut reports = Vec::new();
    for family in families {
        let live = place.reads.checkpoint_of(*family).await?.live.0;
        reports.push(Report {
            projections: names(*family),
            replaces: live,
            live: None,
            position,
            events: 0,
            micros: 0,
            identical: None,
            different: Vec::new(),
        });
    }
    Ok(reports)
}

/// Rebuilds families one after the other, beside a running server or without one. That it was done is itself an
/// event of the log. `run` is a fresh random name of this run.
///
/// # Errors
/// [`OperateError`], as one more rebuild that is under way, or a log that is damaged; the live rows of a family that was
/// not switched are untouched.
pub async fn rebuild(
    place: &Place,
    families: &[Family],
    run: Uuid,
    on_step: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
) -> Result<Vec<Report>, OperateError> {
    let claim = place.reads.claim_rebuild().await?;
    let reports = rebuild_claimed(place, families, run, on_step).await;
    // A script that rebuilds twice is not told that its first rebuild is still at work.
    claim.give_back().await;
    reports
}

async fn rebuild_claimed(
    place: &Place,
    families: &[Family],
    run: Uuid,
    on_step: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
) -> Result<Vec<Report>, OperateError> {
    let all: Vec<_> = families.iter().flat_map(|family| names(*family)).collect();
    note(place, format!("projections rebuild {}", all.join(" ")), run).await?;
    let worker = Rebuild::new(Arc::clone(&place.log), Arc::clone(&place.reads), Arc::clone(&place.clock));
    let mut reports = Vec::new();
    for family in families {
        reports.push(worker.run(*family, on_step).await?.into());
    }
    Ok(reports)
}

/// Appends the record of an operator's command.
async fn note(place: &Place, command: String, run: Uuid) -> Result<(), OperateError> {
    let acted = OperatorActed { command: word(command)?, run };
    let stream = StreamId::SYSTEM;
    let event =
        new_event(None, stream, EventId(run), None, &Event::System(SystemEvent::OperatorActed(acted)))?;
    let epoch_if_new = Epoch(*run.as_bytes());
    let claim = StreamClaim { stream, kind: StreamKind::System, expect: StreamExpect::Any, epoch_if_new };
    let unit = Unit { streams: vec![claim], events: vec![event], ..Unit::default() };
    let outcomes = place.log.append(&[unit], place.clock.now()).await?;
    if matches!(outcomes[..], [Outcome::Appended(_)]) { Ok(()) } else { Err(OperateError::Refused) }
}
