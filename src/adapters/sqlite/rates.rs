//! Buckets of rate limits in a SQLite file of their own.

use std::path::Path;

use async_trait::async_trait;
use lockstep_events::Micros;
use sqlx::{SqliteConnection, migrate::Migrator, sqlite::SqliteSynchronous};

use super::{Lanes, credentials::failed, file, migrated};
use crate::{
    auth::credentials::CredentialError,
    limits::{RateStore, Take, Taken},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite/rates");

/// Buckets in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteRates {
    pool: Lanes,
}

impl SqliteRates {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// If the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self, CredentialError> {
        let options = file(path).synchronous(SqliteSynchronous::Normal);
        let pool = migrated(options, &MIGRATIONS, failed, CredentialError::Other).await?;
        Ok(Self { pool })
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Takes one: when the bucket is full again, and whether there was one.
async fn take_one(
    connection: &mut SqliteConnection,
    take: &Take,
    now: Micros,
) -> Result<(bool, Micros), sqlx::Error> {
    let upsert = if take.kept {
        "INSERT INTO rl_kept (key, full_at) VALUES (?1, ?2 + ?3)
         ON CONFLICT (key) DO UPDATE SET full_at = max(full_at, ?2) + ?3
         WHERE max(full_at, ?2) + ?3 <= ?2 + ?4 RETURNING full_at"
    } else {
        "INSERT INTO rl (key, full_at) VALUES (?1, ?2 + ?3)
         ON CONFLICT (key) DO UPDATE SET full_at = max(full_at, ?2) + ?3
         WHERE max(full_at, ?2) + ?3 <= ?2 + ?4 RETURNING full_at"
    };
    let next: Option<i64> = sqlx::query_scalar(upsert)
        .bind(take.key.as_slice())
        .bind(now.0)
        .bind(take.quota.step)
        .bind(take.quota.window())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(next) = next {
        return Ok((true, Micros(next)));
    }
    let look = if take.kept {
        "SELECT full_at FROM rl_kept WHERE key = ?"
    } else {
        "SELECT full_at FROM rl WHERE key = ?"
    };
    let full_at: i64 = sqlx::query_scalar(look).bind(take.key.as_slice()).fetch_one(connection).await?;
    Ok((false, Micros(full_at)))
}

#[async_trait]
impl RateStore for SqliteRates {
    async fn take(&self, takes: &[Take], now: Micros) -> Result<Taken, CredentialError> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let mut times = Vec::with_capacity(takes.len());
        let mut refused = None;
        for (at, take) in takes.iter().enumerate() {
            let (taken, full_at) = take_one(&mut transaction, take, now).await.map_err(failed)?;
            if !taken {
                refused = Some(Taken::Refused { at, full_at });
                break;
            }
            times.push(full_at);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(refused.unwrap_or(Taken::All(times)))
    }

    async fn give_back(&self, take: &Take) -> Result<(), CredentialError> {
        let put = if take.kept {
            "UPDATE rl_kept SET full_at = full_at - ?2 WHERE key = ?1"
        } else {
            "UPDATE rl SET full_at = full_at - ?2 WHERE key = ?1"
        };
        let put = sqlx::query(put).bind(take.key.as_slice()).bind(take.quota.step);
        put.execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }

    async fn sweep(&self, now: Micros) -> Result<u64, CredentialError> {
        let passing = sqlx::query("DELETE FROM rl WHERE full_at <= ?").bind(now.0).execute(&self.pool);
        let passing = passing.await.map_err(failed)?.rows_affected();
        let kept = sqlx::query("DELETE FROM rl_kept WHERE full_at <= ?").bind(now.0).execute(&self.pool);
        Ok(passing + kept.await.map_err(failed)?.rows_affected())
    }
}
