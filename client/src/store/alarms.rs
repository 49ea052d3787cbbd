//! Alarms: kept until a person has seen them, and after.

use lockstep_events::Micros;
use sqlx::SqliteConnection;

use super::damaged;
use crate::{
    error::Error,
    model::{Alarm, AlarmKind},
};

/// Keeps an alarm. The same alarm again, not yet seen, is kept once.
pub(crate) async fn raise(
    db: &mut SqliteConnection,
    kind: AlarmKind,
    at: Micros,
    detail: &str,
) -> Result<Option<Alarm>, Error> {
    let known: Option<i64> =
        sqlx::query_scalar("SELECT id FROM alarms WHERE kind = ? AND detail = ? AND seen = 0")
            .bind(kind.as_str())
            .bind(detail)
            .fetch_optional(&mut *db)
            .await?;
    if known.is_some() {
        return Ok(None);
    }
    let done = sqlx::query("INSERT INTO alarms (kind, at, detail) VALUES (?, ?, ?)")
        .bind(kind.as_str())
        .bind(at.0)
        .bind(detail)
        .execute(db)
        .await?;
    Ok(Some(Alarm { id: done.last_insert_rowid(), kind, at, detail: detail.to_owned(), seen: false }))
}

/// All alarms, newest first.
pub(crate) async fn all(db: &mut SqliteConnection) -> Result<Vec<Alarm>, Error> {
    let rows: Vec<(i64, String, i64, String, bool)> =
        sqlx::query_as("SELECT id, kind, at, detail, seen FROM alarms ORDER BY id DESC")
            .fetch_all(db)
            .await?;
    rows.into_iter()
        .map(|(id, kind, at, detail, seen)| {
            let kind = AlarmKind::from_stored(&kind).ok_or_else(damaged)?;
            Ok(Alarm { id, kind, at: Micros(at), detail, seen })
        })
        .collect()
}

/// Marks all as seen.
pub(crate) async fn acknowledge(db: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::query("UPDATE alarms SET seen = 1").execute(db).await?;
    Ok(())
}

/// How many nobody has seen.
pub(crate) async fn unseen(db: &mut SqliteConnection) -> Result<u64, Error> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM alarms WHERE seen = 0").fetch_one(db).await?;
    Ok(n.cast_unsigned())
}
