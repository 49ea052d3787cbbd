//! One-version pushes at several concurrencies: every request is one HTTPS POST, durable when it is answered.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    raw,
    report::{Options, Report, Target, median, percentile},
    support::{
        child::Lockstepd,
        device::{Device, entry, id},
        wire::{Reply, Wire, request},
    },
    vaultwarden::Vaultwarden,
};

/// What one round took, or the median of several.
pub struct Round {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    pub cpu_ms: f64,
}

impl Round {
    fn median(rounds: &[Self]) -> Self {
        let of = |pick: fn(&Self) -> f64| median(rounds.iter().map(pick).collect());
        Self { rate: of(|r| r.rate), p50: of(|r| r.p50), p99: of(|r| r.p99), cpu_ms: of(|r| r.cpu_ms) }
    }
}

/// A connection, and the requests that it is to send.
pub type Writer<S> = (Wire<S>, Vec<Vec<u8>>);

pub async fn measure(options: &Options, report: &mut Report) {
    for (mode, variables, least) in crate::modes().await {
        let folder = tempfile::tempdir().unwrap();
        let server =
            Lockstepd::start(env!("CARGO_BIN_EXE_lockstepd"), folder.path(), "127.0.0.1:0", &variables);
        let mut raw = Raw::open(mode, folder.path()).await;
        let peers = Vaultwarden::beside(options, mode).await;
        let each = if options.quick { 50 } else { 400 };
        for writers in [1, 8, 32] {
            let (mut rounds, mut rows) = (Vec::new(), Vec::new());
            let mut theirs: Vec<_> = peers.iter().map(|peer| (peer, Vec::new())).collect();
            for _ in 0..options.rounds {
                rows.push(raw.round(writers).await);
                rounds.push(round(&server, writers, each).await);
                for (peer, rounds) in &mut theirs {
                    rounds.push(peer.round(writers, each).await);
                }
            }
            let ours = Round::median(&rounds);
            let target = if writers == 32 { Target::AtLeast(least) } else { Target::None };
            let name = |what: &str| format!("{what}, {mode}, {writers} at a time");
            let floor = Some((median(rows), "one INSERT per transaction"));
            report.beside(&name("one-version pushes"), "pushes/s", ours.rate, floor, target);
            report.row(&name("push to durable, p50"), "ms", ours.p50, Target::None);
            report.row(&name("push to durable, p99"), "ms", ours.p99, Target::None);
            report.row(&name("server CPU per push"), "ms", ours.cpu_ms, Target::None);
            for (peer, rounds) in theirs {
                peer.report(report, &name(""), (writers, &ours), &Round::median(&rounds));
            }
        }
    }
}

/// What the same database does without us, in the same run.
enum Raw {
    Sqlite(Box<sqlx::SqliteConnection>),
    Postgres(String),
}

impl Raw {
    async fn open(mode: &str, folder: &std::path::Path) -> Self {
        if mode == "embedded" {
            return Self::Sqlite(Box::new(raw::open_sqlite(&folder.join("raw.db")).await));
        }
        Self::Postgres(raw::database(&std::env::var("LOCKSTEP_TEST_POSTGRES").unwrap()).await)
    }

    async fn round(&mut self, writers: usize) -> f64 {
        const ROUND: Duration = Duration::from_millis(1000);
        match self {
            Self::Sqlite(file) => raw::sqlite(file, ROUND).await,
            Self::Postgres(url) => {
                let mut connections = raw::connect(url, writers).await;
                raw::postgres(&mut connections, ROUND).await
            }
        }
    }
}

/// Every writer is a connection of one device that edits an entry of its own again and again. The requests are made
/// beforehand: what is measured is the server, and a client that only sends.
async fn round(server: &Lockstepd, writers: usize, each: usize) -> Round {
    let device = Device::register(server.addr).await;
    let each = if writers == 1 { each * 2 } else { each };
    let mut tasks = Vec::new();
    for _ in 0..writers {
        let requests = requests(&device, each);
        let mut wire = Wire::connect(server.addr).await.unwrap();
        wire.exchange(&requests[0]).await.unwrap();
        tasks.push((wire, requests));
    }
    let accepted =
        |reply: &Reply| reply.status == 200 && reply.body.windows(10).any(|w| w == b"\"accepted\"");
    timed(tasks, || server.cpu(), accepted).await
}

/// Sends all requests but the first of each connection, which has warmed it.
pub async fn timed<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    writers: Vec<Writer<S>>,
    cpu: impl Fn() -> f64,
    accepted: fn(&Reply) -> bool,
) -> Round {
    let (before, started) = (cpu(), Instant::now());
    let running = writers.into_iter().map(|(mut wire, requests)| {
        tokio::spawn(async move {
            let mut took = Vec::with_capacity(requests.len());
            for request in &requests[1..] {
                let sent = Instant::now();
                let reply = wire.exchange(request).await.unwrap();
                took.push(ms(sent.elapsed()));
                assert!(accepted(&reply), "{}", String::from_utf8_lossy(&reply.body));
            }
            took
        })
    });
    let mut took = Vec::new();
    for task in running.collect::<Vec<_>>() {
        took.extend(task.await.unwrap());
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu() - before);
    Round {
        rate: took.len() as f64 / wall,
        p50: percentile(&mut took, 0.5),
        p99: percentile(&mut took, 0.99),
        cpu_ms: cpu * 1000.0 / took.len() as f64,
    }
}

fn requests(device: &Device, count: usize) -> Vec<Vec<u8>> {
    let bearer = format!("Bearer {}", device.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let (of, mut parents) = (entry(), Vec::new());
    let mut requests = Vec::with_capacity(count + 1);
    for n in 0..=count {
        let mut content = vec![0x5a; 600];
        content[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let item = device.edit(of, &parents, &content);
        parents = vec![id(&item)];
        let body = serde_json::to_vec(&device.batch(vec![item])).unwrap();
        requests.push(request("POST", &device.push_path(), &headers, &body));
    }
    requests
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
