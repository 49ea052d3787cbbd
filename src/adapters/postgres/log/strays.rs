//! What nothing in the log speaks of.

use lockstep_events::{LogError, log::Stray};

use super::failed;
use crate::adapters::{
    postgres::{begin, pool::Pool},
    stray_rows::{KINDS, strays},
};

/// Each is one statement, so that it sees the log as it was at one moment.
const QUERIES: [&str; KINDS.len()] = [
    "SELECT position::text FROM events WHERE position <= 0 LIMIT 100",
    "SELECT position::text FROM events WHERE content_hash IS NOT NULL \
     AND strpos(public, '\"content_hash\":\"' || encode(content_hash, 'hex') || '\"') = 0 LIMIT 100",
    "SELECT stream::text || ' ' || encode(hash, 'hex') FROM (SELECT stream, hash FROM contents \
     EXCEPT SELECT stream, content_hash FROM events WHERE content_hash IS NOT NULL) unnamed LIMIT 100",
    "SELECT event_id::text FROM event_sealed s WHERE NOT EXISTS (SELECT 1 FROM events e \
     WHERE e.event_id = s.event_id AND e.sealed_hash IS NOT NULL) LIMIT 100",
    "SELECT stream::text FROM streams s \
     WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.stream = s.stream) LIMIT 100",
];

pub async fn find(on: &Pool) -> Result<Vec<Stray>, LogError> {
    let mut reading = begin::with(on, "BEGIN READ ONLY").await.map_err(failed)?;
    // A large log takes longer than a statement of the server may.
    sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *reading).await.map_err(failed)?;
    let mut found = Vec::new();
    for (what, query) in KINDS.into_iter().zip(QUERIES) {
        found.extend(strays(what, sqlx::query_scalar(query).fetch_all(&mut *reading).await.map_err(failed)?));
    }
    Ok(found)
}
