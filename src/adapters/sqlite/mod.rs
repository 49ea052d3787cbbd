//! SQLite: one file, one writer, many readers.

pub mod credentials;
pub mod erasures;
pub mod factors;
pub mod files;
pub mod holdings;
mod lanes;
pub mod log;
mod nature;
pub mod operations;
pub mod rates;
pub mod read;
pub mod subject_keys;
pub mod tables;

use std::{path::Path, time::Duration};

use sqlx::{
    Connection, SqliteConnection,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    form::{self, Form},
    migrations,
};
use lanes::{Lane, Lanes, Writing};

/// How long a statement waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(10);
/// The same for a process that is about to end.
const SETTLE: Duration = Duration::from_secs(2);
/// Readers at the same time; each is a thread with a page cache of its own.
const READERS: u32 = 4;
/// A reader's page cache, in the words of SQLite: 1 MiB. The upper pages of its indexes stay in it while a vault is read
/// whole, and eight readers together stay small.
const READER_CACHE: &str = "-1024";
/// Pages after which the journal is copied into the file: a batch writes some again that the batch before wrote, so that
/// copying them only every 32 MiB copies most of them once instead of many times.
const CHECKPOINT: &str = "8192";

/// An open database file, migrated. Clones share it.
///
/// SQLite has one writer at a time anyway; here the writers of a process queue for one connection, in order,
/// instead of polling a lock. Readers never wait for it: the journal is a write-ahead log.
#[derive(Debug, Clone)]
pub struct Database {
    writer: Lanes,
    readers: Lanes,
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
            .pragma("wal_autocheckpoint", CHECKPOINT)
            // A large batch must not spill half-done pages for want of room.
            .pragma("cache_size", "-8192");
        let writer = Lanes::new(writing, 1);
        migrations::LOG.run(&mut *writer.take().await?).await?;
        Ok(Self {
            writer,
            readers: Lanes::new(options.read_only(true).pragma("cache_size", READER_CACHE), READERS),
        })
    }

    /// A file as it is: nothing is written by it.
    pub fn reading(path: &Path) -> Self {
        let (writer, readers) = reading(path);
        Self { writer, readers }
    }

    /// A write transaction that holds the write lock from its first moment. Dropped without commit it is rolled back.
    ///
    /// # Errors
    /// If another process holds the file for too long.
    pub async fn begin(&self) -> Result<Writing, sqlx::Error> {
        self.writer.begin().await
    }

    /// A connection that only reads, each statement from one snapshot.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub async fn reader(&self) -> Result<Lane, sqlx::Error> {
        self.readers.take().await
    }

    /// Writes the journal into the file and empties it, once every reader that is at work now has ended.
    ///
    /// # Errors
    /// If the file cannot be written, or a reader does not end.
    pub async fn scrub(&self) -> Result<(), sqlx::Error> {
        emptied(&mut *self.writer.take().await?).await
    }

    /// Waits for what runs and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Brings a file to rest that nobody writes to any more: all of it is in the file itself, nothing in its journal.
///
/// # Errors
/// If the file cannot be written, or somebody still uses it.
pub async fn settle(path: &Path) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(SETTLE);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let outcome = emptied(&mut connection).await;
    connection.close().await?;
    outcome
}

/// Empties the journal of a file.
async fn emptied(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let (busy, _, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(writer).await?;
    if busy == 0 { Ok(()) } else { Err(sqlx::Error::Protocol("the journal is still being read".to_owned())) }
}

/// How a file is opened that is only looked at.
fn as_it_is(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).read_only(true)
}

/// The lanes of a file as it is: what would write, and what reads.
fn reading(path: &Path) -> (Lanes, Lanes) {
    let options = as_it_is(path);
    let readers = Lanes::new(options.clone().pragma("cache_size", READER_CACHE), READERS);
    (Lanes::new(options, 1), readers)
}

/// Of which form the tables of a file of a data folder are.
///
/// # Errors
/// If the file cannot be opened, or is not a database.
pub async fn form(folder: &Path, name: &str) -> Result<Form, sqlx::Error> {
    let path = folder.join(name);
    if !path.try_exists()? {
        return Ok(Form::Blank);
    }
    let mut connection = SqliteConnection::connect_with(&as_it_is(&path)).await?;
    let kept = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(&mut connection).await?;
    let done = match kept {
        0 => Vec::new(),
        _ => sqlx::query_scalar(form::DONE).fetch_all(&mut connection).await?,
    };
    connection.close().await?;
    let migrations = match name {
        files::LOG => &migrations::LOG,
        files::READS => &migrations::READS,
        files::CREDENTIALS => &migrations::CREDENTIALS,
        files::OPERATIONS => &migrations::OPERATIONS,
        _ => &migrations::RATES,
    };
    Ok(Form::of(migrations, &done))
}

/// How a small store opens its file.
fn file(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
}

/// One connection to a file, opened now: every call of a small store is short, and writers would queue anyway.
async fn one_connection(options: SqliteConnectOptions) -> Result<Lanes, sqlx::Error> {
    let lanes = Lanes::new(options, 1);
    lanes.take().await?;
    Ok(lanes)
}

/// The one connection of a small store, its tables up to date; the store says what a failure means to it.
async fn migrated<E>(
    options: SqliteConnectOptions,
    migrations: &Migrator,
    failed: impl Fn(sqlx::Error) -> E,
    other: impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> E,
) -> Result<Lanes, E> {
    let lanes = one_connection(options).await.map_err(&failed)?;
    migrations
        .run(&mut *lanes.take().await.map_err(&failed)?)
        .await
        .map_err(|error| other(Box::new(error)))?;
    Ok(lanes)
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
