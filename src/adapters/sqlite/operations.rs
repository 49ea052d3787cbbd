//! Operational tables in a SQLite file of their own: the index of blobs, kept answers, what devices were served.

mod answers;
mod blob_index;
mod served;

use std::path::Path;

use super::{Lanes, Writing, file, migrated, migrations};
use crate::blobs::BlobError;

/// Operational tables in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteOperations {
    pool: Lanes,
}

impl SqliteOperations {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// If the file cannot be opened or migrated.
    pub async fn open(path: &Path) -> Result<Self, BlobError> {
        let pool =
            migrated(file(path), &migrations::OPERATIONS, blob_index::failed, BlobError::Other).await?;
        Ok(Self { pool })
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin(&self) -> Result<Writing, sqlx::Error> {
        self.pool.begin().await
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
