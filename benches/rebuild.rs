//! How fast read models are rebuilt, beside the floor: a keyset scan of the same events, decoded into structs.
#![expect(clippy::expect_used, reason = "a bench that cannot go on stops")]

use std::{ops::ControlFlow, path::PathBuf, sync::Arc, time::Instant};

use lockstep_events::{
    Clock, EventLog, Micros, Position, StreamKind,
    log::{Contents, Filter},
};
use lockstep_projections::{Family, ReadStore, Rebuild, testing::script::Script};
use lockstepd::{
    adapters::sqlite::{log::SqliteLog, read::SqliteReads},
    clock::SystemClock,
};
use serde_json::{Value, json};

/// Units in the log; nearly all of them versions.
const UNITS: usize = 20_000;
const PAGE: usize = 5_000;
const TARGET: f64 = 0.5;

struct Arguments {
    json: Option<PathBuf>,
    rounds: usize,
}

fn arguments() -> Arguments {
    let mut found = Arguments { json: None, rounds: 3 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => found.json = words.next().map(PathBuf::from),
            "--rounds" => found.rounds = words.next().and_then(|n| n.parse().ok()).unwrap_or(found.rounds),
            _ => {}
        }
    }
    found
}

async fn fill(log: &dyn EventLog) {
    let mut script = Script::new(7);
    let units: Vec<_> = (0..UNITS).map(|_| script.next_unit()).collect();
    for batch in units.chunks(256) {
        log.append(batch, Micros(1)).await.expect("the log takes the script");
    }
}

/// Events per second of reading and decoding, page by page.
async fn scan(log: &dyn EventLog) -> f64 {
    let filter = Filter { stream_kind: Some(StreamKind::Vault), kinds: Vec::new() };
    let (mut after, mut events) = (Position::ZERO, 0_usize);
    let started = Instant::now();
    loop {
        let page = log.read_all(after, PAGE, &filter, Contents::No).await.expect("the log answers");
        let Some(last) = page.last() else { break };
        after = last.position;
        for recorded in &page {
            std::hint::black_box(recorded.event().expect("our own events decode"));
        }
        events += page.len();
    }
    rate(events, started)
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(events: usize, started: Instant) -> f64 {
    events as f64 / started.elapsed().as_secs_f64()
}

/// Events per second from the start of a rebuild to its switch, and once more over the rows that are live then,
/// checksums of both generations included.
async fn rebuild(log: &Arc<dyn EventLog>, reads: &Arc<dyn ReadStore>) -> (f64, f64) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let worker = Rebuild::new(Arc::clone(log), Arc::clone(reads), clock);
    let mut rates = Vec::new();
    for _ in 0..2 {
        let done =
            worker.run(Family::Vault, &mut |_| ControlFlow::Continue(())).await.expect("the rebuild ends");
        assert!(rates.is_empty() || done.identical());
        let micros = u32::try_from(done.micros).unwrap_or(u32::MAX);
        rates.push(f64::from(u32::try_from(done.events).unwrap_or(u32::MAX)) / f64::from(micros) * 1e6);
    }
    (rates[0], rates[1])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn row(name: &str, ours: f64, baseline: f64, target: Option<f64>) -> Value {
    let ratio = ours / baseline;
    let mut row = json!({
        "name": name,
        "unit": "events/s",
        "ours": ours.round(),
        "baseline": baseline.round(),
        "baseline_name": "keyset scan of the same events, decoded",
        "ratio": (ratio * 100.0).round() / 100.0,
    });
    if let Some(target) = target {
        row["target"] = json!(target);
        row["target_kind"] = json!("at_least");
        row["ok"] = json!(ratio >= target);
    }
    row
}

async fn measure(
    name: &str,
    rounds: usize,
    log: Arc<dyn EventLog>,
    open: impl AsyncFn() -> Arc<dyn ReadStore>,
) -> Vec<Value> {
    fill(&*log).await;
    scan(&*log).await;
    let (mut scans, mut fills, mut compared) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        scans.push(scan(&*log).await);
        let (empty, full) = rebuild(&log, &open().await).await;
        fills.push(empty);
        compared.push(full);
    }
    let scanned = median(scans);
    vec![
        row(&format!("rebuild, {name}"), median(fills), scanned, Some(TARGET)),
        row(&format!("rebuild with both checksums, {name}"), median(compared), scanned, None),
    ]
}

async fn sqlite(rounds: usize) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder for the bench");
    let log = SqliteLog::open(&folder.path().join("log.sqlite")).await.expect("a log");
    let next = std::cell::Cell::new(0);
    let open = async || {
        next.set(next.get() + 1);
        let path = folder.path().join(format!("reads-{}.sqlite", next.get()));
        Arc::new(SqliteReads::open(&path).await.expect("a read store")) as Arc<dyn ReadStore>
    };
    measure("SQLite", rounds, Arc::new(log), open).await
}

#[cfg(feature = "distributed")]
async fn postgres(rounds: usize) -> Vec<Value> {
    use lockstepd::adapters::postgres::{log::PostgresLog, read::PostgresReads};
    let log_in = database().await;
    let log = PostgresLog::new(log_in);
    let open = async || Arc::new(PostgresReads::new(database().await.pool().clone())) as Arc<dyn ReadStore>;
    measure("Postgres", rounds, Arc::new(log), open).await
}

#[cfg(feature = "distributed")]
async fn database() -> lockstepd::adapters::postgres::Database {
    use sqlx::{Connection, PgConnection};
    let server = std::env::var("LOCKSTEP_TEST_POSTGRES").expect("run cargo xtask bench");
    let name = format!("rebuild_{}", uuid::Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(&server).await.expect("Postgres answers");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut admin).await.expect("a database of its own");
    let (base, _) = server.rsplit_once('/').expect("a URL");
    lockstepd::adapters::postgres::Database::connect(&format!("{base}/{name}"), 4).await.expect("a database")
}

#[tokio::main]
async fn main() {
    let arguments = arguments();
    let mut rows = sqlite(arguments.rounds).await;
    #[cfg(feature = "distributed")]
    rows.extend(postgres(arguments.rounds).await);
    let measured = json!({ "bench": "rebuild", "rows": rows });
    let text = serde_json::to_string_pretty(&measured).expect("JSON");
    match arguments.json {
        Some(path) => std::fs::write(path, text).expect("the result can be written"),
        None => eprintln!("{text}"),
    }
}
