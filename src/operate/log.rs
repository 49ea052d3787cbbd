//! `lockstepd log verify`: reads the whole log and says whether it is whole. What a client checks of its own streams, of
//! all of them; whether the log was cut or exchanged as a whole it knows by what is known from before.

mod before;
mod export;
mod file;
mod gone;
mod line;
mod unread;

use std::collections::HashMap;

use lockstep_events::{
    Event, EventId, EventLog, Hash32, LogError, Micros, Position, Recorded, Sealed, Seq, StreamId,
    StreamKind,
    canonical::sha256,
    chains::Chains,
    event::{VaultEvent, VersionAdded},
    log::Stray,
};
use serde::Serialize;
use uuid::Uuid;

pub use before::{Audit, Known};
pub use export::{ExportError, export};
pub use file::{FileError, verify_file};
use gone::{At, Gone};
use unread::{Pages, of_rows, unreadable};

/// More faults than these are counted and not listed.
const LISTED: usize = 100;
/// Streams whose heads are asked for at once.
const HEADS: usize = 500;

/// Stored name of the one event that has another identity than its body.
const VERSION_ADDED: &str = "entry.version_added";

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where in the log.
    pub position: u64,
    /// In which stream.
    pub stream: StreamId,
    /// Where in the stream.
    pub seq: u64,
    /// What it is.
    pub what: &'static str,
}

/// So many of them, as a person reads it.
pub fn counted(faults: u64) -> String {
    format!("{faults} {}", if faults == 1 { "fault" } else { "faults" })
}

/// What a log is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Events that were read.
    pub events: u64,
    /// Streams that they are in.
    pub streams: u64,
    /// Those of them that devices follow: accounts and vaults.
    pub followed: u64,
    /// Small ciphertexts that were compared with their hashes.
    pub contents: u64,
    /// Sealed parts that were compared with their hashes. Others are erased, and something says why.
    pub sealed: u64,
    /// How many faults there are, with what differs.
    pub faulty: u64,
    /// The first of them.
    pub faults: Vec<Fault>,
    /// Rows of its tables that cannot be read, or that belong to no event.
    pub rows: Vec<String>,
    /// Where it is not the log that was known before.
    pub differs: Vec<String>,
    /// Where it ended when this began, for whoever reads it again.
    #[serde(flatten)]
    pub audit: Audit,
}

#[derive(Default)]
struct Walk<'a> {
    events: u64,
    followed: u64,
    contents: u64,
    sealed: u64,
    faulty: u64,
    faults: Vec<Fault>,
    rows: Vec<String>,
    differs: Vec<String>,
    position: Position,
    recorded_at: Micros,
    chains: Chains,
    /// If it is to be told why something is gone.
    gone: Option<Gone>,
    /// The earlier audit, until its position is reached.
    since: Option<&'a Audit>,
}

/// Reads the log from its beginning to where it ends now: positions and seqs without a gap, times that rise, chains that
/// follow, streams that stay of a kind, ciphertexts and sealed parts that have their hashes, no row that belongs to no event,
/// nothing gone without a reason, and whatever is known from before. `on_page` is told how far it is, and how far it has to
/// go.
///
/// # Errors
/// If the log does not answer, or next to nothing in it can be read.
pub async fn verify(
    log: &dyn EventLog,
    known: &Known,
    on_page: &mut (dyn FnMut(Position, Position) + Send),
) -> Result<Verified, LogError> {
    let mut reading = Reading::begin(log, known).await?;
    while reading.next().await?.is_some() {
        on_page(reading.position(), reading.target);
    }
    reading.end().await
}

/// A log that is read from its beginning to where it ended when this began.
struct Reading<'a> {
    log: &'a dyn EventLog,
    known: &'a Known,
    log_id: Uuid,
    target: Position,
    pages: Pages,
    walk: Walk<'a>,
}

/// Events that stand one behind the other, and their sealed parts as far as they are there.
#[derive(Default)]
struct Page {
    events: Vec<Recorded>,
    parts: HashMap<EventId, Sealed>,
}

