//! Operational tables in Postgres: the index of blobs, kept answers, what devices were served.

mod answers;
mod blob_index;
mod served;

use sqlx::PgPool;

use super::Database;

/// Operational tables in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresOperations {
    pool: PgPool,
}

impl PostgresOperations {
    /// The tables of a migrated database.
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool().clone() }
    }
}

/// Whether an error passes by itself, or says that the disk is full.
enum Nature {
    Passing,
    Full,
    Other,
}

fn nature(error: &sqlx::Error) -> Nature {
    let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default();
    match (code.as_ref(), error) {
        ("53100" | "53200", _) => Nature::Full,
        // Connections, too many of them, shutdown, read-only standby, timeouts and deadlocks.
        (code, _) if code.starts_with("08") || code.starts_with("57P") => Nature::Passing,
        ("53300" | "25006" | "57014" | "55P03" | "40P01" | "40001", _) => Nature::Passing,
        ("", sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => Nature::Passing,
        ("", sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => Nature::Passing,
        _ => Nature::Other,
    }
}
