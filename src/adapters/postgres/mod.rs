//! Postgres: shared by all nodes of the distributed mode.

mod begin;
pub mod credentials;
pub mod erasures;
pub mod factors;
pub mod holdings;
pub mod log;
mod nature;
pub mod operations;
pub mod pool;
pub mod rates;
pub mod read;
mod refusal;
mod role;
pub mod subject_keys;
pub mod tables;

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use self::{
    pool::{Cut, Pool},
    refusal::Refusal,
};
use super::{
    form::{self, Form},
    migrations,
};

/// How every connection of the server begins: with fewer rights than its user may have, with bounded waiting, and
/// with commits that are on disk when they are answered. The same for all connections, so a transaction pooler
/// between may mix them. A node that is gone without a word is noticed by the database within a minute, and not within
/// the two hours of most systems: its connections become free for others.
const SESSION: &str = "SET ROLE lockstep_server; SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '30s'; SET synchronous_commit = on; \
     SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

/// A connection that worked so lately is not asked whether it still does: that would double the messages of a busy
/// server. One that has rested longer may have been cut meanwhile.
const FRESH: Duration = Duration::from_secs(1);

/// A connection is there, or answers whether it is, within this time.
const ANSWER: Duration = Duration::from_secs(5);

/// What connections of the server are called, which is shown to every user of the database.
pub const NAME: &str = "lockstepd";

/// How the connections of moves are called, each with a word of its own behind it.
pub const MOVE: &str = "lockstepd move";

/// A migrated database and the server's connections to it. Clones share them.
#[derive(Debug, Clone)]
pub struct Database {
    options: PgConnectOptions,
    pool: Pool,
}

impl Database {
    /// Brings the tables up to date as the user of the URL, then connects as the server's role.
    ///
    /// # Errors
    /// If the database cannot be reached, or was migrated by a newer program, or the user may not make the role.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, sqlx::Error> {
        Self::connect_as(NAME, url, connections).await
    }

    /// The same for connections of another name.
    ///
    /// # Errors
    /// As [`Database::connect`].
    pub async fn connect_as(name: &str, url: &str, connections: u32) -> Result<Self, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.application_name(name);
        let (mut migrating, made_before) = within(async {
            let mut connection = options.connect().await?;
            let made_before = role::is_there(&mut connection).await?;
            Ok((connection, made_before))
        })
        .await?;
        role::give_back(&mut migrating).await?;
        if made_before {
            migrations::beside_the_role().run(&mut migrating).await?;
        } else {
            migrations::POSTGRES.run(&mut migrating).await?;
        }
        role::take_on(&mut migrating).await?;
        migrating.close().await?;
        Ok(Self::lazily(options, connections))
    }

    /// A database whose tables are left as they are, with the same role; connected to when it is first asked.
    ///
    /// # Errors
    /// If that is no URL of one.
    pub fn as_it_is(url: &str, connections: u32) -> Result<Self, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        Ok(Self::lazily(options.application_name(NAME), connections))
    }

    fn lazily(options: PgConnectOptions, connections: u32) -> Self {
        let cut = Arc::<Cut>::default();
        let (known_of, silent) = (Arc::clone(&cut), Arc::clone(&cut));
        let refusal = Arc::<Refusal>::default();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ANSWER)
            .test_before_acquire(false)
            .before_acquire(move |connection, known| {
                let doubtful = known.idle_for > FRESH || known_of.is_within(known.idle_for);
                Box::pin(async move {
                    if doubtful {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_release(move |connection, _| {
                // Of a question that nobody waits for any more the answer is awaited before the connection is used
                // again, but not for ever: the place of one whose database is gone without a word must become free. One
                // that was given up as nothing came may be a BEGIN, which would answer late: it is not used again. What sqlx
                // asks of it afterwards has no bound but the system's (docs/operating.md, "Two nodes over one log").
                let given_up = silent.was_given_up_within(ANSWER);
                Box::pin(async move {
                    if given_up {
                        return Ok(false);
                    }
                    let answered = timeout(ANSWER, connection.flush()).await;
                    answered.map_err(|late| sqlx::Error::Io(late.into()))?.map(|()| true)
                })
            })
            .after_connect(move |connection, _| {
                let refusal = Arc::clone(&refusal);
                Box::pin(async move {
                    let begun = connection.execute(SESSION).await.map(drop);
                    refusal.heard(&begun);
                    begun
                })
            })
            .connect_lazy_with(options.clone());
        Self { options, pool: Pool::new(pool, cut) }
    }

    /// Whether a text is the URL of a database, with options that there are.
    ///
    /// # Errors
    /// If it is none.
    pub fn is_named(url: &str) -> Result<(), sqlx::Error> {
        url.parse::<PgConnectOptions>().map(drop)
    }

    /// Of which form the tables of a database are, for whoever looks at them as the server does.
    ///
    /// # Errors
    /// If it cannot be reached, or the user may not look at them so.
    pub async fn form(url: &str) -> Result<Form, sqlx::Error> {
        Self::form_of(url, true).await
    }

    /// The same for whoever makes the role where it is not there, as [`Database::connect`] does.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn form_to_open(url: &str) -> Result<Form, sqlx::Error> {
        Self::form_of(url, false).await
    }

    async fn form_of(url: &str, as_server: bool) -> Result<Form, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        within(async {
            let mut asking = options.application_name(NAME).connect().await?;
            let kept = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
            let done = if sqlx::query_scalar(kept).fetch_one(&mut asking).await? {
                sqlx::query_scalar(form::DONE).fetch_all(&mut asking).await?
            } else {
                Vec::new()
            };
            if as_server && !done.is_empty() {
                role::is_given(&mut asking).await?;
            }
            asking.close().await?;
            Ok(Form::of(&migrations::POSTGRES, &done))
        })
        .await
    }

    /// Whether a server, or a command of one, is connected to a database, whose connections are not called like this.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn is_used(url: &str, but: &str) -> Result<bool, sqlx::Error> {
        let options: PgConnectOptions = url.parse()?;
        let mut asking = within(options.application_name("lockstepd log").connect()).await?;
        let mut connected: i64 = 1;
        // Those of a process that has just ended are seen for a moment.
        for _ in 0..10 {
            let count = "SELECT count(*) FROM pg_stat_activity \
                         WHERE datname = current_database() AND application_name <> $3 \
                         AND (application_name = $1 OR starts_with(application_name, $2))";
            let asked = sqlx::query_scalar(count).bind(NAME).bind(MOVE).bind(but);
            connected = within(asked.fetch_one(&mut asking)).await?;
            if connected == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        asking.close().await?;
        Ok(connected > 0)
    }

    /// The server's connections.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A connection that has rested, if it still works, or another one: nothing was sent over it that could be lost.
    async fn single_again(&self, rested: Option<PgConnection>) -> Result<PgConnection, sqlx::Error> {
        if let Some(mut rested) = rested
            && matches!(timeout(ANSWER, rested.ping()).await, Ok(Ok(())))
        {
            return Ok(rested);
        }
        self.single().await
    }

    /// A connection of its own outside the pool: no ping between two batches.
    async fn single(&self) -> Result<PgConnection, sqlx::Error> {
        within(async {
            let mut connection = self.options.connect().await?;
            connection.execute(SESSION).await?;
            Ok(connection)
        })
        .await
    }

    /// Waits for what runs and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Gives a database up that takes connections and says nothing.
async fn within<T>(asking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER, asking).await.map_err(|late| sqlx::Error::Io(late.into()))?
}
