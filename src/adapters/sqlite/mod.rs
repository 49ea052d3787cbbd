//! SQLite: one file, one writer, many readers.

pub mod credentials;
pub mod factors;
pub mod log;
pub mod operations;
pub mod rates;
pub mod read;
pub mod subject_keys;

use std::{path::Path, time::Duration};

use sqlx::{
    Pool, Sqlite, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(10);
/// Readers at the same time; each is a thread with a page cache of its own.
const READERS: u32 = 4;

/// An open database file, migrated. Clones share it.
///
/// SQLite has one writer at a time anyway; here the writers of a process queue for one connection, in order,
/// instead of polling a lock. Readers never wait for it: the journal is a write-ahead log.
#[derive(Debug, Clone)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Database {
    /// Opens or creates the file and brings its tables up to date.
    ///
    /// # Errors
    /// If the file cannot be opened, is not a database, or was migrated by a newer program.
    pub async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY);
        let writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What is erased is overwritten, not just forgotten.
            .pragma("secure_delete", "ON")
            .pragma("journal_size_limit", "67108864")
            // A batch writes some pages again that the batch before wrote. Copying them into the file only every 32 MiB
            // copies most of them once instead of many times.
            .pragma("wal_autocheckpoint", "8192")
            // A large batch must not spill half-done pages for want of room.
            .pragma("cache_size", "-16384");
        let writer = pool(1).connect_with(writing).await?;
        MIGRATIONS.run(&writer).await?;
        let readers = pool(READERS).connect_lazy_with(options.read_only(true));
        Ok(Self { writer, readers })
    }

    /// A write transaction that holds the write lock from its first moment, so that it never has to be retried
    /// for having read too early. Dropped without commit it is rolled back.
    ///
    /// # Errors
    /// If another process holds the file for too long.
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Connections that only read, each statement from one snapshot.
    pub fn readers(&self) -> &Pool<Sqlite> {
        &self.readers
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    // A connection is a handle in this process: asking it whether it is alive tells nothing.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(30))
        .test_before_acquire(false)
}

/// Sizes of the chunks into which a long list is cut: powers of two, so that a handful of prepared statements
/// serves every batch, and small enough for `SQLite`'s limit of variables in one statement.
pub(super) fn chunks<T>(mut list: &[T]) -> impl Iterator<Item = &[T]> {
    const LARGEST: usize = 64;
    std::iter::from_fn(move || {
        if list.is_empty() {
            return None;
        }
        let size = LARGEST.min(1 << list.len().ilog2());
        let (chunk, rest) = list.split_at(size);
        list = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::chunks;

    #[test]
    fn a_list_of_any_length_is_cut_into_powers_of_two_without_losing_or_moving_anything() {
        for length in 0..300 {
            let list: Vec<usize> = (0..length).collect();
            let cut: Vec<&[usize]> = chunks(&list).collect();
            assert!(cut.iter().all(|chunk| chunk.len().is_power_of_two() && chunk.len() <= 64));
            assert_eq!(cut.concat(), list);
        }
    }
}
