//! The connections to the local database, and their end.
//!
//! Each connection has a thread of its own, which closes it. SQLCipher frees its heap when a process ends: a thread
//! that closes its connection just then takes the process down by SIGSEGV after all its work was done. So no
//! connection is ever closed without being waited for: not by [`Pool::close`], not when the last of its owners is
//! dropped, not when a runtime ends with work under way. OpenSSL, which tidies up at the end of each thread too, is
//! told not to free its own tables at all.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_executor::block_on;
use sqlx::{Connection, SqliteConnection, raw_sql, sqlite::SqliteConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

/// Connections at a time.
const MOST: u32 = 4;
/// How long somebody waits for one.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection that is closed when it is dropped; the drop returns when the database is let go of.
#[derive(Debug)]
struct Owned(Option<SqliteConnection>);

impl Owned {
    /// As dropping it, without stopping the caller's thread.
    async fn close(mut self) {
        if let Some(connection) = self.0.take() {
            // A thread that has ended by itself has closed its connection before.
            let _ = connection.close().await;
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            let _ = block_on(connection.close());
        }
    }
}

impl Deref for Owned {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        match &self.0 {
            Some(connection) => connection,
            None => unreachable!("only what ends an owner takes its connection"),
        }
    }
}

impl DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match &mut self.0 {
            Some(connection) => connection,
            None => unreachable!("only what ends an owner takes its connection"),
        }
    }
}

/// Opens a connection. On a thread that a runtime waits for at its end: a connection that nobody takes any more is
/// closed like all others.
async fn connect(options: SqliteConnectOptions) -> Result<Owned, sqlx::Error> {
    openssl_sys::init();
    spawn_blocking(move || {
        block_on(SqliteConnection::connect_with(&options)).map(|connection| Owned(Some(connection)))
    })
    .await
    .map_err(|_| sqlx::Error::WorkerCrashed)?
}

#[derive(Debug)]
struct Shared {
    options: SqliteConnectOptions,
    idle: Mutex<Vec<Owned>>,
    permits: Arc<Semaphore>,
}

impl Shared {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Owned>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A few connections with the same options.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Arc<Shared>);

impl Pool {
    /// Opens the first connection.
    pub(super) async fn open(options: SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let first = connect(options.clone()).await?;
        let permits = Arc::new(Semaphore::new(MOST as usize));
        Ok(Self(Arc::new(Shared { options, idle: Mutex::new(vec![first]), permits })))
    }

    /// A connection for this caller alone, until it is dropped.
    pub(crate) async fn acquire(&self) -> Result<Conn, sqlx::Error> {
        let permit = timeout(PATIENCE, self.0.permits.clone().acquire_owned())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.0.idle().pop();
        let usable = match idle {
            Some(mut owned) => owned.ping().await.is_ok().then_some(owned),
            None => None,
        };
        let owned = match usable {
            Some(owned) => owned,
            None => connect(self.0.options.clone()).await?,
        };
        Ok(Conn { owned, shared: self.0.clone(), _permit: permit })
    }

    /// Begins a write transaction.
    pub(super) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        let mut tx = Tx { conn: self.acquire().await?, open: true };
        raw_sql("BEGIN IMMEDIATE").execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Waits until nobody uses a connection, and closes them all. Nobody gets one afterwards.
    pub(super) async fn close(&self) {
        let Ok(all) = self.0.permits.acquire_many(MOST).await else { return };
        self.0.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.0.idle());
        for connection in idle {
            connection.close().await;
        }
    }
}

/// A connection in use. Goes back when it is dropped, at once: no task of a runtime has to come by.
#[derive(Debug)]
pub(crate) struct Conn {
    owned: Owned,
    shared: Arc<Shared>,
    // Released after the connection went back: fields are dropped after `drop` ran.
    _permit: OwnedSemaphorePermit,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.shared.idle().push(Owned(self.owned.0.take()));
    }
}

impl Deref for Conn {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.owned
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.owned
    }
}

/// A write transaction. Rolled back when it is dropped without a commit.
#[derive(Debug)]
pub(crate) struct Tx {
    conn: Conn,
    open: bool,
}

impl Tx {
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        raw_sql("COMMIT").execute(&mut *self.conn).await?;
        self.open = false;
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        raw_sql("ROLLBACK").execute(&mut *self.conn).await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.open {
            // Fails where the transaction has ended already, for example by a commit whose answer nobody awaited.
            let _ = block_on(raw_sql("ROLLBACK").execute(&mut *self.conn));
        }
    }
}

impl Deref for Tx {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.conn
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::path::Path;

    use super::*;

    async fn pool(dir: &Path) -> Pool {
        let options = SqliteConnectOptions::new().filename(dir.join("some.db")).create_if_missing(true);
        let pool = Pool::open(options).await.unwrap();
        raw_sql("CREATE TABLE t (n INTEGER)").execute(&mut *pool.acquire().await.unwrap()).await.unwrap();
        pool
    }

    /// How often this process has the database open.
    fn open(dir: &Path) -> usize {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        files.filter(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.starts_with(dir))).count()
    }

    #[tokio::test]
    async fn when_the_last_owner_is_dropped_no_connection_is_open_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path()).await;
        let others = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        assert!(open(dir.path()) >= 2);
        drop(pool);
        assert!(open(dir.path()) >= 2, "somebody still works");
        drop(others);
        assert_eq!(open(dir.path()), 0);
    }

    #[test]
    fn a_runtime_that_ends_in_the_middle_of_a_transaction_leaves_no_connection_open() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let (begun, wait) = std::sync::mpsc::channel();
            let path = dir.path().join("some.db");
            runtime.spawn(async move {
                let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let pool = Pool::open(options).await.unwrap();
                let mut tx = pool.begin().await.unwrap();
                raw_sql("CREATE TABLE IF NOT EXISTS t (n INTEGER)").execute(&mut *tx).await.unwrap();
                begun.send(()).unwrap();
                let _second = pool.acquire().await.unwrap();
                std::future::pending::<()>().await;
            });
            wait.recv().unwrap();
            drop(runtime);
            assert_eq!(open(dir.path()), 0);
        }
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_is_rolled_back_before_anybody_else_writes() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path()).await;
        let mut tx = pool.begin().await.unwrap();
        raw_sql("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
        drop(tx);
        let mut tx = pool.begin().await.unwrap();
        let n: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(n, 0);
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn closing_waits_for_those_who_work_and_nobody_gets_a_connection_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path()).await;
        let busy = pool.acquire().await.unwrap();
        let closing = tokio::spawn({
            let pool = pool.clone();
            async move { pool.close().await }
        });
        tokio::task::yield_now().await;
        assert!(!closing.is_finished());
        drop(busy);
        closing.await.unwrap();
        assert_eq!(open(dir.path()), 0);
        assert!(matches!(pool.acquire().await, Err(sqlx::Error::PoolClosed)));
    }
}
