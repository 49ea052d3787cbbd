//! The read store in Postgres, beside the log.

mod claim;
mod rows;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use lockstep_events::{Position, VaultId};
use lockstep_projections::{
    checksum::RowDigest,
    key::{Family, Group, Key, Projection},
    store::{Advance, Checksum, Claim, Generation, ReadError},
};
use sqlx::PgConnection;

use super::{begin, nature, pool::Pool};
use crate::adapters::documents::{Document, Documents, Listing, Reads};

/// Rows deleted in one transaction.
const DELETED_AT_ONCE: i64 = 20_000;

/// The read store in Postgres.
pub type PostgresReads = Reads<PostgresDocuments>;

/// The documents in a migrated database.
#[derive(Debug, Clone)]
pub struct PostgresDocuments {
    pool: Pool,
}

impl PostgresReads {
    /// The read store in a database that has all migrations.
    pub fn new(pool: Pool) -> Self {
        Self(PostgresDocuments { pool })
    }
}

fn number(generation: Generation) -> i32 {
    i32::try_from(generation.0).unwrap_or(i32::MAX)
}

fn generation(number: i32) -> Generation {
    Generation(u32::try_from(number).unwrap_or_default())
}

fn codes(family: Family) -> Vec<i16> {
    family.members().iter().map(|member| member.code()).collect()
}

/// Moves all checkpoints of the steps in one statement; locked in one order, so that two runners queue.
async fn advance(on: &mut PgConnection, steps: &[Advance], to: Position) -> Result<(), ReadError> {
    let members: Vec<_> = steps
        .iter()
        .flat_map(|step| step.family.members().iter().map(move |member| (step, *member)))
        .collect();
    let moved = sqlx::query(
        "WITH locked AS ( \
             SELECT c.projection, c.generation FROM read_checkpoints c \
             JOIN unnest($2::smallint[], $3::integer[], $4::bigint[], $5::boolean[]) \
                  AS s (projection, generation, position, must_be_live) \
               ON c.projection = s.projection AND c.generation = s.generation \
             WHERE c.position = s.position AND (c.live OR NOT s.must_be_live) \
             ORDER BY c.projection FOR UPDATE OF c) \
         UPDATE read_checkpoints c SET position = $1 FROM locked l \
         WHERE c.projection = l.projection AND c.generation = l.generation",
    )
    .bind(to.as_i64())
    .bind(members.iter().map(|(_, member)| member.code()).collect::<Vec<_>>())
    .bind(members.iter().map(|(step, _)| number(step.generation)).collect::<Vec<_>>())
    .bind(members.iter().map(|(step, _)| step.from.as_i64()).collect::<Vec<_>>())
    .bind(members.iter().map(|(step, _)| step.must_be_live).collect::<Vec<_>>())
    .execute(on)
    .await
    .map_err(failed)?
    .rows_affected();
    if moved == members.len() as u64 {
        Ok(())
    } else {
        Err(ReadError::Moved(steps.first().map_or("nothing", |step| step.family.name())))
    }
}

async fn delete(on: &mut PgConnection, rows: &[(Generation, Key)]) -> Result<(), ReadError> {
    sqlx::query(
        "DELETE FROM read_rows r USING unnest($1::smallint[], $2::integer[], $3::bytea[], $4::bytea[]) \
             AS d (projection, generation, scope, id) \
         WHERE r.projection = d.projection AND r.generation = d.generation AND r.scope = d.scope AND r.id = d.id",
    )
    .bind(rows.iter().map(|(_, key)| key.projection().code()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(generation, _)| number(*generation)).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, key)| key.scope().to_vec()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, key)| key.id().to_vec()).collect::<Vec<_>>())
    .execute(on)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Everything inside a vault.
async fn clear(on: &mut PgConnection, of: Generation, vault: VaultId) -> Result<(), ReadError> {
    sqlx::query("DELETE FROM read_rows WHERE projection = ANY($1) AND generation = $2 AND scope = $3")
        .bind(codes(Family::Vault))
        .bind(number(of))
        .bind(vault.as_bytes().to_vec())
        .execute(on)
        .await
        .map_err(failed)?;
    Ok(())
}

#[async_trait]
impl Documents for PostgresDocuments {
    async fn generations(&self, of: Projection) -> Result<Vec<(Generation, Position, bool)>, ReadError> {
        let rows: Vec<(i32, i64, bool)> = sqlx::query_as(
            "SELECT generation, position, live FROM read_checkpoints WHERE projection = $1 ORDER BY generation",
        )
        .bind(of.code())
        .fetch_all(self.pool.again())
        .await
        .map_err(failed)?;
        Ok(rows.into_iter().map(|(g, p, live)| (generation(g), Position::from_i64(p), live)).collect())
    }

