//! Postgres: the contract, each case in a fresh database.

use std::sync::Arc;

use lockstep_events::testing::contract::Opened;
use lockstepd::adapters::postgres::{Database, log::PostgresLog};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The superuser URL of the Postgres that the test run has started.
pub fn server() -> String {
    std::env::var("LOCKSTEP_TEST_POSTGRES")
        .expect("LOCKSTEP_TEST_POSTGRES is not set: run cargo xtask test, which starts a Postgres")
}

/// A database of the test server; dropped with it.
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// A migrated database.
    pub async fn create() -> Self {
        /// Migrated once, then copied: a copy takes a tenth of the time.
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let template = TestDatabase::named("lockstep_template", "template1").await;
                Database::connect(&template.url(), 1).await.unwrap().close().await;
                let name = template.name.clone();
                std::mem::forget(template);
                name
            })
            .await;
        Self::named("lockstep_test", template).await
    }

    async fn named(prefix: &str, template: &str) -> Self {
        let name = format!("{prefix}_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server()).await.unwrap();
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        admin.execute(AssertSqlSafe(create)).await.unwrap();
        Self { name }
    }

    /// As the superuser.
    pub fn url(&self) -> String {
        let server = server();
        let (base, _) = server.rsplit_once('/').unwrap();
        format!("{base}/{}", self.name)
    }

    pub async fn log(&self) -> PostgresLog {
        PostgresLog::new(Database::connect(&self.url(), 4).await.unwrap())
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropping = async move {
            let mut admin = PgConnection::connect(&server()).await?;
            admin.execute(AssertSqlSafe(drop)).await
        };
        // The runtime of the test is busy with this drop: another one does it.
        let done = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(dropping)
        });
        let _ = done.join();
    }
}

pub async fn open() -> Opened {
    let database = TestDatabase::create().await;
    Opened { log: Arc::new(database.log().await), keep: Box::new(database) }
}

mod contract {
    lockstep_events::log_contract!(super::open);
}
