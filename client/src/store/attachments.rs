//! The blobs that live as long as a version, beside its ciphertext.

use std::collections::BTreeMap;

use lockstep_events::{BlobHash, Seq, VaultId, VersionId};
use sqlx::SqliteConnection;

use super::{fixed, versions::Kept};
use crate::error::Error;

/// Keeps the attachments of a version. Keeping them again changes nothing.
pub(crate) async fn put(
    db: &mut SqliteConnection,
    version: VersionId,
    attachments: &[BlobHash],
) -> Result<(), Error> {
    for (n, hash) in (0_i64..).zip(attachments) {
        sqlx::query("INSERT OR IGNORE INTO attachments (version, n, hash) VALUES (?, ?, ?)")
            .bind(version.as_bytes().as_slice())
            .bind(n)
            .bind(hash.as_bytes().as_slice())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// The attachments of some versions; versions without any are left out.
pub(crate) async fn of(
    db: &mut SqliteConnection,
    versions: &[VersionId],
) -> Result<BTreeMap<VersionId, Vec<BlobHash>>, Error> {
    let mut all: BTreeMap<VersionId, Vec<BlobHash>> = BTreeMap::new();
    for version in versions {
        let rows: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT hash FROM attachments WHERE version = ? ORDER BY n")
                .bind(version.as_bytes().as_slice())
                .fetch_all(&mut *db)
                .await?;
        if !rows.is_empty() {
            let hashes = rows.iter().map(|(hash,)| fixed(hash).map(BlobHash)).collect::<Result<_, _>>()?;
            all.insert(*version, hashes);
        }
    }
    Ok(all)
}

/// The attachments of a version.
pub(crate) async fn of_one(db: &mut SqliteConnection, version: VersionId) -> Result<Vec<BlobHash>, Error> {
    Ok(of(db, &[version]).await?.remove(&version).unwrap_or_default())
}

/// Whether another version of its entry names a blob of a version.
pub(crate) async fn is_named_by_another(
    db: &mut SqliteConnection,
    version: &Kept,
    hash: &BlobHash,
) -> Result<bool, Error> {
    let named = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM attachments JOIN versions ON id = version WHERE hash = ? AND entry = ? AND id <> ?)",
    );
    let (entry, id) = (version.header.entry, version.id);
    let named = named.bind(hash.as_bytes().as_slice()).bind(entry.as_bytes().as_slice());
    Ok(named.bind(id.as_bytes().as_slice()).fetch_one(db).await?)
}

/// Whether a version names a blob that the server has, or had.
pub(crate) async fn is_named_by_a_placed_one(
    db: &mut SqliteConnection,
    hash: &BlobHash,
) -> Result<bool, Error> {
    let named = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM attachments JOIN versions ON id = version WHERE hash = ? AND seq IS NOT NULL)",
    );
    Ok(named.bind(hash.as_bytes().as_slice()).fetch_one(db).await?)
}

/// The attachments of a vault's versions that have a place after a seq and were not erased, in the order of the stream.
pub(crate) async fn placed_after(
    db: &mut SqliteConnection,
    vault: VaultId,
    seq: Seq,
) -> Result<Vec<(VersionId, BlobHash)>, Error> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT id, hash FROM attachments JOIN versions ON id = version \
         WHERE vault = ? AND seq > ? AND content IN (1, 2) ORDER BY seq",
    )
    .bind(vault.as_bytes().as_slice())
    .bind(seq.as_i64())
    .fetch_all(db)
    .await?;
    rows.iter().map(|(id, hash)| Ok((VersionId(fixed(id)?), BlobHash(fixed(hash)?)))).collect()
}

/// The blobs that no content on this device or on the server opens: of versions that were erased, or given up. A choice
/// has no content of its own; what it keeps does.
pub(crate) async fn unopened(db: &mut SqliteConnection) -> Result<Vec<BlobHash>, Error> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
        "SELECT hash FROM attachments EXCEPT SELECT hash FROM attachments JOIN versions ON id = version \
         WHERE content IN (1, 2) OR wrapped_key IS NOT NULL",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(|(hash,)| fixed(hash).map(BlobHash)).collect()
}
