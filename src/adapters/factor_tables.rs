//! Second factors and staged changes: rows and statements are the same in both databases, and so is what is done with
//! them. Each database's credential store takes them by [`factor_tables!`].

use lockstep_events::{AccountId, Micros};
use uuid::Uuid;

use crate::auth::{
    credentials::CredentialError,
    factors::{FactorKind, Replacement, Staged, StoredFactor},
};

use super::named_row::named_row;

type Result<T> = std::result::Result<T, CredentialError>;

fn damaged(what: &'static str) -> CredentialError {
    CredentialError::Other(what.into())
}

fn uuid(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|_| damaged("a stored id has the wrong length"))
}

named_row! {
    pub struct FactorRow {
        id: Vec<u8>,
        account: Vec<u8>,
        kind: String,
        body: Vec<u8>,
        version: i64,
        created_at: i64,
    }
}

impl FactorRow {
    pub fn factor(self) -> Result<StoredFactor> {
        Ok(StoredFactor {
            id: uuid(&self.id)?,
            account: AccountId(uuid(&self.account)?),
            kind: FactorKind::from_name(&self.kind).ok_or_else(|| damaged("a factor of an unknown kind"))?,
            body: self.body,
            version: u32::try_from(self.version).map_err(|_| damaged("a stored number is out of range"))?,
            created_at: Micros(self.created_at),
        })
    }
}

named_row! {
    pub struct StagedRow {
        account: Vec<u8>,
        attempt: Vec<u8>,
        change: Vec<u8>,
        staged_at: i64,
    }
}

impl StagedRow {
    pub fn staged(self) -> Result<Staged> {
        Ok(Staged {
            account: AccountId(uuid(&self.account)?),
            attempt: uuid(&self.attempt)?,
            replacement: serde_json::from_slice(&self.change)
                .map_err(|_| damaged("a staged change cannot be read"))?,
            staged_at: Micros(self.staged_at),
        })
    }
}

/// An account's recovery slot; what else is bound, if it has none. As with names, the next slot in the index is looked up.
pub const RECOVERY_OR: &str = "SELECT coalesce(CASE WHEN f.own THEN f.id END, $2) AS id, $1 AS account, \
     'recovery' AS kind, coalesce(CASE WHEN f.own THEN f.body END, $3) AS body, \
     coalesce(CASE WHEN f.own THEN f.version END, $4) AS version, \
     coalesce(CASE WHEN f.own THEN f.created_at END, $5) AS created_at FROM (SELECT 1 AS one) o \
     LEFT JOIN (SELECT id, body, version, created_at, account = $1 AS own FROM factors \
     WHERE kind = 'recovery' AND account >= $1 ORDER BY account LIMIT 1) f ON true";

/// A change as it is stored.
pub fn change_bytes(replacement: &Replacement) -> Result<Vec<u8>> {
    serde_json::to_vec(replacement).map_err(|_| damaged("a change cannot be written"))
}

