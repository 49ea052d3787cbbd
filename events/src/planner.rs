//! What an append decides, pure: units and what stands → outcomes and rows.
//!
//! The in-memory log and the SQLite adapter call it; `append_batch` in Postgres is its twin, and the differential
//! test keeps the two byte-identical.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    canonical::sha256,
    envelope::{NewEvent, Place},
    ids::{BlobHash, Chain, EventId, Hash32, Position, Seq, StreamId, StreamKind, SubjectId},
    log::{
        Current, LogError, MAX_INLINE_CONTENT, MAX_UNIT_EVENTS, Outcome, Placed, StreamClaim, StreamExpect,
        StreamHead, SubjectClaim, SubjectExpect, Tail, Unit,
    },
    time::Micros,
};

impl Unit {
    /// Checks what can be checked without the log. A claim on a stream that gets none of the events is a plain
    /// precondition and does not create that stream.
    ///
    /// # Errors
    /// [`LogError::Malformed`] with the first rule that is broken.
    pub fn check(&self) -> Result<(), LogError> {
        let rule = |holds: bool, what| if holds { Ok(()) } else { Err(LogError::Malformed(what)) };
        rule(!self.events.is_empty(), "a unit has at least one event")?;
        rule(self.events.len() <= MAX_UNIT_EVENTS, "a unit has at most 512 events")?;
        let claimed: HashSet<_> = self.streams.iter().map(|claim| claim.stream).collect();
        rule(claimed.len() == self.streams.len(), "a stream is claimed twice")?;
        let asked: HashSet<_> = self.subjects.iter().map(|claim| (claim.stream, claim.subject)).collect();
        rule(asked.len() == self.subjects.len(), "a subject is claimed twice")?;
        let ids: HashSet<_> = self.events.iter().map(|event| event.event_id).collect();
        rule(ids.len() == self.events.len(), "an event id stands twice in a unit")?;
        for event in &self.events {
            rule(claimed.contains(&event.stream), "the stream of an event is not claimed")?;
            event.check()?;
        }
        Ok(())
    }

    /// How many bytes its bodies, sealed parts and contents have.
    pub fn size(&self) -> usize {
        self.events
            .iter()
            .map(|event| {
                event.public.len()
                    + event.sealed.as_ref().map_or(0, |s| s.bytes.len())
                    + event.content.as_ref().map_or(0, |c| c.bytes.len())
            })
            .sum()
    }
}

impl NewEvent {
    fn check(&self) -> Result<(), LogError> {
        let rule = |holds: bool, what| if holds { Ok(()) } else { Err(LogError::Malformed(what)) };
        rule(i16::try_from(self.schema).is_ok(), "a schema number is at most 32767")?;
        let mut texts = vec![&self.kind, &self.public];
        texts.extend(self.sealed.iter().flat_map(|sealed| [&sealed.purpose, &sealed.period]));
        rule(texts.iter().all(|text| !text.contains('\0')), "a text has a zero byte")?;
        let Some(content) = &self.content else { return Ok(()) };
        rule(content.bytes.len() <= MAX_INLINE_CONTENT, "a content is at most 16384 bytes")?;
        rule(BlobHash(sha256(&content.bytes)) == content.hash, "a content does not have its hash")
    }
}

/// Where an event stands, and what a retry of it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its stream.
    pub stream: StreamId,
    /// Its place in the log.
    pub position: Position,
    /// Its place in the stream.
    pub seq: Seq,
    /// When it was committed.
    pub recorded_at: Micros,
    /// The chain at `seq`.
    pub chain: Chain,
    /// Its body.
    pub body_hash: Hash32,
}

/// Everything that deciding a batch looks at. A log loads it under its lock; [`plan`] keeps it up to date.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The end of the log.
    pub tail: Tail,
    /// Those of the streams asked for that exist.
    pub streams: HashMap<StreamId, StreamHead>,
    /// The last seq about each subject asked for.
    pub subjects: HashMap<(StreamId, SubjectId), Seq>,
    /// Those of the events asked for that stand in the log.
    pub events: HashMap<EventId, Standing>,
}

/// What must be known to decide some units; each thing once, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Streams that are claimed.
    pub streams: BTreeSet<StreamId>,
    /// Subjects of events and of claims.
    pub subjects: BTreeSet<(StreamId, SubjectId)>,
    /// Events to append, and required ones.
    pub events: BTreeSet<EventId>,
}

impl Needs {
    /// What must be known to decide these units.
    pub fn of(units: &[Unit]) -> Self {
        let mut needs = Self::default();
        for unit in units {
            needs.streams.extend(unit.streams.iter().map(|claim| claim.stream));
            needs.subjects.extend(unit.subjects.iter().map(|claim| (claim.stream, claim.subject)));
            needs.subjects.extend(unit.events.iter().filter_map(|e| e.subject.map(|s| (e.stream, s))));
            needs.events.extend(unit.events.iter().map(|event| event.event_id));
            needs.events.extend(unit.requires.iter().map(|required| required.event_id));
        }
        needs
    }
}

/// A row to insert.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// The event.
    pub event: &'a NewEvent,
    /// What its stream is about.
    pub stream_kind: StreamKind,
    /// Its place and time.
    pub place: Place,
    /// The chain of its stream at `place.seq`.
    pub chain: Chain,
}

/// What a log must store and answer.
#[derive(Debug, Clone, Default)]
pub struct Plan<'a> {
    /// One per unit, in order.
    pub outcomes: Vec<Outcome>,
    /// In position order.
    pub rows: Vec<Row<'a>>,
    /// The heads, after the batch, of the streams that got events.
    pub heads: Vec<StreamHead>,
}

