//! Tables of a file as rows of plain values.

use std::path::Path;

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, QueryBuilder, Row as _, Sqlite, query::Query, sqlite::SqliteArguments, sqlite::SqliteRow,
};

use super::{Lanes, Writing, chunks, file};
use crate::tables::{Column, Filling, Kind, Row, Shape, Table, TableError, TableStore, Value};

type Result<T> = std::result::Result<T, TableError>;

/// The tables of a file that has been migrated.
#[derive(Debug, Clone)]
pub struct SqliteTables {
    lanes: Lanes,
}

impl SqliteTables {
    /// The tables of a file, which is opened when it is first asked.
    pub fn new(path: &Path) -> Self {
        // A filling has one connection for long; what it is asked meanwhile takes another.
        Self { lanes: Lanes::new(file(path).create_if_missing(false), 2) }
    }
}

fn kind(native: &str) -> Option<Kind> {
    match native {
        "BLOB" => Some(Kind::Bytes),
        "INTEGER" => Some(Kind::Int),
        "TEXT" => Some(Kind::Text),
        _ => None,
    }
}

fn names(columns: impl Iterator<Item = usize>, shape: &Shape) -> String {
    columns.map(|at| format!("\"{}\"", shape.columns[at].name)).collect::<Vec<_>>().join(", ")
}

fn bind<'q>(query: Query<'q, Sqlite, SqliteArguments>, value: &Value) -> Query<'q, Sqlite, SqliteArguments> {
    match value.clone() {
        Value::Null => query.bind(None::<i64>),
        Value::Bytes(bytes) => query.bind(bytes),
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    }
}

fn value(row: &SqliteRow, at: usize, kind: Kind) -> std::result::Result<Value, sqlx::Error> {
    Ok(match kind {
        Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at)?.map_or(Value::Null, Value::Bytes),
        Kind::Int => row.try_get::<Option<i64>, _>(at)?.map_or(Value::Null, Value::Int),
        Kind::Text => row.try_get::<Option<String>, _>(at)?.map_or(Value::Null, Value::Text),
    })
}

#[async_trait]
impl TableStore for SqliteTables {
    async fn shape(&self, table: &'static Table) -> Result<Shape> {
        let columns = "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid";
        let columns: Vec<(String, String, i64)> = sqlx::query_as(columns)
            .bind(table.name)
            .fetch_all(&self.lanes)
            .await
            .map_err(TableError::of(table.name))?;
        let columns = columns.into_iter().map(|(name, native, key)| match kind(&native) {
            Some(kind) => {
                let key = Some(key).filter(|key| *key > 0);
                Ok(Column { name, kind, native, key, is_derived: false })
            }
            None => Err(TableError::Foreign { table: table.name.to_owned(), column: name, native }),
        });
        Ok(Shape::new(table, columns.collect::<Result<_>>()?))
    }

    async fn count(&self, table: &'static Table) -> Result<u64> {
        let count = format!("SELECT count(*) FROM \"{}\" WHERE {}", table.name, table.carried());
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&self.lanes)
            .await
            .map_err(TableError::of(table.name))?;
        Ok(count.cast_unsigned())
    }

    async fn page(&self, shape: &Shape, after: Option<&Row>, limit: usize) -> Result<Vec<Row>> {
        let (all, key) = (names(0..shape.columns.len(), shape), shape.key());
        let order = names(key.iter().copied(), shape);
        let places = vec!["?"; key.len()].join(", ");
        let after_it = after.map(|_| format!(" AND ({order}) > ({places})")).unwrap_or_default();
        let Table { name, .. } = shape.table;
        let page = format!(
            "SELECT {all} FROM \"{name}\" WHERE {}{after_it} ORDER BY {order} LIMIT {limit}",
            shape.table.carried()
        );
        let mut query = sqlx::query(AssertSqlSafe(page));
        for value in after.iter().flat_map(|row| key.iter().map(|at| &row[*at])) {
            query = bind(query, value);
        }
        let rows = query.fetch_all(&self.lanes).await.map_err(TableError::of(name))?;
        let row = |row: &SqliteRow| {
            shape.columns.iter().enumerate().map(|(at, column)| value(row, at, column.kind)).collect()
        };
        rows.iter().map(row).collect::<std::result::Result<_, _>>().map_err(TableError::of(name))
    }

    async fn begin(&self) -> Result<Box<dyn Filling>> {
        Ok(Box::new(SqliteFilling(self.lanes.begin().await.map_err(TableError::of(""))?)))
    }

    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let fact = sqlx::query_scalar("SELECT value FROM server_facts WHERE name = ?").bind(name.to_owned());
        fact.fetch_optional(&self.lanes).await.map_err(TableError::of("server_facts"))
    }

    async fn keep_fact(&self, name: &str, value: Option<&[u8]>) -> Result<()> {
        let query = match value {
            Some(value) => {
                let put = "INSERT INTO server_facts (name, value) VALUES (?, ?) \
                           ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                sqlx::query(put).bind(name.to_owned()).bind(value.to_vec())
            }
            None => sqlx::query("DELETE FROM server_facts WHERE name = ?").bind(name.to_owned()),
        };
        query.execute(&self.lanes).await.map_err(TableError::of("server_facts"))?;
        Ok(())
    }
}

struct SqliteFilling(Writing);

#[async_trait]
impl Filling for SqliteFilling {
    async fn clear(&mut self, table: &'static Table) -> Result<()> {
        let delete = format!("DELETE FROM \"{}\" WHERE {}", table.name, table.carried());
        let delete = sqlx::query(AssertSqlSafe(delete)).execute(&mut *self.0).await;
        delete.map_err(TableError::of(table.name))?;
        Ok(())
    }

    async fn put(&mut self, shape: &Shape, rows: &[Row]) -> Result<()> {
        let Table { name, .. } = shape.table;
        let begin = format!("INSERT INTO \"{name}\" ({}) ", names(0..shape.columns.len(), shape));
        for chunk in chunks(rows) {
            let mut query = QueryBuilder::<Sqlite>::new(begin.as_str());
            query.push_values(chunk, |mut values, row| {
                for value in row {
                    match value {
                        Value::Null => values.push("NULL"),
                        Value::Bytes(bytes) => values.push_bind(bytes.clone()),
                        Value::Int(number) => values.push_bind(*number),
                        Value::Text(text) => values.push_bind(text.clone()),
                    };
                }
            });
            query.build().execute(&mut *self.0).await.map_err(TableError::of(name))?;
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.0.commit().await.map_err(TableError::of(""))
    }
}
