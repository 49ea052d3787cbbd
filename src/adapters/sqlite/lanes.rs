//! Connections to one file, handed out and taken back at once.
//!
//! Each connection is a thread, and every message to it is two switches between threads: more than a small statement
//! costs. A pool of sqlx pings a connection whenever it comes back, and its transactions are four messages more. Here a
//! connection comes back without a word, and a transaction may begin with its first statement and end with its last.

mod statement;

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Connection, SqliteConnection, raw_sql, sqlite::SqliteConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long somebody waits for a connection.
const PATIENCE: Duration = Duration::from_secs(30);

struct Shared {
    options: SqliteConnectOptions,
    most: u32,
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Arc<Semaphore>,
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some connections with the same options, opened when they are first needed. Clones share them.
#[derive(Clone)]
pub struct Lanes(Arc<Shared>);

impl Lanes {
    /// At most so many connections.
    pub fn new(options: SqliteConnectOptions, most: u32) -> Self {
        let permits = Arc::new(Semaphore::new(most as usize));
        Self(Arc::new(Shared { options, most, idle: Mutex::default(), permits }))
    }

    /// A connection for this caller alone, until it is dropped.
    ///
    /// # Errors
    /// If the file cannot be opened, all connections stay in use for long, or the lanes are closed.
    pub async fn take(&self) -> Result<Lane, sqlx::Error> {
        let permit = timeout(PATIENCE, Arc::clone(&self.0.permits).acquire_owned())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.0.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.0.options).await?,
        };
        Ok(Lane { connection: Some(connection), shared: Arc::clone(&self.0), _permit: permit })
    }

    /// Begins a write transaction that holds the write lock from its first moment, so that it never has to be retried
    /// for having read too early.
    ///
    /// # Errors
    /// As [`Self::take`], and if another process holds the file for too long.
    pub async fn begin(&self) -> Result<Writing, sqlx::Error> {
        let mut writing = self.about_to_begin().await?;
        match raw_sql("BEGIN IMMEDIATE").execute(&mut *writing).await {
            Ok(_) => Ok(writing),
            Err(error) => {
                writing.undo().await;
                Err(error)
            }
        }
    }

    /// As [`Self::begin`], for a caller whose first statement starts with `BEGIN IMMEDIATE;`.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn about_to_begin(&self) -> Result<Writing, sqlx::Error> {
        Ok(Writing { lane: self.take().await?, open: true })
    }

    /// Waits until nobody uses a connection, and closes them all. Nobody gets one afterwards.
    pub async fn close(&self) {
        let Ok(all) = self.0.permits.acquire_many(self.0.most).await else { return };
        self.0.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.0.idle());
        for connection in idle {
            // A thread that has ended by itself has closed its connection before.
            let _ = connection.close().await;
        }
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("most", &self.0.most).finish_non_exhaustive()
    }
}

/// A connection in use. What was asked of it by somebody who has gone away is done or given up before it does anything
/// else: messages to it stand in line.
pub struct Lane {
    connection: Option<SqliteConnection>,
    shared: Arc<Shared>,
    // Released after the connection went back: fields are dropped after `drop` ran.
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.idle().push(connection);
        }
    }
}

impl Deref for Lane {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("only what ends a lane takes its connection"),
        }
    }
}

impl DerefMut for Lane {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("only what ends a lane takes its connection"),
        }
    }
}

/// A write transaction. Dropped without an end, it takes its connection with it, which rolls it back.
pub struct Writing {
    lane: Lane,
    open: bool,
}

impl Writing {
    /// Commits.
    ///
    /// # Errors
    /// If the commit failed; what was written is undone, or its end is unknown.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        match raw_sql("COMMIT").execute(&mut *self).await {
            Ok(_) => {
                self.open = false;
                Ok(())
            }
            Err(error) => {
                self.undo().await;
                Err(error)
            }
        }
    }

    /// The caller's last statement ended with `COMMIT`, and succeeded.
    pub fn committed(mut self) {
        self.open = false;
    }

    /// Undoes what was written. A connection that cannot even do that is not used again.
    pub async fn undo(mut self) {
        self.open = match raw_sql("ROLLBACK").execute(&mut *self).await {
            Ok(_) => false,
            Err(error) => !nothing_open(&error),
        };
    }
}

