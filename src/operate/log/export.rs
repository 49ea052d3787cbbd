//! `lockstepd log export`: the log into a file, and looked at on its way as `log verify` does.

use std::io::{self, Write};

use lockstep_events::{EventLog, LogError, Position};

use super::{
    Known, Reading, Verified,
    line::{Begin, End, EventLine, FORMAT, Line},
};

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What is written to.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Writes the log as it is, whole or not: what is wrong with it is what was found. With `contents` its short ciphertexts
/// and sealed parts, as far as they are there. `on_page` is told how far it is, and how far it has to go.
///
/// # Errors
/// If the log does not answer, next to nothing in it can be read, or nothing more can be written.
pub async fn export(
    log: &dyn EventLog,
    known: &Known,
    contents: bool,
    out: &mut (dyn Write + Send),
    on_page: &mut (dyn FnMut(Position, Position) + Send),
) -> Result<Verified, ExportError> {
    let mut reading = Reading::begin(log, known).await?;
    let begin = Begin { format: FORMAT, log_id: reading.log_id, position: reading.target, contents };
    write(out, &Line::Begin(begin))?;
    while let Some(page) = reading.next().await? {
        for recorded in &page.events {
            let line = EventLine::of(recorded, page.parts.get(&recorded.event_id), contents);
            write(out, &Line::Event(Box::new(line)))?;
        }
        on_page(reading.position(), reading.target);
    }
    let found = reading.end().await?;
    let end = End { events: found.events, streams: found.streams, hash: found.audit.hash };
    write(out, &Line::End(end))?;
    out.flush()?;
    Ok(found)
}

fn write(out: &mut (dyn Write + Send), line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
