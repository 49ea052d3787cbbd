//! A Postgres database of its own for every test.
#![cfg(feature = "distributed")]

use lockstepd::adapters::postgres::Database;

#[path = "../support/database.rs"]
mod copied;

/// A new, migrated database on the server that `cargo xtask test` started.
pub async fn new() -> Database {
    with(4).await
}

/// The same with so many connections.
pub async fn with(connections: u32) -> Database {
    Database::connect(&copied::fresh("reads").await, connections).await.unwrap()
}

/// Whoever went away while a transaction began left a connection in which it was open: what the next one wrote over that
/// connection was never committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_given_up_at_any_moment_leaves_no_transaction_open() {
    use std::time::Duration;

    use lockstep_projections::{Projection, ReadStore};
    use lockstepd::adapters::postgres::read::PostgresReads;

    let database = with(2).await;
    let reads = PostgresReads::new(database.pool().clone());
    let live = reads.checkpoint(Projection::Entries).await.unwrap().live;
    for n in 0..600 {
        let patience = Duration::from_micros(4 * n);
        let _ = tokio::time::timeout(patience, reads.checksum(Projection::Entries, live)).await;
    }
    // Each of the two connections is asked, and each answers for itself.
    for _ in 0..20 {
        let (one, other) = tokio::join!(
            reads.checksum(Projection::Entries, live),
            reads.checksum(Projection::Entries, live)
        );
        assert_eq!(one.unwrap(), other.unwrap());
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND state LIKE 'idle in transaction%'";
    let open: i64 = sqlx::query_scalar(open).fetch_one(database.pool()).await.unwrap();
    assert_eq!(open, 0);
}
