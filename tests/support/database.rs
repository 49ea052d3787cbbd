//! A Postgres database of its own for a test: a copy of one that was migrated once.

use lockstepd::adapters::postgres::Database;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

/// A number that nobody else takes: who holds this lock makes what is copied.
const MAKING: i64 = 0x6c6f_636b_7374_6570;

/// The superuser's address of the Postgres that the test run has started.
pub fn server() -> String {
    let named = std::env::var("LOCKSTEP_TEST_POSTGRES");
    named
        .map_err(|_| "LOCKSTEP_TEST_POSTGRES is not set: run cargo xtask test, which starts a Postgres")
        .unwrap()
}

/// The address of a fresh, migrated database. Nobody removes it: that would make Postgres write out whatever other tests
/// have just written, and all of them go with the server.
pub async fn fresh(prefix: &str) -> String {
    let server = server();
    let (base, _) = server.rsplit_once('/').unwrap();
    let mut admin = PgConnection::connect(&server).await.unwrap();
    let migrated = migrated(&mut admin, base).await;
    let name = format!("{prefix}_{}", Uuid::new_v4().simple());
    does(&mut admin, format!("CREATE DATABASE {name} TEMPLATE {migrated}")).await;
    admin.close().await.unwrap();
    let url = format!("{base}/{name}");
    // The name of a log is its own, and nodes find each other on the bus by it.
    let mut copied = PgConnection::connect(&url).await.unwrap();
    does(&mut copied, "UPDATE log_meta SET log_id = gen_random_uuid()".to_owned()).await;
    copied.close().await.unwrap();
    url
}

/// What is copied: the first test of a run makes it, the others wait for it. To copy takes a third of the time.
async fn migrated(admin: &mut PgConnection, base: &str) -> String {
    let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| format!("of_{}", std::process::id()));
    let name = format!("migrated_{}", run.replace('-', "_"));
    does(admin, format!("SELECT pg_advisory_lock({MAKING})")).await;
    let is_there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(&name);
    if is_there.fetch_optional(&mut *admin).await.unwrap().is_none() {
        let begun = format!("begun_{}", Uuid::new_v4().simple());
        does(admin, format!("CREATE DATABASE {begun}")).await;
        Database::connect(&format!("{base}/{begun}"), 1).await.unwrap().close().await;
        does(admin, format!("ALTER DATABASE {begun} RENAME TO {name}")).await;
    }
    does(admin, format!("SELECT pg_advisory_unlock({MAKING})")).await;
    name
}

async fn does(connection: &mut PgConnection, sql: String) {
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
}
