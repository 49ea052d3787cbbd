//! The versions that this device holds.

use lockstep_events::{BlobHash, DeviceId, EntryId, Header, Micros, Seq, VaultId, VersionId, ids::Signature};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{damaged, fixed, uuid};
use crate::{error::Error, model::Wanted};

/// Where the ciphertext of a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentState {
    /// The kind has none.
    None = 0,
    /// In this database.
    Here = 1,
    /// On the server.
    Missing = 2,
    /// Nowhere.
    Gone = 3,
}

impl ContentState {
    fn from_code(code: i64) -> Result<Self, Error> {
        [Self::None, Self::Here, Self::Missing, Self::Gone]
            .into_iter()
            .find(|state| *state as i64 == code)
            .ok_or_else(damaged)
    }
}

/// A version as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Order of arrival; 0 for one that is not kept yet.
    pub(crate) n: i64,
    /// Its id.
    pub(crate) id: VersionId,
    /// Its header.
    pub(crate) header: Header,
    /// What it builds on in the graph.
    pub(crate) parents: Vec<VersionId>,
    /// Who signed.
    pub(crate) signer: DeviceId,
    /// The signature.
    pub(crate) signature: Signature,
    /// The wrapped content key.
    pub(crate) wrapped_key: Option<Vec<u8>>,
    /// The ciphertext, where it is here and was asked for.
    pub(crate) ciphertext: Option<Vec<u8>>,
    /// Where it is.
    pub(crate) content: ContentState,
    /// Its place in the present life of the stream.
    pub(crate) seq: Option<Seq>,
    /// When the server accepted it.
    pub(crate) accepted_at: Option<Micros>,
}

impl Kept {
    /// Who wrote it, by its header, which its id and so its signature cover. Where that has no author, who signed.
    pub(crate) fn author(&self) -> DeviceId {
        author(&self.header, self.signer)
    }
}

/// The same of a header and its signer. They differ in what was given back after a restore.
pub(crate) fn author(header: &Header, signer: DeviceId) -> DeviceId {
    if header.kind.has_content() { header.author_device } else { signer }
}

type Row = (
    i64,
    Vec<u8>,
    String,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    i64,
    Option<i64>,
    Option<i64>,
);

const SELECT: &str = "SELECT n, id, header, parents, signer, signature, wrapped_key, ciphertext, content, seq, \
     accepted_at FROM versions WHERE ";

fn kept(row: Row) -> Result<Kept, Error> {
    let (n, id, header, parents, signer, signature, wrapped_key, ciphertext, content, seq, accepted_at) = row;
    Ok(Kept {
        n,
        id: VersionId(fixed(&id)?),
        header: serde_json::from_str(&header).map_err(|_| damaged())?,
        parents: ids(&parents)?,
        signer: DeviceId(uuid(&signer)?),
        signature: Signature(fixed(&signature)?),
        wrapped_key,
        ciphertext,
        content: ContentState::from_code(content)?,
        seq: seq.map(Seq::from_i64),
        accepted_at: accepted_at.map(Micros),
    })
}

fn ids(bytes: &[u8]) -> Result<Vec<VersionId>, Error> {
    bytes.chunks(32).map(|id| fixed(id).map(VersionId)).collect()
}

async fn select(db: &mut SqliteConnection, mut query: QueryBuilder<Sqlite>) -> Result<Vec<Kept>, Error> {
    let rows: Vec<Row> = query.build_query_as().fetch_all(db).await?;
    rows.into_iter().map(kept).collect()
}

/// One version.
pub(crate) async fn get(db: &mut SqliteConnection, id: VersionId) -> Result<Option<Kept>, Error> {
    let mut query = QueryBuilder::new(SELECT);
    query.push("id = ").push_bind(id.as_bytes().to_vec());
    Ok(select(db, query).await?.pop())
}

/// Some versions; those that are not here are left out.
pub(crate) async fn get_many(db: &mut SqliteConnection, wanted: &[VersionId]) -> Result<Vec<Kept>, Error> {
    let mut found = Vec::with_capacity(wanted.len());
    for part in wanted.chunks(500) {
        let mut query = QueryBuilder::new(SELECT);
        query.push("id IN (");
        let mut list = query.separated(", ");
        for id in part {
            list.push_bind(id.as_bytes().to_vec());
        }
        query.push(")");
        found.append(&mut select(db, query).await?);
    }
    Ok(found)
}

/// All versions of an entry, in order of arrival.
pub(crate) async fn of_entry(db: &mut SqliteConnection, entry: EntryId) -> Result<Vec<Kept>, Error> {
    let mut query = QueryBuilder::new(SELECT);
    query.push("entry = ").push_bind(entry.as_bytes().to_vec()).push(" ORDER BY n");
    select(db, query).await
}

