//! A sample of every released event shape, kept for ever: it must decode, and re-encode as it stands.
//!
//! `events/golden/<kind>.<schema>.json` has the stored body and the hashes that an event with it has. A file is
//! never edited; a new shape is a new schema, a new file and an upcaster.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use lockstep_events::{
    Chain, EventId, Micros, NewEvent, Position, Seq, StreamId, StreamKind,
    codec::{DecodeError, KINDS},
    envelope::Place,
};
use serde::Deserialize;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    kind: String,
    schema: u16,
    /// The stored JSON, byte for byte.
    public: String,
    /// Of the body in stream 1, without subject and sealed part.
    body_hash: String,
    /// Of event 2 in stream 1 at seq 3, recorded at 4.
    leaf_hash: String,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn samples() -> Vec<(String, Sample)> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name.clone(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    files.map(read).collect()
}

fn recorded(kind: &str, schema: u16, public: &str) -> lockstep_events::Recorded {
    let stream = StreamId(Uuid::from_u128(1));
    let event = NewEvent {
        event_id: EventId(Uuid::from_u128(2)),
        stream,
        subject: None,
        kind: kind.into(),
        schema,
        actor: None,
        device: None,
        correlation: None,
        causation: None,
        public: public.into(),
        sealed: None,
        content: None,
        body_hash: NewEvent::hash_body(stream, None, kind, schema, public, None),
    };
    let place = Place { position: Position(9), seq: Seq(3), recorded_at: Micros(4) };
    event.record(StreamKind::Vault, place, &Chain::ZERO)
}

#[test]
fn every_sample_decodes_and_the_current_ones_encode_to_the_same_bytes() {
    for (name, sample) in samples() {
        let event = recorded(&sample.kind, sample.schema, &sample.public);
        let decoded = event.event().unwrap_or_else(|error| panic!("{name}: {error}"));
        let encoded = decoded.encode().unwrap();
        assert_eq!(encoded.kind, sample.kind, "{name}");
        if encoded.schema == sample.schema {
            assert_eq!(encoded.public, sample.public, "{name}");
        }
    }
}

#[test]
fn every_sample_has_the_hashes_it_always_had() {
    for (name, sample) in samples() {
        let event = recorded(&sample.kind, sample.schema, &sample.public);
        assert_eq!(event.body_hash.to_string(), sample.body_hash, "{name}");
        assert_eq!(event.leaf_hash().to_string(), sample.leaf_hash, "{name}");
    }
}

#[test]
fn every_kind_has_a_sample_of_every_schema() {
    let there: BTreeSet<_> = samples().into_iter().map(|(_, s)| (s.kind, s.schema)).collect();
    for (kind, current) in KINDS {
        for schema in 1..=*current {
            assert!(
                there.contains(&((*kind).to_owned(), schema)),
                "events/golden has no {kind}.{schema}.json"
            );
        }
    }
}

#[test]
fn a_body_that_names_a_field_twice_or_one_too_many_is_refused_and_not_read_one_way_or_the_other() {
    for (name, sample) in samples() {
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&sample.public).unwrap();
        let again = fields.iter().map(|(field, value)| format!("\"{field}\":{value}"));
        for more in again.chain(["\"unheard_of\":1".to_owned()]) {
            let comma = if fields.is_empty() { "" } else { "," };
            let public = format!("{}{comma}{more}}}", sample.public.strip_suffix('}').unwrap());
            let read = recorded(&sample.kind, sample.schema, &public).event();
            assert!(matches!(read, Err(DecodeError::Shape { .. })), "{name}: {public}: {read:?}");
        }
    }
}
