//! What waits to be sent, and what was refused for good.

use std::collections::BTreeSet;

use lockstep_events::{Micros, VaultId, VersionId};
use sqlx::SqliteConnection;

use super::{damaged, fixed, keys, uuid};
use crate::{error::Error, model::NoRoom};

/// The single value that says for what there was no room.
const NO_ROOM: &str = "no_room";

/// A version that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The version.
    pub(crate) version: VersionId,
    /// Its atomic group, if it is of one.
    pub(crate) unit: Option<i64>,
    /// Whether it is offered again after a reset, and may be another device's.
    pub(crate) reoffer: bool,
}

/// Puts a version at the end.
pub(crate) async fn add(
    db: &mut SqliteConnection,
    (vault, version): (VaultId, VersionId),
    unit: Option<i64>,
    reoffer: bool,
) -> Result<(), Error> {
    sqlx::query("INSERT OR IGNORE INTO outbox (version, vault, unit, reoffer) VALUES (?, ?, ?, ?)")
        .bind(version.as_bytes().as_slice())
        .bind(vault.as_bytes().as_slice())
        .bind(unit)
        .bind(reoffer)
        .execute(db)
        .await?;
    Ok(())
}

/// A number for a new group.
pub(crate) async fn next_unit(db: &mut SqliteConnection) -> Result<i64, Error> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM sqlite_sequence WHERE name = 'outbox'")
        .fetch_one(&mut *db)
        .await?;
    let waiting: Option<i64> = sqlx::query_scalar("SELECT max(unit) FROM outbox").fetch_one(db).await?;
    Ok(last.unwrap_or(0).max(waiting.unwrap_or(0)) + 1)
}

/// The first that wait, in order.
pub(crate) async fn first(
    db: &mut SqliteConnection,
    vault: VaultId,
    limit: u32,
) -> Result<Vec<Waiting>, Error> {
    let rows: Vec<(Vec<u8>, Option<i64>, bool)> =
        sqlx::query_as("SELECT version, unit, reoffer FROM outbox WHERE vault = ? ORDER BY n LIMIT ?")
            .bind(vault.as_bytes().as_slice())
            .bind(limit)
            .fetch_all(db)
            .await?;
    rows.into_iter()
        .map(|(version, unit, reoffer)| Ok(Waiting { version: VersionId(fixed(&version)?), unit, reoffer }))
        .collect()
}

/// The vaults of which something waits.
pub(crate) async fn vaults(db: &mut SqliteConnection) -> Result<Vec<VaultId>, Error> {
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT vault FROM outbox GROUP BY vault ORDER BY min(n)").fetch_all(db).await?;
    rows.iter().map(|(vault,)| Ok(VaultId(uuid(vault)?))).collect()
}

/// How many wait.
pub(crate) async fn count(db: &mut SqliteConnection) -> Result<u64, Error> {
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(db).await?;
    Ok(n.cast_unsigned())
}

/// Nothing is written to this database any more: its file is about to be deleted, and who did not hear of that would
/// have written to nowhere.
pub(crate) async fn close_for_good(db: &mut SqliteConnection) -> Result<(), Error> {
    sqlx::query("DROP TABLE outbox").execute(db).await?;
    Ok(())
}

/// How many of these wait.
pub(crate) async fn count_of(db: &mut SqliteConnection, which: &BTreeSet<VersionId>) -> Result<u64, Error> {
    let mut found = 0;
    for version in which {
        let waits: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM outbox WHERE version = ?)")
            .bind(version.as_bytes().as_slice())
            .fetch_one(&mut *db)
            .await?;
        found += u64::from(waits);
    }
    Ok(found)
}

/// Takes a version out: the server said that it stands, or it was moved into quarantine.
pub(crate) async fn remove(db: &mut SqliteConnection, version: VersionId) -> Result<(), Error> {
    sqlx::query("DELETE FROM outbox WHERE version = ?")
        .bind(version.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// A version stands in the log. Of one with files that is offered again it may be another device that brought it, without
/// them: it still goes out, for those.
pub(crate) async fn stands(db: &mut SqliteConnection, version: VersionId) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM outbox WHERE version = ? \
         AND NOT (reoffer = 1 AND EXISTS (SELECT 1 FROM attachments a WHERE a.version = outbox.version))",
    )
    .bind(version.as_bytes().as_slice())
    .execute(db)
    .await?;
    Ok(())
}

/// Puts a version that waits behind all others.
pub(crate) async fn to_the_end(db: &mut SqliteConnection, version: VersionId) -> Result<(), Error> {
    sqlx::query("UPDATE outbox SET n = (SELECT max(n) + 1 FROM outbox) WHERE version = ?")
        .bind(version.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// Keeps, or forgets, for what the plan has no room.
pub(crate) async fn set_no_room(db: &mut SqliteConnection, met: Option<&NoRoom>) -> Result<(), Error> {
    match met {
        Some(met) => keys::set(db, NO_ROOM, &serde_json::to_vec(met).map_err(|_| damaged())?).await,
        None => keys::remove(db, NO_ROOM).await,
    }
}

/// For what the plan had no room at the last push.
pub(crate) async fn no_room(db: &mut SqliteConnection) -> Result<Option<NoRoom>, Error> {
    let kept = keys::get(db, NO_ROOM).await?;
    kept.map(|bytes| serde_json::from_slice(&bytes).map_err(|_| damaged())).transpose()
}

/// Moves a version into quarantine.
pub(crate) async fn quarantine(
    db: &mut SqliteConnection,
    version: VersionId,
    reason: &str,
    at: Micros,
) -> Result<(), Error> {
    remove(db, version).await?;
    sqlx::query("INSERT OR REPLACE INTO quarantine (version, reason, at) VALUES (?, ?, ?)")
        .bind(version.as_bytes().as_slice())
        .bind(reason)
        .bind(at.0)
        .execute(db)
        .await?;
    Ok(())
}

/// Takes a version out of quarantine; whether it was there.
pub(crate) async fn release(db: &mut SqliteConnection, version: VersionId) -> Result<bool, Error> {
    let done = sqlx::query("DELETE FROM quarantine WHERE version = ?")
        .bind(version.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// What no purge erases: what this device wrote and never sent, and what is in quarantine.
pub(crate) async fn never_erased(db: &mut SqliteConnection) -> Result<BTreeSet<VersionId>, Error> {
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT version FROM outbox WHERE reoffer = 0 UNION SELECT version FROM quarantine")
            .fetch_all(db)
            .await?;
    rows.iter().map(|(version,)| fixed(version).map(VersionId)).collect()
}

/// Everything in quarantine: version, reason, when.
pub(crate) async fn quarantined(
    db: &mut SqliteConnection,
) -> Result<Vec<(VersionId, String, Micros)>, Error> {
    let rows: Vec<(Vec<u8>, String, i64)> =
        sqlx::query_as("SELECT version, reason, at FROM quarantine ORDER BY at").fetch_all(db).await?;
    rows.into_iter().map(|(id, reason, at)| Ok((VersionId(fixed(&id)?), reason, Micros(at)))).collect()
}

/// The ids of everything in quarantine.
pub(crate) async fn quarantined_ids(db: &mut SqliteConnection) -> Result<BTreeSet<VersionId>, Error> {
    Ok(quarantined(db).await?.into_iter().map(|(id, _, _)| id).collect())
}