/// Whether a version whose place is before a seq builds on this one. Looks at parents alone.
pub(crate) async fn has_child_before(
    db: &mut SqliteConnection,
    (entry, id): (EntryId, VersionId),
    before: Seq,
) -> Result<bool, Error> {
    // A hash that stands across two others is none of them.
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT parents FROM versions WHERE entry = ? AND seq < ? AND instr(parents, ?) > 0")
            .bind(entry.as_bytes().as_slice())
            .bind(before.as_i64())
            .bind(id.as_bytes().as_slice())
            .fetch_all(db)
            .await?;
    Ok(rows.iter().any(|(parents,)| parents.chunks(32).any(|parent| parent == id.as_bytes())))
}

/// All versions of a vault that have no place in its stream and are not in quarantine, in order of arrival.
pub(crate) async fn unplaced(db: &mut SqliteConnection, vault: VaultId) -> Result<Vec<Kept>, Error> {
    let mut query = QueryBuilder::new(SELECT);
    query.push("seq IS NULL AND vault = ").push_bind(vault.as_bytes().to_vec());
    query.push(" AND id NOT IN (SELECT version FROM quarantine) ORDER BY n");
    select(db, query).await
}

/// The versions of a vault that the server has taken and not shown: neither placed, nor waiting, nor in quarantine.
pub(crate) async fn taken_unseen(db: &mut SqliteConnection, vault: VaultId) -> Result<Vec<Kept>, Error> {
    let mut query = QueryBuilder::new(SELECT);
    query.push("seq IS NULL AND vault = ").push_bind(vault.as_bytes().to_vec());
    query.push(" AND id NOT IN (SELECT version FROM quarantine)");
    query.push(" AND id NOT IN (SELECT version FROM outbox) ORDER BY n");
    select(db, query).await
}

/// The ids of the versions of a vault that have a place up to a seq.
pub(crate) async fn ids_up_to(
    db: &mut SqliteConnection,
    vault: VaultId,
    last: Seq,
) -> Result<Vec<VersionId>, Error> {
    ids_between(db, vault, (Seq::ZERO, last)).await
}

/// What stands between two places of a vault: looked for by place, as every live frame asks.
pub(super) const BETWEEN: &str =
    "SELECT id FROM versions WHERE vault = ? AND seq > ? AND seq <= ? ORDER BY id";

/// The ids of the versions of a vault that have a place after one seq and up to another, ascending.
pub(crate) async fn ids_between(
    db: &mut SqliteConnection,
    vault: VaultId,
    (after, last): (Seq, Seq),
) -> Result<Vec<VersionId>, Error> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(BETWEEN)
        .bind(vault.as_bytes().as_slice())
        .bind(after.as_i64())
        .bind(last.as_i64())
        .fetch_all(db)
        .await?;
    rows.iter().map(|(id,)| fixed(id).map(VersionId)).collect()
}

/// The ids and entries of the versions of a vault that have a place after a seq.
pub(crate) async fn placed_after(
    db: &mut SqliteConnection,
    vault: VaultId,
    seq: Seq,
) -> Result<Vec<(VersionId, EntryId)>, Error> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT id, entry FROM versions WHERE vault = ? AND seq > ? ORDER BY seq")
            .bind(vault.as_bytes().as_slice())
            .bind(seq.as_i64())
            .fetch_all(db)
            .await?;
    rows.iter().map(|(id, entry)| Ok((VersionId(fixed(id)?), EntryId(uuid(entry)?)))).collect()
}

/// The ids of all versions of a vault that are here and not in quarantine, ascending.
pub(crate) async fn offerable_ids(
    db: &mut SqliteConnection,
    vault: VaultId,
) -> Result<Vec<VersionId>, Error> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT id FROM versions WHERE vault = ? AND id NOT IN (SELECT version FROM quarantine) ORDER BY id",
    )
    .bind(vault.as_bytes().as_slice())
    .fetch_all(db)
    .await?;
    rows.iter().map(|(id,)| fixed(id).map(VersionId)).collect()
}

/// Keeps a new version.
pub(crate) async fn insert(db: &mut SqliteConnection, version: &Kept) -> Result<(), Error> {
    let header = serde_json::to_string(&version.header).map_err(|_| damaged())?;
    let parents: Vec<u8> = version.parents.iter().flat_map(|id| id.0).collect();
    sqlx::query(
        "INSERT INTO versions (id, vault, entry, header, parents, signer, signature, wrapped_key, ciphertext, \
         content, seq, accepted_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(version.id.as_bytes().as_slice())
    .bind(version.header.vault.as_bytes().as_slice())
    .bind(version.header.entry.as_bytes().as_slice())
    .bind(header)
    .bind(parents)
    .bind(version.signer.as_bytes().as_slice())
    .bind(version.signature.as_bytes().as_slice())
    .bind(version.wrapped_key.as_deref())
    .bind(version.ciphertext.as_deref())
    .bind(version.content as i64)
    .bind(version.seq.map(Seq::as_i64))
    .bind(version.accepted_at.map(|at| at.0))
    .execute(db)
    .await?;
    Ok(())
}

/// The number of the version that was kept last.
pub(crate) async fn last_kept(db: &mut SqliteConnection) -> Result<u64, Error> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(n) FROM versions").fetch_one(db).await?;
    Ok(last.unwrap_or(0).cast_unsigned())
}

