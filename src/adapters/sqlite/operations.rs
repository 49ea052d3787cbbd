//! Operational tables in a SQLite file of their own: the index of blobs, kept answers, what devices were served.

mod answers;
mod blob_index;
mod served;

use std::path::Path;

use sqlx::{Sqlite, SqlitePool, Transaction, migrate::Migrator};

use super::{file, one_connection};
use crate::blobs::BlobError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite/operations");

/// Operational tables in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteOperations {
    // One connection: every call is short, and writers would queue anyway.
    pool: SqlitePool,
}

impl SqliteOperations {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// If the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self, BlobError> {
        let pool = one_connection(file(path)).await.map_err(blob_index::failed)?;
        MIGRATIONS.run(&pool).await.map_err(|error| BlobError::Other(Box::new(error)))?;
        Ok(Self { pool })
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }
}

/// Whether an error passes by itself, or says that the disk is full.
enum Nature {
    Passing,
    Full,
    Other,
}

fn nature(error: &sqlx::Error) -> Nature {
    // Primary result codes: BUSY, LOCKED, INTERRUPT, IOERR, CANTOPEN, PROTOCOL.
    const PASSING: [i32; 6] = [5, 6, 9, 10, 14, 15];
    const FULL: i32 = 13;
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i32>().ok());
    match (code.map(|code| code & 0xff), error) {
        (Some(FULL), _) => Nature::Full,
        (Some(code), _) if PASSING.contains(&code) => Nature::Passing,
        (None, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => Nature::Passing,
        _ => Nature::Other,
    }
}
