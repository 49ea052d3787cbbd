//! Transactions begin whole. A future that is dropped while its BEGIN is on the way, as that of a request whose client has
//! gone, would give a connection back in which a transaction is open that nobody knows of: what the next one writes over
//! it would never be committed (sqlx 0.9 rolls back only what it has counted as begun). So BEGIN has a task of its own,
//! which sees it through; a transaction that nobody takes then is rolled back. One that could not begin because its
//! connection was cut has done nothing, and begins over another. A BEGIN that is given up, as nothing comes, has a
//! connection that is closed.

use sqlx::{Postgres, Transaction};

use super::pool::{Pool, is_cut};

/// A transaction, as a dropped future leaves none behind.
pub(super) async fn plain(pool: &Pool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    with(pool, "BEGIN").await
}

/// The same, begun by this statement.
pub(super) async fn with(
    pool: &Pool,
    statement: &'static str,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move {
        match pool.answered(pool.begin_with(statement)).await {
            Err(error) if is_cut(&error) => pool.answered(pool.begin_with(statement)).await,
            other => other,
        }
    });
    // Only a runtime that ends breaks it off.
    begun.await.unwrap_or(Err(sqlx::Error::PoolClosed))
}
