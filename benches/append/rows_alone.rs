//! The second baseline: the same rows into the log's own tables, with its own indexes and as many in a transaction, by
//! one INSERT that decides nothing, looks nothing up and hashes nothing. What a batch costs the database at least.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use lockstepd::adapters::{postgres, sqlite::log::SqliteLog};
use sqlx::{
    ConnectOptions, Connection, PgConnection, QueryBuilder, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use uuid::Uuid;

use crate::raw;

/// Each writer's stream has so many entries.
const ENTRIES: u64 = 50;

/// Rows that fit behind those that stand: a row of each of some writers in every batch.
pub struct Rows {
    streams: Vec<Uuid>,
    next: i64,
    seq: i64,
    payload: String,
}

impl Rows {
    fn new() -> Self {
        Self { streams: Vec::new(), next: 1, seq: 0, payload: raw::payload() }
    }

    /// From now on by other writers.
    fn writers(&mut self, writers: usize) {
        self.streams = (0..writers).map(|_| Uuid::new_v4()).collect();
        self.seq = 0;
    }

    /// Positions, and the seq of each of the next rows.
    fn batch(&mut self) -> (Vec<i64>, i64) {
        let first = self.next;
        self.next += i64::try_from(self.streams.len()).unwrap();
        self.seq += 1;
        ((first..self.next).collect(), self.seq)
    }

    fn subjects(&self) -> Vec<Uuid> {
        let entry = self.seq.unsigned_abs() % ENTRIES;
        self.streams.iter().map(|stream| Uuid::from_u64_pair(stream.as_u64_pair().0, entry)).collect()
    }
}

/// In Postgres.
pub struct OnPostgres {
    connection: PgConnection,
    rows: Rows,
}

impl OnPostgres {
    /// In a new database with the log's tables.
    pub async fn open(server: &str) -> Self {
        let url = raw::database(server).await;
        postgres::Database::connect(&url, 1).await.unwrap().close().await;
        Self { connection: PgConnection::connect(&url).await.unwrap(), rows: Rows::new() }
    }

    /// Rows a second.
    pub async fn rate(&mut self, writers: usize, round: Duration) -> f64 {
        self.rows.writers(writers);
        let (mut done, started) = (0, Instant::now());
        while started.elapsed() < round {
            self.insert(writers).await;
            done += writers;
        }
        per_second(done, started)
    }

    async fn insert(&mut self, n: usize) {
        let (positions, seq) = self.rows.batch();
        let hash: &[u8] = &[7; 32];
        sqlx::query(
            "INSERT INTO events (position, recorded_at, seq, stream, event_id, subject, actor, device, stream_kind, \
                 schema, kind, public, body_hash, chain) \
             SELECT p, p, $2, s, e, b, $6, $6, 4::smallint, 1::smallint, 'entry.version_added', t, h, h \
             FROM unnest($1::bigint[], $3::uuid[], $4::uuid[], $5::uuid[], $7::text[], $8::bytea[]) \
                 AS r (p, s, e, b, t, h)",
        )
        .bind(positions)
        .bind(seq)
        .bind(&self.rows.streams)
        .bind((0..n).map(|_| Uuid::new_v4()).collect::<Vec<_>>())
        .bind(self.rows.subjects())
        .bind(Uuid::nil())
        .bind(vec![self.rows.payload.as_str(); n])
        .bind(vec![hash; n])
        .execute(&mut self.connection)
        .await
        .unwrap();
    }
}

/// In SQLite.
pub struct OnSqlite {
    connection: SqliteConnection,
    rows: Rows,
}

impl OnSqlite {
    /// In a new file with the log's tables, as durable as ours.
    pub async fn open(path: &Path) -> Self {
        SqliteLog::open(path).await.unwrap().database().close().await;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        Self { connection: options.connect().await.unwrap(), rows: Rows::new() }
    }

    /// Rows a second.
    pub async fn rate(&mut self, writers: usize, round: Duration) -> f64 {
        self.rows.writers(writers);
        let (mut done, started) = (0, Instant::now());
        while started.elapsed() < round {
            self.insert().await;
            done += writers;
        }
        per_second(done, started)
    }

    async fn insert(&mut self) {
        let (positions, seq) = self.rows.batch();
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO events (position, recorded_at, seq, stream, event_id, subject, actor, device, stream_kind, \
                 schema, kind, public, body_hash, chain) ",
        );
        let rows = positions.into_iter().zip(&self.rows.streams).zip(self.rows.subjects());
        query.push_values(rows, |mut values, ((position, stream), subject)| {
            values.push_bind(position).push_bind(position).push_bind(seq).push_bind(*stream);
            values.push_bind(Uuid::new_v4()).push_bind(subject).push_bind(Uuid::nil()).push_bind(Uuid::nil());
            values.push_bind(4).push_bind(1).push_bind("entry.version_added");
            values.push_bind(self.rows.payload.clone());
            values.push_bind(vec![7_u8; 32]).push_bind(vec![7_u8; 32]);
        });
        query.build().execute(&mut self.connection).await.unwrap();
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
fn per_second(done: usize, started: Instant) -> f64 {
    done as f64 / started.elapsed().as_secs_f64()
}