/// Gives a version that is here its place in the stream, as the log has it.
pub(crate) async fn place(
    db: &mut SqliteConnection,
    id: VersionId,
    (seq, accepted_at): (Seq, Micros),
    parents: &[VersionId],
) -> Result<(), Error> {
    let parents: Vec<u8> = parents.iter().flat_map(|id| id.0).collect();
    sqlx::query("UPDATE versions SET seq = ?, accepted_at = ?, parents = ? WHERE id = ?")
        .bind(seq.as_i64())
        .bind(accepted_at.0)
        .bind(parents)
        .bind(id.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// Whose signature of a version that is here stands in the log: several devices may have made the same choice, and each
/// of them signed it.
pub(crate) async fn signed(
    db: &mut SqliteConnection,
    id: VersionId,
    (signer, signature): (DeviceId, &Signature),
) -> Result<(), Error> {
    sqlx::query("UPDATE versions SET signer = ?, signature = ? WHERE id = ?")
        .bind(signer.as_bytes().as_slice())
        .bind(signature.0.as_slice())
        .bind(id.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// After a reset: no version of the vault has a place after this seq any more. Nothing else is touched (C5).
pub(crate) async fn unplace_after(db: &mut SqliteConnection, vault: VaultId, seq: Seq) -> Result<(), Error> {
    sqlx::query("UPDATE versions SET seq = NULL WHERE vault = ? AND seq > ?")
        .bind(vault.as_bytes().as_slice())
        .bind(seq.as_i64())
        .execute(db)
        .await?;
    Ok(())
}

/// A version turns out to have no place.
pub(crate) async fn unplace(db: &mut SqliteConnection, id: VersionId) -> Result<(), Error> {
    sqlx::query("UPDATE versions SET seq = NULL WHERE id = ?")
        .bind(id.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// A version turns out to have had no place ever.
pub(crate) async fn withhold(db: &mut SqliteConnection, id: VersionId) -> Result<(), Error> {
    sqlx::query("UPDATE versions SET seq = NULL, accepted_at = NULL WHERE id = ?")
        .bind(id.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// Puts a ciphertext to the version that misses it; its hash was compared before.
pub(crate) async fn fill(db: &mut SqliteConnection, id: VersionId, ciphertext: &[u8]) -> Result<(), Error> {
    sqlx::query("UPDATE versions SET ciphertext = ?, content = 1 WHERE id = ? AND content IN (2, 3)")
        .bind(ciphertext)
        .bind(id.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// Notes that the server no longer has a ciphertext. One that is here stays.
pub(crate) async fn gone(db: &mut SqliteConnection, id: VersionId) -> Result<(), Error> {
    sqlx::query("UPDATE versions SET content = 3 WHERE id = ? AND content = 2")
        .bind(id.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// What an answer said to be gone before the feed came to it, the feed does not: it is asked for.
pub(crate) async fn not_gone(
    db: &mut SqliteConnection,
    id: VersionId,
    key: Option<&[u8]>,
) -> Result<(), Error> {
    sqlx::query("UPDATE versions SET wrapped_key = ?, content = 2 WHERE id = ? AND content = 3")
        .bind(key)
        .bind(id.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// Erases the contents and content keys of an entry that was purged. What this device wrote and never sent is its own:
/// it goes into quarantine when the server refuses it.
pub(crate) async fn erase(db: &mut SqliteConnection, entry: EntryId) -> Result<(), Error> {
    sqlx::query(
        "UPDATE versions SET ciphertext = NULL, wrapped_key = NULL, content = CASE content WHEN 0 THEN 0 ELSE 3 END \
         WHERE entry = ? AND id NOT IN (SELECT version FROM outbox WHERE reoffer = 0) \
         AND id NOT IN (SELECT version FROM quarantine)",
    )
    .bind(entry.as_bytes().as_slice())
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes a version that never left this device.
pub(crate) async fn forget(db: &mut SqliteConnection, id: VersionId) -> Result<(), Error> {
    sqlx::query("DELETE FROM versions WHERE id = ? AND seq IS NULL")
        .bind(id.as_bytes().as_slice())
        .execute(db)
        .await?;
    Ok(())
}

/// Ciphertexts that are on the server and not here, newest first.
pub(crate) async fn wanted(
    db: &mut SqliteConnection,
    vault: VaultId,
    limit: u32,
) -> Result<Vec<(VersionId, Wanted)>, Error> {
    let rows: Vec<(Vec<u8>, String)> = sqlx::query_as(
        "SELECT id, header FROM versions WHERE content = 2 AND vault = ? ORDER BY n DESC LIMIT ?",
    )
    .bind(vault.as_bytes().as_slice())
    .bind(limit)
    .fetch_all(db)
    .await?;
    let wanted = |(id, header): (Vec<u8>, String)| {
        let header: Header = serde_json::from_str(&header).map_err(|_| damaged())?;
        let hash = header.content_hash.unwrap_or(BlobHash::ZERO);
        Ok((VersionId(fixed(&id)?), Wanted { hash, len: header.content_len }))
    };
    rows.into_iter().map(wanted).collect()
}
