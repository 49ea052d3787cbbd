//! The index of blobs. Every call is about a handful of blobs; one statement each keeps them simple.

use async_trait::async_trait;
use lockstep_events::{BlobHash, Micros, VaultId};

use super::{Nature, SqliteOperations, nature};
use crate::blobs::{BlobError, BlobIndex, BlobPlace};

pub(super) fn failed(error: sqlx::Error) -> BlobError {
    match nature(&error) {
        Nature::Passing => BlobError::Unavailable(Box::new(error)),
        Nature::Full => BlobError::Full(Box::new(error)),
        Nature::Other => BlobError::Other(Box::new(error)),
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

type Places = Vec<(BlobHash, BlobPlace)>;

#[async_trait]
impl BlobIndex for SqliteOperations {
    async fn find(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Places, BlobError> {
        let mut found = Vec::new();
        for hash in hashes {
            let row: Option<(String, i64, i64)> =
                sqlx::query_as("SELECT pack, byte_offset, length FROM blobs WHERE vault = ? AND hash = ?")
                    .bind(vault.as_bytes().as_slice())
                    .bind(hash.as_bytes().as_slice())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(failed)?;
            found.extend(row.map(|(pack, offset, length)| {
                (*hash, BlobPlace { pack, offset: offset.cast_unsigned(), length: length.cast_unsigned() })
            }));
        }
        Ok(found)
    }

    async fn name(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Places, BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        for hash in hashes {
            sqlx::query("UPDATE blobs SET named = 1, seen_at = NULL WHERE vault = ? AND hash = ?")
                .bind(vault.as_bytes().as_slice())
                .bind(hash.as_bytes().as_slice())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        self.find(vault, hashes).await
    }

    async fn insert(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, BlobPlace)],
        now: Micros,
    ) -> Result<(), BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        for (hash, place) in blobs {
            sqlx::query(
                "INSERT INTO blobs (vault, hash, pack, byte_offset, length, added_at) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO NOTHING",
            )
            .bind(vault.as_bytes().as_slice())
            .bind(hash.as_bytes().as_slice())
            .bind(&place.pack)
            .bind(signed(place.offset))
            .bind(signed(place.length))
            .bind(now.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn remove(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Vec<String>, BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        let mut empty = Vec::new();
        for hash in hashes {
            let pack: Option<String> =
                sqlx::query_scalar("DELETE FROM blobs WHERE vault = ? AND hash = ? RETURNING pack")
                    .bind(vault.as_bytes().as_slice())
                    .bind(hash.as_bytes().as_slice())
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(failed)?;
            let Some(pack) = pack else { continue };
            let used: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM blobs WHERE pack = ?)")
                .bind(&pack)
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
            if !used {
                empty.push(pack);
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(empty)
    }

    async fn sweep_unnamed(
        &self,
        added_before: Micros,
        seen_before: Micros,
        now: Micros,
    ) -> Result<u64, BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        let gone = sqlx::query("DELETE FROM blobs WHERE named = 0 AND added_at < ? AND seen_at < ?")
            .bind(added_before.0)
            .bind(seen_before.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("UPDATE blobs SET seen_at = ? WHERE named = 0 AND added_at < ? AND seen_at IS NULL")
            .bind(now.0)
            .bind(added_before.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn orphans(
        &self,
        objects: &[String],
        seen_before: Micros,
        now: Micros,
    ) -> Result<Vec<String>, BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        let mut old = Vec::new();
        for object in objects {
            sqlx::query(
                "INSERT INTO orphans (pack, seen_at)
                 SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE pack = ?1) ON CONFLICT DO NOTHING",
            )
            .bind(object)
            .bind(now.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            let is_old: Option<bool> = sqlx::query_scalar(
                "SELECT seen_at < ?2 AND NOT EXISTS (SELECT 1 FROM blobs WHERE pack = ?1)
                 FROM orphans WHERE pack = ?1",
            )
            .bind(object)
            .bind(seen_before.0)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
            if is_old == Some(true) {
                old.push(object.clone());
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(old)
    }

    async fn forget_orphans(&self, objects: &[String]) -> Result<(), BlobError> {
        for object in objects {
            let gone = sqlx::query("DELETE FROM orphans WHERE pack = ?").bind(object).execute(&self.pool);
            gone.await.map_err(failed)?;
        }
        Ok(())
    }
}
