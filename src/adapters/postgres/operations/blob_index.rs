//! The index of blobs: one statement for each call, whatever the number of blobs.

use async_trait::async_trait;
use lockstep_events::{BlobHash, Micros, VaultId};
use uuid::Uuid;

use super::PostgresOperations;
use crate::{
    adapters::postgres::{begin, nature},
    blobs::{BlobError, BlobIndex, BlobPlace, Held, IndexError, Lying, Promise, Settled, TURN_AHEAD_S},
};

fn failed(error: sqlx::Error) -> BlobError {
    nature::failed::<IndexError>(error).into()
}

pub(super) fn bytes(hashes: &[BlobHash]) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect()
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

type Places = Vec<(BlobHash, BlobPlace)>;

fn places(rows: Vec<(Vec<u8>, String, i64, i64)>) -> Places {
    let place = |(hash, pack, offset, length): (Vec<u8>, String, i64, i64)| {
        let (offset, length) = (offset.cast_unsigned(), length.cast_unsigned());
        Some((BlobHash::from_slice(&hash)?, BlobPlace { pack, offset, length }))
    };
    rows.into_iter().filter_map(place).collect()
}

#[async_trait]
impl BlobIndex for PostgresOperations {
    async fn find(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Places, BlobError> {
        let rows = sqlx::query_as(
            "SELECT hash, pack, byte_offset, length FROM blobs WHERE vault = $1 AND hash = ANY($2)",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(bytes(hashes))
        .fetch_all(self.pool.again());
        Ok(places(rows.await.map_err(failed)?))
    }

    async fn name(&self, vault: VaultId, hashes: &[BlobHash], now: Micros) -> Result<Places, BlobError> {
        Ok(places(self.begin_naming(vault, hashes, now).await.map_err(failed)?))
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
        let hashes: Vec<_> = blobs.iter().map(|(hash, _)| *hash).collect();
        let packs: Vec<_> = blobs.iter().map(|(_, place)| place.pack.clone()).collect();
        let offsets: Vec<_> = blobs.iter().map(|(_, place)| signed(place.offset)).collect();
        let lengths: Vec<_> = blobs.iter().map(|(_, place)| signed(place.length)).collect();
        let mut transaction = begin::plain(&self.pool).await.map_err(failed)?;
        // Waits for whoever is about to doom one of these objects; the next statement sees what became of it.
        sqlx::query("DELETE FROM orphans WHERE pack = ANY($1) AND NOT doomed")
            .bind(&packs)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO blobs (vault, hash, pack, byte_offset, length, added_at)
             SELECT $1, b.hash, b.pack, b.byte_offset, b.length, $6
             FROM unnest($2::bytea[], $3::text[], $4::bigint[], $5::bigint[]) AS b (hash, pack, byte_offset, length)
             WHERE NOT EXISTS (SELECT 1 FROM orphans o WHERE o.pack = b.pack)
             ORDER BY b.hash ON CONFLICT DO NOTHING",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(bytes(&hashes))
        .bind(&packs)
        .bind(offsets)
        .bind(lengths)
        .bind(now.0)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        sqlx::query("DELETE FROM promised WHERE (vault = $1 AND hash = ANY($2)) OR object = ANY($3)")
            .bind(vault.as_bytes().as_slice())
            .bind(bytes(&hashes))
            .bind(packs)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn marks(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Vec<(BlobHash, u64)>, BlobError> {
        let rows: Vec<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT hash, names FROM blobs WHERE vault = $1 AND hash = ANY($2)")
                .bind(vault.as_bytes().as_slice())
                .bind(bytes(hashes))
                .fetch_all(self.pool.again())
                .await
                .map_err(failed)?;
        let mark = |(hash, mark): (Vec<u8>, i64)| Some((BlobHash::from_slice(&hash)?, mark.cast_unsigned()));
        Ok(rows.into_iter().filter_map(mark).collect())
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
        let gone = "DELETE FROM blobs WHERE NOT named AND pending = 0 AND added_at < $1 AND seen_at < $2";
        let gone = sqlx::query(gone)
            .bind(added_before.0)
            .bind(seen_before.0)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        let seen = "UPDATE blobs SET seen_at = $1
                    WHERE NOT named AND pending = 0 AND added_at < $2 AND seen_at IS NULL";
        sqlx::query(seen).bind(now.0).bind(added_before.0).execute(&self.pool).await.map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn orphans(
        &self,
        objects: &[String],
        seen_before: Micros,
        now: Micros,
    ) -> Result<Vec<String>, BlobError> {
        sqlx::query(
            "INSERT INTO orphans (pack, seen_at) SELECT o.pack, $2 FROM unnest($1::text[]) AS o (pack)
             WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.pack = o.pack) ON CONFLICT DO NOTHING",
        )
        .bind(objects)
        .bind(now.0)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        let mut old: Vec<String> = sqlx::query_scalar(
            "UPDATE orphans o SET doomed = true WHERE o.pack = ANY($1) AND (o.seen_at < $2 OR o.doomed)
             AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.pack = o.pack) RETURNING o.pack",
        )
        .bind(objects)
        .bind(seen_before.0)
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        old.sort_unstable();
        Ok(old)
    }

    async fn doomed(&self, limit: usize) -> Result<Vec<String>, BlobError> {
        sqlx::query_scalar("SELECT pack FROM orphans WHERE doomed ORDER BY pack LIMIT $1")
            .bind(signed(limit as u64))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)
    }

    async fn forget_orphans(&self, objects: &[String]) -> Result<(), BlobError> {
        for gone in
            ["DELETE FROM promised WHERE object = ANY($1)", "DELETE FROM orphans WHERE pack = ANY($1)"]
        {
            sqlx::query(gone).bind(objects).execute(&self.pool).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn used(&self, objects: &[String]) -> Result<Vec<(String, u64)>, BlobError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT pack, sum(length)::bigint FROM blobs WHERE pack = ANY($1) GROUP BY pack ORDER BY pack",
        )
        .bind(objects)
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        Ok(rows.into_iter().map(|(pack, bytes)| (pack, bytes.cast_unsigned())).collect())
    }

    async fn objects(&self, after: Option<&str>, limit: usize) -> Result<Vec<Held>, BlobError> {
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT pack, max(byte_offset + length), count(*), sum(length)::bigint FROM blobs
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
            sqlx::query_as("SELECT vault, hash, byte_offset, length FROM blobs WHERE pack = $1")
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
        let vaults: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.vault.as_bytes().to_vec()).collect();
        let hashes: Vec<_> = blobs.iter().map(|blob| blob.hash).collect();
        let offsets: Vec<_> = blobs.iter().map(|blob| signed(blob.offset)).collect();
        let moved = sqlx::query(
            "UPDATE blobs b SET pack = $2, byte_offset = m.byte_offset
             FROM unnest($3::bytea[], $4::bytea[], $5::bigint[]) AS m (vault, hash, byte_offset)
             WHERE b.vault = m.vault AND b.hash = m.hash AND b.pack = $1",
        )
        .bind(from)
        .bind(to)
        .bind(vaults)
        .bind(bytes(&hashes))
        .bind(offsets)
        .execute(&self.pool);
        moved.await.map(drop).map_err(failed)
    }

    async fn upload_started(&self, object: &str, upload: &str, now: Micros) -> Result<(), BlobError> {
        let started = sqlx::query(
            "INSERT INTO uploads (object, upload, started_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(object)
        .bind(upload)
        .bind(now.0)
        .execute(&self.pool);
        started.await.map(drop).map_err(failed)
    }

    async fn upload_to(&self, object: &str) -> Result<Option<String>, BlobError> {
        let upload = sqlx::query_scalar("SELECT upload FROM uploads WHERE object = $1").bind(object);
        upload.fetch_optional(self.pool.again()).await.map_err(failed)
    }

    async fn uploads_before(&self, time: Micros, limit: usize) -> Result<Vec<(String, String)>, BlobError> {
        sqlx::query_as(
            "SELECT object, upload FROM uploads WHERE started_at < $1 ORDER BY started_at, object LIMIT $2",
        )
        .bind(time.0)
        .bind(signed(limit as u64))
        .fetch_all(&self.pool)
        .await
        .map_err(failed)
    }

    async fn uploads_under(&self, prefix: &str) -> Result<u64, BlobError> {
        let count = "SELECT count(*) FROM uploads WHERE starts_with(object, $1)";
        let count = sqlx::query_scalar::<_, i64>(count).bind(prefix).fetch_one(self.pool.again()).await;
        count.map(i64::cast_unsigned).map_err(failed)
    }

    async fn upload_ended(&self, object: &str) -> Result<(), BlobError> {
        let ended = sqlx::query("DELETE FROM uploads WHERE object = $1").bind(object).execute(&self.pool);
        ended.await.map(drop).map_err(failed)
    }

    async fn promise(&self, asked: &Promise<'_>) -> Result<Result<(), u64>, BlobError> {
        let (hashes, lengths): (Vec<_>, Vec<_>) =
            asked.blobs.iter().map(|(hash, length)| (*hash, signed(*length))).unzip();
        let vaults: Vec<Vec<u8>> = asked.vaults.iter().map(|vault| vault.as_bytes().to_vec()).collect();
        let mut transaction = begin::plain(&self.pool).await.map_err(failed)?;
        // One after the other: each sees what the one before was promised.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 6020))")
            .bind(asked.vaults.first().unwrap_or(&asked.vault).as_bytes().as_slice())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let waiting: i64 = sqlx::query_scalar(
            "SELECT ((SELECT coalesce(sum(length), 0) FROM blobs WHERE vault = ANY($1) AND NOT named)
                   + (SELECT coalesce(sum(bytes), 0) FROM promised
                      WHERE vault = ANY($1) AND NOT (vault = $2 AND hash = ANY($3))))::bigint",
        )
        .bind(vaults)
        .bind(asked.vault.as_bytes().as_slice())
        .bind(bytes(&hashes))
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        let waiting = waiting.max(0).cast_unsigned();
        let more: u64 = asked.blobs.iter().map(|(_, bytes)| bytes).sum();
        if waiting.saturating_add(more) > asked.room {
            return Ok(Err(waiting));
        }
        if asked.keep {
            sqlx::query(
                "INSERT INTO promised AS p (vault, hash, bytes, since)
                 SELECT $1, b.hash, b.bytes, $4 FROM unnest($2::bytea[], $3::bigint[]) AS b (hash, bytes)
                 ORDER BY b.hash ON CONFLICT (vault, hash)
                 DO UPDATE SET bytes = greatest(p.bytes, excluded.bytes), since = excluded.since",
            )
            .bind(asked.vault.as_bytes().as_slice())
            .bind(bytes(&hashes))
            .bind(lengths)
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
        // The row is locked where it is read, so that of two callers the second is told the object of the first.
        let before: Option<Option<String>> = sqlx::query_scalar(
            "UPDATE promised p SET object = $3
             FROM (SELECT object FROM promised WHERE vault = $1 AND hash = $2 FOR UPDATE) AS before
             WHERE p.vault = $1 AND p.hash = $2 RETURNING before.object",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(hash.as_bytes().as_slice())
        .bind(object)
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        Ok(before.flatten().filter(|before| before != object))
    }

    async fn break_promise(&self, vault: VaultId, hash: BlobHash) -> Result<(), BlobError> {
        let broken = "DELETE FROM promised WHERE vault = $1 AND hash = $2 AND object IS NULL";
        let broken = sqlx::query(broken).bind(vault.as_bytes().as_slice()).bind(hash.as_bytes().as_slice());
        broken.execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn forget_promises(&self, vault: VaultId) -> Result<(), BlobError> {
        let gone = sqlx::query("DELETE FROM promised WHERE vault = $1").bind(vault.as_bytes().as_slice());
        gone.execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn sweep_promises(&self, before: Micros) -> Result<u64, BlobError> {
        let gone = sqlx::query(
            "DELETE FROM promised p WHERE since < $1
             AND NOT EXISTS (SELECT 1 FROM orphans o WHERE o.pack = p.object)",
        );
        let gone = gone.bind(before.0).execute(&self.pool).await.map_err(failed)?;
        Ok(gone.rows_affected())
    }

    async fn take_turn(&self, name: &str, last_before: Micros, now: Micros) -> Result<bool, BlobError> {
        let taken = sqlx::query(
            "INSERT INTO turns AS t (name, taken_at) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET taken_at = $2 WHERE t.taken_at < $3 OR t.taken_at > $4",
        )
        .bind(name)
        .bind(now.0)
        .bind(last_before.0)
        .bind(now.plus_seconds(TURN_AHEAD_S).0)
        .execute(&self.pool);
        Ok(taken.await.map_err(failed)?.rows_affected() > 0)
    }
}
