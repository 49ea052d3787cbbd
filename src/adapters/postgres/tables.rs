//! Tables of a database as rows of plain values.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Executor, Postgres, Row as _, Transaction,
    postgres::{PgArguments, PgPoolOptions, PgRow},
    query::Query,
};

use super::{Database, MOVE, begin, pool::Pool};
use crate::tables::{Column, Filling, Kind, Row, Shape, Table, TableError, TableStore, Value};

type Result<T> = std::result::Result<T, TableError>;

/// How a connection that carries tables begins: with the rights of its user, as the server's role may not write the log;
/// without a bound on time, as a table may be large.
const SESSION: &str = "SET statement_timeout = 0; SET lock_timeout = '10s'; SET synchronous_commit = on";
/// What the log in Postgres does not keep of a stream: its last event has it.
const DERIVED: [(&str, &str, &str); 2] = [("streams", "seq", "int8"), ("streams", "chain", "bytea")];

/// The tables of a migrated database.
#[derive(Debug, Clone)]
pub struct PostgresTables {
    pool: Pool,
}

impl PostgresTables {
    /// As the server sees them: enough for what is kept about the place.
    pub fn of_server(database: &Database) -> Self {
        Self { pool: database.pool().clone() }
    }

    /// As the user of the URL sees them, who owns them.
    pub fn of_owner(database: &Database) -> Self {
        let options = &database.options;
        let is_move = options.get_application_name().is_some_and(|name| name.starts_with(MOVE));
        let options = if is_move { options.clone() } else { options.clone().application_name(MOVE) };
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(SESSION).await.map(|_| ()) })
            })
            .connect_lazy_with(options);
        Self { pool: Pool::unbounded(pool) }
    }
}

fn kind(native: &str) -> Option<Kind> {
    match native {
        "bytea" | "uuid" => Some(Kind::Bytes),
        "int2" | "int4" | "int8" | "bool" => Some(Kind::Int),
        "text" => Some(Kind::Text),
        _ => None,
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// A column as one of three types.
fn read(column: &Column) -> String {
    let Column { name, native, .. } = column;
    if column.is_derived {
        return format!(
            "(SELECT e.{name} FROM events e WHERE e.stream = streams.stream ORDER BY e.seq DESC LIMIT 1)"
        );
    }
    match native.as_str() {
        "uuid" => format!("uuid_send(\"{name}\")"),
        "int2" | "int4" => format!("\"{name}\"::bigint"),
        "bool" => format!("\"{name}\"::integer::bigint"),
        _ => quoted(name),
    }
}

/// One of three types as what the column is.
fn written(column: &Column, value: &str) -> String {
    match column.native.as_str() {
        "uuid" => format!("encode({value}, 'hex')::uuid"),
        "int2" => format!("({value})::smallint"),
        "int4" => format!("({value})::integer"),
        "bool" => format!("({value})::integer::boolean"),
        _ => value.to_owned(),
    }
}

fn native(kind: Kind) -> &'static str {
    match kind {
        Kind::Bytes => "bytea",
        Kind::Int => "bigint",
        Kind::Text => "text",
    }
}

fn listed(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// A column of the key, ordered by its bytes whatever the database's language is.
fn ordered(column: &Column) -> String {
    let plain = if column.kind == Kind::Text { " COLLATE \"C\"" } else { "" };
    quoted(&column.name) + plain
}

fn bind<'q>(query: Query<'q, Postgres, PgArguments>, value: &Value) -> Query<'q, Postgres, PgArguments> {
    match value.clone() {
        Value::Null => query.bind(None::<i64>),
        Value::Bytes(bytes) => query.bind(bytes),
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    }
}

fn value(row: &PgRow, at: usize, kind: Kind) -> std::result::Result<Value, sqlx::Error> {
    Ok(match kind {
        Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at)?.map_or(Value::Null, Value::Bytes),
        Kind::Int => row.try_get::<Option<i64>, _>(at)?.map_or(Value::Null, Value::Int),
        Kind::Text => row.try_get::<Option<String>, _>(at)?.map_or(Value::Null, Value::Text),
    })
}

#[async_trait]
impl TableStore for PostgresTables {
    async fn shape(&self, table: &'static Table) -> Result<Shape> {
        // Keys count from 0 here, and from 1 elsewhere.
        let columns: Vec<(String, String, Option<i64>)> = sqlx::query_as(
            "SELECT a.attname::text, t.typname::text, array_position(i.indkey::int2[], a.attnum)::bigint + 1 \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
             WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        )
        .bind(table.name)
        .fetch_all(&self.pool)
        .await
        .map_err(TableError::of(table.name))?;
        let kept = columns.into_iter().map(|(name, native, key)| (name, native, key, false));
        let derived = DERIVED.iter().filter(|(of, ..)| *of == table.name);
        let derived = derived.map(|(_, name, native)| ((*name).to_owned(), (*native).to_owned(), None, true));
        let columns = kept.chain(derived).map(|(name, native, key, is_derived)| match kind(&native) {
            Some(kind) => Ok(Column { name, kind, native, key, is_derived }),
            None => Err(TableError::Foreign { table: table.name.to_owned(), column: name, native }),
        });
        Ok(Shape::new(table, columns.collect::<Result<_>>()?))
    }

