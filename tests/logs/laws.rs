//! What the databases themselves refuse, how their failures are told, and bugs of others that must not be ours.

use std::sync::Arc;

use lockstep_events::{
    EventLog, LogError, Micros, Outcome, Position, Seq,
    log::{Current, StreamExpect},
    testing::{build::*, contract::assert_sound, export},
};
use lockstepd::adapters::{
    postgres::{Database, log::PostgresLog},
    sqlite::log::SqliteLog,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::postgres::TestDatabase;

async fn append(log: &dyn EventLog, n: u128) {
    let outcome = log.append(&[unit(vec![event(n, stream(1)).about(subject(n))])], Micros(1)).await.unwrap();
    assert_eq!(placed(&outcome[0]).len(), 1);
}

#[tokio::test]
async fn in_sqlite_nobody_updates_or_deletes_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.db")).await.unwrap();
    append(&log, 1).await;
    for sql in [
        "UPDATE events SET public = '{}'",
        "DELETE FROM events",
        "DELETE FROM streams",
        "UPDATE events SET position = position + 1 WHERE position = 1",
    ] {
        let mut transaction = log.database().begin().await.unwrap();
        assert!(sqlx::query(sql).execute(&mut *transaction).await.is_err(), "{sql}");
    }
    assert_sound(&log).await;
}