    // LIMIT keeps the planner from turning a look-up around: without statistics it takes all of a read model for one row,
    // reads it whole, and compares each row with each key.
    async fn by_key(&self, in_: Generation, keys: &[Key]) -> Result<Vec<(Projection, String)>, ReadError> {
        let rows: Vec<(i16, String)> = sqlx::query_as(
            "SELECT k.projection, r.document FROM unnest($2::smallint[], $3::bytea[], $4::bytea[]) \
                 AS k (projection, scope, id) \
             CROSS JOIN LATERAL (SELECT document FROM read_rows WHERE projection = k.projection \
                 AND generation = $1 AND scope = k.scope AND id = k.id LIMIT 1) r",
        )
        .bind(number(in_))
        .bind(keys.iter().map(|key| key.projection().code()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.scope().to_vec()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.id().to_vec()).collect::<Vec<_>>())
        .fetch_all(self.pool.again())
        .await
        .map_err(failed)?;
        Ok(rows.into_iter().filter_map(|(of, text)| Some((Projection::from_code(of)?, text))).collect())
    }

    async fn of_group(&self, in_: Generation, group: Group) -> Result<Vec<String>, ReadError> {
        sqlx::query_scalar(
            "SELECT document FROM read_rows WHERE projection = $1 AND generation = $2 AND scope = $3 \
             AND parent = $4 ORDER BY place, id",
        )
        .bind(group.projection().code())
        .bind(number(in_))
        .bind(group.scope().to_vec())
        .bind(group.parent().to_vec())
        .fetch_all(self.pool.again())
        .await
        .map_err(failed)
    }

