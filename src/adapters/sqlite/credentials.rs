//! The credential store in a SQLite file of its own: it can be destroyed without touching the log.

mod attempts;
mod mail;
mod oidc;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros, SessionId};
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::{Lanes, Writing, file, migrated, migrations, nature};
use crate::{
    adapters::credential_row::{
        HELD, HELD_FOR, HeldRow, KeyRow, NameRow, PASSWORD_BY_NAME, PASSWORD_OF, PasswordRow, SessionRow,
        held, method_name, micros_to_bytes,
    },
    auth::{
        credentials::{
            CredentialError, CredentialStore, Held, KnownPassword, NameIndex, PasswordRecord, Reservation,
            Reserved, SigningKeyRow, StoredSession,
        },
        factors::APPROVAL_KEPT_S,
    },
};
use attempts::Attempts;

type Result<T> = std::result::Result<T, CredentialError>;

/// Credentials in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteCredentials {
    pool: Lanes,
    attempts: Arc<Attempts>,
}

impl SqliteCredentials {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// If the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self> {
        // What is deleted is overwritten, not just forgotten.
        let options = file(path).pragma("secure_delete", "ON");
        let pool = migrated(options, &migrations::CREDENTIALS, failed, CredentialError::Other).await?;
        Ok(Self { pool, attempts: Arc::default() })
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) fn pool(&self) -> &Lanes {
        &self.pool
    }

    pub(super) async fn begin(&self) -> Result<Writing> {
        self.pool.begin().await.map_err(failed)
    }
}

pub(super) fn id(uuid: Uuid) -> Vec<u8> {
    uuid.as_bytes().to_vec()
}

#[async_trait]
impl CredentialStore for SqliteCredentials {
    async fn ready(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }

