//! How fast the log appends, beside what the same database does without it.
//!
//! Ours: N writers append one event each through the batcher. Raw: N connections insert one row of the same payload
//! per transaction into a plain table of the same database. Rows alone: see there. Rounds alternate in one run, so all
//! meet the same machine; the table shows medians. `cargo bench --bench append -- [--json FILE] [--rounds N] [--millis N]`, with
//! `LOCKSTEP_TEST_POSTGRES` naming a Postgres whose user may create databases.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and stops at the first error")]

#[path = "raw/mod.rs"]
mod raw;
#[path = "append/rows_alone.rs"]
mod rows_alone;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lockstep_events::{
    Clock, Epoch, EventId, EventLog, Hash32, Micros, NewEvent, Outcome, StreamId, StreamKind, SubjectId,
    Unit,
    log::{Required, StreamClaim, StreamExpect},
};
use lockstepd::{
    adapters::{
        postgres::{self, log::PostgresLog},
        sqlite::log::SqliteLog,
    },
    batcher::Batcher,
};
use serde_json::{Value, json};
use uuid::Uuid;

const WRITERS: [usize; 4] = [1, 8, 32, 64];
/// Ratios to reach, by number of writers.
const TARGETS: [(usize, f64); 3] = [(1, 0.6), (32, 2.5), (64, 4.0)];

struct SystemClock;
impl Clock for SystemClock {
    fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Micros(i64::try_from(since.as_micros()).unwrap())
    }
}

struct Options {
    json: Option<String>,
    rounds: usize,
    round: Duration,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self { json: None, rounds: 5, round: Duration::from_millis(1500) };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--json" => options.json = words.next(),
                "--rounds" => options.rounds = words.next().unwrap().parse().unwrap(),
                "--millis" => {
                    options.round = Duration::from_millis(words.next().unwrap().parse().unwrap());
                }
                _ => {}
            }
        }
        options
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&Options::parse()));
}

async fn run(options: &Options) {
    println!(
        "{:<10} {:>8} {:>14} {:>14} {:>8} {:>14} {:>8}",
        "database", "writers", "ours events/s", "raw rows/s", "ratio", "alone rows/s", "ratio"
    );
    let mut lines = Vec::new();
    match std::env::var("LOCKSTEP_TEST_POSTGRES") {
        Ok(server) => lines.extend(on_postgres(&server, options).await),
        Err(_) => {
            println!("postgres: left out, LOCKSTEP_TEST_POSTGRES is not set (cargo xtask bench sets it)")
        }
    }
    lines.extend(on_sqlite(options).await);
    if let Some(path) = &options.json {
        std::fs::write(
            path,
            serde_json::to_string_pretty(&json!({ "bench": "append", "rows": lines })).unwrap(),
        )
        .unwrap();
    }
}

async fn on_postgres(server: &str, options: &Options) -> Vec<Value> {
    let url = raw::database(server).await;
    let database = postgres::Database::connect(&url, 4).await.unwrap();
    let batcher = start(Arc::new(PostgresLog::new(database.clone())));
    let mut alone = rows_alone::OnPostgres::open(server).await;
    let mut lines = Vec::new();
    for writers in WRITERS {
        let mut connections = raw::connect(&url, writers).await;
        let mut rates = Rates::default();
        for _ in 0..=options.rounds {
            rates.raw.push(raw::postgres(&mut connections, options.round).await);
            rates.ours.push(through_batcher(&batcher, writers, options.round).await);
            rates.alone.push(alone.rate(writers, options.round).await);
        }
        lines.extend(rates.lines("postgres", writers));
    }
    batcher.shutdown().await;
    database.close().await;
    lines
}

