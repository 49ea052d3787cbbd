//! Which blobs are named, and what a blob that is named keeps from being taken out.

use lockstep_events::{BlobHash, Micros, VaultId};
use uuid::Uuid;

use super::SqliteOperations;
use crate::blobs::{LATE_SINCE, Settled};

impl SqliteOperations {
    pub(super) async fn begin_naming(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
        now: Micros,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        for hash in hashes {
            sqlx::query(
                "UPDATE blobs SET names = names + 1, pending = pending + 1, pending_since = ?, seen_at = NULL
                 WHERE vault = ? AND hash = ?",
            )
            .bind(now.0)
            .bind(vault.as_bytes().as_slice())
            .bind(hash.as_bytes().as_slice())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    pub(super) async fn end_naming(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
        stands: bool,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        for hash in hashes {
            sqlx::query(
                "UPDATE blobs SET named = max(named, ?1), names = names + ?1, pending = max(pending - 1, 0)
                 WHERE vault = ?2 AND hash = ?3",
            )
            .bind(i64::from(stands))
            .bind(vault.as_bytes().as_slice())
            .bind(hash.as_bytes().as_slice())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    pub(super) async fn endless_namings(
        &self,
        before: Micros,
        after: Option<(VaultId, BlobHash)>,
        limit: i64,
    ) -> Result<Vec<(VaultId, BlobHash, u64)>, sqlx::Error> {
        let (vault, hash) = after.map_or_else(Default::default, |(vault, hash)| {
            (vault.as_bytes().to_vec(), hash.as_bytes().to_vec())
        });
        let rows: Vec<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT vault, hash, names FROM blobs
             WHERE pending > 0 AND pending_since > ? AND pending_since < ? AND (vault, hash) > (?, ?)
             ORDER BY vault, hash LIMIT ?",
        )
        .bind(LATE_SINCE.0)
        .bind(before.0)
        .bind::<Vec<u8>>(vault)
        .bind::<Vec<u8>>(hash)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let blob = |(vault, hash, mark): (Vec<u8>, Vec<u8>, i64)| {
            let (vault, hash) = (VaultId(Uuid::from_slice(&vault).ok()?), BlobHash::from_slice(&hash)?);
            Some((vault, hash, mark.cast_unsigned()))
        };
        Ok(rows.into_iter().filter_map(blob).collect())
    }

    pub(super) async fn settle_namings(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        settled: Settled,
    ) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin().await?;
        for (hash, mark) in blobs {
            sqlx::query(
                "UPDATE blobs SET named = ?, pending = ?, pending_since = ?, seen_at = NULL
                 WHERE vault = ? AND hash = ? AND names = ?",
            )
            .bind(i64::from(settled == Settled::Named))
            .bind(i64::from(settled == Settled::Late))
            .bind(LATE_SINCE.0)
            .bind(vault.as_bytes().as_slice())
            .bind(hash.as_bytes().as_slice())
            .bind(mark.cast_signed())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    }

    pub(super) async fn take_out(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        named_since: Micros,
        now: Micros,
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut transaction = self.begin().await?;
        let mut doomed = Vec::new();
        for (hash, mark) in blobs {
            let pack: Option<String> = sqlx::query_scalar(
                "DELETE FROM blobs WHERE vault = ? AND hash = ? AND names = ?
                 AND (pending = 0 OR pending_since < ?) RETURNING pack",
            )
            .bind(vault.as_bytes().as_slice())
            .bind(hash.as_bytes().as_slice())
            .bind(mark.cast_signed())
            .bind(named_since.0)
            .fetch_optional(&mut *transaction)
            .await?;
            let Some(pack) = pack else {
                // A naming that nobody ends: the event that was named for may be refused, and those of before are gone.
                sqlx::query(
                    "UPDATE blobs SET pending = pending + 1, pending_since = ? WHERE vault = ? AND hash = ?",
                )
                .bind(now.0)
                .bind(vault.as_bytes().as_slice())
                .bind(hash.as_bytes().as_slice())
                .execute(&mut *transaction)
                .await?;
                continue;
            };
            let empty = sqlx::query(
                "INSERT INTO orphans (pack, seen_at, doomed)
                 SELECT ?1, 0, 1 WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE pack = ?1)
                 ON CONFLICT (pack) DO UPDATE SET doomed = 1",
            )
            .bind(&pack)
            .execute(&mut *transaction)
            .await?;
            doomed.extend((empty.rows_affected() > 0).then_some(pack));
        }
        transaction.commit().await?;
        Ok(doomed)
    }
}
