//! The in-memory log: the planner over maps. For tests of everything that stands on a log.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use uuid::Uuid;

use crate::{
    envelope::{Recorded, Sealed},
    ids::{AccountId, BlobHash, Chain, Epoch, EventId, Position, Seq, StreamId, SubjectId},
    log::{Contents, EventLog, Filter, LogError, Outcome, SealedParts, StreamHead, Tail, Unit},
    planner::{Known, plan},
    time::Micros,
};

/// A log that lives as long as its process.
#[derive(Debug)]
pub struct MemoryLog {
    id: Uuid,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    events: Vec<Stored>,
    streams: HashMap<StreamId, Vec<usize>>,
    contents: HashMap<(StreamId, BlobHash), Vec<u8>>,
    sealed: BTreeMap<EventId, Sealed>,
}

#[derive(Debug)]
struct Stored {
    recorded: Recorded,
    content_hash: Option<BlobHash>,
}

impl MemoryLog {
    /// An empty log with a name.
    pub fn new(id: Uuid) -> Self {
        Self { id, state: RwLock::default() }
    }

    // A panic in a test leaves nothing half-done here: every change is one call under the lock.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, units: &[Unit], now: Micros) -> Vec<Outcome> {
        let plan = plan(units, &mut self.known, now);
        for row in plan.rows {
            let event = row.event.clone();
            if let Some(content) = &event.content {
                self.contents.entry((event.stream, content.hash)).or_insert_with(|| content.bytes.clone());
            }
            if let Some(sealed) = &event.sealed {
                self.sealed.insert(event.event_id, sealed.clone());
            }
            let content_hash = event.content.as_ref().map(|content| content.hash);
            self.streams.entry(event.stream).or_default().push(self.events.len());
            let recorded = Recorded { content: None, ..event.placed(row.stream_kind, row.place, row.chain) };
            self.events.push(Stored { recorded, content_hash });
        }
        plan.outcomes
    }

    fn show(&self, stored: &Stored, contents: Contents) -> Recorded {
        let mut shown = stored.recorded.clone();
        if let (Some((most, without)), Some(hash)) = (contents.wanted(), stored.content_hash)
            && (without.is_none() || without != shown.device)
        {
            shown.content =
                self.contents.get(&(shown.stream, hash)).filter(|bytes| bytes.len() <= most).cloned();
        }
        shown
    }

    fn stream(&self, stream: StreamId, after: Seq) -> impl Iterator<Item = &Stored> {
        let all = self.streams.get(&stream).map_or(&[][..], Vec::as_slice);
        let from = usize::try_from(after.0).unwrap_or(usize::MAX).min(all.len());
        all[from..].iter().map(|at| &self.events[*at])
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, units: &[Unit], now: Micros) -> Result<Vec<Outcome>, LogError> {
        units.iter().try_for_each(Unit::check)?;
        Ok(self.write().append(units, now))
    }

    async fn read_all(
        &self,
        after: Position,
        limit: usize,
        filter: &Filter,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        let state = self.read();
        let from = usize::try_from(after.0).unwrap_or(usize::MAX).min(state.events.len());
        let wanted = state.events[from..].iter().filter(|stored| {
            filter.stream_kind.is_none_or(|kind| kind == stored.recorded.stream_kind)
                && (filter.kinds.is_empty() || filter.kinds.contains(&stored.recorded.kind))
        });
        Ok(wanted.take(limit).map(|stored| state.show(stored, contents)).collect())
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        after: Seq,
        limit: usize,
        contents: Contents,
    ) -> Result<Vec<Recorded>, LogError> {
        let state = self.read();
        Ok(state.stream(stream, after).take(limit).map(|stored| state.show(stored, contents)).collect())
    }

    async fn read_subject(
        &self,
        stream: StreamId,
        subject: SubjectId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Recorded>, LogError> {
        let state = self.read();
        let about = state.stream(stream, after).filter(|stored| stored.recorded.subject == Some(subject));
        Ok(about.take(limit).map(|stored| stored.recorded.clone()).collect())
    }

    async fn find(&self, ids: &[EventId]) -> Result<Vec<Recorded>, LogError> {
        let state = self.read();
        let place = |id: &EventId| usize::try_from(state.known.events.get(id)?.position.0).ok();
        Ok(ids.iter().filter_map(place).map(|at| state.events[at - 1].recorded.clone()).collect())
    }

    async fn tail(&self) -> Result<Tail, LogError> {
        Ok(self.read().known.tail)
    }

    async fn stream_heads(&self, streams: &[StreamId]) -> Result<Vec<StreamHead>, LogError> {
        let state = self.read();
        Ok(streams.iter().filter_map(|stream| state.known.streams.get(stream).copied()).collect())
    }

    async fn chain_at(&self, stream: StreamId, seq: Seq) -> Result<Option<Chain>, LogError> {
        if seq == Seq::ZERO {
            return Ok(Some(Chain::ZERO));
        }
        let before = Seq(seq.0 - 1);
        Ok(self.read().stream(stream, before).next().map(|stored| stored.recorded.chain))
    }

    async fn contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
    ) -> Result<Vec<(BlobHash, Vec<u8>)>, LogError> {
        let state = self.read();
        let kept = |hash: &BlobHash| Some((*hash, state.contents.get(&(stream, *hash))?.clone()));
        Ok(hashes.iter().filter_map(kept).collect())
    }

    async fn erase_contents(
        &self,
        stream: StreamId,
        hashes: &[BlobHash],
        seen: Seq,
    ) -> Result<u64, LogError> {
        let mut state = self.write();
        let came: Vec<_> = state.stream(stream, seen).filter_map(|stored| stored.content_hash).collect();
        let going = hashes.iter().filter(|hash| !came.contains(hash));
        let erased = going.filter(|hash| state.contents.remove(&(stream, **hash)).is_some());
        Ok(erased.count() as u64)
    }

    async fn came_with_content(&self, ids: &[EventId]) -> Result<Vec<EventId>, LogError> {
        let state = self.read();
        let with_one = state.events.iter().filter(|stored| stored.content_hash.is_some());
        let with_one: HashSet<EventId> = with_one.map(|stored| stored.recorded.event_id).collect();
        Ok(ids.iter().copied().filter(|id| with_one.contains(id)).collect())
    }

    async fn sealed_parts(&self, ids: &[EventId]) -> Result<Vec<(EventId, Sealed)>, LogError> {
        let state = self.read();
        Ok(ids.iter().filter_map(|id| Some((*id, state.sealed.get(id)?.clone()))).collect())
    }

    async fn sealed_about(
        &self,
        subject: AccountId,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<(EventId, Sealed)>, LogError> {
        let state = self.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let about = state.sealed.range((from, Bound::Unbounded)).filter(|(_, part)| part.subject == subject);
        Ok(about.take(limit).map(|(id, part)| (*id, part.clone())).collect())
    }

    async fn erase_sealed(&self, which: &SealedParts) -> Result<u64, LogError> {
        let mut state = self.write();
        let before = state.sealed.len();
        state.sealed.retain(|_, part| match which {
            SealedParts::Of(subject, purposes) => {
                part.subject != *subject || !purposes.contains(&part.purpose)
            }
            SealedParts::Before { purpose, period } => {
                part.purpose != *purpose || part.period.is_empty() || part.period >= *period
            }
        });
        Ok((before - state.sealed.len()) as u64)
    }

    async fn renew_epoch(&self, stream: StreamId, epoch: Epoch) -> Result<(), LogError> {
        match self.write().known.streams.get_mut(&stream) {
            Some(head) => {
                head.epoch = epoch;
                Ok(())
            }
            None => Err(LogError::Malformed("only a stream that exists gets a new epoch")),
        }
    }

    async fn log_id(&self) -> Result<Uuid, LogError> {
        Ok(self.id)
    }
}
