//! `lockstepd log verify --file`: a log that was written into a file, without the database that it was in.

use std::io::{self, BufRead, Read};

use lockstep_events::Position;

use super::{
    Audit, Known, Verified, Walk,
    line::{Begin, End, FORMAT, Line},
};

/// No line that is written is as long.
const LONGEST: u64 = 16 * 1024 * 1024;
/// A file with so many lines that cannot be read is another one.
const UNREADABLE: usize = 500;

/// Why a file was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("it is not what `lockstepd log export` writes: {0}")]
    Other(String),
}

/// Reads a log from a file, and says of it what [`super::verify`] says of the log that was written into it: all but what
/// lies in other tables, and, if they were left out, ciphertexts and sealed parts.
///
/// # Errors
/// If the file cannot be read, or is something else.
pub fn verify_file(
    file: &mut dyn BufRead,
    since: Option<Audit>,
    on_event: &mut dyn FnMut(Position, Position),
) -> Result<Verified, FileError> {
    let mut lines = Lines { file, number: 0, text: Vec::new() };
    let begin = match lines.next()? {
        Some(Ok(Line::Begin(begin))) if begin.format == FORMAT => begin,
        Some(Ok(Line::Begin(begin))) => {
            return Err(FileError::Other(format!("format {}; this program reads {FORMAT}", begin.format)));
        }
        Some(Ok(_)) => return Err(FileError::Other("it has no first line".to_owned())),
        Some(Err(why)) => return Err(FileError::Other(why)),
        None => return Err(FileError::Other("it is empty".to_owned())),
    };
    let known = Known { since, ..Known::default() };
    let mut walk = Walk::begin(&known, begin.log_id, begin.position);
    let mut end = None;
    while let Some(line) = lines.next()? {
        match line {
            Ok(Line::Event(line)) if end.is_none() => {
                let (recorded, sealed) = line.read();
                walk.event(&recorded);
                walk.part(&recorded, sealed.as_ref());
                if recorded.position > begin.position {
                    let at = (recorded.position, recorded.stream, recorded.seq);
                    walk.fault(at, "it stands behind where the file says that the log ended");
                }
                on_event(walk.position.min(begin.position), begin.position);
            }
            Ok(Line::End(last)) if end.is_none() => end = Some(last),
            Ok(_) => walk.rows.push(format!("line {}: stands where it does not belong", lines.number)),
            Err(why) => walk.rows.push(why),
        }
        if walk.rows.len() > UNREADABLE {
            return Err(FileError::Other(walk.rows.swap_remove(0)));
        }
    }
    if walk.position < begin.position {
        let (at, of) = (walk.position, begin.position);
        walk.differs.push(format!("the file ends at {at}, and says that the log went on up to {of}"));
    }
    Ok(compared(walk.end(begin.log_id, begin.position), &begin, end))
}

/// The last line says what the log was like for whoever wrote it.
fn compared(mut found: Verified, begin: &Begin, end: Option<End>) -> Verified {
    let differs = match end {
        None => Some("the file has no last line: it was cut off".to_owned()),
        Some(end) if end.hash != found.audit.hash => Some(format!(
            "the file says that the log and its streams ended with {}; up to {} they end with {}",
            end.hash, begin.position, found.audit.hash
        )),
        Some(end) if (end.events, end.streams) != (found.events, found.streams) => Some(format!(
            "the file says that there were {} events of {} streams; there are {} of {}",
            end.events, end.streams, found.events, found.streams
        )),
        Some(_) => None,
    };
    found.faulty += u64::from(differs.is_some());
    found.differs.extend(differs);
    found
}

struct Lines<'a> {
    file: &'a mut dyn BufRead,
    number: u64,
    text: Vec<u8>,
}

impl Lines<'_> {
    /// What the next line is, or why it cannot be read; none at the end.
    fn next(&mut self) -> io::Result<Option<Result<Line<'static>, String>>> {
        self.text.clear();
        self.number += 1;
        let length = (&mut *self.file).take(LONGEST).read_until(b'\n', &mut self.text)?;
        if length == 0 {
            return Ok(None);
        }
        let line = serde_json::from_slice(&self.text);
        Ok(Some(line.map_err(|error| format!("line {}: cannot be read: {error}", self.number))))
    }
}
