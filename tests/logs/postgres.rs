//! Postgres: the contract, each case in a fresh database.

use std::sync::Arc;

use lockstep_events::testing::contract::Opened;
use lockstepd::adapters::postgres::{Database, log::PostgresLog};

use crate::database;

/// A migrated database of the test server.
pub struct TestDatabase {
    url: String,
}

impl TestDatabase {
    pub async fn create() -> Self {
        Self { url: database::fresh("logs").await }
    }

    /// As the superuser.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub async fn log(&self) -> PostgresLog {
        PostgresLog::new(Database::connect(&self.url, 4).await.unwrap())
    }
}

pub async fn open() -> Opened {
    let database = TestDatabase::create().await;
    Opened { log: Arc::new(database.log().await), keep: Box::new(database) }
}

mod contract {
    lockstep_events::log_contract!(super::open);
}
