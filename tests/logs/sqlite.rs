//! SQLite: the contract, each case on a fresh file.

use std::sync::Arc;

use lockstep_events::testing::contract::Opened;
use lockstepd::adapters::sqlite::log::SqliteLog;

pub async fn open() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.db")).await.unwrap();
    Opened { log: Arc::new(log), keep: Box::new(folder) }
}

mod contract {
    lockstep_events::log_contract!(super::open);
}