impl<'a> Reading<'a> {
    async fn begin(log: &'a dyn EventLog, known: &'a Known) -> Result<Self, LogError> {
        let (log_id, target) = (log.log_id().await?, log.tail().await?.position);
        let walk = Walk::begin(known, log_id, target);
        Ok(Self { log, known, log_id, target, pages: Pages::new(), walk })
    }

    /// How far it is.
    fn position(&self) -> Position {
        self.walk.position.min(self.target)
    }

    /// What comes next, once it was looked at; none at the end.
    async fn next(&mut self) -> Result<Option<Page>, LogError> {
        while self.walk.position < self.target {
            let Some(mut events) = self.pages.next(self.log, &mut self.walk.position).await? else {
                continue;
            };
            self.walk.rows.extend(self.pages.skipped(self.walk.position));
            let Some(last) = events.last().map(|last| last.position) else { break };
            events.retain(|recorded| recorded.position <= self.target);
            let parts = self.parts(&events).await?;
            for recorded in &events {
                self.walk.event(recorded);
                if let Some(parts) = &parts {
                    self.walk.part(recorded, parts.get(&recorded.event_id));
                }
                if self.known.is_exchanged(recorded) {
                    let at = (recorded.position, recorded.stream, recorded.seq);
                    self.walk.fault(at, "this server has served another event here");
                }
            }
            self.walk.position = last;
            return Ok(Some(Page { events, parts: parts.unwrap_or_default() }));
        }
        Ok(None)
    }

    /// What is sealed is what the events of a page name; none if it cannot be read.
    async fn parts(&mut self, page: &[Recorded]) -> Result<Option<HashMap<EventId, Sealed>>, LogError> {
        let with_one = page.iter().filter(|recorded| recorded.sealed_hash.is_some());
        let ids: Vec<EventId> = with_one.map(|recorded| recorded.event_id).collect();
        if ids.is_empty() {
            return Ok(Some(HashMap::new()));
        }
        match self.log.sealed_parts(&ids).await {
            Ok(parts) => Ok(Some(parts.into_iter().collect())),
            Err(error) => {
                let what = format!("sealed parts of events behind position {}", self.walk.position);
                self.walk.rows.push(unreadable(what, &of_rows(error)?));
                Ok(None)
            }
        }
    }

    async fn end(mut self) -> Result<Verified, LogError> {
        self.walk.rows.extend(self.pages.skipped(self.walk.position));
        self.walk.heads(self.log, self.target).await?;
        if let Some((gone, now)) = self.walk.gone.take().zip(self.known.now) {
            for (at, what) in gone.unexplained(self.log, self.target, now).await? {
                self.walk.fault(at, what);
            }
        }
        let strays = self.log.strays().await?;
        self.walk.rows.extend(strays.into_iter().map(|Stray { what, row }| format!("{row}: {what}")));
        Ok(self.walk.end(self.log_id, self.target))
    }
}

impl<'a> Walk<'a> {
    fn begin(known: &'a Known, log_id: Uuid, target: Position) -> Self {
        let since = known.since.as_ref().filter(|since| since.log_id == log_id && since.position <= target);
        let gone = known.now.map(|_| Gone::default());
        Self { differs: known.missing(log_id, target), since, gone, ..Self::default() }
    }

    /// What was found once everything was read.
    fn end(mut self, log_id: Uuid, target: Position) -> Verified {
        self.pass(target.next());
        Verified {
            events: self.events,
            streams: self.chains.streams().len() as u64,
            followed: self.followed,
            contents: self.contents,
            sealed: self.sealed,
            faulty: self.faulty + (self.rows.len() + self.differs.len()) as u64,
            faults: self.faults,
            rows: self.rows,
            differs: self.differs,
            audit: Audit::of(log_id, target, &self.chains),
        }
    }

    fn fault(&mut self, (position, stream, seq): At, what: &'static str) {
        self.faulty += 1;
        if self.faults.len() < LISTED {
            self.faults.push(Fault { position: position.0, stream, seq: seq.0, what });
        }
    }

