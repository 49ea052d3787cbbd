//! Between a node and NATS: a proxy that understands enough of the protocol to lose, double, delay and reorder the
//! messages that NATS sends to the node. Everything else passes untouched.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};

/// How often each thing happens to a message.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub lost: f64,
    pub doubled: f64,
    /// Held back until up to five others have passed.
    pub late: f64,
    /// Nothing passes for a second.
    pub stalled: f64,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub struct Counts {
    pub passed: AtomicU64,
    pub lost: AtomicU64,
    pub doubled: AtomicU64,
    pub late: AtomicU64,
    pub stalled: AtomicU64,
}

/// A proxy; it ends with the test's runtime.
pub struct FaultyNats {
    pub url: String,
    pub counts: Arc<Counts>,
}

impl FaultyNats {
    /// Listens, and passes on to the server at `behind`.
    pub async fn start(behind: &str, seed: u64, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let behind = behind.trim_start_matches("nats://").to_owned();
        let counts = Arc::new(Counts::default());
        let told = Arc::clone(&counts);
        tokio::spawn(async move {
            let mut connections = 0;
            while let Ok((node, _)) = listener.accept().await {
                let server = TcpStream::connect(&behind).await.unwrap();
                let (mut from_node, to_node) = node.into_split();
                let (from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { copy(&mut from_node, &mut to_server).await });
                connections += 1;
                let line = Line {
                    to_node,
                    random: StdRng::seed_from_u64(seed + connections),
                    faults,
                    counts: Arc::clone(&told),
                    held: Vec::new(),
                };
                tokio::spawn(line.carry(from_server));
            }
        });
        Self { url, counts }
    }
}

/// One connection, from the server to the node.
struct Line {
    to_node: OwnedWriteHalf,
    random: StdRng,
    faults: Faults,
    counts: Arc<Counts>,
    /// Messages that wait until so many others have passed.
    held: Vec<(u32, Vec<u8>)>,
}

impl Line {
    /// Until either side is gone.
    async fn carry(mut self, from_server: OwnedReadHalf) {
        let mut from_server = BufReader::new(from_server);
        while let Some((frame, is_message)) = frame(&mut from_server).await {
            let sent = if is_message { self.message(frame).await } else { self.pass(&frame).await };
            if sent.is_none() {
                return;
            }
        }
    }

    async fn pass(&mut self, frame: &[u8]) -> Option<()> {
        self.to_node.write_all(frame).await.ok()
    }

    async fn message(&mut self, frame: Vec<u8>) -> Option<()> {
        if self.random.gen_bool(self.faults.stalled) {
            self.counts.stalled.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
        }
        if self.random.gen_bool(self.faults.lost) {
            self.counts.lost.fetch_add(1, Ordering::SeqCst);
        } else if self.random.gen_bool(self.faults.late) {
            self.counts.late.fetch_add(1, Ordering::SeqCst);
            let others = self.random.gen_range(1..=5);
            self.held.push((others, frame));
            return Some(());
        } else {
            self.counts.passed.fetch_add(1, Ordering::SeqCst);
            self.pass(&frame).await?;
            if self.random.gen_bool(self.faults.doubled) {
                self.counts.doubled.fetch_add(1, Ordering::SeqCst);
                self.pass(&frame).await?;
            }
        }
        self.held.iter_mut().for_each(|(others, _)| *others -= 1);
        let (due, rest) = self.held.drain(..).partition(|(others, _)| *others == 0);
        self.held = rest;
        let due: Vec<(u32, Vec<u8>)> = due;
        for (_, frame) in due {
            self.pass(&frame).await?;
        }
        Some(())
    }
}

/// The next frame of the server, and whether it is a message: `MSG <subject> <sid> [reply] <bytes>`, then so many
/// bytes and a line end; `HMSG` likewise, its last number is the whole length. Everything else is one line.
async fn frame(from: &mut BufReader<OwnedReadHalf>) -> Option<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    if from.read_until(b'\n', &mut bytes).await.ok()? == 0 {
        return None;
    }
    let line = String::from_utf8_lossy(&bytes).into_owned();
    let is_message = line.starts_with("MSG ") || line.starts_with("HMSG ");
    if is_message {
        let length: usize = line.split_whitespace().last()?.parse().ok()?;
        let start = bytes.len();
        bytes.resize(start + length + 2, 0);
        from.read_exact(&mut bytes[start..]).await.ok()?;
    }
    Some((bytes, is_message))
}
