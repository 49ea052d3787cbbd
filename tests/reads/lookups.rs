//! A look-up in Postgres stays a look-up, whatever its planner knows.
#![cfg(feature = "distributed")]

use lockstep_events::{VaultId, VersionId};
use lockstep_projections::{
    key::Key,
    store::{Generation, ReadError, ReadStore},
};
use lockstepd::adapters::postgres::read::PostgresReads;
use sqlx::PgPool;
use uuid::Uuid;

const VAULT: VaultId = VaultId(Uuid::from_u128(7));
const VERSIONS: i32 = 5_000;
const WANTED: u32 = 200;

/// As it is when somebody fills a vault in a young database: there are no statistics yet.
async fn filled(pool: &PgPool) {
    // The owner of the tables may do what the server may not.
    for statement in ["SET ROLE NONE", "ALTER TABLE read_rows SET (autovacuum_enabled = false)"] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
    sqlx::query(
        "INSERT INTO read_rows (projection, generation, scope, id, parent, place, document)
         SELECT 6, 1, $1, sha256(int8send(n)), NULL, 0, '{}' FROM generate_series(1, $2) n",
    )
    .bind(VAULT.as_bytes().to_vec())
    .bind(VERSIONS)
    .execute(pool)
    .await
    .unwrap();
}

async fn wanted(pool: &PgPool) -> Vec<VersionId> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("SELECT sha256(int8send(n)) FROM generate_series(1, $1) n")
        .bind(i32::try_from(WANTED).unwrap())
        .fetch_all(pool)
        .await
        .unwrap();
    ids.iter().map(|id| VersionId::from_slice(id).unwrap()).collect()
}

/// Rows of the read models that were looked at so far. There is one connection, so its counters are all there are.
async fn looked_at(pool: &PgPool) -> i64 {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(pool).await.unwrap();
    sqlx::query_scalar(
        "SELECT coalesce(idx_tup_fetch, 0) + seq_tup_read FROM pg_stat_user_tables WHERE relname = 'read_rows'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn rows_are_found_by_their_keys_where_there_are_no_statistics() {
    let database = crate::database::with(1).await;
    let pool = database.pool().clone();
    filled(&pool).await;
    let reads = PostgresReads::new(pool.clone());
    let wanted = wanted(&pool).await;
    let keys: Vec<_> = wanted.iter().map(|id| Key::Version(VAULT, *id)).collect();
    let before = looked_at(&pool).await;
    // The sixth and later times the plan is made without the keys.
    for _ in 0..8 {
        assert_eq!(reads.version_documents(VAULT, &wanted).await.unwrap().len(), wanted.len());
        // `{}` is no row, which is found out once all of them are there.
        assert!(matches!(reads.load(Generation(1), &keys).await, Err(ReadError::Shape { .. })));
    }
    assert_eq!(looked_at(&pool).await - before, 16 * i64::from(WANTED));
}
