//! Subject keys in the SQLite file of the credentials: destroyed by overwriting.

use std::{ops::Range, path::Path};

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros};
use sqlx::sqlite::SqliteConnectOptions;
use uuid::Uuid;

use super::{Lanes, Writing, file, migrated, migrations, nature, one_connection};
use crate::{
    adapters::subject_key_row::{EVERY_PERIOD, SubjectKeyRow},
    subjects::{
        Purpose,
        keys::{KeyName, KeyStoreError, Standing, StoredKey, SubjectKeys},
    },
};

type Result<T> = std::result::Result<T, KeyStoreError>;

/// Subject keys in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteSubjectKeys {
    pool: Lanes,
}

impl SqliteSubjectKeys {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// If the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self> {
        let pool = migrated(options(path), &migrations::CREDENTIALS, failed, KeyStoreError::Other).await?;
        Ok(Self { pool })
    }

    pub(super) fn pool(&self) -> &Lanes {
        &self.pool
    }

    async fn begin(&self) -> Result<Writing> {
        self.pool.begin().await.map_err(failed)
    }
}

/// One connection to a file.
pub(super) async fn open(path: &Path) -> Result<Lanes> {
    one_connection(options(path)).await.map_err(failed)
}

fn options(path: &Path) -> SqliteConnectOptions {
    // What is destroyed is overwritten, not just forgotten.
    file(path).pragma("secure_delete", "ON")
}

pub(super) fn failed(error: sqlx::Error) -> KeyStoreError {
    nature::failed(error)
}

#[async_trait]
impl SubjectKeys for SqliteSubjectKeys {
    async fn find(&self, name: &KeyName) -> Result<Standing> {
        let query = sqlx::query_as(
            "SELECT subject, purpose, period, id, epoch, bytes FROM subject_keys \
             WHERE subject = $1 AND purpose = $2 AND period IN ($3, '*')",
        );
        let query = query.bind(name.subject.0).bind(name.purpose.name()).bind(&name.period);
        SubjectKeyRow::all_standing(query.fetch_all(&self.pool).await.map_err(failed)?)
    }

    async fn add(&self, key: &StoredKey) -> Result<Standing> {
        let mut transaction = self.begin().await?;
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
        let rows = query.bind(subject.0).fetch_all(&self.pool).await.map_err(failed)?;
        SubjectKeyRow::keys(rows)
    }

    async fn sealed_under(&self, epochs: Range<u32>, limit: u32) -> Result<Vec<StoredKey>> {
        let query = sqlx::query_as(
            "SELECT subject, purpose, period, id, epoch, bytes FROM subject_keys \
             WHERE bytes IS NOT NULL AND epoch >= $1 AND epoch < $2 ORDER BY epoch LIMIT $3",
        );
        let query = query.bind(i64::from(epochs.start)).bind(i64::from(epochs.end)).bind(i64::from(limit));
        SubjectKeyRow::keys(query.fetch_all(&self.pool).await.map_err(failed)?)
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
        let mut transaction = self.begin().await?;
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
             AND period < $2",
        )
        .bind(purpose.name())
        .bind(first_kept)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }
}