/// Decides a batch of well-formed units, in order; each sees what the ones before it appended.
pub fn plan<'a>(units: &'a [Unit], known: &mut Known, now: Micros) -> Plan<'a> {
    let mut planning = Planning { known, now, rows: Vec::new(), touched: BTreeSet::new() };
    let outcomes = units.iter().map(|unit| planning.unit(unit)).collect();
    let Planning { rows, touched, .. } = planning;
    let heads = touched.iter().filter_map(|stream| known.streams.get(stream).copied()).collect();
    Plan { outcomes, rows, heads }
}

struct Planning<'k, 'a> {
    known: &'k mut Known,
    now: Micros,
    rows: Vec<Row<'a>>,
    touched: BTreeSet<StreamId>,
}

impl<'a> Planning<'_, 'a> {
    fn unit(&mut self, unit: &'a Unit) -> Outcome {
        if let Some(reused) = unit.events.iter().find(|event| self.known.reuses_id(event)) {
            return Outcome::IdReused(reused.event_id);
        }
        let all_stand = unit.events.iter().all(|event| self.known.events.contains_key(&event.event_id));
        if !all_stand {
            if let Some(refusal) = self.known.refusal(unit) {
                return refusal;
            }
            self.create_streams(unit);
        }
        Outcome::Appended(unit.events.iter().filter_map(|event| self.event(event)).collect())
    }

    /// Heads at seq 0 for the streams that this unit begins.
    fn create_streams(&mut self, unit: &Unit) {
        let fresh: HashSet<_> = unit
            .events
            .iter()
            .filter(|event| !self.known.events.contains_key(&event.event_id))
            .map(|event| event.stream)
            .collect();
        for claim in unit.streams.iter().filter(|claim| fresh.contains(&claim.stream)) {
            self.known.streams.entry(claim.stream).or_insert_with(|| StreamHead {
                stream: claim.stream,
                kind: claim.kind,
                epoch: claim.epoch_if_new,
                seq: Seq::ZERO,
                chain: Chain::ZERO,
            });
        }
    }

    /// Places an event, or finds its place; none only for a stream that was not claimed, which `check` refuses.
    fn event(&mut self, event: &'a NewEvent) -> Option<Placed> {
        if let Some(standing) = self.known.events.get(&event.event_id) {
            return Some(standing.placed(event.event_id, None, true));
        }
        let head = self.known.streams.get_mut(&event.stream)?;
        let tail = &mut self.known.tail;
        tail.position = tail.position.next();
        tail.recorded_at = self.now.max(Micros(tail.recorded_at.0 + 1));
        head.seq = head.seq.next();
        let place = Place { position: tail.position, seq: head.seq, recorded_at: tail.recorded_at };
        head.chain = event.chain_after(place, &head.chain);
        let standing = Standing {
            stream: event.stream,
            position: place.position,
            seq: place.seq,
            recorded_at: place.recorded_at,
            chain: head.chain,
            body_hash: event.body_hash,
        };
        self.rows.push(Row { event, stream_kind: head.kind, place, chain: head.chain });
        self.touched.insert(event.stream);
        let before = event.subject.and_then(|s| self.known.subjects.insert((event.stream, s), place.seq));
        let placed = standing.placed(event.event_id, before, false);
        self.known.events.insert(event.event_id, standing);
        Some(placed)
    }
}

impl Standing {
    fn placed(&self, event_id: EventId, subject_prev: Option<Seq>, duplicate: bool) -> Placed {
        Placed {
            event_id,
            position: self.position,
            seq: self.seq,
            recorded_at: self.recorded_at,
            chain: self.chain,
            subject_prev,
            duplicate,
        }
    }
}

impl Known {
    fn reuses_id(&self, event: &NewEvent) -> bool {
        self.events
            .get(&event.event_id)
            .is_some_and(|s| s.body_hash != event.body_hash || s.stream != event.stream)
    }

    fn refusal(&self, unit: &Unit) -> Option<Outcome> {
        let streams = unit.streams.iter().filter_map(|claim| self.stream_conflict(claim));
        let subjects = unit.subjects.iter().filter_map(|claim| self.subject_conflict(claim));
        let conflicts: Vec<_> = streams.chain(subjects).collect();
        if !conflicts.is_empty() {
            return Some(Outcome::Conflict(conflicts));
        }
        let stands = |stream, id| {
            self.events.get(&id).is_some_and(|standing| standing.stream == stream)
                || unit.events.iter().any(|event| event.event_id == id && event.stream == stream)
        };
        let missing: Vec<_> = unit
            .requires
            .iter()
            .filter(|required| !stands(required.stream, required.event_id))
            .map(|required| required.event_id)
            .collect();
        (!missing.is_empty()).then_some(Outcome::Missing(missing))
    }

    fn stream_conflict(&self, claim: &StreamClaim) -> Option<Current> {
        let head = self.streams.get(&claim.stream);
        if let Some(head) = head.filter(|head| head.kind != claim.kind) {
            return Some(Current::Kind(claim.stream, head.kind));
        }
        let holds = match (claim.expect, head) {
            (StreamExpect::Any, _) | (StreamExpect::None, None) | (StreamExpect::Exists, Some(_)) => true,
            (StreamExpect::Exact(seq), Some(head)) => head.seq == seq,
            _ => false,
        };
        (!holds).then_some(Current::Stream(claim.stream, head.map(|head| head.seq)))
    }

    fn subject_conflict(&self, claim: &SubjectClaim) -> Option<Current> {
        let last = self.subjects.get(&(claim.stream, claim.subject)).copied();
        let holds = match claim.expect {
            SubjectExpect::Any => true,
            SubjectExpect::None => last.is_none(),
            SubjectExpect::Exact(seq) => last == Some(seq),
        };
        (!holds).then_some(Current::Subject(claim.stream, claim.subject, last))
    }
}
