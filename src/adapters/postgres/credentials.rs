//! The credential store in Postgres: its tables are the server's to change, unlike the log's.

mod mail;
mod oidc;

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros, SessionId};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Database, begin, nature, pool::Pool};
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

type Result<T> = std::result::Result<T, CredentialError>;

/// Waits for whoever else gives this name or address to somebody.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 6013))";

/// Credentials in Postgres.
#[derive(Debug, Clone)]
pub struct PostgresCredentials {
    pool: Pool,
}

impl PostgresCredentials {
    /// The credentials in a migrated database.
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool().clone() }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        begin::plain(&self.pool).await.map_err(failed)
    }
}

pub(super) fn id(uuid: Uuid) -> Vec<u8> {
    uuid.as_bytes().to_vec()
}

#[async_trait]
impl CredentialStore for PostgresCredentials {
    async fn ready(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(self.pool.again()).await.map_err(failed)?;
        Ok(())
    }

    async fn clock(&self) -> Result<Option<Micros>> {
        let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let now: i64 = sqlx::query_scalar(now).fetch_one(self.pool.again()).await.map_err(failed)?;
        Ok(Some(Micros(now)))
    }

    async fn is_blank(&self) -> Result<bool> {
        let facts: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM server_facts)")
            .fetch_one(self.pool.again())
            .await
            .map_err(failed)?;
        Ok(!facts)
    }

    async fn key_commitment(&self, commitment: [u8; 32]) -> Result<[u8; 32]> {
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT INTO server_facts (name, value) VALUES ('key_file', $1) ON CONFLICT DO NOTHING")
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
        let rows: Vec<KeyRow> = sqlx::query_as(KEYS).fetch_all(self.pool.again()).await.map_err(failed)?;
        rows.into_iter().map(KeyRow::key).collect()
    }

    async fn replace_signing_keys(&self, before: &[SigningKeyRow], after: &[SigningKeyRow]) -> Result<bool> {
        let mut transaction = self.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(KEYS_LOCK)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let rows: Vec<KeyRow> = sqlx::query_as(KEYS).fetch_all(&mut *transaction).await.map_err(failed)?;
        let present = rows.into_iter().map(KeyRow::key).collect::<Result<Vec<_>>>()?;
        if present != before {
            return Ok(false);
        }
        sqlx::query("DELETE FROM signing_keys").execute(&mut *transaction).await.map_err(failed)?;
        for key in after {
            sqlx::query(
                "INSERT INTO signing_keys (kid, public_key, state, created_at, changed_at) VALUES ($1, $2, $3, $4, $5)",
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
        // Its id is its own: the second time, behind a cut, finds what the first has written.
        sqlx::query(
            "INSERT INTO attempts (id, state, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id(attempt))
        .bind(state)
        .bind(until.0)
        .execute(self.pool.again())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn attempt(&self, attempt: Uuid, now: Micros) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("SELECT state FROM attempts WHERE id = $1 AND expires_at > $2")
            .bind(id(attempt))
            .bind(now.0)
            .fetch_optional(self.pool.again())
            .await
            .map_err(failed)
    }

    async fn take_attempt(&self, attempt: Uuid, now: Micros) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("DELETE FROM attempts WHERE id = $1 AND expires_at > $2 RETURNING state")
            .bind(id(attempt))
            .bind(now.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)
    }

    async fn password_or(&self, name: NameIndex, nobody: &PasswordRecord) -> Result<KnownPassword> {
        let row: PasswordRow = sqlx::query_as(PASSWORD_BY_NAME)
            .bind(name.0.to_vec())
            .bind(id(nobody.account.0))
            .bind(i64::from(nobody.setup))
            .bind(i64::from(nobody.suite))
            .bind(&nobody.record)
            .fetch_one(self.pool.again())
            .await
            .map_err(failed)?;
        row.known()
    }

    async fn reserve(&self, new: &Reservation) -> Result<Reserved> {
        let mut transaction = self.begin().await?;
        // An address that is confirmed at the same moment is seen here, or sees the name.
        let alone = sqlx::query(ALONE).bind(new.name.0.to_vec());
        alone.execute(&mut *transaction).await.map_err(failed)?;
        // Waits for another transaction that is about to take the same name.
        let taken = sqlx::query(
            "INSERT INTO names (name_index, account, attempt, reserved_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(new.name.0.to_vec())
        .bind(id(new.password.account.0))
        .bind(id(new.attempt))
        .bind(new.at.0)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if taken.rows_affected() == 0 {
            let row: NameRow = sqlx::query_as(
                "SELECT account, attempt, reserved_at, confirmed FROM names WHERE name_index = $1",
            )
            .bind(new.name.0.to_vec())
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
            return row.reserved(new.attempt);
        }
        // After it: whoever gave the name up just now holds it still.
        let held_for: Option<(Vec<u8>, i64)> = sqlx::query_as(HELD_FOR)
            .bind(new.name.0.to_vec())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
        if let Some(held_for) = held_for {
            return held(&held_for);
        }
        sqlx::query("INSERT INTO passwords (account, setup, suite, record) VALUES ($1, $2, $3, $4)")
            .bind(id(new.password.account.0))
            .bind(i64::from(new.password.setup))
            .bind(i64::from(new.password.suite))
            .bind(&new.password.record)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        for wrap in &new.wraps {
            sqlx::query("INSERT INTO wraps (account, name, generation, bytes) VALUES ($1, $2, $3, $4)")
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
        let gone = sqlx::query("DELETE FROM names WHERE name_index = $1 AND account = $2 AND NOT confirmed")
            .bind(name.0.to_vec())
            .bind(id(account.0))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if gone.rows_affected() > 0 {
            for delete in ["DELETE FROM passwords WHERE account = $1", "DELETE FROM wraps WHERE account = $1"]
            {
                sqlx::query(delete).bind(id(account.0)).execute(&mut *transaction).await.map_err(failed)?;
            }
        }
        transaction.commit().await.map_err(failed)
    }

    async fn confirm(&self, account: AccountId) -> Result<()> {
        sqlx::query("UPDATE names SET confirmed = true WHERE account = $1")
            .bind(id(account.0))
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn held(&self, account: AccountId) -> Result<Held> {
        let rows: Vec<HeldRow> =
            sqlx::query_as(HELD).bind(id(account.0)).fetch_all(self.pool.again()).await.map_err(failed)?;
        Ok(HeldRow::all(rows))
    }

    async fn open_session(&self, session: &StoredSession) -> Result<()> {
        sqlx::query(
            "INSERT INTO sessions (session, account, device, method, seed, generation, token_hash, rotations, opened_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
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
             FROM sessions WHERE session = $1",
        )
        .bind(id(session.0))
        .fetch_optional(self.pool.again())
        .await
        .map_err(failed)?;
        row.map(SessionRow::session).transpose()
    }

    async fn rotate(&self, from: &StoredSession, to: &StoredSession) -> Result<bool> {
        let moved = sqlx::query(
            "UPDATE sessions SET generation = $1, token_hash = $2, rotations = $3 \
             WHERE session = $4 AND generation = $5 AND token_hash = $6 AND ended_at IS NULL",
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
        let mut transaction = self.begin().await?;
        for session in sessions {
            sqlx::query("UPDATE sessions SET ended_at = $1 WHERE session = $2 AND ended_at IS NULL")
                .bind(at.0)
                .bind(id(session.0))
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn end_sessions_of(&self, account: AccountId, keep: Option<SessionId>, at: Micros) -> Result<()> {
        sqlx::query(
            "UPDATE sessions SET ended_at = $1 \
             WHERE account = $2 AND session <> $3 AND opened_at <= $4 AND ended_at IS NULL",
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
            .fetch_optional(self.pool.again())
            .await
            .map_err(failed)?;
        row.map(PasswordRow::known).transpose()
    }

    async fn sweep(&self, now: Micros, ended_before: Micros) -> Result<u64> {
        let attempts = sqlx::query("DELETE FROM attempts WHERE expires_at <= $1")
            .bind(now.0)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        let approvals = sqlx::query("DELETE FROM factors WHERE kind = 'approval' AND created_at < $1")
            .bind(now.plus_seconds(-APPROVAL_KEPT_S).0)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        let sessions = sqlx::query("DELETE FROM sessions WHERE ended_at < $1")
            .bind(ended_before.0)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        Ok(attempts.rows_affected() + approvals.rows_affected() + sessions.rows_affected())
    }

    async fn sweep_run_out(&self, opened_before: Micros, used_before: Micros) -> Result<u64> {
        // The last of the rotations comes first; times are positive, so their bytes have the order of the numbers.
        let gone = sqlx::query(
            "DELETE FROM sessions WHERE opened_at < $1 OR (rotations = '' AND opened_at < $2) \
             OR (rotations <> '' AND substring(rotations FROM 1 FOR 8) < $3)",
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
/// Who changes the list of signing keys holds this lock.
const KEYS_LOCK: i64 = 6_003_371_234_567_891;

/// What an error of Postgres means to a caller of the credential store.
pub(super) fn failed(error: sqlx::Error) -> CredentialError {
    nature::failed(error)
}
