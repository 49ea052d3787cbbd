//! A Postgres database of its own for every test.
#![cfg(feature = "distributed")]

use lockstepd::adapters::postgres::Database;
use sqlx::{Connection, PgConnection};

/// A new, migrated database on the server that `cargo xtask test` started.
pub async fn new() -> Database {
    with(4).await
}

/// The same with so many connections.
pub async fn with(connections: u32) -> Database {
    let server = std::env::var("LOCKSTEP_TEST_POSTGRES")
        .expect("LOCKSTEP_TEST_POSTGRES is not set: run cargo xtask test");
    let name = format!("reads_{}", uuid::Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    Database::connect(&format!("{base}/{name}"), connections).await.unwrap()
}
