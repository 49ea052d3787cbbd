//! What the SQLite files hold about people besides the log: which tables, and how a row is shown.

use std::path::Path;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::{
    Lanes, emptied, files,
    subject_keys::{failed, open},
};
use crate::subjects::{
    holding::{FoundBy, HeldRow, HeldTable, Holding, Person},
    keys::KeyStoreError,
};

type Result<T> = std::result::Result<T, KeyStoreError>;

/// The files with rows about people, and their tables.
pub const FILES: &[(&str, &[HeldTable])] =
    &[(files::CREDENTIALS, CREDENTIALS), (files::OPERATIONS, OPERATIONS)];

/// The tables of the file of credentials.
const CREDENTIALS: &[HeldTable] = &[
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
        shown: "'name', name, 'generation', generation, 'wrapped', lower(hex(bytes))",
    },
    HeldTable {
        table: "sessions",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'session', lower(hex(session)), 'device', lower(hex(device)), 'method', method, \
                'generation', generation, 'opened_at', opened_at, 'ended_at', ended_at",
    },
    HeldTable {
        table: "factors",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'id', lower(hex(id)), 'kind', kind, 'created_at', created_at",
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
        shown: "'id', lower(hex(id)), 'provider', provider, 'linked_at', linked_at",
    },
    HeldTable {
        table: "oidc_flows",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'provider', provider, 'expires_at', expires_at",
    },
];

/// The tables of the file of operations.
const OPERATIONS: &[HeldTable] = &[
    HeldTable {
        table: "kept_answers",
        column: "account",
        found_by: FoundBy::Account,
        shown: "'device', lower(hex(device)), 'key', key, 'status', status, 'until', until",
    },
    HeldTable {
        table: "served",
        column: "stream",
        found_by: FoundBy::Streams,
        shown: "'device', lower(hex(device)), 'stream', lower(hex(stream)), 'seq', seq, 'kept_at', kept_at",
    },
];

/// The rows about people in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteHoldings {
    pool: Lanes,
    tables: &'static [HeldTable],
}

impl SqliteHoldings {
    /// Opens a file that was migrated already.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn open(path: &Path, tables: &'static [HeldTable]) -> Result<Self> {
        Ok(Self { pool: open(path).await?, tables })
    }
}

#[async_trait]
impl Holding for SqliteHoldings {
    async fn held(&self, person: &Person) -> Result<Vec<HeldRow>> {
        let mut rows = Vec::new();
        for held in self.tables {
            let HeldTable { table, column, found_by, shown } = *held;
            for id in person.ids(found_by) {
                let query = format!("SELECT json_object({shown}) FROM {table} WHERE {column} = ? ORDER BY 1");
                let query = sqlx::query_scalar(AssertSqlSafe(query)).bind(id);
                let found: Vec<String> = query.fetch_all(&self.pool).await.map_err(failed)?;
                rows.extend(found.into_iter().map(|json| HeldRow { table, json }));
            }
        }
        Ok(rows)
    }

    async fn erase(&self, person: &Person) -> Result<u64> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let mut gone = 0;
        for held in self.tables {
            let HeldTable { table, column, found_by, .. } = *held;
            for id in person.ids(found_by) {
                let delete = format!("DELETE FROM {table} WHERE {column} = ?");
                let delete = sqlx::query(AssertSqlSafe(delete)).bind(id);
                gone += delete.execute(&mut *transaction).await.map_err(failed)?.rows_affected();
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(gone)
    }

    async fn scrub(&self) -> Result<()> {
        // Free pages are overwritten when rows are deleted; what is left is the journal.
        emptied(&mut *self.pool.take().await.map_err(failed)?).await.map_err(failed)
    }
}