async fn on_sqlite(options: &Options) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.db")).await.unwrap();
    let batcher = start(Arc::new(log));
    let mut raw_connection = raw::open_sqlite(&folder.path().join("raw.db")).await;
    let mut alone = rows_alone::OnSqlite::open(&folder.path().join("alone.db")).await;
    let mut lines = Vec::new();
    for writers in WRITERS {
        let mut rates = Rates::default();
        for _ in 0..=options.rounds {
            rates.raw.push(raw::sqlite(&mut raw_connection, options.round).await);
            rates.ours.push(through_batcher(&batcher, writers, options.round).await);
            rates.alone.push(alone.rate(writers, options.round).await);
        }
        lines.extend(rates.lines("sqlite", writers));
    }
    batcher.shutdown().await;
    lines
}

/// What the rounds gave, in events or rows a second.
#[derive(Default)]
struct Rates {
    ours: Vec<f64>,
    raw: Vec<f64>,
    alone: Vec<f64>,
}

impl Rates {
    /// Ours beside raw, which has the target; and ours beside the rows alone.
    fn lines(self, database: &str, writers: usize) -> [Value; 2] {
        let (ours, raw, alone) = (median(self.ours), median(self.raw), median(self.alone));
        let ratio = |baseline: f64| (ours / baseline * 100.0).round() / 100.0;
        println!(
            "{database:<10} {writers:>8} {ours:>14.0} {raw:>14.0} {:>8.2} {alone:>14.0} {:>8.2}",
            ratio(raw),
            ratio(alone)
        );
        let line = |name: String, baseline: f64, baseline_name: &str| {
            json!({
                "name": name, "unit": "events/s", "ours": ours.round(), "baseline": baseline.round(),
                "baseline_name": baseline_name, "ratio": ratio(baseline),
            })
        };
        let name = format!("append, {database}, {writers} writers");
        let beside = line(format!("{name}, beside the rows alone"), alone, "one INSERT of as many such rows");
        let mut row = line(name, raw, "one INSERT per transaction");
        if let Some((_, target)) = TARGETS.iter().find(|(of, _)| *of == writers) {
            row["target"] = json!(target);
            row["target_kind"] = json!("at_least");
            row["ok"] = json!(ratio(raw) >= *target);
        }
        [row, beside]
    }
}

/// The first round warms up.
fn median(mut rates: Vec<f64>) -> f64 {
    rates.remove(0);
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn start(log: Arc<dyn EventLog>) -> Batcher {
    Batcher::start(log, Arc::new(SystemClock), |_| ())
}

/// One writer's next event: a version of one of its 50 entries, after the version before it.
fn version(stream: StreamId, n: usize, parents: &mut [Option<EventId>]) -> Unit {
    let entry = n % parents.len();
    let event_id = EventId(Uuid::new_v4());
    let parent = parents[entry].replace(event_id);
    let event = NewEvent {
        event_id,
        stream,
        subject: Some(SubjectId(Uuid::from_u64_pair(stream.0.as_u64_pair().0, entry as u64))),
        kind: "entry.version_added".into(),
        schema: 1,
        actor: Some(Uuid::nil().into()),
        device: Some(Uuid::nil().into()),
        correlation: None,
        causation: None,
        public: raw::payload(),
        sealed: None,
        content: None,
        body_hash: Hash32([n as u8; 32]),
    };
    Unit {
        streams: vec![StreamClaim {
            stream,
            kind: StreamKind::Vault,
            expect: StreamExpect::Any,
            epoch_if_new: Epoch(*stream.as_bytes()),
        }],
        subjects: Vec::new(),
        requires: parent.map(|event_id| Required { stream, event_id }).into_iter().collect(),
        events: vec![event],
    }
}

async fn through_batcher(batcher: &Batcher, writers: usize, round: Duration) -> f64 {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (batcher, stop, done) = (batcher.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let stream = StreamId(Uuid::new_v4());
                let mut parents = vec![None; 50];
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = batcher.append(version(stream, n, &mut parents)).await.unwrap();
                    // A duplicate would cost less than an append and make the figure a lie.
                    assert!(matches!(&outcome, Outcome::Appended(placed) if !placed[0].duplicate));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(round).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    raw::rate(&done, started)
}
