//! Second factors and staged changes in Postgres.

use async_trait::async_trait;
use lockstep_events::AccountId;
use uuid::Uuid;

use super::credentials::{PostgresCredentials, failed, id};
use crate::{
    adapters::factor_row::{FactorRow, StagedRow, change_bytes},
    auth::factors::{FactorStore, Replacement, Staged, StoredFactor},
};

type Result<T> = std::result::Result<T, crate::auth::credentials::CredentialError>;
type Tx = sqlx::Transaction<'static, sqlx::Postgres>;

#[async_trait]
impl FactorStore for PostgresCredentials {
    async fn factors(&self, account: AccountId) -> Result<Vec<StoredFactor>> {
        let rows: Vec<FactorRow> = sqlx::query_as(
            "SELECT id, account, kind, body, version, created_at FROM factors \
             WHERE account = $1 ORDER BY created_at, id",
        )
        .bind(id(account.0))
        .fetch_all(self.pool())
        .await
        .map_err(failed)?;
        rows.into_iter().map(FactorRow::factor).collect()
    }

    async fn factor(&self, factor: Uuid) -> Result<Option<StoredFactor>> {
        let row: Option<FactorRow> =
            sqlx::query_as("SELECT id, account, kind, body, version, created_at FROM factors WHERE id = $1")
                .bind(id(factor))
                .fetch_optional(self.pool())
                .await
                .map_err(failed)?;
        row.map(FactorRow::factor).transpose()
    }

    async fn put_factor(&self, factor: &StoredFactor) -> Result<()> {
        let mut transaction = self.begin().await?;
        put(&mut transaction, factor).await?;
        transaction.commit().await.map_err(failed)
    }

    async fn replace_factor(&self, from: &StoredFactor, body: &[u8]) -> Result<bool> {
        let moved =
            sqlx::query("UPDATE factors SET body = $1, version = version + 1 WHERE id = $2 AND version = $3")
                .bind(body)
                .bind(id(from.id))
                .bind(i64::from(from.version))
                .execute(self.pool())
                .await
                .map_err(failed)?;
        Ok(moved.rows_affected() > 0)
    }

    async fn remove_factor(&self, account: AccountId, factor: Uuid) -> Result<()> {
        sqlx::query("DELETE FROM factors WHERE id = $1 AND account = $2")
            .bind(id(factor))
            .bind(id(account.0))
            .execute(self.pool())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn stage(&self, staged: &Staged) -> Result<bool> {
        let new = sqlx::query(
            "INSERT INTO staged (account, attempt, change, staged_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (account) DO NOTHING",
        )
        .bind(id(staged.account.0))
        .bind(id(staged.attempt))
        .bind(change_bytes(&staged.replacement)?)
        .bind(staged.staged_at.0)
        .execute(self.pool())
        .await
        .map_err(failed)?;
        if new.rows_affected() > 0 {
            return Ok(true);
        }
        Ok(self.staged(staged.account).await?.is_some_and(|known| known.attempt == staged.attempt))
    }

    async fn staged(&self, account: AccountId) -> Result<Option<Staged>> {
        let row: Option<StagedRow> =
            sqlx::query_as("SELECT account, attempt, change, staged_at FROM staged WHERE account = $1")
                .bind(id(account.0))
                .fetch_optional(self.pool())
                .await
                .map_err(failed)?;
        row.map(StagedRow::staged).transpose()
    }

    async fn unstage(&self, account: AccountId, attempt: Uuid) -> Result<()> {
        sqlx::query("DELETE FROM staged WHERE account = $1 AND attempt = $2")
            .bind(id(account.0))
            .bind(id(attempt))
            .execute(self.pool())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn carry_out(&self, account: AccountId, attempt: Uuid) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let row: Option<StagedRow> = sqlx::query_as(
            "DELETE FROM staged WHERE account = $1 AND attempt = $2 \
             RETURNING account, attempt, change, staged_at",
        )
        .bind(id(account.0))
        .bind(id(attempt))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        let Some(staged) = row.map(StagedRow::staged).transpose()? else { return Ok(false) };
        replace_keys(&mut transaction, account, &staged.replacement).await?;
        for kind in &staged.replacement.dropped_factors {
            sqlx::query("DELETE FROM factors WHERE account = $1 AND kind = $2")
                .bind(id(account.0))
                .bind(kind.name())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        for factor in &staged.replacement.factors {
            put(&mut transaction, factor).await?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }
}

async fn put(transaction: &mut Tx, factor: &StoredFactor) -> Result<()> {
    sqlx::query(
        "INSERT INTO factors (id, account, kind, body, version, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id(factor.id))
    .bind(id(factor.account.0))
    .bind(factor.kind.name())
    .bind(&factor.body)
    .bind(i64::from(factor.version))
    .bind(factor.created_at.0)
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Replaces the password record and wrapped keys. Nothing of a lower generation comes back.
async fn replace_keys(transaction: &mut Tx, account: AccountId, new: &Replacement) -> Result<()> {
    if let Some((password, generation)) = &new.password {
        sqlx::query(
            "UPDATE passwords SET setup = $1, suite = $2, record = $3, generation = $4 \
             WHERE account = $5 AND generation < $6",
        )
        .bind(i64::from(password.setup))
        .bind(i64::from(password.suite))
        .bind(&password.record)
        .bind(i64::from(*generation))
        .bind(id(account.0))
        .bind(i64::from(*generation))
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    }
    for name in &new.dropped_wraps {
        sqlx::query("DELETE FROM wraps WHERE account = $1 AND name = $2")
            .bind(id(account.0))
            .bind(name)
            .execute(&mut **transaction)
            .await
            .map_err(failed)?;
    }
    for wrap in &new.wraps {
        sqlx::query(
            "INSERT INTO wraps (account, name, generation, bytes) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (account, name) DO UPDATE SET generation = excluded.generation, bytes = excluded.bytes \
             WHERE wraps.generation < excluded.generation",
        )
        .bind(id(account.0))
        .bind(&wrap.name)
        .bind(i64::from(wrap.generation))
        .bind(&wrap.bytes)
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    }
    Ok(())
}
