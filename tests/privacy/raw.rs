//! What the databases have, read past every adapter: each column of each row of each table.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

use crate::{
    canary::has,
    support::{Mode, Node},
};

/// A row: what its columns have, as bytes.
pub struct Row {
    pub table: String,
    columns: Vec<Vec<u8>>,
}

impl Row {
    /// Of a table and a text of columns in hexadecimal.
    fn of(table: &str, text: &str) -> Self {
        let columns = text.split(' ').map(|column| hex::decode(column).unwrap()).collect();
        Self { table: table.to_owned(), columns }
    }

    /// Whether an id stands in it: as bytes, or as text in any form.
    pub fn has_id(&self, id: Uuid) -> bool {
        let forms = [id.simple().to_string(), id.to_string()];
        self.columns.iter().any(|column| {
            column.windows(16).any(|window| window == id.as_bytes())
                || forms.iter().any(|form| has(column, form))
        })
    }

    pub fn has_word(&self, word: &str) -> bool {
        self.columns.iter().any(|column| has(column, word))
    }
}

/// Everything.
pub async fn rows(node: &Node, mode: Mode) -> Vec<Row> {
    if mode == Mode::Distributed {
        return of_postgres(&node.database()).await;
    }
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(node.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sqlite") {
            rows.extend(of_sqlite(&path).await);
        }
    }
    rows
}

async fn of_sqlite(path: &Path) -> Vec<Row> {
    let mut file = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut file).await.unwrap();
    let mut rows = Vec::new();
    for table in tables {
        let columns = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)").bind(&table);
        let columns: Vec<String> = columns.fetch_all(&mut file).await.unwrap();
        let columns: Vec<_> = columns.iter().map(|name| format!("hex(\"{name}\")")).collect();
        let query = format!("SELECT {} FROM \"{table}\"", columns.join(" || ' ' || "));
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut file).await.unwrap();
        rows.extend(found.iter().map(|text| Row::of(&table, text)));
    }
    rows
}

async fn of_postgres(database: &str) -> Vec<Row> {
    let mut connection = PgConnection::connect(database).await.unwrap();
    let query = "SELECT table_name::text, string_agg(CASE data_type \
                     WHEN 'bytea' THEN format('coalesce(encode(%I, ''hex''), '''')', column_name) \
                     ELSE format('coalesce(encode(convert_to(%I::text, ''UTF8''), ''hex''), '''')', column_name) \
                 END, ' || '' '' || ') \
                 FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name) \
                 WHERE table_schema = 'public' AND table_type = 'BASE TABLE' GROUP BY table_name";
    let tables: Vec<(String, String)> = sqlx::query_as(query).fetch_all(&mut connection).await.unwrap();
    let mut rows = Vec::new();
    for (table, columns) in tables {
        let query = AssertSqlSafe(format!("SELECT {columns} FROM \"{table}\""));
        let found: Vec<String> = sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap();
        rows.extend(found.iter().map(|text| Row::of(&table, text)));
    }
    rows
}

#[test]
fn an_id_and_a_word_are_found_in_every_form() {
    let (id, word) = (Uuid::new_v4(), crate::canary::canary());
    let texts = [id.to_string(), id.simple().to_string(), format!("{{\"of\":\"{id}\",\"says\":\"{word}\"}}")];
    let mut columns: Vec<Vec<u8>> = texts.iter().map(|text| text.clone().into_bytes()).collect();
    columns.push(id.as_bytes().to_vec());
    columns.push([b"ab".as_slice(), id.as_bytes()].concat());
    columns.push(format!("{{\"\\\\x{}\"}}", id.simple()).into_bytes());
    for column in columns {
        let row = Row::of("table", &format!("6162  {}", hex::encode(column)));
        assert!(row.has_id(id) && !row.has_id(Uuid::new_v4()));
    }
    let row = Row::of("table", &hex::encode(&texts[2]));
    assert!(row.has_word(&word) && !row.has_word(&crate::canary::canary()));
}
