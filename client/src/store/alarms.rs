//! Alarms: kept until a person has seen them, and after.

use lockstep_events::Micros;
use sqlx::SqliteConnection;

use super::damaged;
use crate::{
    error::Error,
    model::{About, Alarm, AlarmKind},
};

/// Keeps an alarm. The same alarm again, not yet seen, is kept once.
pub(crate) async fn raise(
    db: &mut SqliteConnection,
    kind: AlarmKind,
    at: Micros,
    detail: &str,
) -> Result<Option<Alarm>, Error> {
    raise_about(db, kind, at, (detail, None)).await
}

/// The same, about a version.
pub(crate) async fn raise_about(
    db: &mut SqliteConnection,
    kind: AlarmKind,
    at: Micros,
    (detail, about): (&str, Option<About>),
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
    let text = about.map(|about| serde_json::to_string(&about)).transpose().map_err(|_| damaged())?;
    let done = sqlx::query("INSERT INTO alarms (kind, at, detail, about) VALUES (?, ?, ?, ?)")
        .bind(kind.as_str())
        .bind(at.0)
        .bind(detail)
        .bind(text)
        .execute(&mut *db)
        .await?;
    let set_aside = is_set_aside(db, kind, detail).await?;
    let (id, detail) = (done.last_insert_rowid(), detail.to_owned());
    Ok(Some(Alarm { id, kind, at, detail, seen: false, about, set_aside }))
}

type Row = (i64, String, i64, String, bool, Option<String>, bool);

/// All alarms, newest first.
pub(crate) async fn all(db: &mut SqliteConnection) -> Result<Vec<Alarm>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, kind, at, detail, seen, about, EXISTS \
         (SELECT 1 FROM set_aside AS aside WHERE aside.kind = alarms.kind AND aside.detail = alarms.detail) \
         FROM alarms ORDER BY id DESC",
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|(id, kind, at, detail, seen, about, set_aside)| {
            let kind = AlarmKind::from_stored(&kind).ok_or_else(damaged)?;
            let about = about.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| damaged())?;
            Ok(Alarm { id, kind, at: Micros(at), detail, seen, about, set_aside })
        })
        .collect()
}

/// Sets aside what an alarm says, for good: exactly this stops nothing any more.
pub(crate) async fn set_aside(db: &mut SqliteConnection, alarm: &Alarm, at: Micros) -> Result<(), Error> {
    sqlx::query("INSERT OR IGNORE INTO set_aside (kind, detail, at) VALUES (?, ?, ?)")
        .bind(alarm.kind.as_str())
        .bind(&alarm.detail)
        .bind(at.0)
        .execute(&mut *db)
        .await?;
    sqlx::query("UPDATE alarms SET seen = 1 WHERE kind = ? AND detail = ?")
        .bind(alarm.kind.as_str())
        .bind(&alarm.detail)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether a person has set exactly this aside.
pub(crate) async fn is_set_aside(
    db: &mut SqliteConnection,
    kind: AlarmKind,
    detail: &str,
) -> Result<bool, Error> {
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM set_aside WHERE kind = ? AND detail = ?")
        .bind(kind.as_str())
        .bind(detail)
        .fetch_one(db)
        .await?;
    Ok(found > 0)
}

/// Marks all up to one of them as seen.
pub(crate) async fn acknowledge(db: &mut SqliteConnection, last: i64) -> Result<(), Error> {
    sqlx::query("UPDATE alarms SET seen = 1 WHERE id <= ?").bind(last).execute(db).await?;
    Ok(())
}

/// Why nothing is sent: the first alarm that nobody has seen, of a kind after which nothing is. What a person has seen
/// once, and is raised again in every detail, holds nothing any more: they looked at it, and let it go on.
pub(crate) async fn holding(db: &mut SqliteConnection) -> Result<Option<AlarmKind>, Error> {
    let kinds: Vec<(String,)> = sqlx::query_as(
        "SELECT kind FROM alarms AS new WHERE seen = 0 AND NOT EXISTS \
         (SELECT 1 FROM alarms AS old WHERE old.seen = 1 AND old.kind = new.kind AND old.detail = new.detail) \
         ORDER BY id",
    )
    .fetch_all(db)
    .await?;
    let mut holding = None;
    for (kind,) in kinds {
        let kind = AlarmKind::from_stored(&kind).ok_or_else(damaged)?;
        holding = holding.or(kind.holds_sending().then_some(kind));
    }
    Ok(holding)
}

/// Whether a person has seen exactly this.
pub(crate) async fn was_seen(
    db: &mut SqliteConnection,
    kind: AlarmKind,
    detail: &str,
) -> Result<bool, Error> {
    let seen: i64 =
        sqlx::query_scalar("SELECT count(*) FROM alarms WHERE kind = ? AND detail = ? AND seen = 1")
            .bind(kind.as_str())
            .bind(detail)
            .fetch_one(db)
            .await?;
    Ok(seen > 0)
}

/// How many nobody has seen.
pub(crate) async fn unseen(db: &mut SqliteConnection) -> Result<u64, Error> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM alarms WHERE seen = 0").fetch_one(db).await?;
    Ok(n.cast_unsigned())
}
