//! What carries tables from one database to another knows all of them, and brings every value over as it was.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use lockstepd::{
    adapters::{
        postgres::{Database, tables::PostgresTables},
        sqlite::{
            credentials::SqliteCredentials, files, log::SqliteLog, operations::SqliteOperations,
            rates::SqliteRates, read::SqliteReads, tables::SqliteTables,
        },
    },
    tables::{Family, Kind, LEFT, Row, Shape, TABLES, Table, TableStore, Value},
};

use crate::open::database;

/// Every database file of a data folder, migrated.
async fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    SqliteLog::open(&file(files::LOG)).await.unwrap().database().close().await;
    SqliteReads::open(&file(files::READS)).await.unwrap();
    SqliteCredentials::open(&file(files::CREDENTIALS)).await.unwrap();
    SqliteOperations::open(&file(files::OPERATIONS)).await.unwrap();
    SqliteRates::open(&file(files::RATES)).await.unwrap().close().await;
    folder
}

fn of_folder(folder: &Path, family: Family) -> Arc<dyn TableStore> {
    let file = match family {
        Family::Log => files::LOG,
        Family::Credentials => files::CREDENTIALS,
        Family::Operations => files::OPERATIONS,
        Family::Rates => files::RATES,
    };
    Arc::new(SqliteTables::new(&folder.join(file)))
}

fn of_database(database: &Database) -> Arc<dyn TableStore> {
    Arc::new(PostgresTables::of_owner(database))
}

/// Every table of a database is carried or left, and every one that is carried is there.
fn assert_known(found: &BTreeSet<String>) {
    for table in found {
        let carried = TABLES.iter().filter(|known| known.name == table).count();
        let left = LEFT.iter().filter(|(name, _)| name == table).count();
        assert!(
            carried + left == 1,
            "does the table {table} go along when a server is moved? If so it is a line of TABLES, if not one of LEFT \
             (src/tables.rs), with the reason. It stands in {} lists.",
            carried + left
        );
    }
    for table in TABLES {
        assert!(found.contains(table.name), "{} is in TABLES, and there is no such table", table.name);
    }
}

#[tokio::test]
async fn every_table_of_a_data_folder_is_carried_or_left() {
    use sqlx::Connection;
    let folder = folder().await;
    let mut found = BTreeSet::new();
    for file in files::ALL {
        let url = format!("sqlite://{}", folder.path().join(file).display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut connection).await.unwrap();
        found.extend(names);
    }
    assert_known(&found);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_a_postgres_is_carried_or_left_and_has_the_columns_of_its_twin() {
    let (database, folder) = (database().await, folder().await);
    let names = "SELECT table_name::text FROM information_schema.tables \
                 WHERE table_schema = 'public' AND table_type = 'BASE TABLE'";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(database.pool()).await.unwrap();
    assert_known(&names.into_iter().collect());
    let there = of_database(&database);
    for table in TABLES {
        let here = of_folder(folder.path(), table.family).shape(table).await.unwrap();
        let there = there.shape(table).await.unwrap();
        assert!(here.is_like(&there), "{here:?}\n{there:?}");
        assert!(!here.columns.is_empty() && !here.key().is_empty(), "{here:?}");
    }
}

#[test]
#[should_panic(expected = "does the table passkeys go along when a server is moved?")]
fn a_table_that_was_forgotten_is_named() {
    let all = TABLES.iter().map(|table| table.name.to_owned());
    assert_known(&all.chain(["passkeys".to_owned()]).collect());
}

/// A value that is as hard to carry as its column may have one.
fn hard(column: &lockstepd::tables::Column, n: u8) -> Value {
    let odd = n % 2 == 1;
    match (column.kind, column.native.as_str(), column.name.as_str()) {
        (Kind::Bytes, _, "id" | "subject") => Value::Bytes(vec![n.wrapping_mul(37); 16]),
        (Kind::Bytes, ..) if odd => Value::Null,
        (Kind::Bytes, ..) => Value::Bytes(vec![0, 255, n]),
        (Kind::Int, _, "destroyed_at") if odd => Value::Int(i64::MIN),
        (Kind::Int, _, "destroyed_at") => Value::Null,
        (Kind::Int, ..) => Value::Int(i64::MAX - i64::from(n)),
        (Kind::Text, ..) => {
            Value::Text(["", "a'\"b", "é", "Z", "z", "_", "日本", "\u{1}"][usize::from(n) % 8].to_owned())
        }
    }
}

async fn all(store: &dyn TableStore, shape: &Shape) -> Vec<Row> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = store.page(shape, after.as_ref(), 3).await.unwrap();
        rows.extend(page.iter().cloned());
        after = page.last().cloned();
        if page.len() < 3 {
            return rows;
        }
    }
}

async fn fill(store: &dyn TableStore, table: &'static Table, rows: &[Row]) {
    let shape = store.shape(table).await.unwrap();
    let mut filling = store.begin().await.unwrap();
    filling.clear(table).await.unwrap();
    filling.put(&shape, rows).await.unwrap();
    filling.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_hard_values_are_the_same_in_the_same_order_in_both_databases() {
    let (database, folder) = (database().await, folder().await);
    let (here, there) = (of_folder(folder.path(), Family::Credentials), of_database(&database));
    let table = TABLES.iter().find(|table| table.name == "subject_keys").unwrap();
    let shape = here.shape(table).await.unwrap();
    let rows: Vec<Row> =
        (0..70).map(|n| shape.columns.iter().map(|column| hard(column, n)).collect()).collect();
    fill(&*here, table, &rows).await;
    let kept = all(&*here, &shape).await;
    assert_eq!(kept.len(), rows.len());
    let other = there.shape(table).await.unwrap();
    fill(&*there, table, &kept).await;
    assert_eq!(all(&*there, &other).await, kept);
    assert_eq!((here.count(table).await.unwrap(), there.count(table).await.unwrap()), (70, 70));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filling_that_is_dropped_leaves_nothing_and_a_fact_about_the_place_is_not_a_row_of_it() {
    let (database, folder) = (database().await, folder().await);
    let facts = TABLES.iter().find(|table| table.name == "server_facts").unwrap();
    for store in [of_folder(folder.path(), Family::Credentials), of_database(&database)] {
        let row = vec![Value::Text("key_file".to_owned()), Value::Bytes(vec![1])];
        let shape = store.shape(facts).await.unwrap();
        let mut filling = store.begin().await.unwrap();
        filling.put(&shape, std::slice::from_ref(&row)).await.unwrap();
        drop(filling);
        assert_eq!(store.count(facts).await.unwrap(), 0);
        store.keep_fact("moved", Some(b"one")).await.unwrap();
        store.keep_fact("moved", Some(b"two")).await.unwrap();
        fill(&*store, facts, std::slice::from_ref(&row)).await;
        assert_eq!(all(&*store, &shape).await, [row]);
        assert_eq!(store.fact("moved").await.unwrap().as_deref(), Some(&b"two"[..]));
        store.keep_fact("moved", None).await.unwrap();
        assert_eq!(store.fact("moved").await.unwrap(), None);
    }
}
