//! The index of blobs. Every call is about a handful of blobs; one statement each keeps them simple.

use async_trait::async_trait;
use lockstep_events::{BlobHash, Micros, VaultId};
use uuid::Uuid;

use super::SqliteOperations;
use crate::{
    adapters::sqlite::nature,
    blobs::{BlobError, BlobIndex, BlobPlace, Held, IndexError, Lying, Promise, Settled, TURN_AHEAD_S},
};

pub(super) fn failed(error: sqlx::Error) -> BlobError {
    nature::failed::<IndexError>(error).into()
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

    async fn name(&self, vault: VaultId, hashes: &[BlobHash], now: Micros) -> Result<Places, BlobError> {
        self.begin_naming(vault, hashes, now).await.map_err(failed)?;
        self.find(vault, hashes).await
    }

    async fn naming_ended(&self, vault: VaultId, hashes: &[BlobHash], stands: bool) -> Result<(), BlobError> {
        self.end_naming(vault, hashes, stands).await.map_err(failed)
    }

    async fn endless(
        &self,
        before: Micros,
        after: Option<(VaultId, BlobHash)>,
        limit: usize,
    ) -> Result<Vec<(VaultId, BlobHash, u64)>, BlobError> {
        self.endless_namings(before, after, signed(limit as u64)).await.map_err(failed)
    }

    async fn naming_settled(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        settled: Settled,
    ) -> Result<(), BlobError> {
        self.settle_namings(vault, blobs, settled).await.map_err(failed)
    }

    async fn insert(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, BlobPlace)],
        now: Micros,
    ) -> Result<(), BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        for (hash, place) in blobs {
            sqlx::query("DELETE FROM orphans WHERE pack = ? AND doomed = 0")
                .bind(&place.pack)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            sqlx::query(
                "INSERT INTO blobs (vault, hash, pack, byte_offset, length, added_at)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM orphans WHERE pack = ?3)
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
            sqlx::query("DELETE FROM promised WHERE (vault = ? AND hash = ?) OR object = ?")
                .bind(vault.as_bytes().as_slice())
                .bind(hash.as_bytes().as_slice())
                .bind(&place.pack)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn marks(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Vec<(BlobHash, u64)>, BlobError> {
        let mut marks = Vec::new();
        for hash in hashes {
            let mark: Option<i64> =
                sqlx::query_scalar("SELECT names FROM blobs WHERE vault = ? AND hash = ?")
                    .bind(vault.as_bytes().as_slice())
                    .bind(hash.as_bytes().as_slice())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(failed)?;
            marks.extend(mark.map(|mark| (*hash, mark.cast_unsigned())));
        }
        Ok(marks)
    }

    async fn remove(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        named_since: Micros,
        now: Micros,
    ) -> Result<Vec<String>, BlobError> {
        self.take_out(vault, blobs, named_since, now).await.map_err(failed)
    }

    async fn of_vault(
        &self,
        vault: VaultId,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Result<Vec<BlobHash>, BlobError> {
        let after = after.map_or(Vec::new(), |hash| hash.0.to_vec());
        let hashes: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT hash FROM blobs WHERE vault = $1 AND hash > $2 ORDER BY hash LIMIT $3",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        Ok(hashes.iter().filter_map(|hash| BlobHash::from_slice(hash)).collect())
    }

    async fn sweep_unnamed(
        &self,
        added_before: Micros,
        seen_before: Micros,
        now: Micros,
    ) -> Result<u64, BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        let gone = "DELETE FROM blobs WHERE named = 0 AND pending = 0 AND added_at < ? AND seen_at < ?";
        let gone = sqlx::query(gone)
            .bind(added_before.0)
            .bind(seen_before.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let seen = "UPDATE blobs SET seen_at = ? WHERE named = 0 AND pending = 0 AND added_at < ? AND seen_at IS NULL";
        sqlx::query(seen)
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
            let is_old = sqlx::query(
                "UPDATE orphans SET doomed = 1 WHERE pack = ?1 AND (seen_at < ?2 OR doomed = 1)
                 AND NOT EXISTS (SELECT 1 FROM blobs WHERE pack = ?1)",
            )
            .bind(object)
            .bind(seen_before.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            if is_old.rows_affected() > 0 {
                old.push(object.clone());
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(old)
    }

    async fn doomed(&self, limit: usize) -> Result<Vec<String>, BlobError> {
        sqlx::query_scalar("SELECT pack FROM orphans WHERE doomed = 1 ORDER BY pack LIMIT ?")
            .bind(signed(limit as u64))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)
    }

    async fn forget_orphans(&self, objects: &[String]) -> Result<(), BlobError> {
        for object in objects {
            for gone in ["DELETE FROM promised WHERE object = ?", "DELETE FROM orphans WHERE pack = ?"] {
                sqlx::query(gone).bind(object).execute(&self.pool).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn used(&self, objects: &[String]) -> Result<Vec<(String, u64)>, BlobError> {
        let mut used = Vec::new();
        for object in objects {
            let bytes: Option<i64> = sqlx::query_scalar("SELECT sum(length) FROM blobs WHERE pack = ?")
                .bind(object)
                .fetch_one(&self.pool)
                .await
                .map_err(failed)?;
            used.extend(bytes.map(|bytes| (object.clone(), bytes.cast_unsigned())));
        }
        Ok(used)
    }

    async fn objects(&self, after: Option<&str>, limit: usize) -> Result<Vec<Held>, BlobError> {
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT pack, max(byte_offset + length), count(*), sum(length) FROM blobs
             WHERE pack > $1 GROUP BY pack ORDER BY pack LIMIT $2",
        )
        .bind(after.unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        Ok(rows.into_iter().map(Held::from).collect())
    }

    async fn lying_in(&self, object: &str) -> Result<Vec<Lying>, BlobError> {
        let rows: Vec<(Vec<u8>, Vec<u8>, i64, i64)> =
            sqlx::query_as("SELECT vault, hash, byte_offset, length FROM blobs WHERE pack = ?")
                .bind(object)
                .fetch_all(&self.pool)
                .await
                .map_err(failed)?;
        let lying = |(vault, hash, offset, length): (Vec<u8>, Vec<u8>, i64, i64)| {
            let (vault, hash) = (VaultId(Uuid::from_slice(&vault).ok()?), BlobHash::from_slice(&hash)?);
            Some(Lying { vault, hash, offset: offset.cast_unsigned(), length: length.cast_unsigned() })
        };
        Ok(rows.into_iter().filter_map(lying).collect())
    }

    async fn relocate(&self, from: &str, to: &str, blobs: &[Lying]) -> Result<(), BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        for blob in blobs {
            sqlx::query(
                "UPDATE blobs SET pack = ?, byte_offset = ? WHERE vault = ? AND hash = ? AND pack = ?",
            )
            .bind(to)
            .bind(signed(blob.offset))
            .bind(blob.vault.as_bytes().as_slice())
            .bind(blob.hash.as_bytes().as_slice())
            .bind(from)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn upload_started(&self, object: &str, upload: &str, now: Micros) -> Result<(), BlobError> {
        let started = sqlx::query(
            "INSERT INTO uploads (object, upload, started_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(object)
        .bind(upload)
        .bind(now.0)
        .execute(&self.pool);
        started.await.map(drop).map_err(failed)
    }

    async fn upload_to(&self, object: &str) -> Result<Option<String>, BlobError> {
        let upload = sqlx::query_scalar("SELECT upload FROM uploads WHERE object = ?").bind(object);
        upload.fetch_optional(&self.pool).await.map_err(failed)
    }

    async fn uploads_before(&self, time: Micros, limit: usize) -> Result<Vec<(String, String)>, BlobError> {
        sqlx::query_as(
            "SELECT object, upload FROM uploads WHERE started_at < ? ORDER BY started_at, object LIMIT ?",
        )
        .bind(time.0)
        .bind(signed(limit as u64))
        .fetch_all(&self.pool)
        .await
        .map_err(failed)
    }

    async fn uploads_under(&self, prefix: &str) -> Result<u64, BlobError> {
        let count = "SELECT count(*) FROM uploads WHERE substr(object, 1, length(?1)) = ?1";
        let count = sqlx::query_scalar::<_, i64>(count).bind(prefix).fetch_one(&self.pool).await;
        count.map(i64::cast_unsigned).map_err(failed)
    }

    async fn upload_ended(&self, object: &str) -> Result<(), BlobError> {
        let ended = sqlx::query("DELETE FROM uploads WHERE object = ?").bind(object).execute(&self.pool);
        ended.await.map(drop).map_err(failed)
    }

    async fn promise(&self, asked: &Promise<'_>) -> Result<Result<(), u64>, BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        let mut waiting = 0_i64;
        for vault in asked.vaults {
            let sums = "SELECT (SELECT coalesce(sum(length), 0) FROM blobs WHERE vault = ?1 AND named = 0)
                             + (SELECT coalesce(sum(bytes), 0) FROM promised WHERE vault = ?1)";
            let sum = sqlx::query_scalar::<_, i64>(sums).bind(vault.as_bytes().as_slice());
            waiting += sum.fetch_one(&mut *transaction).await.map_err(failed)?;
        }
        for (hash, _) in asked.blobs {
            let before = "SELECT bytes FROM promised WHERE vault = ? AND hash = ?";
            let before = sqlx::query_scalar::<_, i64>(before)
                .bind(asked.vault.as_bytes().as_slice())
                .bind(hash.as_bytes().as_slice());
            waiting -= before.fetch_optional(&mut *transaction).await.map_err(failed)?.unwrap_or(0);
        }
        let waiting = waiting.max(0).cast_unsigned();
        let more: u64 = asked.blobs.iter().map(|(_, bytes)| bytes).sum();
        if waiting.saturating_add(more) > asked.room {
            transaction.undo().await;
            return Ok(Err(waiting));
        }
        for (hash, bytes) in asked.blobs.iter().filter(|_| asked.keep) {
            sqlx::query(
                "INSERT INTO promised (vault, hash, bytes, since) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET bytes = max(bytes, ?3), since = ?4",
            )
            .bind(asked.vault.as_bytes().as_slice())
            .bind(hash.as_bytes().as_slice())
            .bind(signed(*bytes))
            .bind(asked.now.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(Ok(()))
    }

    async fn promised_at(
        &self,
        vault: VaultId,
        hash: BlobHash,
        object: &str,
    ) -> Result<Option<String>, BlobError> {
        let mut transaction = self.begin().await.map_err(failed)?;
        let before: Option<Option<String>> =
            sqlx::query_scalar("SELECT object FROM promised WHERE vault = ? AND hash = ?")
                .bind(vault.as_bytes().as_slice())
                .bind(hash.as_bytes().as_slice())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
        sqlx::query("UPDATE promised SET object = ?3 WHERE vault = ?1 AND hash = ?2")
            .bind(vault.as_bytes().as_slice())
            .bind(hash.as_bytes().as_slice())
            .bind(object)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(before.flatten().filter(|before| before != object))
    }

    async fn break_promise(&self, vault: VaultId, hash: BlobHash) -> Result<(), BlobError> {
        let broken = "DELETE FROM promised WHERE vault = ? AND hash = ? AND object IS NULL";
        let broken = sqlx::query(broken).bind(vault.as_bytes().as_slice()).bind(hash.as_bytes().as_slice());
        broken.execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn forget_promises(&self, vault: VaultId) -> Result<(), BlobError> {
        let gone = sqlx::query("DELETE FROM promised WHERE vault = ?").bind(vault.as_bytes().as_slice());
        gone.execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn sweep_promises(&self, before: Micros) -> Result<u64, BlobError> {
        let gone = sqlx::query(
            "DELETE FROM promised WHERE since < ?
             AND NOT EXISTS (SELECT 1 FROM orphans WHERE pack = promised.object)",
        );
        let gone = gone.bind(before.0).execute(&self.pool).await.map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn take_turn(&self, name: &str, last_before: Micros, now: Micros) -> Result<bool, BlobError> {
        let taken = sqlx::query(
            "INSERT INTO turns (name, taken_at) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET taken_at = ?2 WHERE taken_at < ?3 OR taken_at > ?4",
        )
        .bind(name)
        .bind(now.0)
        .bind(last_before.0)
        .bind(now.plus_seconds(TURN_AHEAD_S).0)
        .execute(&self.pool);
        Ok(taken.await.map_err(failed)?.rows_affected() > 0)
    }
}
