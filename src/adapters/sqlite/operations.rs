//! Operational tables in a SQLite file of their own: the index of blobs, kept answers, what devices were served.

mod answers;
mod blob_index;
mod blob_names;
mod served;

use std::path::Path;

use super::{Lanes, Writing, as_it_is, file, migrated, migrations};
use crate::blobs::{BlobError, IndexError};

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
        let other = |cause| IndexError::Other(cause).into();
        let pool = migrated(file(path), &migrations::OPERATIONS, blob_index::failed, other).await?;
        Ok(Self { pool })
    }

    /// The tables of a file as they are: nothing is written by it.
    pub fn reading(path: &Path) -> Self {
        Self { pool: Lanes::new(as_it_is(path), 1) }
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin(&self) -> Result<Writing, sqlx::Error> {
        self.pool.begin().await
    }
}
