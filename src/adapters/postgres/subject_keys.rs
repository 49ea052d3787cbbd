//! Subject keys in Postgres.

use std::ops::Range;

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Database, begin, nature, pool::Pool};
use crate::{
    adapters::subject_key_row::{EVERY_PERIOD, SubjectKeyRow},
    subjects::{
        Purpose,
        keys::{KeyName, KeyStoreError, Standing, StoredKey, SubjectKeys},
    },
};

type Result<T> = std::result::Result<T, KeyStoreError>;

/// Subject keys in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresSubjectKeys {
    pool: Pool,
}

impl PostgresSubjectKeys {
    /// The subject keys in a migrated database.
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool().clone() }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A transaction that is alone with a person's keys: who adds one sees whether they were just destroyed.
    async fn begin(&self, subject: AccountId) -> Result<Transaction<'static, Postgres>> {
        let mut transaction = begin::plain(&self.pool).await.map_err(failed)?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1::text, 6003))")
            .bind(subject.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        Ok(transaction)
    }
}

pub(super) fn failed(error: sqlx::Error) -> KeyStoreError {
    nature::failed(error)
}

#[async_trait]
impl SubjectKeys for PostgresSubjectKeys {
    async fn find(&self, name: &KeyName) -> Result<Standing> {
        let query = sqlx::query_as(
            "SELECT subject, purpose, period, id, epoch, bytes FROM subject_keys \
             WHERE subject = $1 AND purpose = $2 AND period IN ($3, '*')",
        );
        let query = query.bind(name.subject.0).bind(name.purpose.name()).bind(&name.period);
        SubjectKeyRow::all_standing(query.fetch_all(self.pool.again()).await.map_err(failed)?)
    }

    async fn add(&self, key: &StoredKey) -> Result<Standing> {
        let mut transaction = self.begin(key.name.subject).await?;
        let KeyName { subject, purpose, period } = &key.name;
        sqlx::query(
            "INSERT INTO subject_keys (subject, purpose, period, id, epoch, bytes) \
             SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM subject_keys \
             WHERE subject = $1 AND purpose = $2 AND period IN ($3, '*'))",
        )
        .bind(subject.0)
        .bind(purpose.name())
        .bind(period)
        .bind(key.id)
        .bind(i64::from(key.epoch))
        .bind(&key.bytes)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.find(&key.name).await
    }

    async fn of(&self, subject: AccountId) -> Result<Vec<StoredKey>> {
        let query = sqlx::query_as(
            "SELECT subject, purpose, period, id, epoch, bytes FROM subject_keys \
             WHERE subject = $1 AND bytes IS NOT NULL ORDER BY purpose, period",
        );
        let rows = query.bind(subject.0).fetch_all(self.pool.again()).await.map_err(failed)?;
        SubjectKeyRow::keys(rows)
    }

    async fn sealed_under(&self, epochs: Range<u32>, limit: u32) -> Result<Vec<StoredKey>> {
        let query = sqlx::query_as(
            "SELECT subject, purpose, period, id, epoch, bytes FROM subject_keys \
             WHERE bytes IS NOT NULL AND epoch >= $1 AND epoch < $2 ORDER BY epoch LIMIT $3",
        );
        let query = query.bind(i64::from(epochs.start)).bind(i64::from(epochs.end)).bind(i64::from(limit));
        SubjectKeyRow::keys(query.fetch_all(self.pool.again()).await.map_err(failed)?)
    }

    async fn reseal(&self, from: &StoredKey, to: &StoredKey) -> Result<bool> {
        let KeyName { subject, purpose, period } = &from.name;
        let replaced = sqlx::query(
            "UPDATE subject_keys SET epoch = $1, bytes = $2 \
             WHERE subject = $3 AND purpose = $4 AND period = $5 AND bytes = $6",
        )
        .bind(i64::from(to.epoch))
        .bind(&to.bytes)
        .bind(subject.0)
        .bind(purpose.name())
        .bind(period)
        .bind(&from.bytes)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(replaced.rows_affected() > 0)
    }

    async fn destroy(&self, subject: AccountId, purposes: &[Purpose], at: Micros) -> Result<Vec<Uuid>> {
        let mut transaction = self.begin(subject).await?;
        let mut ids: Vec<Uuid> = Vec::new();
        for purpose in purposes {
            sqlx::query(
                "UPDATE subject_keys SET bytes = NULL, destroyed_at = $1 \
                 WHERE subject = $2 AND purpose = $3 AND bytes IS NOT NULL",
            )
            .bind(at.0)
            .bind(subject.0)
            .bind(purpose.name())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            sqlx::query(
                "INSERT INTO subject_keys (subject, purpose, period, id, epoch, destroyed_at) \
                 VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT DO NOTHING",
            )
            .bind(subject.0)
            .bind(purpose.name())
            .bind(EVERY_PERIOD)
            .bind(Uuid::nil())
            .bind(at.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            let query = sqlx::query_scalar(
                "SELECT id FROM subject_keys WHERE subject = $1 AND purpose = $2 AND period <> '*'",
            );
            let query = query.bind(subject.0).bind(purpose.name());
            ids.extend(query.fetch_all(&mut *transaction).await.map_err(failed)? as Vec<Uuid>);
        }
        transaction.commit().await.map_err(failed)?;
        ids.sort_unstable();
        Ok(ids)
    }

    async fn expire(&self, purpose: Purpose, first_kept: &str) -> Result<u64> {
        let gone = sqlx::query(
            "DELETE FROM subject_keys WHERE purpose = $1 AND period NOT IN ('', '*') \
             AND period COLLATE \"C\" < $2",
        )
        .bind(purpose.name())
        .bind(first_kept)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }
}
