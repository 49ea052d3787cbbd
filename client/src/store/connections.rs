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
