//! `lockstepd log verify`: reads the whole log and says whether it is whole. What a client checks of its own streams, of
//! all of them; what it cannot know is whether the log was exchanged as a whole.

use std::collections::HashMap;

use lockstep_events::{
    Chain, Event, EventLog, LogError, Micros, Position, Recorded, Seq, StreamId,
    canonical::sha256,
    event::VaultEvent,
    log::{Contents, Filter},
};
use serde::Serialize;

/// Events that are read at once.
const PAGE: usize = 500;
/// More faults than these are counted and not listed.
const LISTED: usize = 100;
/// Streams whose heads are asked for at once.
const HEADS: usize = 500;

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

/// What a log is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Events that were read.
    pub events: u64,
    /// Streams that they are in.
    pub streams: u64,
    /// Small ciphertexts that were compared with their hashes.
    pub contents: u64,
    /// Where the log ended when this began.
    pub position: u64,
    /// How many faults there are.
    pub faulty: u64,
    /// The first of them.
    pub faults: Vec<Fault>,
}

#[derive(Default)]
struct Walk {
    found: Verified,
    position: Position,
    recorded_at: Micros,
    streams: HashMap<StreamId, (Seq, Chain)>,
}

/// Reads the log from its beginning to where it ends now: positions and seqs without a gap, times that rise, chains that
/// follow, ciphertexts that have their hashes. `on_page` is told how far it is, and how far it has to go.
///
/// # Errors
/// If the log does not answer, or has an event that cannot be read at all.
pub async fn verify(
    log: &dyn EventLog,
    on_page: &mut (dyn FnMut(Position, Position) + Send),
) -> Result<Verified, LogError> {
    let target = log.tail().await?.position;
    let mut walk = Walk::default();
    while walk.position < target {
        let page = log.read_all(walk.position, PAGE, &Filter::default(), Contents::UpTo(usize::MAX)).await?;
        if page.is_empty() {
            break;
        }
        for recorded in page.iter().take_while(|recorded| recorded.position <= target) {
            walk.event(recorded);
        }
        walk.position = page.last().map_or(target, |last| last.position);
        on_page(walk.position.min(target), target);
    }
    if log.tail().await?.position == target {
        walk.heads(log).await?;
    }
    walk.found.position = target.0;
    walk.found.streams = walk.streams.len() as u64;
    Ok(walk.found)
}

impl Walk {
    fn fault(&mut self, (position, stream, seq): (Position, StreamId, Seq), what: &'static str) {
        self.found.faulty += 1;
        if self.found.faults.len() < LISTED {
            self.found.faults.push(Fault { position: position.0, stream, seq: seq.0, what });
        }
    }

    fn event(&mut self, recorded: &Recorded) {
        let at = (recorded.position, recorded.stream, recorded.seq);
        if recorded.position != self.position.next() {
            self.fault(at, "what stands before it in the log is missing");
        }
        if recorded.recorded_at <= self.recorded_at {
            self.fault(at, "it was recorded before the event before it");
        }
        let (seq, chain) = self.streams.get(&recorded.stream).copied().unwrap_or((Seq::ZERO, Chain::ZERO));
        if recorded.seq != seq.next() {
            self.fault(at, "what stands before it in its stream is missing, or stands elsewhere");
        } else if !recorded.follows(&chain) {
            self.fault(at, "it is not what its chain was made of");
        }
        if !has_its_hash(recorded, &mut self.found.contents) {
            self.fault(at, "its ciphertext does not have its hash");
        }
        self.found.events += 1;
        (self.position, self.recorded_at) = (recorded.position, recorded.recorded_at);
        self.streams.insert(recorded.stream, (recorded.seq, recorded.chain));
    }

    /// Streams end where the log says that they end.
    async fn heads(&mut self, log: &dyn EventLog) -> Result<(), LogError> {
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for some in ids.chunks(HEADS) {
            for head in log.stream_heads(some).await? {
                if self.streams.get(&head.stream) != Some(&(head.seq, head.chain)) {
                    self.fault((self.position, head.stream, head.seq), "its stream is said to end elsewhere");
                }
            }
        }
        Ok(())
    }
}

/// Whether the ciphertext that came along, if any, is the one that the event names.
fn has_its_hash(recorded: &Recorded, compared: &mut u64) -> bool {
    let Some(content) = &recorded.content else { return true };
    *compared += 1;
    match recorded.event() {
        Ok(Event::Vault(VaultEvent::VersionAdded(added))) => {
            added.header.content_hash.is_some_and(|hash| hash.0 == sha256(content))
        }
        _ => false,
    }
}
