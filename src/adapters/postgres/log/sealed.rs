//! Sealed parts: read by event or by person, erased by person or by age.

use std::collections::HashMap;

use lockstep_events::{AccountId, EventId, LogError, Sealed, log::SealedParts};
use uuid::Uuid;

use super::failed;
use crate::adapters::{event_row::SealedRow, postgres::pool::Pool};

pub async fn of_events(on: &Pool, ids: &[EventId]) -> Result<Vec<(EventId, Sealed)>, LogError> {
    let wanted: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows: Vec<SealedRow> = sqlx::query_as(
        "SELECT event_id, subject, purpose, period, bytes FROM event_sealed WHERE event_id = ANY ($1)",
    )
    .bind(wanted)
    .fetch_all(on.again())
    .await
    .map_err(failed)?;
    let mut kept: HashMap<_, _> = rows.into_iter().map(SealedRow::sealed).collect();
    Ok(ids.iter().filter_map(|id| kept.remove_entry(id)).collect())
}

pub async fn about(
    on: &Pool,
    subject: AccountId,
    after: Option<EventId>,
    limit: i64,
) -> Result<Vec<(EventId, Sealed)>, LogError> {
    let rows: Vec<SealedRow> = sqlx::query_as(
        "SELECT event_id, subject, purpose, period, bytes FROM event_sealed \
         WHERE subject = $1 AND ($2::uuid IS NULL OR event_id > $2) ORDER BY event_id LIMIT $3",
    )
    .bind(subject.0)
    .bind(after.map(|id| id.0))
    .bind(limit)
    .fetch_all(on.again())
    .await
    .map_err(failed)?;
    Ok(rows.into_iter().map(SealedRow::sealed).collect())
}

pub async fn erase(on: &Pool, which: &SealedParts) -> Result<u64, LogError> {
    let query = match which {
        SealedParts::Of(subject, purposes) => {
            sqlx::query_scalar("SELECT erase_sealed($1, $2)").bind(subject.0).bind(purposes)
        }
        SealedParts::Before { purpose, period } => {
            sqlx::query_scalar("SELECT erase_sealed_before($1, $2)").bind(purpose).bind(period)
        }
    };
    let erased: i64 = query.fetch_one(on).await.map_err(failed)?;
    Ok(u64::try_from(erased).unwrap_or(0))
}