/// Whether there was no transaction to roll back: it did not begin, or has been rolled back by what went wrong.
fn nothing_open(error: &sqlx::Error) -> bool {
    const GENERIC: &str = "1";
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(GENERIC))
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.open {
            drop(self.lane.connection.take());
        }
    }
}

impl Deref for Writing {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.lane
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lanes(dir: &std::path::Path, most: u32) -> Lanes {
        let options = SqliteConnectOptions::new().filename(dir.join("some.db")).create_if_missing(true);
        let lanes = Lanes::new(options, most);
        raw_sql("CREATE TABLE t (n INTEGER)").execute(&mut *lanes.take().await.unwrap()).await.unwrap();
        lanes
    }

    async fn rows(lanes: &Lanes) -> i64 {
        let mut lane = lanes.take().await.unwrap();
        sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut *lane).await.unwrap()
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_is_rolled_back_and_the_next_one_can_write() {
        let dir = tempfile::tempdir().unwrap();
        let lanes = lanes(dir.path(), 1).await;
        let mut writing = lanes.begin().await.unwrap();
        raw_sql("INSERT INTO t VALUES (1)").execute(&mut *writing).await.unwrap();
        drop(writing);
        let mut writing = lanes.begin().await.unwrap();
        raw_sql("INSERT INTO t VALUES (2)").execute(&mut *writing).await.unwrap();
        writing.commit().await.unwrap();
        assert_eq!(rows(&lanes).await, 1);
    }

    #[tokio::test]
    async fn a_transaction_may_begin_and_end_with_its_own_statements() {
        let dir = tempfile::tempdir().unwrap();
        let lanes = lanes(dir.path(), 1).await;
        let mut writing = lanes.about_to_begin().await.unwrap();
        let first = "BEGIN IMMEDIATE; SELECT count(*) FROM t";
        let n: i64 = sqlx::query_scalar(first).fetch_one(&mut *writing).await.unwrap();
        assert_eq!(n, 0);
        let last = "INSERT INTO t VALUES (?); INSERT INTO t VALUES (?); COMMIT";
        sqlx::query(last).bind(1).bind(2).execute(&mut *writing).await.unwrap();
        writing.committed();
        assert_eq!(rows(&lanes).await, 2);
        let mut lane = lanes.take().await.unwrap();
        assert!(raw_sql("ROLLBACK").execute(&mut *lane).await.is_err(), "no transaction is open any more");
    }

    #[tokio::test]
    async fn a_statement_that_fails_in_the_middle_leaves_nothing_behind_once_it_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let lanes = lanes(dir.path(), 1).await;
        let mut writing = lanes.about_to_begin().await.unwrap();
        let broken = "BEGIN IMMEDIATE; INSERT INTO t VALUES (1); INSERT INTO nowhere VALUES (1); COMMIT";
        assert!(raw_sql(broken).execute(&mut *writing).await.is_err());
        writing.undo().await;
        assert_eq!(rows(&lanes).await, 0);
        lanes.begin().await.unwrap().commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_that_could_not_begin_leaves_its_connection_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(dir.path().join("some.db")).create_if_missing(true);
        let lanes = Lanes::new(options.busy_timeout(Duration::from_millis(1)), 1);
        raw_sql("CREATE TABLE t (n INTEGER); CREATE TEMP TABLE mark (n INTEGER)")
            .execute(&mut *lanes.take().await.unwrap())
            .await
            .unwrap();
        let other = Lanes::new(SqliteConnectOptions::new().filename(dir.path().join("some.db")), 1);
        let held = other.begin().await.unwrap();
        assert!(lanes.begin().await.is_err());
        held.undo().await;
        lanes.begin().await.unwrap().commit().await.unwrap();
        // What is temporary is known to one connection alone.
        let mut same = lanes.take().await.unwrap();
        assert!(raw_sql("SELECT n FROM mark").execute(&mut *same).await.is_ok());
    }

    #[tokio::test]
    async fn closing_waits_for_those_who_work_and_nobody_gets_a_connection_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let lanes = lanes(dir.path(), 2).await;
        let busy = lanes.take().await.unwrap();
        let closing = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!closing.is_finished());
        drop(busy);
        closing.await.unwrap();
        assert!(matches!(lanes.take().await, Err(sqlx::Error::PoolClosed)));
    }
}