    async fn commit(
        &self,
        steps: &[Advance],
        to: Position,
        puts: Vec<(Generation, Document)>,
        deletes: Vec<(Generation, Key)>,
        clears: Vec<(Generation, VaultId)>,
    ) -> Result<(), ReadError> {
        // A crash of the database may take the last commits, whole; the runner folds them again.
        let begin = "BEGIN; SET LOCAL synchronous_commit = off";
        let mut transaction = begin::with(&self.pool, begin).await.map_err(failed)?;
        advance(&mut transaction, steps, to).await?;
        rows::put(&mut transaction, puts).await?;
        if !deletes.is_empty() {
            delete(&mut transaction, &deletes).await?;
        }
        for (generation, vault) in clears {
            clear(&mut transaction, generation, vault).await?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn scrub(&self) -> Result<(), ReadError> {
        // Postgres reuses the room of deleted rows by itself; a dump has none of them.
        Ok(())
    }

    async fn claim(&self) -> Result<Claim, ReadError> {
        claim::take(&self.pool).await
    }

    async fn start(&self, family: Family) -> Result<Generation, ReadError> {
        let new: Vec<i32> = sqlx::query_scalar(
            "INSERT INTO read_checkpoints (projection, generation, position, live) \
             SELECT p, (SELECT max(generation) FROM read_checkpoints WHERE projection = ANY($1)) + 1, 0, false \
             FROM unnest($1::smallint[]) AS p RETURNING generation",
        )
        .bind(codes(family))
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        new.first().map(|number| generation(*number)).ok_or(ReadError::Moved(family.name()))
    }

    async fn switch(&self, family: Family, from: Generation, to: Generation) -> Result<(), ReadError> {
        let mut transaction = begin::plain(&self.pool).await.map_err(failed)?;
        let left: Vec<i64> = sqlx::query_scalar(
            "UPDATE read_checkpoints SET live = false \
             WHERE live AND generation = $1 AND projection = ANY($2) RETURNING position",
        )
        .bind(number(from))
        .bind(codes(family))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        // The update above holds the old checkpoints: no follower moves them any more.
        let entered = sqlx::query(
            "UPDATE read_checkpoints SET live = true \
             WHERE generation = $1 AND projection = ANY($2) AND position >= $3",
        )
        .bind(number(to))
        .bind(codes(family))
        .bind(left.iter().copied().max().unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?
        .rows_affected();
        let all = family.members().len();
        if left.len() != all || entered != all as u64 {
            return Err(ReadError::Moved(family.name()));
        }
        transaction.commit().await.map_err(failed)
    }

    async fn drop_rows(&self, family: Family, generation: Generation) -> Result<u64, ReadError> {
        let mut dropped = 0;
        loop {
            let mut transaction = begin::plain(&self.pool).await.map_err(failed)?;
            let live: Vec<bool> = sqlx::query_scalar(
                "SELECT live FROM read_checkpoints WHERE generation = $1 AND projection = ANY($2) \
                 ORDER BY projection FOR UPDATE",
            )
            .bind(number(generation))
            .bind(codes(family))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
            if live.contains(&true) {
                return Err(ReadError::Moved(family.name()));
            }
            let gone = sqlx::query(
                "DELETE FROM read_rows WHERE ctid = ANY (ARRAY(SELECT ctid FROM read_rows \
                 WHERE generation = $1 AND projection = ANY($2) LIMIT $3))",
            )
            .bind(number(generation))
            .bind(codes(family))
            .bind(DELETED_AT_ONCE)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?
            .rows_affected();
            dropped += gone;
            if gone == 0 {
                sqlx::query("DELETE FROM read_checkpoints WHERE generation = $1 AND projection = ANY($2)")
                    .bind(number(generation))
                    .bind(codes(family))
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
            }
            transaction.commit().await.map_err(failed)?;
            if gone == 0 {
                return Ok(dropped);
            }
        }
    }

    async fn checksum(&self, of: Projection, generation: Generation) -> Result<Checksum, ReadError> {
        let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut snapshot = begin::with(&self.pool, snapshot).await.map_err(failed)?;
        // All rows of a large model take longer than a statement of the server may.
        sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *snapshot).await.map_err(failed)?;
        let position: Option<i64> = sqlx::query_scalar(
            "SELECT position FROM read_checkpoints WHERE projection = $1 AND generation = $2",
        )
        .bind(of.code())
        .bind(number(generation))
        .fetch_optional(&mut *snapshot)
        .await
        .map_err(failed)?;
        let position = Position::from_i64(position.ok_or(ReadError::Moved(of.name()))?);
        let mut digest = RowDigest::default();
        let mut rows = sqlx::query_as::<_, (Vec<u8>, Vec<u8>, String)>(
            "SELECT scope, id, document FROM read_rows WHERE projection = $1 AND generation = $2 \
             ORDER BY scope, id",
        )
        .bind(of.code())
        .bind(number(generation))
        .fetch(&mut *snapshot);
        while let Some((scope, id, document)) = rows.try_next().await.map_err(failed)? {
            digest.add(&scope, &id, &document);
        }
        let (sha256, rows) = digest.finish();
        Ok(Checksum { sha256, rows, position })
    }

    async fn count(&self, of: Projection, generation: Generation) -> Result<u64, ReadError> {
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM read_rows WHERE projection = $1 AND generation = $2")
                .bind(of.code())
                .bind(number(generation))
                .fetch_one(self.pool.again())
                .await
                .map_err(failed)?;
        Ok(rows.cast_unsigned())
    }

    async fn live_by_key(&self, of: Projection, keys: &[Key]) -> Result<Vec<String>, ReadError> {
        sqlx::query_scalar(
            "SELECT r.document FROM \
                 (SELECT c.generation FROM read_checkpoints c WHERE c.live AND c.projection = $1) l \
             CROSS JOIN unnest($2::bytea[], $3::bytea[]) AS k (scope, id) \
             CROSS JOIN LATERAL (SELECT document FROM read_rows WHERE projection = $1 \
                 AND generation = l.generation AND scope = k.scope AND id = k.id LIMIT 1) r",
        )
        .bind(of.code())
        .bind(keys.iter().map(|key| key.scope().to_vec()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.id().to_vec()).collect::<Vec<_>>())
        .fetch_all(self.pool.again())
        .await
        .map_err(failed)
    }

    async fn live_listing(&self, listing: Listing<'_>) -> Result<Vec<String>, ReadError> {
        sqlx::query_scalar(
            "SELECT document FROM read_rows WHERE projection = $1 AND scope = $2 AND parent = $3 \
             AND place > $4 AND generation = \
                 (SELECT c.generation FROM read_checkpoints c WHERE c.live AND c.projection = $1) \
             ORDER BY place, id LIMIT $5",
        )
        .bind(listing.projection.code())
        .bind(listing.scope.to_vec())
        .bind(listing.parent.to_vec())
        .bind(listing.after)
        .bind(listing.limit)
        .fetch_all(self.pool.again())
        .await
        .map_err(failed)
    }

    async fn live_page(
        &self,
        of: Projection,
        scope: &[u8],
        after: &[u8],
        limit: i64,
    ) -> Result<Vec<String>, ReadError> {
        sqlx::query_scalar(
            "SELECT document FROM read_rows WHERE projection = $1 AND scope = $2 AND id > $3 AND generation = \
                 (SELECT c.generation FROM read_checkpoints c WHERE c.live AND c.projection = $1) \
             ORDER BY id LIMIT $4",
        )
        .bind(of.code())
        .bind(scope.to_vec())
        .bind(after.to_vec())
        .bind(limit)
        .fetch_all(self.pool.again())
        .await
        .map_err(failed)
    }

    async fn live_ids(
        &self,
        of: Projection,
        scope: &[u8],
        after: &[u8],
        limit: i64,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        sqlx::query_scalar(
            "SELECT id FROM read_rows WHERE projection = $1 AND scope = $2 AND id > $3 AND generation = \
                 (SELECT c.generation FROM read_checkpoints c WHERE c.live AND c.projection = $1) \
             ORDER BY id LIMIT $4",
        )
        .bind(of.code())
        .bind(scope.to_vec())
        .bind(after.to_vec())
        .bind(limit)
        .fetch_all(self.pool.again())
        .await
        .map_err(failed)
    }
}

/// What an error of Postgres means to a caller of the read store.
fn failed(error: sqlx::Error) -> ReadError {
    nature::failed(error)
}
