//! Shared buckets of rate limits in Postgres.

use async_trait::async_trait;
use lockstep_events::Micros;

use super::{Database, credentials::failed, pool::Pool};
use crate::{
    auth::credentials::CredentialError,
    limits::{RateStore, Take, Taken},
};

/// Buckets in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresRates {
    pool: Pool,
}

impl PostgresRates {
    /// The tables of a migrated database.
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool().clone() }
    }
}

#[async_trait]
impl RateStore for PostgresRates {
    async fn take(&self, takes: &[Take], now: Micros) -> Result<Taken, CredentialError> {
        // What is asked twice because nobody knows whether the first counted, counts twice at most: nothing more is let in.
        let rows: Vec<(bool, i64)> =
            sqlx::query_as("SELECT was_taken, is_full_at FROM rl_take($1, $2, $3, $4, $5)")
                .bind(takes.iter().map(|take| take.key.to_vec()).collect::<Vec<_>>())
                .bind(takes.iter().map(|take| take.kept).collect::<Vec<_>>())
                .bind(takes.iter().map(|take| take.quota.step).collect::<Vec<_>>())
                .bind(takes.iter().map(|take| take.quota.window()).collect::<Vec<_>>())
                .bind(now.0)
                .fetch_all(self.pool.again())
                .await
                .map_err(failed)?;
        match rows.iter().position(|(taken, _)| !taken) {
            Some(at) => Ok(Taken::Refused { at, full_at: Micros(rows[at].1) }),
            None => Ok(Taken::All(rows.into_iter().map(|(_, full_at)| Micros(full_at)).collect())),
        }
    }

    async fn give_back(&self, take: &Take) -> Result<(), CredentialError> {
        let put = if take.kept {
            sqlx::query("UPDATE rl_kept SET full_at = full_at - $2 WHERE key = $1")
        } else {
            sqlx::query("UPDATE rl SET full_at = full_at - $2 WHERE key = $1")
        };
        put.bind(take.key.as_slice()).bind(take.quota.step).execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }

    async fn sweep(&self, now: Micros) -> Result<u64, CredentialError> {
        let passing = sqlx::query("DELETE FROM rl WHERE full_at <= $1").bind(now.0).execute(&self.pool);
        let passing = passing.await.map_err(failed)?.rows_affected();
        let kept = sqlx::query("DELETE FROM rl_kept WHERE full_at <= $1").bind(now.0).execute(&self.pool);
        Ok(passing + kept.await.map_err(failed)?.rows_affected())
    }
}
