//! `lockstepd log verify`: reads the whole log and says whether it is whole. What a client checks of its own streams, of
//! all of them; whether the log was cut or exchanged as a whole it knows by what is known from before.

mod before;
mod unread;

use std::collections::HashMap;

use lockstep_events::{
    Event, EventId, EventLog, Hash32, LogError, Micros, Position, Recorded, Seq, StreamId, StreamKind,
    canonical::sha256,
    chains::Chains,
    event::{VaultEvent, VersionAdded},
    log::Stray,
};
use serde::Serialize;

pub use before::{Audit, Known};
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
    /// Sealed parts that were compared with their hashes. Others are erased, as they may be.
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
    /// The earlier audit, until its position is reached.
    since: Option<&'a Audit>,
}

/// Reads the log from its beginning to where it ends now: positions and seqs without a gap, times that rise, chains that
/// follow, streams that stay of a kind, ciphertexts and sealed parts that have their hashes, no row that belongs to no event,
/// and whatever is known from before. `on_page` is told how far it is, and how far it has to go.
///
/// # Errors
/// If the log does not answer, or next to nothing in it can be read.
pub async fn verify(
    log: &dyn EventLog,
    known: &Known,
    on_page: &mut (dyn FnMut(Position, Position) + Send),
) -> Result<Verified, LogError> {
    let (log_id, target) = (log.log_id().await?, log.tail().await?.position);
    let since = known.since.as_ref().filter(|since| since.log_id == log_id && since.position <= target);
    let mut walk = Walk { differs: known.missing(log_id, target), since, ..Walk::default() };
    let mut pages = Pages::new();
    while walk.position < target {
        let Some(page) = pages.next(log, &mut walk.position).await? else { continue };
        walk.rows.extend(pages.skipped(walk.position));
        if page.is_empty() {
            break;
        }
        walk.sealed(log, &page).await?;
        for recorded in page.iter().take_while(|recorded| recorded.position <= target) {
            walk.event(recorded);
            if known.is_exchanged(recorded) {
                walk.fault(
                    (recorded.position, recorded.stream, recorded.seq),
                    "this server has served another event here",
                );
            }
        }
        walk.position = page.last().map_or(target, |last| last.position);
        on_page(walk.position.min(target), target);
    }
    walk.rows.extend(pages.skipped(walk.position));
    walk.heads(log, target).await?;
    walk.pass(target.next());
    walk.rows.extend(log.strays().await?.into_iter().map(|Stray { what, row }| format!("{row}: {what}")));
    Ok(Verified {
        events: walk.events,
        streams: walk.chains.streams().len() as u64,
        followed: walk.followed,
        contents: walk.contents,
        sealed: walk.sealed,
        faulty: walk.faulty + (walk.rows.len() + walk.differs.len()) as u64,
        faults: walk.faults,
        rows: walk.rows,
        differs: walk.differs,
        audit: Audit::of(log_id, target, &walk.chains),
    })
}

impl Walk<'_> {
    fn fault(&mut self, (position, stream, seq): (Position, StreamId, Seq), what: &'static str) {
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
        let body = version.map_or_else(|| recorded.hash_body(), |added| Hash32(added.header.version_id().0));
        if recorded.body_hash != body {
            self.fault(at, "what a retry of it is compared by is not its hash");
        }
        self.events += 1;
        let begins = recorded.seq == Seq::ZERO.next();
        self.followed += u64::from(begins && recorded.stream_kind != StreamKind::System);
        (self.position, self.recorded_at) = (recorded.position, recorded.recorded_at);
    }

    /// What is sealed is what the events of a page name.
    async fn sealed(&mut self, log: &dyn EventLog, page: &[Recorded]) -> Result<(), LogError> {
        let with_one = || page.iter().filter(|recorded| recorded.sealed_hash.is_some());
        let ids: Vec<EventId> = with_one().map(|recorded| recorded.event_id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let parts: HashMap<EventId, _> = match log.sealed_parts(&ids).await {
            Ok(parts) => parts.into_iter().collect(),
            Err(error) => {
                let what = format!("sealed parts of events behind position {}", self.position);
                self.rows.push(unreadable(what, &of_rows(error)?));
                return Ok(());
            }
        };
        for recorded in with_one() {
            let Some(part) = parts.get(&recorded.event_id) else { continue };
            self.sealed += 1;
            if recorded.sealed_hash != Some(Hash32(sha256(&part.bytes))) {
                let at = (recorded.position, recorded.stream, recorded.seq);
                self.fault(at, "its sealed part does not have its hash");
            }
        }
        Ok(())
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