    /// What comes next stands here; the end of the earlier audit may lie before it.
    fn pass(&mut self, next: Position) {
        let Some(since) = self.since.take_if(|since| since.position < next) else { return };
        for end in since.rewritten(&self.chains) {
            self.fault(
                (since.position, end.stream, end.seq),
                "its stream was rewritten at or before this seq since that audit",
            );
        }
    }

    fn event(&mut self, recorded: &Recorded) {
        self.pass(recorded.position);
        let at = (recorded.position, recorded.stream, recorded.seq);
        if recorded.position != self.position.next() {
            self.fault(at, "what stands before it in the log is missing");
        }
        if recorded.recorded_at <= self.recorded_at {
            self.fault(at, "it was recorded before the event before it");
        }
        if let Some(what) = self.chains.take(recorded) {
            self.fault(at, what);
        }
        let version = version_of(recorded);
        if !has_its_hash(recorded, version.as_deref(), &mut self.contents) {
            self.fault(at, "its ciphertext does not have its hash");
        }
        if let Some(gone) = &mut self.gone {
            gone.event(recorded, version.as_deref());
        }
        let body = version.map_or_else(|| recorded.hash_body(), |added| Hash32(added.header.version_id().0));
        if recorded.body_hash != body {
            self.fault(at, "what a retry of it is compared by is not its hash");
        }
        self.events += 1;
        let begins = recorded.seq == Seq::ZERO.next();
        self.followed += u64::from(begins && recorded.stream_kind != StreamKind::System);
        (self.position, self.recorded_at) = (recorded.position, recorded.recorded_at);
    }

    /// What was sealed with an event is what it names, if it is there.
    fn part(&mut self, recorded: &Recorded, part: Option<&Sealed>) {
        let (Some(hash), at) = (recorded.sealed_hash, (recorded.position, recorded.stream, recorded.seq))
        else {
            return;
        };
        let Some(part) = part else {
            return self.gone.iter_mut().for_each(|gone| gone.part(recorded));
        };
        self.sealed += 1;
        if hash != Hash32(sha256(&part.bytes)) {
            self.fault(at, "its sealed part does not have its hash");
        }
    }

    /// Streams end where the log says that they end, or further if it has grown since `target`, and are what it says.
    async fn heads(&mut self, log: &dyn EventLog, target: Position) -> Result<(), LogError> {
        let ids: Vec<StreamId> = self.chains.streams().collect();
        for some in ids.chunks(HEADS) {
            let (heads, failed) = unread::heads(log, some).await?;
            self.rows
                .extend(failed.iter().map(|(id, error)| unreadable(format!("end of stream {id}"), error)));
            let grown = log.tail().await?.position > target;
            let mut said: HashMap<StreamId, _> = heads.into_iter().map(|head| (head.stream, head)).collect();
            for stream in some {
                let Some((seq, chain)) = self.chains.end(*stream) else { continue };
                let at = (self.position, *stream, seq);
                let Some(head) = said.remove(stream) else {
                    if failed.iter().any(|(id, _)| id == stream) {
                        continue;
                    }
                    self.fault(at, "nothing says that there is its stream");
                    continue;
                };
                let goes_on = grown && head.seq > seq;
                if !goes_on && (head.seq, head.chain) != (seq, chain) {
                    self.fault(at, "its stream is said to end elsewhere");
                }
                if self.chains.kind(*stream) != Some(head.kind) {
                    self.fault(at, "its stream is said to be of another kind");
                }
            }
        }
        Ok(())
    }
}

/// What an event says of a version, if it is about one.
fn version_of(recorded: &Recorded) -> Option<Box<VersionAdded>> {
    match recorded.kind.as_str() {
        VERSION_ADDED => match recorded.event() {
            Ok(Event::Vault(VaultEvent::VersionAdded(added))) => Some(added),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the ciphertext that came along, if any, is the one that the event names.
fn has_its_hash(recorded: &Recorded, version: Option<&VersionAdded>, compared: &mut u64) -> bool {
    let Some(content) = &recorded.content else { return true };
    *compared += 1;
    let named = version.and_then(|added| added.header.content_hash);
    named.is_some_and(|hash| hash.0 == sha256(content))
}
