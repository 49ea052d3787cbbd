//! Which blobs are named, and what a blob that is named keeps from being taken out. Rows are locked in the order of their
//! hashes: two who name the same blobs at the same time wait for each other, and never both.

use lockstep_events::{BlobHash, Micros, VaultId};
use uuid::Uuid;

use super::{PostgresOperations, blob_index::bytes};
use crate::{
    adapters::postgres::begin,
    blobs::{LATE_SINCE, Settled},
};

/// Hash, object, first byte and length.
pub(super) type PlaceRow = (Vec<u8>, String, i64, i64);

fn split(blobs: &[(BlobHash, u64)]) -> (Vec<Vec<u8>>, Vec<i64>) {
    blobs.iter().map(|(hash, mark)| (hash.as_bytes().to_vec(), mark.cast_signed())).unzip()
}

impl PostgresOperations {
    pub(super) async fn begin_naming(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
        now: Micros,
    ) -> Result<Vec<PlaceRow>, sqlx::Error> {
        sqlx::query_as(
            "UPDATE blobs b SET names = names + 1, pending = pending + 1, pending_since = $3, seen_at = NULL
             FROM (SELECT hash FROM blobs WHERE vault = $1 AND hash = ANY($2) ORDER BY hash FOR UPDATE) l
             WHERE b.vault = $1 AND b.hash = l.hash RETURNING b.hash, b.pack, b.byte_offset, b.length",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(bytes(hashes))
        .bind(now.0)
        .fetch_all(&self.pool)
        .await
    }

    pub(super) async fn end_naming(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
        stands: bool,
    ) -> Result<(), sqlx::Error> {
        let ended = sqlx::query(
            "UPDATE blobs b SET named = named OR $3, names = names + $3::int, pending = greatest(pending - 1, 0)
             FROM (SELECT hash FROM blobs WHERE vault = $1 AND hash = ANY($2) ORDER BY hash FOR UPDATE) l
             WHERE b.vault = $1 AND b.hash = l.hash",
        );
        let ended = ended.bind(vault.as_bytes().as_slice()).bind(bytes(hashes)).bind(stands);
        ended.execute(&self.pool).await.map(drop)
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
             WHERE pending > 0 AND pending_since > $5 AND pending_since < $1 AND (vault, hash) > ($2, $3)
             ORDER BY vault, hash LIMIT $4",
        )
        .bind(before.0)
        .bind::<Vec<u8>>(vault)
        .bind::<Vec<u8>>(hash)
        .bind(limit)
        .bind(LATE_SINCE.0)
        .fetch_all(self.pool.again())
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
        said: Settled,
    ) -> Result<(), sqlx::Error> {
        let (hashes, marks) = split(blobs);
        let settled = sqlx::query(
            "UPDATE blobs b SET named = $4, pending = $5::int, pending_since = $6, seen_at = NULL
             FROM unnest($2::bytea[], $3::bigint[]) AS s (hash, mark)
             WHERE b.vault = $1 AND b.hash = s.hash AND b.names = s.mark",
        );
        let settled = settled.bind(vault.as_bytes().as_slice()).bind(hashes).bind(marks);
        let settled = settled.bind(said == Settled::Named).bind(said == Settled::Late).bind(LATE_SINCE.0);
        settled.execute(&self.pool).await.map(drop)
    }

    pub(super) async fn take_out(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, u64)],
        named_since: Micros,
        now: Micros,
    ) -> Result<Vec<String>, sqlx::Error> {
        let (hashes, marks) = split(blobs);
        let mut transaction = begin::plain(&self.pool).await?;
        sqlx::query("SELECT FROM blobs WHERE vault = $1 AND hash = ANY($2) ORDER BY hash FOR UPDATE")
            .bind(vault.as_bytes().as_slice())
            .bind(&hashes)
            .execute(&mut *transaction)
            .await?;
        let mut packs: Vec<String> = sqlx::query_scalar(
            "DELETE FROM blobs b USING unnest($2::bytea[], $3::bigint[]) AS r (hash, mark)
             WHERE b.vault = $1 AND b.hash = r.hash AND b.names = r.mark
             AND (b.pending = 0 OR b.pending_since < $4) RETURNING b.pack",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(&hashes)
        .bind(marks)
        .bind(named_since.0)
        .fetch_all(&mut *transaction)
        .await?;
        // A naming that nobody ends: the event that was named for may be refused, and those of before are gone.
        sqlx::query(
            "UPDATE blobs SET pending = pending + 1, pending_since = $3 WHERE vault = $1 AND hash = ANY($2)",
        )
        .bind(vault.as_bytes().as_slice())
        .bind(hashes)
        .bind(now.0)
        .execute(&mut *transaction)
        .await?;
        packs.sort_unstable();
        packs.dedup();
        // The row is there before it is looked whether the object is empty: two who each take out one of the last two
        // blobs meet here, and the second sees what the first did.
        sqlx::query(
            "INSERT INTO orphans (pack, seen_at) SELECT pack, 0 FROM unnest($1::text[]) AS p (pack) ORDER BY pack
             ON CONFLICT (pack) DO UPDATE SET seen_at = orphans.seen_at",
        )
        .bind(&packs)
        .execute(&mut *transaction)
        .await?;
        let doomed = sqlx::query_scalar(
            "UPDATE orphans o SET doomed = true WHERE o.pack = ANY($1)
             AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.pack = o.pack) RETURNING o.pack",
        )
        .bind(&packs)
        .fetch_all(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM orphans WHERE pack = ANY($1) AND NOT doomed")
            .bind(&packs)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(doomed)
    }
}
