//! Postgres: shared by all nodes of the distributed mode.

pub mod credentials;
pub mod erasures;
pub mod factors;
pub mod holdings;
pub mod log;
pub mod operations;
pub mod rates;
pub mod read;
pub mod subject_keys;

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::migrations;

/// How every connection of the server begins: with fewer rights than its user may have, with bounded waiting, and
/// with commits that are on disk when they are answered. The same for all connections, so a transaction pooler
/// between may mix them.
const SESSION: &str = "SET ROLE lockstep_server; SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '30s'; SET synchronous_commit = on";

/// A connection that worked so lately is not asked whether it still does: that would double the messages of a busy
/// server. One that has rested longer may have been cut meanwhile.
const FRESH: Duration = Duration::from_secs(1);

/// What connections of the server are called, which is shown to every user of the database.
const NAME: &str = "lockstepd";

/// A migrated database and the server's connections to it. Clones share them.
#[derive(Debug, Clone)]
pub struct Database {
    options: PgConnectOptions,
    pool: PgPool,
}

impl Database {
    /// Brings the tables up to date as the user of the URL, then connects as the server's role.
    ///
    /// # Errors
    /// If the database cannot be reached, or was migrated by a newer program, or the user may not make the role.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.application_name(NAME);
        let mut migrating = options.connect().await?;
        migrations::POSTGRES.run(&mut migrating).await?;
        migrating.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(5))
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SESSION).await.map(|_| ()) })
            })
            .connect_lazy_with(options.clone());
        Ok(Self { options, pool })
    }

    /// Whether a server, or a command of one, is connected to a database.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn is_used(url: &str) -> Result<bool, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        let mut asking = options.application_name("lockstepd log").connect().await?;
        let mut connected: i64 = 1;
        // Those of a process that has just ended are seen for a moment.
        for _ in 0..10 {
            let count = "SELECT count(*) FROM pg_stat_activity \
                         WHERE datname = current_database() AND application_name = $1";
            connected = sqlx::query_scalar(count).bind(NAME).fetch_one(&mut asking).await?;
            if connected == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        asking.close().await?;
        Ok(connected > 0)
    }

    /// The server's connections.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection of its own outside the pool: no ping between two batches.
    async fn single(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        connection.execute(SESSION).await?;
        Ok(connection)
    }

    /// Waits for what runs and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