#[tokio::test]
async fn in_postgres_not_even_the_owner_updates_deletes_or_truncates_events() {
    let database = TestDatabase::create().await;
    append(&database.log().await, 1).await;
    let mut owner = PgConnection::connect(&database.url()).await.unwrap();
    for sql in [
        "UPDATE events SET public = '{}'",
        "DELETE FROM events",
        "TRUNCATE events",
        "TRUNCATE events CASCADE",
    ] {
        let refused = owner.execute(sql).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn the_servers_role_reads_the_log_and_calls_its_functions_and_nothing_else() {
    let database = TestDatabase::create().await;
    let server = Database::connect(&database.url(), 2).await.unwrap();
    append(&PostgresLog::new(server.clone()), 1).await;
    for sql in [
        "INSERT INTO events SELECT * FROM events",
        "UPDATE events SET public = '{}'",
        "DELETE FROM events",
        "TRUNCATE events",
        "INSERT INTO streams VALUES (gen_random_uuid(), 1, '')",
        "UPDATE streams SET epoch = ''",
        "DELETE FROM contents",
        "DELETE FROM event_sealed",
        "UPDATE log_meta SET log_id = gen_random_uuid()",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TABLE events",
        "CREATE TABLE public.mine (n int)",
    ] {
        let refused = sqlx::query(sql).execute(server.pool()).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {refused}");
    }
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(server.pool()).await.unwrap();
    assert_eq!(seen, 1);
}

#[tokio::test]
async fn a_full_disk_is_told_as_full_and_nothing_is_appended() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.db")).await.unwrap();
    append(&log, 1).await;
    let mut transaction = log.database().begin().await.unwrap();
    transaction.execute("PRAGMA max_page_count = 1").await.unwrap();
    transaction.undo().await;
    let big = unit((2..102).map(|n| event_with(n, stream(1), &"x".repeat(4000))).collect());
    assert!(matches!(log.append(std::slice::from_ref(&big), Micros(1)).await, Err(LogError::Full(_))));
    assert_eq!(log.tail().await.unwrap().position, Position(1));
    let mut transaction = log.database().begin().await.unwrap();
    transaction.execute("PRAGMA max_page_count = 1000000").await.unwrap();
    transaction.undo().await;
    assert_eq!(placed(&log.append(&[big], Micros(1)).await.unwrap()[0]).len(), 100);
    assert_sound(&log).await;
}

#[tokio::test]
async fn connections_that_were_cut_cost_no_append_and_none_is_made_twice() {
    let database = TestDatabase::create().await;
    let log = database.log().await;
    append(&log, 1).await;
    let mut admin = PgConnection::connect(&database.url()).await.unwrap();
    admin
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await
        .unwrap();
    let one = unit(vec![event(2, stream(1))]);
    assert_eq!(seqs(&log.append(&[one], Micros(1)).await.unwrap()[0]), [Seq(2)]);
    assert_eq!(log.tail().await.unwrap().position, Position(2));
}

/// Marten #3988: a session lock taken through a pooler stays behind on somebody else's connection.
#[tokio::test]
async fn regression_no_advisory_lock_outlives_its_transaction() {
    let database = TestDatabase::create().await;
    let log = database.log().await;
    append(&log, 1).await;
    let mut admin = PgConnection::connect(&database.url()).await.unwrap();
    let held: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(held, 0);
}

/// Marten #4953, disintegrate 4.0.1: a reader that passes a transaction in flight never sees its events.
#[tokio::test]
async fn regression_nothing_is_numbered_past_a_batch_in_flight() {
    let database = TestDatabase::create().await;
    let log = Arc::new(database.log().await);
    append(&*log, 1).await;
    let mut in_flight = PgConnection::connect(&database.url()).await.unwrap();
    in_flight.execute("BEGIN").await.unwrap();
    in_flight.execute("SELECT pg_advisory_xact_lock(6003371234567890)").await.unwrap();
    let mut behind = tokio::spawn({
        let log = Arc::clone(&log);
        async move { append(&*log, 2).await }
    });
    let waited = tokio::time::timeout(std::time::Duration::from_millis(200), &mut behind).await;
    assert!(waited.is_err(), "an append went past one in flight");
    assert_eq!(log.tail().await.unwrap().position, Position(1));
    in_flight.execute("ROLLBACK").await.unwrap();
    behind.await.unwrap();
    assert_eq!(log.tail().await.unwrap().position, Position(2), "a rolled-back batch leaves no hole");
}

/// Eventuous, atuin: of two appends at the same seq one silently disappears.
async fn one_of_many_racing_appends_wins_and_the_others_are_told(log: Arc<dyn EventLog>) {
    append(&*log, 0).await;
    let racers: Vec<_> = (1..=20)
        .map(|n| {
            let log = Arc::clone(&log);
            let unit = unit(vec![event(n, stream(1))]).expecting(stream(1), StreamExpect::Exact(Seq(1)));
            tokio::spawn(async move { log.append(&[unit], Micros(1)).await.unwrap().remove(0) })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.unwrap() {
            Outcome::Appended(_) => won += 1,
            told => assert_eq!(told, Outcome::Conflict(vec![Current::Stream(stream(1), Some(Seq(2)))])),
        }
    }
    assert_eq!(won, 1);
    assert_sound(&*log).await;
}

#[tokio::test]
async fn regression_racing_appends_are_never_lost_in_sqlite() {
    let opened = super::sqlite::open().await;
    one_of_many_racing_appends_wins_and_the_others_are_told(Arc::clone(&opened.log)).await;
}

#[tokio::test]
async fn regression_racing_appends_are_never_lost_in_postgres() {
    let opened = super::postgres::open().await;
    one_of_many_racing_appends_wins_and_the_others_are_told(Arc::clone(&opened.log)).await;
}

/// Eventuous #180, and Emmett's restore into a younger cluster: order must come from the numbers, not from where
/// or when a row was written.
#[tokio::test]
async fn regression_order_does_not_depend_on_where_rows_lie() {
    let database = TestDatabase::create().await;
    let log = database.log().await;
    // Ids in no order, so that a table sorted by them is thoroughly mixed.
    for n in 0..60_u128 {
        append(&log, n * 37 % 60).await;
    }
    let before = export(&log).await.unwrap();
    let mut owner = PgConnection::connect(&database.url()).await.unwrap();
    owner.execute("CLUSTER events USING events_id_is_used_once").await.unwrap();
    let physical: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM events").fetch_all(&mut owner).await.unwrap();
    assert!(!physical.is_sorted(), "the rows were not mixed");
    assert_eq!(export(&log).await.unwrap(), before);
    assert_sound(&log).await;
}

/// A young table has no statistics and an old one may have stale ones: neither may turn an append into a scan.
#[tokio::test]
async fn an_append_reads_no_table_from_end_to_end() {
    let database = TestDatabase::create().await;
    let log = database.log().await;
    for batch in 0..20_u128 {
        let units: Vec<_> =
            (0..50).map(|n| unit(vec![event(batch * 50 + n, stream(n)).about(subject(n))])).collect();
        log.append(&units, Micros(1)).await.unwrap();
    }
    let mut admin = PgConnection::connect(&database.url()).await.unwrap();
    admin.execute("SELECT pg_stat_force_next_flush()").await.unwrap();
    drop(log);
    let scans = "SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables WHERE relname = $1";
    for table in ["events", "streams"] {
        let read: i64 =
            sqlx::query_scalar(AssertSqlSafe(scans)).bind(table).fetch_one(&mut admin).await.unwrap();
        assert!(read < 100, "{read} rows of {table} were read by scans");
    }
}
