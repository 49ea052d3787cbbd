//! The index of blobs: one statement for each call, whatever the number of blobs.

use async_trait::async_trait;
use lockstep_events::{BlobHash, Micros, VaultId};

use super::{Nature, PostgresOperations, nature};
use crate::blobs::{BlobError, BlobIndex, BlobPlace};

fn failed(error: sqlx::Error) -> BlobError {
    match nature(&error) {
        Nature::Passing => BlobError::Unavailable(Box::new(error)),
        Nature::Full => BlobError::Full(Box::new(error)),
        Nature::Other => BlobError::Other(Box::new(error)),
    }
}

fn bytes(hashes: &[BlobHash]) -> Vec<Vec<u8>> {
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
        .fetch_all(&self.pool);
        Ok(places(rows.await.map_err(failed)?))
    }

    async fn name(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Places, BlobError> {
        let rows = sqlx::query_as(
            "UPDATE blobs SET named = true, seen_at = NULL WHERE vault = $1 AND hash = ANY($2)
             RETURNING hash, pack, byte_offset, length",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(bytes(hashes))
        .fetch_all(&self.pool);
        Ok(places(rows.await.map_err(failed)?))
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
        sqlx::query(
            "INSERT INTO blobs (vault, hash, pack, byte_offset, length, added_at)
             SELECT $1, b.hash, b.pack, b.byte_offset, b.length, $6
             FROM unnest($2::bytea[], $3::text[], $4::bigint[], $5::bigint[]) AS b (hash, pack, byte_offset, length)
             ORDER BY b.hash ON CONFLICT DO NOTHING",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(bytes(&hashes))
        .bind(packs)
        .bind(offsets)
        .bind(lengths)
        .bind(now.0)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn remove(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<Vec<String>, BlobError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let mut packs: Vec<String> =
            sqlx::query_scalar("DELETE FROM blobs WHERE vault = $1 AND hash = ANY($2) RETURNING pack")
                .bind(vault.as_bytes().as_slice())
                .bind(bytes(hashes))
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?;
        packs.sort_unstable();
        packs.dedup();
        let used: Vec<String> = sqlx::query_scalar("SELECT DISTINCT pack FROM blobs WHERE pack = ANY($1)")
            .bind(&packs)
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        packs.retain(|pack| !used.contains(pack));
        Ok(packs)
    }

    async fn sweep_unnamed(
        &self,
        added_before: Micros,
        seen_before: Micros,
        now: Micros,
    ) -> Result<u64, BlobError> {
        let gone = sqlx::query("DELETE FROM blobs WHERE NOT named AND added_at < $1 AND seen_at < $2")
            .bind(added_before.0)
            .bind(seen_before.0)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        sqlx::query("UPDATE blobs SET seen_at = $1 WHERE NOT named AND added_at < $2 AND seen_at IS NULL")
            .bind(now.0)
            .bind(added_before.0)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
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
        sqlx::query_scalar(
            "SELECT o.pack FROM orphans o WHERE o.pack = ANY($1) AND o.seen_at < $2
             AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.pack = o.pack) ORDER BY o.pack",
        )
        .bind(objects)
        .bind(seen_before.0)
        .fetch_all(&self.pool)
        .await
        .map_err(failed)
    }

    async fn forget_orphans(&self, objects: &[String]) -> Result<(), BlobError> {
        let gone = sqlx::query("DELETE FROM orphans WHERE pack = ANY($1)").bind(objects).execute(&self.pool);
        gone.await.map(drop).map_err(failed)
    }
}
