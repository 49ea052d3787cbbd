//! Erasures on their way: rows and statements are the same in both databases but for how one is claimed, and so is what is
//! done with them. Each database's store of subject keys takes them by [`erasure_tables!`].

use lockstep_events::{Micros, event::ErasedCounts};
use uuid::Uuid;

use crate::{erasure::queue::Job, subjects::keys::KeyStoreError};

use super::named_row::named_row;

type Result<T> = std::result::Result<T, KeyStoreError>;

named_row! {
    pub struct Row {
        account: Uuid,
        step: i16,
        due_at: i64,
        counts: String,
    }
}

impl Row {
    pub fn job(self) -> Result<Job> {
        let damaged = || KeyStoreError::Other("a stored erasure is not of its shape".into());
        Ok(Job {
            account: self.account.into(),
            step: u8::try_from(self.step).map_err(|_| damaged())?,
            due_at: Micros(self.due_at),
            counts: serde_json::from_str(&self.counts).map_err(|_| damaged())?,
        })
    }
}

pub fn text(counts: &ErasedCounts) -> String {
    serde_json::to_string(counts).unwrap_or_default()
}

/// Implements the port for a store with a `pool`.
macro_rules! erasure_tables {
    ($store:ty, $failed:path, $claim:literal) => {
        #[async_trait::async_trait]
        impl $crate::erasure::queue::ErasureQueue for $store {
            async fn put(&self, account: AccountId, due_at: Micros) -> Result<()> {
                sqlx::query(
                    "INSERT INTO erasures (account, step, due_at, counts, claimed_until) VALUES ($1, 2, $2, $3, 0) \
                     ON CONFLICT (account) DO UPDATE SET due_at = excluded.due_at WHERE erasures.step = 2",
                )
                .bind(account.0)
                .bind(due_at.0)
                .bind(text(&ErasedCounts::default()))
                .execute(self.pool())
                .await
                .map_err($failed)?;
                Ok(())
            }

            async fn cancel(&self, account: AccountId) -> Result<bool> {
                let gone = sqlx::query("DELETE FROM erasures WHERE account = $1 AND step = 2").bind(account.0);
                Ok(gone.execute(self.pool()).await.map_err($failed)?.rows_affected() > 0)
            }

            async fn find(&self, account: AccountId) -> Result<Option<Job>> {
                let query = sqlx::query_as("SELECT account, step, due_at, counts FROM erasures WHERE account = $1");
                let row: Option<Row> = query.bind(account.0).fetch_optional(self.pool()).await.map_err($failed)?;
                row.map(Row::job).transpose()
            }

            async fn claim(&self, now: Micros, until: Micros) -> Result<Option<Job>> {
                let query = sqlx::query_as($claim);
                let query = query.bind(now.0).bind(until.0);
                let row: Option<Row> = query.fetch_optional(self.pool()).await.map_err($failed)?;
                row.map(Row::job).transpose()
            }

            async fn note(&self, job: &Job) -> Result<()> {
                sqlx::query(
                    "UPDATE erasures SET step = $1, due_at = $2, counts = $3, claimed_until = 0 WHERE account = $4",
                )
                .bind(i16::from(job.step))
                .bind(job.due_at.0)
                .bind(text(&job.counts))
                .bind(job.account.0)
                .execute(self.pool())
                .await
                .map_err($failed)?;
                Ok(())
            }

            async fn done(&self, account: AccountId) -> Result<()> {
                let gone = sqlx::query("DELETE FROM erasures WHERE account = $1").bind(account.0);
                gone.execute(self.pool()).await.map_err($failed)?;
                Ok(())
            }
        }
    };
}
pub(super) use erasure_tables;
