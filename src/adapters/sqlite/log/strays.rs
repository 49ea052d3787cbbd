//! What nothing in the log speaks of.

use lockstep_events::{LogError, log::Stray};
use sqlx::SqliteConnection;

use super::failed;
use crate::adapters::stray_rows::{KINDS, strays};

/// Each is one statement, so that it sees the log as it was at one moment.
const QUERIES: [&str; KINDS.len()] = [
    "SELECT CAST(position AS TEXT) FROM events WHERE position <= 0 LIMIT 100",
    "SELECT CAST(position AS TEXT) FROM events WHERE content_hash IS NOT NULL \
     AND instr(public, '\"content_hash\":\"' || lower(hex(content_hash)) || '\"') = 0 LIMIT 100",
    "SELECT lower(hex(stream)) || ' ' || lower(hex(hash)) FROM (SELECT stream, hash FROM contents \
     EXCEPT SELECT stream, content_hash FROM events WHERE content_hash IS NOT NULL) LIMIT 100",
    "SELECT lower(hex(event_id)) FROM event_sealed s WHERE NOT EXISTS (SELECT 1 FROM events e \
     WHERE e.event_id = s.event_id AND e.sealed_hash IS NOT NULL) LIMIT 100",
    "SELECT lower(hex(stream)) FROM streams s \
     WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.stream = s.stream) LIMIT 100",
];

pub async fn find(on: &mut SqliteConnection) -> Result<Vec<Stray>, LogError> {
    let mut found = Vec::new();
    for (what, query) in KINDS.into_iter().zip(QUERIES) {
        found.extend(strays(what, sqlx::query_scalar(query).fetch_all(&mut *on).await.map_err(failed)?));
    }
    Ok(found)
}
