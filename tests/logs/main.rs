//! Every log behind the one contract: SQLite and Postgres side by side with the log in memory.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../support/database.rs"]
mod database;
mod differential;
mod kill;
mod laws;
mod postgres;
mod sqlite;
mod torture;
