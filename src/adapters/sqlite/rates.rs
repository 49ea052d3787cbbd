//! Buckets of rate limits: in memory what may be forgotten by a crash, in a SQLite file of their own what may not.
//!
//! One process counts here, so its memory is as exact as a table, and no login waits for a disk on account of a limit.
//! What is forgotten by a crash is what an unlogged table of Postgres forgets, too.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use lockstep_events::Micros;
use sqlx::sqlite::SqliteSynchronous;

use super::{Lanes, credentials::failed, file, migrated, migrations};
use crate::{
    auth::credentials::CredentialError,
    limits::{LONGEST, Local, RateStore, SLACK, Take, Taken},
};

/// Buckets of the one process of the embedded mode.
#[derive(Debug, Clone)]
pub struct SqliteRates {
    passing: Arc<Local>,
    kept: Lanes,
}

impl SqliteRates {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// If the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self, CredentialError> {
        let options = file(path).synchronous(SqliteSynchronous::Normal);
        let kept = migrated(options, &migrations::RATES, failed, CredentialError::Other).await?;
        Ok(Self { passing: Arc::default(), kept })
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.kept.close().await;
    }
}

/// Takes one from a kept bucket: whether there was one, and when the bucket is full again.
async fn take_kept(kept: &Lanes, take: &Take, now: Micros) -> Result<(bool, Micros), sqlx::Error> {
    let next: Option<i64> = sqlx::query_scalar(
        "INSERT INTO rl_kept (key, full_at) VALUES (?1, ?2 + ?3)
         ON CONFLICT (key) DO UPDATE SET full_at = max(full_at, ?2) + ?3
         WHERE max(full_at, ?2) + ?3 <= ?2 + ?4 RETURNING full_at",
    )
    .bind(take.key.as_slice())
    .bind(now.0)
    .bind(take.quota.step)
    .bind(take.quota.window())
    .fetch_optional(kept)
    .await?;
    if let Some(next) = next {
        return Ok((true, Micros(next)));
    }
    let look = sqlx::query_scalar("SELECT full_at FROM rl_kept WHERE key = ?").bind(take.key.as_slice());
    // A sweep may have come between: what is forgotten is full.
    let full_at = Micros(look.fetch_optional(kept).await?.unwrap_or(now.0));
    let seen = take.quota.seen(full_at, now);
    if seen != full_at {
        let set = sqlx::query("UPDATE rl_kept SET full_at = ?3 WHERE key = ?1 AND full_at = ?2");
        set.bind(take.key.as_slice()).bind(full_at.0).bind(seen.0).execute(kept).await?;
    }
    Ok((false, seen))
}

/// The same from a bucket in memory.
fn take_passing(passing: &Local, take: &Take, now: Micros) -> (bool, Micros) {
    match passing.take(key(take), take.quota, now) {
        Ok(full_at) => (true, full_at),
        Err(wait) => (false, Micros(now.0 + take.quota.window() - take.quota.step + wait)),
    }
}

/// Kept buckets have a table of their own: what kind a bucket is stands in its hash.
fn key(take: &Take) -> (u8, u8, u128) {
    (0, 0, u128::from_be_bytes(take.key))
}

#[async_trait]
impl RateStore for SqliteRates {
    async fn take(&self, takes: &[Take], now: Micros) -> Result<Taken, CredentialError> {
        let mut times = Vec::with_capacity(takes.len());
        for (at, take) in takes.iter().enumerate() {
            let (taken, full_at) = if take.kept {
                take_kept(&self.kept, take, now).await.map_err(failed)?
            } else {
                take_passing(&self.passing, take, now)
            };
            if !taken {
                return Ok(Taken::Refused { at, full_at });
            }
            times.push(full_at);
        }
        Ok(Taken::All(times))
    }

    async fn give_back(&self, take: &Take) -> Result<(), CredentialError> {
        if !take.kept {
            self.passing.give_back(key(take), take.quota);
            return Ok(());
        }
        let put = sqlx::query("UPDATE rl_kept SET full_at = full_at - ?2 WHERE key = ?1");
        let put = put.bind(take.key.as_slice()).bind(take.quota.step);
        put.execute(&self.kept).await.map_err(failed)?;
        Ok(())
    }

    async fn sweep(&self, now: Micros) -> Result<u64, CredentialError> {
        let latest = now.0.saturating_add(LONGEST);
        let set = sqlx::query("UPDATE rl_kept SET full_at = ?1 WHERE full_at > ?2").bind(latest);
        set.bind(latest.saturating_add(SLACK)).execute(&self.kept).await.map_err(failed)?;
        let kept = sqlx::query("DELETE FROM rl_kept WHERE full_at <= ?").bind(now.0).execute(&self.kept);
        let kept = kept.await.map_err(failed)?.rows_affected();
        Ok(self.passing.sweep(now) + kept)
    }
}