/// Implements the port for a store with a `pool` and a `begin`.
macro_rules! factor_tables {
    ($store:ty, $connection:ty, $failed:path) => {
        #[async_trait::async_trait]
        impl $crate::auth::factors::FactorStore for $store {
            async fn factors(&self, account: AccountId) -> Result<Vec<StoredFactor>> {
                let rows: Vec<FactorRow> = sqlx::query_as(
                    "SELECT id, account, kind, body, version, created_at FROM factors \
                     WHERE account = $1 ORDER BY created_at, id",
                )
                .bind(id(account.0))
                .fetch_all(self.pool())
                .await
                .map_err($failed)?;
                rows.into_iter().map(FactorRow::factor).collect()
            }

            async fn recovery_or(&self, none: &StoredFactor) -> Result<StoredFactor> {
                let row: FactorRow = sqlx::query_as(RECOVERY_OR)
                    .bind(id(none.account.0))
                    .bind(id(none.id))
                    .bind(&none.body)
                    .bind(i64::from(none.version))
                    .bind(none.created_at.0)
                    .fetch_one(self.pool())
                    .await
                    .map_err($failed)?;
                row.factor()
            }

            async fn factor(&self, factor: Uuid) -> Result<Option<StoredFactor>> {
                let row: Option<FactorRow> =
                    sqlx::query_as("SELECT id, account, kind, body, version, created_at FROM factors WHERE id = $1")
                        .bind(id(factor))
                        .fetch_optional(self.pool())
                        .await
                        .map_err($failed)?;
                row.map(FactorRow::factor).transpose()
            }

            async fn put_factor(&self, factor: &StoredFactor) -> Result<()> {
                let mut transaction = self.begin().await?;
                put(&mut transaction, factor).await?;
                transaction.commit().await.map_err($failed)
            }

            async fn replace_factor(&self, from: &StoredFactor, body: &[u8]) -> Result<bool> {
                let moved =
                    sqlx::query("UPDATE factors SET body = $1, version = version + 1 WHERE id = $2 AND version = $3")
                        .bind(body)
                        .bind(id(from.id))
                        .bind(i64::from(from.version))
                        .execute(self.pool())
                        .await
                        .map_err($failed)?;
                Ok(moved.rows_affected() > 0)
            }

            async fn remove_factor(&self, account: AccountId, factor: Uuid) -> Result<()> {
                sqlx::query("DELETE FROM factors WHERE id = $1 AND account = $2")
                    .bind(id(factor))
                    .bind(id(account.0))
                    .execute(self.pool())
                    .await
                    .map_err($failed)?;
                Ok(())
            }

            async fn remove_approvals(&self, account: AccountId, until: Micros) -> Result<()> {
                sqlx::query("DELETE FROM factors WHERE account = $1 AND kind = 'approval' AND created_at <= $2")
                    .bind(id(account.0))
                    .bind(until.0)
                    .execute(self.pool())
                    .await
                    .map_err($failed)?;
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
                .map_err($failed)?;
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
                        .map_err($failed)?;
                row.map(StagedRow::staged).transpose()
            }

            async fn unstage(&self, account: AccountId, attempt: Uuid) -> Result<()> {
                sqlx::query("DELETE FROM staged WHERE account = $1 AND attempt = $2")
                    .bind(id(account.0))
                    .bind(id(attempt))
                    .execute(self.pool())
                    .await
                    .map_err($failed)?;
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
                .map_err($failed)?;
                let Some(staged) = row.map(StagedRow::staged).transpose()? else { return Ok(false) };
                replace_keys(&mut transaction, account, &staged.replacement).await?;
                for kind in &staged.replacement.dropped_factors {
                    sqlx::query("DELETE FROM factors WHERE account = $1 AND kind = $2")
                        .bind(id(account.0))
                        .bind(kind.name())
                        .execute(&mut *transaction)
                        .await
                        .map_err($failed)?;
                }
                for factor in &staged.replacement.factors {
                    put(&mut transaction, factor).await?;
                }
                transaction.commit().await.map_err($failed)?;
                Ok(true)
            }
        }

        async fn put(connection: &mut $connection, factor: &StoredFactor) -> Result<()> {
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
            .execute(&mut *connection)
            .await
            .map_err($failed)?;
            Ok(())
        }

        /// Replaces the password record and wrapped keys. Nothing of a lower generation comes back.
        async fn replace_keys(connection: &mut $connection, account: AccountId, new: &Replacement) -> Result<()> {
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
                .execute(&mut *connection)
                .await
                .map_err($failed)?;
            }
            for name in &new.dropped_wraps {
                sqlx::query("DELETE FROM wraps WHERE account = $1 AND name = $2")
                    .bind(id(account.0))
                    .bind(name)
                    .execute(&mut *connection)
                    .await
                    .map_err($failed)?;
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
                .execute(&mut *connection)
                .await
                .map_err($failed)?;
            }
            Ok(())
        }
    };
}
pub(super) use factor_tables;
