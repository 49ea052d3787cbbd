//! Rows that cannot be read as events, as where a column is of another width: they are named, and what follows is read.

use std::{error::Error as _, fmt::Display};

use lockstep_events::{
    EventLog, LogError, Position, Recorded, StreamId,
    log::{Contents, Filter, StreamHead},
};

/// Events that are read at once.
const PAGE: usize = 500;
/// After so many failures without an event between, it is not the rows that fail.
const FAILURES: u32 = 500;

/// Reads a log page by page, and around what cannot be read.
pub(super) struct Pages {
    limit: usize,
    /// Where the first row may stand that could not be read, why not, and how often that was met.
    skipping: Option<(Position, LogError, u32)>,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self { limit: PAGE, skipping: None }
    }

    /// What stands after a position. None, and the position moved on: there was something that cannot be read.
    pub(super) async fn next(
        &mut self,
        log: &dyn EventLog,
        after: &mut Position,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        let error =
            match log.read_all(*after, self.limit, &Filter::default(), Contents::UpTo(usize::MAX)).await {
                Ok(page) => return Ok(Some(page)),
                Err(error) => of_rows(error)?,
            };
        if self.limit > 1 {
            // One at a time, up to the row that it is.
            self.limit = 1;
            return Ok(None);
        }
        *after = after.next();
        self.skipping = match self.skipping.take() {
            Some((_, _, FAILURES..)) => return Err(error),
            Some((from, _, failures)) => Some((from, error, failures + 1)),
            None => Some((*after, error, 1)),
        };
        Ok(None)
    }

    /// What was passed over up to a position, once something behind it was read.
    pub(super) fn skipped(&mut self, to: Position) -> Option<String> {
        let (from, error, _) = self.skipping.take()?;
        self.limit = PAGE;
        let places = if from == to { format!("position {to}") } else { format!("positions {from} to {to}") };
        Some(unreadable(places, &error))
    }
}

/// Where streams end, and those of which that cannot be read.
pub(super) async fn heads(
    log: &dyn EventLog,
    streams: &[StreamId],
) -> Result<(Vec<StreamHead>, Vec<(StreamId, LogError)>), LogError> {
    match log.stream_heads(streams).await {
        Ok(heads) => return Ok((heads, Vec::new())),
        Err(error) => drop(of_rows(error)?),
    }
    let (mut heads, mut failed) = (Vec::new(), Vec::new());
    for stream in streams {
        match log.stream_heads(&[*stream]).await {
            Ok(head) => heads.extend(head),
            Err(error) => failed.push((*stream, of_rows(error)?)),
        }
    }
    Ok((heads, failed))
}

/// The error, if rows are to blame, and not what they lie in.
pub(super) fn of_rows(error: LogError) -> Result<LogError, LogError> {
    match error {
        LogError::Damaged { .. } | LogError::Other(_) => Ok(error),
        other => Err(other),
    }
}

pub(super) fn unreadable(what: impl Display, error: &LogError) -> String {
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    format!("{what}: cannot be read: {cause}")
}
