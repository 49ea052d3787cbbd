//! Shared buckets of rate limits in Postgres.

use async_trait::async_trait;
use lockstep_events::Micros;

use super::{Database, credentials::failed, pool::Pool};
use crate::{
    auth::credentials::CredentialError,
    limits::{LONGEST, RateStore, SLACK, Take, Taken},
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

    /// What is too far ahead is so by the database's clock, too, which all nodes share: a node whose own is behind must not
    /// take away what the others have counted.
    async fn shared(&self, now: Micros) -> Result<Micros, CredentialError> {
        let later = "SELECT greatest($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";
        let later = sqlx::query_scalar(later).bind(now.0).fetch_one(&self.pool).await;
        later.map(Micros).map_err(failed)
    }

    /// The time of an empty bucket, and kept so.
    async fn seen(&self, take: &Take, full_at: Micros, now: Micros) -> Result<Micros, CredentialError> {
        if take.quota.seen(full_at, now) == full_at {
            return Ok(full_at);
        }
        let seen = take.quota.seen(full_at, self.shared(now).await?);
        if seen != full_at {
            let set = if take.kept {
                sqlx::query("UPDATE rl_kept SET full_at = $3 WHERE key = $1 AND full_at = $2")
            } else {
                sqlx::query("UPDATE rl SET full_at = $3 WHERE key = $1 AND full_at = $2")
            };
            let set = set.bind(take.key.as_slice()).bind(full_at.0).bind(seen.0);
            set.execute(&self.pool).await.map_err(failed)?;
        }
        Ok(seen)
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
            Some(at) => {
                Ok(Taken::Refused { at, full_at: self.seen(&takes[at], Micros(rows[at].1), now).await? })
            }
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
        let latest = self.shared(now).await?.0.saturating_add(LONGEST);
        for set in [
            "UPDATE rl SET full_at = $1 WHERE full_at > $2",
            "UPDATE rl_kept SET full_at = $1 WHERE full_at > $2",
        ] {
            let set = sqlx::query(set).bind(latest).bind(latest.saturating_add(SLACK));
            set.execute(&self.pool).await.map_err(failed)?;
        }
        let passing = sqlx::query("DELETE FROM rl WHERE full_at <= $1").bind(now.0).execute(&self.pool);
        let passing = passing.await.map_err(failed)?.rows_affected();
        let kept = sqlx::query("DELETE FROM rl_kept WHERE full_at <= $1").bind(now.0).execute(&self.pool);
        Ok(passing + kept.await.map_err(failed)?.rows_affected())
    }
}
