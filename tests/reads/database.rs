//! A Postgres database of its own for every test.
#![cfg(feature = "distributed")]

use std::str::FromStr;

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// A new, migrated database on the server that `cargo xtask test` started.
pub async fn new() -> PgPool {
    let url = std::env::var("LOCKSTEP_TEST_POSTGRES")
        .expect("LOCKSTEP_TEST_POSTGRES is not set: run cargo xtask test");
    let options = PgConnectOptions::from_str(&url).unwrap();
    let name = format!("reads_{}", uuid::Uuid::new_v4().simple());
    let admin = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&admin).await.unwrap();
    admin.close().await;
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options.database(&name)).await.unwrap();
    sqlx::migrate!("migrations/postgres").run(&pool).await.unwrap();
    pool
}
