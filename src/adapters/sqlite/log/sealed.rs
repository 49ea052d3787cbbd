//! Sealed parts: read by event or by person, erased by person or by age.

use std::collections::HashMap;

use lockstep_events::{AccountId, EventId, LogError, Sealed, log::SealedParts};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{chunks, failed};
use crate::adapters::event_row::SealedRow;

const COLUMNS: &str = "SELECT event_id, subject, purpose, period, bytes FROM event_sealed";

pub async fn of_events(
    on: &mut SqliteConnection,
    ids: &[EventId],
) -> Result<Vec<(EventId, Sealed)>, LogError> {
    let mut kept = HashMap::with_capacity(ids.len());
    for chunk in chunks(ids) {
        let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
        super::of_events(query.push(" WHERE "), chunk);
        let rows: Vec<SealedRow> = query.build_query_as().fetch_all(&mut *on).await.map_err(failed)?;
        kept.extend(rows.into_iter().map(SealedRow::sealed));
    }
    Ok(ids.iter().filter_map(|id| kept.remove_entry(id)).collect())
}

pub async fn about(
    on: &mut SqliteConnection,
    subject: AccountId,
    after: Option<EventId>,
    limit: i64,
) -> Result<Vec<(EventId, Sealed)>, LogError> {
    let mut query = QueryBuilder::<Sqlite>::new(COLUMNS);
    query.push(" WHERE subject = ").push_bind(subject.0);
    if let Some(after) = after {
        query.push(" AND event_id > ").push_bind(after.0);
    }
    query.push(" ORDER BY event_id LIMIT ").push_bind(limit);
    let rows: Vec<SealedRow> = query.build_query_as().fetch_all(on).await.map_err(failed)?;
    Ok(rows.into_iter().map(SealedRow::sealed).collect())
}

pub async fn erase(on: &mut SqliteConnection, which: &SealedParts) -> Result<u64, LogError> {
    let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM event_sealed WHERE ");
    match which {
        SealedParts::Of(subject, purposes) => {
            query.push("subject = ").push_bind(subject.0);
            let mut wanted = query.push(" AND purpose IN (").separated(", ");
            for purpose in purposes {
                wanted.push_bind(purpose.clone());
            }
            query.push(")");
        }
        SealedParts::Before { purpose, period } => {
            query.push("purpose = ").push_bind(purpose.clone());
            query.push(" AND period <> '' AND period < ").push_bind(period.clone());
        }
    }
    Ok(query.build().execute(on).await.map_err(failed)?.rows_affected())
}
