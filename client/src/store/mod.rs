//! The local database: one SQLCipher file per profile.
//!
//! Everything that must be true together changes in one transaction: events and cursor (C1), a version and its
//! place in the outbox (C2). Two processes of one person (a command beside a running `watch`) may use it at once:
//! write transactions begin `IMMEDIATE` and read again what they decide by.

pub(crate) mod adopted;
pub(crate) mod alarms;
pub(crate) mod attachments;
mod connections;
pub(crate) mod entries;
pub(crate) mod keys;
pub(crate) mod outbox;
pub(crate) mod streams;
#[cfg(test)]
mod tests;
pub(crate) mod versions;

use std::{path::Path, time::Duration};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use self::connections::Pool;
pub(crate) use self::connections::Tx;
use crate::{crypto::keys::LocalKey, error::Error};

/// Version of the schema, as `PRAGMA user_version`.
const SCHEMA: i64 = 6;

/// An open local database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: Pool,
}

impl Store {
    /// Opens the database, or creates it.
    ///
    /// # Errors
    /// [`Error::WrongPassword`] if the key does not open it.
    pub(crate) async fn open(path: &Path, key: &LocalKey, create: bool) -> Result<Self, Error> {
        let raw = key.database_key()?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .pragma("key", format!("\"x'{}'\"", raw.as_str()))
            // Nothing of this library on standard error: a wrong key is an error like others.
            .pragma("cipher_log_level", "NONE")
            .busy_timeout(Duration::from_secs(20))
            .foreign_keys(false);
        let options = sqlx::ConnectOptions::disable_statement_logging(options);
        let pool = Pool::open(options).await.map_err(wrong_key)?;
        let mut first = pool.acquire().await?;
        check_cipher(&mut first).await?;
        migrate(&mut first).await?;
        make_private(path)?;
        Ok(Self { pool })
    }

    /// For reading.
    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Begins a write transaction.
    pub(crate) async fn begin(&self) -> Result<Tx, Error> {
        Ok(self.pool.begin().await?)
    }

    /// Closes all connections; waits until nobody uses one.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A plain SQLite would ignore the key without a word.
async fn check_cipher(connection: &mut SqliteConnection) -> Result<(), Error> {
    let version: Option<String> =
        sqlx::query_scalar("PRAGMA cipher_version").fetch_optional(connection).await?;
    version.map(drop).ok_or(Error::Invalid("this program was built without SQLCipher"))
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), Error> {
    // Durable at commit: `synchronous` stays at its default, FULL.
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut *connection).await.map_err(wrong_key)?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(wrong_key)?;
    let version: i64 =
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await.map_err(wrong_key)?;
    if version > SCHEMA {
        return Err(Error::UpdateNeeded("this local database".to_owned()));
    }
    if version == SCHEMA {
        return Ok(());
    }
    let steps = [
        include_str!("schema.sql"),
        include_str!("attachments.sql"),
        include_str!("schema-3.sql"),
        include_str!("schema-4.sql"),
        include_str!("schema-5.sql"),
        include_str!("schema-6.sql"),
    ];
    for (step, sql) in (1..).zip(steps) {
        if version < step {
            sqlx::raw_sql(sql).execute(&mut *tx).await?;
        }
    }
    sqlx::raw_sql("PRAGMA user_version = 6").execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

/// SQLite's "file is not a database" (26) is what a wrong key looks like.
fn wrong_key(error: sqlx::Error) -> Error {
    let not_a_database =
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "26");
    if not_a_database { Error::WrongPassword } else { Error::Local(error) }
}

fn make_private(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    let _ = path;
    Ok(())
}

/// A column of the local database does not have its form: the file was damaged.
pub(crate) fn damaged() -> Error {
    Error::Damaged("the local database")
}

/// A fixed-width column.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| damaged())
}

/// A UUID column.
pub(crate) fn uuid(bytes: &[u8]) -> Result<uuid::Uuid, Error> {
    fixed(bytes).map(uuid::Uuid::from_bytes)
}
