//! What Postgres holds about people besides the log: which tables, and how a row is shown.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{Database, begin, pool::Pool, subject_keys::failed};
use crate::subjects::{
    holding::{FoundBy, HeldRow, HeldTable, Holding, Person},
    keys::KeyStoreError,
};

type Result<T> = std::result::Result<T, KeyStoreError>;

/// The tables. A column is `bytea`.
pub const TABLES: &[HeldTable] = &[
    HeldTable {
        table: "names",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'reserved_at', reserved_at, 'confirmed', confirmed",
    },
    HeldTable {
        table: "passwords",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'setup', setup, 'suite', suite",
    },
    HeldTable {
        table: "wraps",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'name', name, 'generation', generation, 'wrapped', encode(bytes, 'hex')",
    },
    HeldTable {
        table: "sessions",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'session', encode(session, 'hex'), 'device', encode(device, 'hex'), 'method', method, \
                'generation', generation, 'opened_at', opened_at, 'ended_at', ended_at",
    },
    HeldTable {
        table: "factors",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'id', encode(id, 'hex'), 'kind', kind, 'created_at', created_at",
    },
    HeldTable {
        table: "staged",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'staged_at', staged_at",
    },
    HeldTable {
        table: "addresses",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'standing', standing, 'since', since",
    },
    HeldTable {
        table: "mail_tasks",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'next_at', next_at, 'tries', tries, 'done_at', done_at",
    },
    HeldTable {
        table: "links",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'purpose', purpose, 'expires_at', expires_at, 'pressed_at', pressed_at, 'taken_at', taken_at",
    },
    HeldTable {
        table: "identities",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'id', encode(id, 'hex'), 'provider', provider, 'linked_at', linked_at",
    },
    HeldTable {
        table: "oidc_flows",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'provider', provider, 'expires_at', expires_at",
    },
    HeldTable {
        table: "kept_answers",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'device', encode(device, 'hex'), 'key', key, 'status', status, 'until', until",
    },
    HeldTable {
        table: "served",
        column: "stream",
        found_by: FoundBy::Streams,
        shown: "'device', encode(device, 'hex'), 'stream', encode(stream, 'hex'), 'seq', seq, 'kept_at', kept_at",
    },
];

/// The rows about people in a Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresHoldings {
    pool: Pool,
}

impl PostgresHoldings {
    /// The rows in a migrated database.
    pub fn new(database: &Database) -> Self {
        Self { pool: database.pool().clone() }
    }
}

#[async_trait]
impl Holding for PostgresHoldings {
    async fn held(&self, person: &Person) -> Result<Vec<HeldRow>> {
        let mut rows = Vec::new();
        for held in TABLES {
            let HeldTable { table, column, found_by, shown } = *held;
            let query = format!(
                "SELECT json_build_object({shown})::text FROM {table} WHERE {column} = ANY($1) ORDER BY 1"
            );
            let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query))
                .bind(person.ids(found_by))
                .fetch_all(self.pool.again())
                .await
                .map_err(failed)?;
            rows.extend(found.into_iter().map(|json| HeldRow { table, json }));
        }
        Ok(rows)
    }

    async fn erase(&self, person: &Person) -> Result<u64> {
        let mut transaction = begin::plain(&self.pool).await.map_err(failed)?;
        let mut gone = 0;
        for held in TABLES {
            let HeldTable { table, column, found_by, .. } = *held;
            let delete = format!("DELETE FROM {table} WHERE {column} = ANY($1)");
            let delete = sqlx::query(AssertSqlSafe(delete)).bind(person.ids(found_by));
            let done = delete.execute(&mut *transaction).await;
            gone += done.map_err(failed)?.rows_affected();
        }
        transaction.commit().await.map_err(failed)?;
        Ok(gone)
    }

    async fn scrub(&self) -> Result<()> {
        // Postgres reuses the room of deleted rows by itself; a dump has none of them.
        Ok(())
    }
}
