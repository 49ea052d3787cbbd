//! A batch of units as the columns that `append_batch` takes: dictionaries first, then what names their entries.

use std::{collections::HashMap, hash::Hash};

use lockstep_events::{
    EventId, NewEvent, StreamId, SubjectId, Unit,
    log::{StreamExpect, SubjectExpect},
};
use uuid::Uuid;

/// Each thing once; an index counts from 1, as arrays do in Postgres.
struct Dictionary<K>(HashMap<K, i32>);

impl<K: Eq + Hash> Dictionary<K> {
    /// The index of a thing; `add` is called with it if it is new.
    fn index(&mut self, key: K, add: impl FnOnce()) -> i32 {
        let next = length(self.0.len()) + 1;
        *self.0.entry(key).or_insert_with(|| {
            add();
            next
        })
    }
}

fn length(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[derive(Default)]
pub(super) struct Columns<'a> {
    pub u_events: Vec<i32>,
    pub u_claims: Vec<i32>,
    pub u_subjects: Vec<i32>,
    pub u_requires: Vec<i32>,
    pub s_id: Vec<Uuid>,
    pub c_stream: Vec<i32>,
    pub c_kind: Vec<i16>,
    pub c_expect: Vec<i16>,
    pub c_seq: Vec<Option<i64>>,
    pub c_epoch: Vec<&'a [u8]>,
    pub p_stream: Vec<Uuid>,
    pub p_subject: Vec<Uuid>,
    pub a_pair: Vec<i32>,
    pub a_expect: Vec<i16>,
    pub a_seq: Vec<Option<i64>>,
    pub i_id: Vec<Uuid>,
    pub r_ident: Vec<i32>,
    pub r_stream: Vec<Uuid>,
    pub r_own: Vec<bool>,
    pub e_ident: Vec<i32>,
    pub e_claim: Vec<i32>,
    pub e_pair: Vec<Option<i32>>,
    pub e_kind: Vec<&'a str>,
    pub e_schema: Vec<i16>,
    pub e_actor: Vec<Option<Uuid>>,
    pub e_device: Vec<Option<Uuid>>,
    pub e_correlation: Vec<Option<Uuid>>,
    pub e_causation: Vec<Option<Uuid>>,
    pub e_public: Vec<&'a str>,
    pub e_sealed_hash: Vec<Option<Vec<u8>>>,
    pub e_body: Vec<&'a [u8]>,
    pub e_content_hash: Vec<Option<&'a [u8]>>,
    /// Empty if no event has one.
    pub e_content: Vec<Option<&'a [u8]>>,
    pub z_event: Vec<i32>,
    pub z_subject: Vec<Uuid>,
    pub z_purpose: Vec<&'a str>,
    pub z_period: Vec<&'a str>,
    pub z_bytes: Vec<&'a [u8]>,
}

struct Dictionaries {
    streams: Dictionary<StreamId>,
    pairs: Dictionary<(StreamId, SubjectId)>,
    events: Dictionary<EventId>,
}

impl<'a> Columns<'a> {
    pub fn of(units: &'a [Unit]) -> Self {
        let mut columns = Self::default();
        let mut known = Dictionaries {
            streams: Dictionary(HashMap::new()),
            pairs: Dictionary(HashMap::new()),
            events: Dictionary(HashMap::new()),
        };
        for unit in units {
            columns.unit(unit, &mut known);
        }
        if columns.e_content.iter().all(Option::is_none) {
            columns.e_content.clear();
        }
        columns
    }

    fn unit(&mut self, unit: &'a Unit, known: &mut Dictionaries) {
        let first_claim = length(self.c_stream.len()) + 1;
        self.claims(unit, known);
        for required in &unit.requires {
            let own = unit
                .events
                .iter()
                .any(|event| event.event_id == required.event_id && event.stream == required.stream);
            let ident = known.events.index(required.event_id, || self.i_id.push(required.event_id.0));
            self.r_ident.push(ident);
            self.r_stream.push(required.stream.0);
            self.r_own.push(own);
        }
        for event in &unit.events {
            let claim = unit.streams.iter().position(|claim| claim.stream == event.stream).unwrap_or(0);
            self.e_claim.push(first_claim + length(claim));
            self.event(event, known);
        }
        self.u_events.push(length(self.e_ident.len()));
        self.u_claims.push(length(self.c_stream.len()));
        self.u_subjects.push(length(self.a_pair.len()));
        self.u_requires.push(length(self.r_ident.len()));
    }

    fn claims(&mut self, unit: &'a Unit, known: &mut Dictionaries) {
        for claim in &unit.streams {
            let stream = known.streams.index(claim.stream, || self.s_id.push(claim.stream.0));
            let (expect, seq) = match claim.expect {
                StreamExpect::Any => (0, None),
                StreamExpect::None => (1, None),
                StreamExpect::Exists => (2, None),
                StreamExpect::Exact(seq) => (3, Some(seq.as_i64())),
            };
            self.c_stream.push(stream);
            self.c_kind.push(claim.kind.code());
            self.c_expect.push(expect);
            self.c_seq.push(seq);
            self.c_epoch.push(&claim.epoch_if_new.0);
        }
        for claim in &unit.subjects {
            let (expect, seq) = match claim.expect {
                SubjectExpect::Any => (0, None),
                SubjectExpect::None => (1, None),
                SubjectExpect::Exact(seq) => (3, Some(seq.as_i64())),
            };
            let pair = self.pair(claim.stream, claim.subject, known);
            self.a_pair.push(pair);
            self.a_expect.push(expect);
            self.a_seq.push(seq);
        }
    }

    fn pair(&mut self, stream: StreamId, subject: SubjectId, known: &mut Dictionaries) -> i32 {
        known.pairs.index((stream, subject), || {
            self.p_stream.push(stream.0);
            self.p_subject.push(subject.0);
        })
    }

    fn event(&mut self, event: &'a NewEvent, known: &mut Dictionaries) {
        let pair = event.subject.map(|subject| self.pair(event.stream, subject, known));
        self.e_pair.push(pair);
        let ident = known.events.index(event.event_id, || self.i_id.push(event.event_id.0));
        self.e_ident.push(ident);
        self.e_kind.push(&event.kind);
        self.e_schema.push(event.schema.cast_signed());
        self.e_actor.push(event.actor.map(|id| id.0));
        self.e_device.push(event.device.map(|id| id.0));
        self.e_correlation.push(event.correlation);
        self.e_causation.push(event.causation.map(|id| id.0));
        self.e_public.push(&event.public);
        self.e_sealed_hash.push(event.sealed_hash().map(|hash| hash.0.to_vec()));
        self.e_body.push(&event.body_hash.0);
        self.e_content_hash.push(event.content.as_ref().map(|content| content.hash.0.as_slice()));
        self.e_content.push(event.content.as_ref().map(|content| content.bytes.as_slice()));
        if let Some(sealed) = &event.sealed {
            self.z_event.push(length(self.e_ident.len()));
            self.z_subject.push(sealed.subject.0);
            self.z_purpose.push(&sealed.purpose);
            self.z_period.push(&sealed.period);
            self.z_bytes.push(&sealed.bytes);
        }
    }
}
