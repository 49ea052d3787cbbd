//! What other nodes, and restores, did to the list of erasures: read from the log, from where it was last read. A purge
//! that was cut off after its event is finished here.
//!
//! How far is kept beside the shred list, outside the database, and how long the list was then. A log that ends before
//! that place, or has another event there, was restored; a list that is shorter was cut, which its own signed lines do
//! not show.

use std::{
    io,
    path::{Path, PathBuf},
};

use lockstep_events::{
    Event, EventId, EventLog, Position, Recorded,
    event::{AccountEvent, VaultEvent},
    log::{Contents, Filter},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ErasureError, shred_list::Shred};
use crate::{
    commands::purge::PurgeError,
    operate::lives::{self, Renewed},
    private_file,
    state::Server,
};

const PAGE: usize = 500;
const KINDS: [&str; 4] =
    ["account.erasure_requested", "account.erasure_cancelled", "account.subject_erased", "entry.purged"];

/// How far the log was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Which log.
    pub log_id: Uuid,
    /// Up to where.
    pub position: Position,
    /// The event there.
    pub event: EventId,
    /// How long the shred list was then; marks from before this was noted say nothing.
    #[serde(default)]
    shreds: usize,
    /// After this place there may be purges whose ciphertexts are still there: a store was away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unfinished: Option<Position>,
    /// The operator's word that the log was restored since.
    #[serde(default)]
    pub restored: bool,
    /// When the streams had begun another life for the last time by then.
    #[serde(default)]
    pub renewed: Renewed,
}

/// Where the mark lies: beside the key file.
pub fn path(key_file: &Path) -> PathBuf {
    key_file.with_file_name("shred-scan.json")
}

/// The mark; none if the log was never read.
pub fn mark(key_file: &Path) -> Option<Mark> {
    serde_json::from_slice(&std::fs::read(path(key_file)).ok()?).ok()
}

/// Keeps the word that the log was restored until a start has done what has to be done then; whether there was a mark
/// that can say so.
///
/// # Errors
/// What the system says.
pub fn say_restored(key_file: &Path) -> io::Result<bool> {
    let Some(mark) = mark(key_file) else { return Ok(false) };
    write(key_file, Mark { restored: true, ..mark }).map(|()| true)
}

/// The same, with a mark that is made from the log where there is none. An empty log has nothing that could be erased.
/// False where there is no key folder: it is said to no server then.
///
/// # Errors
/// If the log does not answer, or the mark cannot be written.
pub async fn note_restored(key_file: &Path, log: &dyn EventLog) -> Result<bool, ErasureError> {
    let failed = |source| ErasureError::File { path: path(key_file).display().to_string(), source };
    if say_restored(key_file).map_err(failed)? {
        return Ok(true);
    }
    if !key_file.parent().is_some_and(Path::is_dir) {
        return Ok(false);
    }
    let position = log.tail().await?.position;
    let Some(event) = event_at(log, position).await? else { return Ok(true) };
    let (log_id, renewed) = (log.log_id().await?, Renewed::default());
    let mark = Mark { log_id, position, event, shreds: 0, unfinished: None, restored: true, renewed };
    write(key_file, mark).map_err(failed)?;
    Ok(true)
}

async fn event_at(log: &dyn EventLog, position: Position) -> Result<Option<EventId>, ErasureError> {
    let before = Position(position.0.saturating_sub(1));
    let there = log.read_all(before, 1, &Filter::default(), Contents::No).await?;
    Ok(there.first().map(|event| event.event_id))
}

fn write(key_file: &Path, mark: Mark) -> io::Result<()> {
    private_file::write(&path(key_file), &serde_json::to_vec(&mark)?)
}

/// Whether the log is another one than the mark was made in: restored, or not the same at all.
pub async fn is_restored(server: &Server, mark: &Mark) -> Result<bool, ErasureError> {
    if mark.restored || server.log.log_id().await? != mark.log_id {
        return Ok(true);
    }
    Ok(event_at(&*server.log, mark.position).await? != Some(mark.event))
}

/// Whether lines are gone from the list that it had when the mark was made.
pub fn is_cut(server: &Server, mark: &Mark) -> Result<bool, ErasureError> {
    Ok(server.shred_list.count()? < mark.shreds)
}