    async fn count(&self, table: &'static Table) -> Result<u64> {
        let count = format!("SELECT count(*) FROM {} WHERE {}", table.name, table.carried());
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&self.pool)
            .await
            .map_err(TableError::of(table.name))?;
        Ok(count.cast_unsigned())
    }

    async fn page(&self, shape: &Shape, after: Option<&Row>, limit: usize) -> Result<Vec<Row>> {
        let (all, key) = (listed(shape.columns.iter().map(read)), shape.key());
        let order = listed(key.iter().map(|at| ordered(&shape.columns[*at])));
        let places = key.iter().zip(1..).map(|(at, n)| {
            let column = &shape.columns[*at];
            written(column, &format!("${n}::{}", native(column.kind)))
        });
        let after_it = after.map(|_| format!(" AND ({order}) > ({})", listed(places))).unwrap_or_default();
        let Table { name, .. } = shape.table;
        let page = format!(
            "SELECT {all} FROM {name} WHERE {}{after_it} ORDER BY {order} LIMIT {limit}",
            shape.table.carried()
        );
        let mut query = sqlx::query(AssertSqlSafe(page));
        for value in after.iter().flat_map(|row| key.iter().map(|at| &row[*at])) {
            query = bind(query, value);
        }
        let rows = query.fetch_all(&self.pool).await.map_err(TableError::of(name))?;
        let row = |row: &PgRow| {
            shape.columns.iter().enumerate().map(|(at, column)| value(row, at, column.kind)).collect()
        };
        rows.iter().map(row).collect::<std::result::Result<_, _>>().map_err(TableError::of(name))
    }

    async fn begin(&self) -> Result<Box<dyn Filling>> {
        Ok(Box::new(PostgresFilling(begin::plain(&self.pool).await.map_err(TableError::of(""))?)))
    }

    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let fact = sqlx::query_scalar("SELECT value FROM server_facts WHERE name = $1").bind(name.to_owned());
        fact.fetch_optional(&self.pool).await.map_err(TableError::of("server_facts"))
    }

    async fn keep_fact(&self, name: &str, value: Option<&[u8]>) -> Result<()> {
        let query = match value {
            Some(value) => {
                let put = "INSERT INTO server_facts (name, value) VALUES ($1, $2) \
                           ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                sqlx::query(put).bind(name.to_owned()).bind(value.to_vec())
            }
            None => sqlx::query("DELETE FROM server_facts WHERE name = $1").bind(name.to_owned()),
        };
        query.execute(&self.pool).await.map_err(TableError::of("server_facts"))?;
        Ok(())
    }
}

struct PostgresFilling(Transaction<'static, Postgres>);

/// The values of a column, as an array.
enum Array {
    Bytes(Vec<Option<Vec<u8>>>),
    Int(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
}

fn array(column: &Column, at: usize, rows: &[Row]) -> Array {
    let values = rows.iter().map(|row| row[at].clone());
    match column.kind {
        Kind::Bytes => {
            Array::Bytes(values.map(|v| if let Value::Bytes(v) = v { Some(v) } else { None }).collect())
        }
        Kind::Int => Array::Int(values.map(|v| if let Value::Int(v) = v { Some(v) } else { None }).collect()),
        Kind::Text => {
            Array::Text(values.map(|v| if let Value::Text(v) = v { Some(v) } else { None }).collect())
        }
    }
}

#[async_trait]
impl Filling for PostgresFilling {
    async fn clear(&mut self, table: &'static Table) -> Result<()> {
        let delete = format!("DELETE FROM {} WHERE {}", table.name, table.carried());
        let delete = sqlx::query(AssertSqlSafe(delete)).execute(&mut *self.0).await;
        delete.map_err(TableError::of(table.name))?;
        Ok(())
    }

    async fn put(&mut self, shape: &Shape, rows: &[Row]) -> Result<()> {
        let Table { name, .. } = shape.table;
        let kept: Vec<_> =
            shape.columns.iter().enumerate().filter(|(_, column)| !column.is_derived).collect();
        let into = listed(kept.iter().map(|(_, column)| quoted(&column.name)));
        let values = listed(kept.iter().map(|(at, column)| written(column, &format!("u.c{at}"))));
        let arrays = listed(kept.iter().zip(1..).map(|((_, c), n)| format!("${n}::{}[]", native(c.kind))));
        let aliases = listed(kept.iter().map(|(at, _)| format!("c{at}")));
        let insert =
            format!("INSERT INTO {name} ({into}) SELECT {values} FROM unnest({arrays}) AS u ({aliases})");
        let mut query = sqlx::query(AssertSqlSafe(insert));
        for (at, column) in &kept {
            query = match array(column, *at, rows) {
                Array::Bytes(values) => query.bind(values),
                Array::Int(values) => query.bind(values),
                Array::Text(values) => query.bind(values),
            };
        }
        query.execute(&mut *self.0).await.map_err(TableError::of(name))?;
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.0.commit().await.map_err(TableError::of(""))
    }
}