    async fn is_blank(&self) -> Result<bool> {
        let facts: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM server_facts)")
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        Ok(!facts)
    }

    async fn key_commitment(&self, commitment: [u8; 32]) -> Result<[u8; 32]> {
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT INTO server_facts (name, value) VALUES ('key_file', ?) ON CONFLICT DO NOTHING")
            .bind(commitment.to_vec())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let kept: Vec<u8> = sqlx::query_scalar("SELECT value FROM server_facts WHERE name = 'key_file'")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(kept.try_into().unwrap_or([0; 32]))
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>> {
        let rows: Vec<KeyRow> = sqlx::query_as(KEYS).fetch_all(&self.pool).await.map_err(failed)?;
        rows.into_iter().map(KeyRow::key).collect()
    }

    async fn replace_signing_keys(&self, before: &[SigningKeyRow], after: &[SigningKeyRow]) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let rows: Vec<KeyRow> = sqlx::query_as(KEYS).fetch_all(&mut *transaction).await.map_err(failed)?;
        let present = rows.into_iter().map(KeyRow::key).collect::<Result<Vec<_>>>()?;
        if present != before {
            transaction.undo().await;
            return Ok(false);
        }
        sqlx::query("DELETE FROM signing_keys").execute(&mut *transaction).await.map_err(failed)?;
        for key in after {
            sqlx::query(
                "INSERT INTO signing_keys (kid, public_key, state, created_at, changed_at) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(&key.kid)
            .bind(key.public_key.0.to_vec())
            .bind(key.state.name())
            .bind(key.created_at.0)
            .bind(key.changed_at.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn put_attempt(&self, attempt: Uuid, state: &[u8], until: Micros) -> Result<()> {
        self.attempts.put(attempt, state.to_vec(), until);
        Ok(())
    }

    async fn attempt(&self, attempt: Uuid, now: Micros) -> Result<Option<Vec<u8>>> {
        Ok(self.attempts.get(attempt, now))
    }

    async fn take_attempt(&self, attempt: Uuid, now: Micros) -> Result<Option<Vec<u8>>> {
        Ok(self.attempts.take(attempt, now))
    }

    async fn password_or(&self, name: NameIndex, nobody: &PasswordRecord) -> Result<KnownPassword> {
        let row: PasswordRow = sqlx::query_as(PASSWORD_BY_NAME)
            .bind(name.0.to_vec())
            .bind(id(nobody.account.0))
            .bind(i64::from(nobody.setup))
            .bind(i64::from(nobody.suite))
            .bind(&nobody.record)
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        row.known()
    }

    async fn reserve(&self, new: &Reservation) -> Result<Reserved> {
        let mut transaction = self.begin().await?;
        let row: Option<NameRow> =
            sqlx::query_as("SELECT account, attempt, reserved_at, confirmed FROM names WHERE name_index = ?")
                .bind(new.name.0.to_vec())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
        if let Some(row) = row {
            transaction.undo().await;
            return row.reserved(new.attempt);
        }
        let held_for: Option<(Vec<u8>, i64)> = sqlx::query_as(HELD_FOR)
            .bind(new.name.0.to_vec())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        if let Some(held_for) = held_for {
            transaction.undo().await;
            return held(&held_for);
        }
        sqlx::query("INSERT INTO names (name_index, account, attempt, reserved_at) VALUES (?, ?, ?, ?)")
            .bind(new.name.0.to_vec())
            .bind(id(new.password.account.0))
            .bind(id(new.attempt))
            .bind(new.at.0)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO passwords (account, setup, suite, record) VALUES (?, ?, ?, ?)")
            .bind(id(new.password.account.0))
            .bind(i64::from(new.password.setup))
            .bind(i64::from(new.password.suite))
            .bind(&new.password.record)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        for wrap in &new.wraps {
            sqlx::query("INSERT INTO wraps (account, name, generation, bytes) VALUES (?, ?, ?, ?)")
                .bind(id(new.password.account.0))
                .bind(&wrap.name)
                .bind(i64::from(wrap.generation))
                .bind(&wrap.bytes)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(Reserved::Yes)
    }

    async fn release(&self, name: NameIndex, account: AccountId) -> Result<()> {
        let mut transaction = self.begin().await?;
        let gone = sqlx::query("DELETE FROM names WHERE name_index = ? AND account = ? AND confirmed = 0")
            .bind(name.0.to_vec())
            .bind(id(account.0))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if gone.rows_affected() > 0 {
            for delete in ["DELETE FROM passwords WHERE account = ?", "DELETE FROM wraps WHERE account = ?"] {
                sqlx::query(delete).bind(id(account.0)).execute(&mut *transaction).await.map_err(failed)?;
            }
        }
        transaction.commit().await.map_err(failed)
    }

    async fn confirm(&self, account: AccountId) -> Result<()> {
        sqlx::query("UPDATE names SET confirmed = 1 WHERE account = ?")
            .bind(id(account.0))
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn held(&self, account: AccountId) -> Result<Held> {
        let rows: Vec<HeldRow> =
            sqlx::query_as(HELD).bind(id(account.0)).fetch_all(&self.pool).await.map_err(failed)?;
        Ok(HeldRow::all(rows))
    }

    async fn open_session(&self, session: &StoredSession) -> Result<()> {
        sqlx::query(
            "INSERT INTO sessions (session, account, device, method, seed, generation, token_hash, rotations, opened_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(id(session.session.0))
        .bind(id(session.account.0))
        .bind(id(session.device.0))
        .bind(method_name(session.method)?)
        .bind(session.seed.to_vec())
        .bind(i64::from(session.generation))
        .bind(session.token_hash.to_vec())
        .bind(micros_to_bytes(&session.rotations))
        .bind(session.opened_at.0)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn session(&self, session: SessionId) -> Result<Option<StoredSession>> {
        let row: Option<SessionRow> = sqlx::query_as(
            "SELECT session, account, device, method, seed, generation, token_hash, rotations, opened_at, ended_at \
             FROM sessions WHERE session = ?",
        )
        .bind(id(session.0))
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        row.map(SessionRow::session).transpose()
    }

    async fn rotate(&self, from: &StoredSession, to: &StoredSession) -> Result<bool> {
        let moved = sqlx::query(
            "UPDATE sessions SET generation = ?, token_hash = ?, rotations = ? \
             WHERE session = ? AND generation = ? AND token_hash = ? AND ended_at IS NULL",
        )
        .bind(i64::from(to.generation))
        .bind(to.token_hash.to_vec())
        .bind(micros_to_bytes(&to.rotations))
        .bind(id(from.session.0))
        .bind(i64::from(from.generation))
        .bind(from.token_hash.to_vec())
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(moved.rows_affected() > 0)
    }

    async fn end_sessions(&self, sessions: &[SessionId], at: Micros) -> Result<()> {
        if sessions.is_empty() {
            return Ok(());
        }
        let mut query = QueryBuilder::<Sqlite>::new("UPDATE sessions SET ended_at = ");
        query.push_bind(at.0).push(" WHERE ended_at IS NULL AND session IN (");
        let mut wanted = query.separated(", ");
        for session in sessions {
            wanted.push_bind(id(session.0));
        }
        query.push(")").build().execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }

    async fn end_sessions_of(&self, account: AccountId, keep: Option<SessionId>, at: Micros) -> Result<()> {
        sqlx::query(
            "UPDATE sessions SET ended_at = ? \
             WHERE account = ? AND session <> ? AND opened_at <= ? AND ended_at IS NULL",
        )
        .bind(at.0)
        .bind(id(account.0))
        .bind(id(keep.unwrap_or(SessionId::NIL).0))
        .bind(at.0)
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn password_of(&self, account: AccountId) -> Result<Option<KnownPassword>> {
        let row: Option<PasswordRow> = sqlx::query_as(PASSWORD_OF)
            .bind(id(account.0))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        row.map(PasswordRow::known).transpose()
    }

    async fn sweep(&self, now: Micros, ended_before: Micros) -> Result<u64> {
        let approvals = sqlx::query("DELETE FROM factors WHERE kind = 'approval' AND created_at < ?")
            .bind(now.plus_seconds(-APPROVAL_KEPT_S).0)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        let sessions = sqlx::query("DELETE FROM sessions WHERE ended_at < ?")
            .bind(ended_before.0)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        let attempts = self.attempts.sweep(now);
        Ok(attempts + approvals.rows_affected() + sessions.rows_affected())
    }

    async fn sweep_run_out(&self, opened_before: Micros, used_before: Micros) -> Result<u64> {
        // The last of the rotations comes first; times are positive, so their bytes have the order of the numbers.
        let gone = sqlx::query(
            "DELETE FROM sessions WHERE opened_at < ?1 OR (rotations = x'' AND opened_at < ?2) \
             OR (rotations <> x'' AND substr(rotations, 1, 8) < ?3)",
        )
        .bind(opened_before.0)
        .bind(used_before.0)
        .bind(micros_to_bytes(&[used_before]))
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(gone.rows_affected())
    }
}

const KEYS: &str =
    "SELECT kid, public_key, state, created_at, changed_at FROM signing_keys ORDER BY created_at, kid";

/// What an error of SQLite means to a caller of the credential store.
pub(super) fn failed(error: sqlx::Error) -> CredentialError {
    nature::failed(error)
}
