//! Erasures on their way, in Postgres beside the subject keys.

use lockstep_events::{AccountId, Micros, event::ErasedCounts};

use super::subject_keys::{PostgresSubjectKeys, failed};
use crate::{
    adapters::erasure_tables::{Row, erasure_tables, text},
    erasure::queue::Job,
    subjects::keys::KeyStoreError,
};

type Result<T> = std::result::Result<T, KeyStoreError>;

erasure_tables!(
    PostgresSubjectKeys,
    failed,
    "UPDATE erasures SET claimed_until = $2 WHERE claimed_until <= $1 AND account = \
     (SELECT account FROM erasures WHERE due_at <= $1 AND claimed_until <= $1 \
     ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING account, step, due_at, counts"
);
