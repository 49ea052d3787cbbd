//! Heads of entries: what the server has accepted, and what this device shows (L7: heads of K ∪ O).

use std::collections::{BTreeMap, BTreeSet};

use lockstep_events::{EntryId, Seq, VaultId, VersionId, graph::Heads};
use sqlx::SqliteConnection;

use super::{damaged, fixed, uuid, versions, versions::Kept};
use crate::error::Error;

/// An entry as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryRow {
    /// The entry.
    pub(crate) entry: EntryId,
    /// Its vault.
    pub(crate) vault: VaultId,
    /// Heads by what was accepted.
    pub(crate) heads: Heads,
    /// The head that this device shows first.
    pub(crate) pinned: Option<VersionId>,
}

type Row = (Vec<u8>, Vec<u8>, String, Option<Vec<u8>>);

fn row((entry, vault, heads, pinned): Row) -> Result<EntryRow, Error> {
    Ok(EntryRow {
        entry: EntryId(uuid(&entry)?),
        vault: VaultId(uuid(&vault)?),
        heads: serde_json::from_str(&heads).map_err(|_| damaged())?,
        pinned: pinned.map(|id| fixed(&id).map(VersionId)).transpose()?,
    })
}

/// The accepted heads of an entry; empty ones for an entry that is new.
pub(crate) async fn accepted(
    db: &mut SqliteConnection,
    vault: VaultId,
    entry: EntryId,
) -> Result<EntryRow, Error> {
    let found: Option<Row> =
        sqlx::query_as("SELECT entry, vault, heads, pinned FROM entries WHERE entry = ?")
            .bind(entry.as_bytes().as_slice())
            .fetch_optional(db)
            .await?;
    match found {
        Some(found) => row(found),
        None => Ok(EntryRow { entry, vault, heads: Heads::default(), pinned: None }),
    }
}

/// Writes an entry.
pub(crate) async fn put(db: &mut SqliteConnection, entry: &EntryRow) -> Result<(), Error> {
    let heads = serde_json::to_string(&entry.heads).map_err(|_| damaged())?;
    sqlx::query(
        "INSERT INTO entries (entry, vault, heads, pinned) VALUES (?, ?, ?, ?) ON CONFLICT (entry) \
         DO UPDATE SET heads = excluded.heads, pinned = excluded.pinned",
    )
    .bind(entry.entry.as_bytes().as_slice())
    .bind(entry.vault.as_bytes().as_slice())
    .bind(heads)
    .bind(entry.pinned.map(|id| id.0.to_vec()))
    .execute(db)
    .await?;
    Ok(())
}

/// The entries of which the last event came after a seq.
pub(crate) async fn changed_after(
    db: &mut SqliteConnection,
    vault: VaultId,
    seq: Seq,
) -> Result<Vec<EntryId>, Error> {
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT entry FROM entries WHERE vault = ? AND json_extract(heads, '$.last_seq') > ?")
            .bind(vault.as_bytes().as_slice())
            .bind(seq.as_i64())
            .fetch_all(db)
            .await?;
    rows.iter().map(|(entry,)| Ok(EntryId(uuid(entry)?))).collect()
}

/// The entries with two or more accepted heads.
pub(crate) async fn branched(db: &mut SqliteConnection, vault: VaultId) -> Result<Vec<EntryRow>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT entry, vault, heads, pinned FROM entries WHERE vault = ? AND \
         json_array_length(heads, '$.heads') > 1",
    )
    .bind(vault.as_bytes().as_slice())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(row).collect()
}

/// The entries with an accepted head that stands at a seq or before it.
pub(crate) async fn since(
    db: &mut SqliteConnection,
    vault: VaultId,
    seq: Seq,
) -> Result<Vec<EntryId>, Error> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT entry FROM entries WHERE vault = ? AND EXISTS (SELECT 1 FROM json_each(heads, '$.heads') \
         WHERE json_extract(value, '$.seq') <= ?)",
    )
    .bind(vault.as_bytes().as_slice())
    .bind(seq.as_i64())
    .fetch_all(db)
    .await?;
    rows.iter().map(|(entry,)| Ok(EntryId(uuid(entry)?))).collect()
}

/// After a reset: nothing is accepted. Pins stay.
pub(crate) async fn clear_accepted(db: &mut SqliteConnection, vault: VaultId) -> Result<(), Error> {
    let empty = serde_json::to_string(&Heads::default()).map_err(|_| damaged())?;
    sqlx::query("UPDATE entries SET heads = ? WHERE vault = ?")
        .bind(empty)
        .bind(vault.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// The heads of everything that this device holds: the accepted ones and what has no place yet, without those that
/// something here builds on. Branch numbers of the latter are this device's guess until the server has them.
pub(crate) fn overlay(mut heads: Heads, unplaced: &[Kept], used: &BTreeSet<VersionId>) -> Heads {
    if heads.purged {
        return heads;
    }
    for version in unplaced {
        if heads.heads.iter().all(|head| head.version != version.id) {
            heads.accept(version.id, version.header.kind, &version.parents, NO_PLACE);
        }
    }
    heads.heads.retain(|head| !used.contains(&head.version));
    heads
}

/// Stands where a seq stands, for a version that has no place yet.
pub(crate) const NO_PLACE: Seq = Seq(u64::MAX);

/// One entry with the heads that this device shows; none if it holds no version of it.
pub(crate) async fn shown(db: &mut SqliteConnection, entry: EntryId) -> Result<Option<EntryRow>, Error> {
    let all = versions::of_entry(db, entry).await?;
    let Some(first) = all.first() else { return Ok(None) };
    let mut row = accepted(db, first.header.vault, entry).await?;
    let quarantined = super::outbox::quarantined_ids(db).await?;
    let held: Vec<Kept> = all.into_iter().filter(|v| !quarantined.contains(&v.id)).collect();
    let used = held.iter().flat_map(|v| v.parents.iter().copied()).collect();
    let unplaced: Vec<Kept> = held.into_iter().filter(|v| v.seq.is_none()).collect();
    row.heads = overlay(row.heads, &unplaced, &used);
    Ok(Some(row))
}

/// The heads that this device shows of an entry; none if nothing of it waits here, so that they are the accepted ones.
pub(crate) async fn waiting(db: &mut SqliteConnection, entry: EntryId) -> Result<Option<Heads>, Error> {
    let waits: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM versions WHERE entry = ? AND seq IS NULL)")
            .bind(entry.as_bytes().as_slice())
            .fetch_one(&mut *db)
            .await?;
    Ok(if waits { shown(db, entry).await?.map(|row| row.heads) } else { None })
}

/// All entries of a vault with the heads that this device shows, in order of id.
pub(crate) async fn all_shown(db: &mut SqliteConnection, vault: VaultId) -> Result<Vec<EntryRow>, Error> {
    let rows: Vec<Row> = sqlx::query_as("SELECT entry, vault, heads, pinned FROM entries WHERE vault = ?")
        .bind(vault.as_bytes().as_slice())
        .fetch_all(&mut *db)
        .await?;
    let mut entries: BTreeMap<EntryId, EntryRow> = BTreeMap::new();
    for found in rows {
        let found = row(found)?;
        entries.insert(found.entry, found);
    }
    let touched: BTreeSet<EntryId> =
        versions::unplaced(db, vault).await?.into_iter().map(|v| v.header.entry).collect();
    for entry in touched {
        if let Some(row) = shown(db, entry).await? {
            entries.insert(entry, row);
        }
    }
    Ok(entries.into_values().filter(|row| !row.heads.heads.is_empty()).collect())
}
