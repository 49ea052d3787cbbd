//! Operational tables in Postgres: the index of blobs, kept answers, what devices were served.

mod answers;
mod blob_index;
mod blob_names;
mod served;

use super::{Database, pool::Pool};

/// Operational tables in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresOperations {
    pool: Pool,
}

impl PostgresOperations {
    /// The tables of a migrated database.
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool().clone() }
    }
}
