//! What a database does without us: one row in one transaction, again and again. The baseline of the benches.

#![allow(dead_code, reason = "each bench that shares this uses a part of it")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, SqliteConnection};
use uuid::Uuid;

/// As long as the stored header of a version.
const PAYLOAD: usize = 600;

/// The text of a row.
pub fn payload() -> String {
    format!("{{\"header\":\"{}\"}}", "0123456789abcdef".repeat(PAYLOAD / 16))
}

/// Events a second since an instant.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
pub fn rate(done: &AtomicU64, started: Instant) -> f64 {
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// A new database on the Postgres of a URL; the new one's URL.
pub async fn database(server: &str) -> String {
    let name = format!("lockstep_bench_{}", Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(server).await.unwrap();
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    admin.close().await.unwrap();
    format!("{}/{name}", server.rsplit_once('/').unwrap().0)
}

/// Connections to a Postgres database, with the table that rows go into.
pub async fn connect(url: &str, writers: usize) -> Vec<PgConnection> {
    let mut connections = Vec::new();
    for _ in 0..writers {
        connections.push(PgConnection::connect(url).await.unwrap());
    }
    let table = "CREATE TABLE IF NOT EXISTS raw \
                 (id bigserial PRIMARY KEY, event_id uuid NOT NULL, public text NOT NULL)";
    connections[0].execute(table).await.unwrap();
    connections
}

async fn insert(connection: &mut PgConnection) {
    let insert = sqlx::query("INSERT INTO raw (event_id, public) VALUES ($1, $2)");
    insert.bind(Uuid::new_v4()).bind(payload()).execute(connection).await.unwrap();
}

/// Rows a second over these connections, each with one transaction at a time.
pub async fn postgres(connections: &mut Vec<PgConnection>, round: Duration) -> f64 {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let tasks: Vec<_> = connections
        .drain(..)
        .map(|mut connection| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    insert(&mut connection).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                connection
            })
        })
        .collect();
    tokio::time::sleep(round).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        connections.push(task.await.unwrap());
    }
    rate(&done, started)
}

/// A `SQLite` file as durable as ours. It has one writer whatever we do: more connections would wait for each other.
pub async fn open_sqlite(path: &Path) -> SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let mut connection = options.connect().await.unwrap();
    let table = "CREATE TABLE raw (id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, public TEXT NOT NULL)";
    connection.execute(table).await.unwrap();
    connection
}

async fn insert_sqlite(connection: &mut SqliteConnection) {
    let insert = sqlx::query("INSERT INTO raw (event_id, public) VALUES (?1, ?2)");
    insert.bind(Uuid::new_v4()).bind(payload()).execute(connection).await.unwrap();
}

/// Rows a second into that file.
pub async fn sqlite(connection: &mut SqliteConnection, round: Duration) -> f64 {
    let (done, started) = (AtomicU64::new(0), Instant::now());
    while started.elapsed() < round {
        insert_sqlite(connection).await;
        done.fetch_add(1, Ordering::Relaxed);
    }
    rate(&done, started)
}

/// How long each of some single commits takes, in milliseconds.
pub async fn commits(connection: &mut PgConnection, samples: usize) -> Vec<f64> {
    let mut took = Vec::with_capacity(samples);
    for _ in 0..samples {
        let started = Instant::now();
        insert(connection).await;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    took
}

/// As [`commits`], in `SQLite`.
pub async fn commits_sqlite(connection: &mut SqliteConnection, samples: usize) -> Vec<f64> {
    let mut took = Vec::with_capacity(samples);
    for _ in 0..samples {
        let started = Instant::now();
        insert_sqlite(connection).await;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    took
}