/// Reads what was appended since a mark, puts erasures and purges on the list, finishes purges, and moves the mark. The
/// word that the log was restored stays with it: what has to be done then may not be done yet.
///
/// # Errors
/// If something does not answer; it is read again then. [`ErasureError::Purge`] if a purge could not be finished: all
/// else is done, and the mark says from where purges are looked at again.
pub async fn scan(server: &Server, since: Option<Mark>) -> Result<(), ErasureError> {
    look(server, since, false).await
}

/// Reads all of the log as [`scan`] does, when what a restore asks for is done: nothing says any more that it was restored.
///
/// # Errors
/// As [`scan`].
pub async fn settle(server: &Server) -> Result<(), ErasureError> {
    look(server, None, true).await
}

async fn look(server: &Server, since: Option<Mark>, is_settled: bool) -> Result<(), ErasureError> {
    let tail = server.log.tail().await?.position;
    let start = since.map_or(Position::ZERO, |mark| mark.unfinished.unwrap_or(mark.position));
    if tail <= start {
        return Ok(());
    }
    let filter = Filter { stream_kind: None, kinds: KINDS.map(str::to_owned).to_vec() };
    let mut after = start;
    let mut purges = Purges::default();
    loop {
        let page = server.log.read_all(after, PAGE, &filter, Contents::No).await?;
        for recorded in &page {
            take(server, recorded).await?;
            purges.finish(server, recorded).await;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.position,
            _ => break,
        }
    }
    let Some(event) = event_at(&*server.log, tail).await? else { return Ok(()) };
    let shreds = server.shred_list.count()?;
    let (log_id, unfinished) = (server.log.log_id().await?, purges.unfinished);
    let renewed = lives::last(&*server.log).await?;
    let key_file = server.config.key_path();
    // Beside the word stays which lives there were before: those of now are for this restore.
    let word = mark(&key_file).filter(|mark| mark.restored && !is_settled);
    let (restored, renewed) = (word.is_some(), word.map_or(renewed, |mark| mark.renewed));
    let mark = Mark { log_id, position: tail, event, shreds, unfinished, restored, renewed };
    write(&key_file, mark)
        .map_err(|source| ErasureError::File { path: path(&key_file).display().to_string(), source })?;
    purges.error.map_or(Ok(()), |error| Err(error.into()))
}

/// Purges that a scan met.
#[derive(Default)]
struct Purges {
    /// Right before the first one that could not be finished.
    unfinished: Option<Position>,
    error: Option<PurgeError>,
}

impl Purges {
    /// Deletes what is left of a purged entry. Once a store is away, the rest waits for the next scan.
    async fn finish(&mut self, server: &Server, recorded: &Recorded) {
        let Ok(Event::Vault(VaultEvent::Purged(body))) = recorded.event() else { return };
        if self.error.as_ref().is_some_and(PurgeError::is_everywhere) {
            return;
        }
        if let Err(error) = server.purger.finish(recorded.stream.into(), body.entry).await {
            self.unfinished.get_or_insert(Position(recorded.position.0 - 1));
            if self.error.is_none() || error.is_everywhere() {
                self.error = Some(error);
            }
        }
    }
}

async fn take(server: &Server, recorded: &Recorded) -> Result<(), ErasureError> {
    match recorded.event() {
        Ok(Event::Account(AccountEvent::ErasureRequested(body))) => {
            server.erasures.put(body.account, body.due_at).await?;
        }
        Ok(Event::Account(AccountEvent::ErasureCancelled(body))) => {
            server.erasures.cancel(body.account).await?;
        }
        Ok(Event::Account(AccountEvent::SubjectErased(body))) => {
            for vault in &body.vaults {
                // Parts of uploads that came to this node.
                server.uploads.clear(*vault).await?;
            }
            let shred = Shred::Subject { account: body.account, vaults: body.vaults };
            server.shred_list.add(&shred, recorded.recorded_at)?;
        }
        Ok(Event::Vault(VaultEvent::Purged(body))) => {
            let vault = recorded.stream.into();
            server.shred_list.add(&Shred::Entry { vault, entry: body.entry }, recorded.recorded_at)?;
        }
        Ok(_) | Err(_) => {}
    }
    Ok(())
}
