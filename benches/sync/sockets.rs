//! What an idle live socket costs the server, and how long a change takes until the last of a thousand has it.
//!
//! Registering ten thousand devices would be most of the run. So a tenth as many accounts are registered, and the
//! tokens of further devices are made with the server's own key file: to the socket they are like any other.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lockstep_events::{Clock, DeviceId, SessionId, StreamId, event::Method};
use lockstepd::{
    app,
    auth::{
        minting::{Bearer, Tokens},
        signing_keys::load_or_turn,
        token::Scope,
    },
    clock::SystemClock,
    config::{Config, Layer},
};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use uuid::Uuid;

use crate::{
    live::{Socket, follow},
    report::{Options, Report, Target, median},
    support::{
        child::Lockstepd,
        device::{Device, entry},
        wire::{Wire, request},
    },
};

const LISTENERS: usize = 1000;
/// Handshakes at the same time.
const AT_ONCE: usize = 32;

pub async fn measure(options: &Options, report: &mut Report) {
    for (mode, mut variables, _) in crate::modes().await {
        variables.push(("LOCKSTEP_MAX_CONNECTIONS".to_owned(), "12000".to_owned()));
        // No ping and no end of a token may fall into the measurement.
        variables.push(("LOCKSTEP_LIVE_PING_S".to_owned(), "600".to_owned()));
        variables.push(("LOCKSTEP_LIVE_PER_ACCOUNT".to_owned(), "2000".to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let server =
            Lockstepd::start(env!("CARGO_BIN_EXE_lockstepd"), folder.path(), "127.0.0.1:0", &variables);
        let mint = Mint::new(folder.path(), &variables).await;
        fan_out(&server, &mint, mode, options, report).await;
        let counts: &[usize] = if options.quick { &[1000] } else { &[1000, 10_000] };
        for count in counts {
            idle(&server, &mint, mode, *count, report).await;
        }
    }
}

/// Makes tokens as the server does.
struct Mint(Tokens);

impl Mint {
    async fn new(data: &std::path::Path, variables: &[(String, String)]) -> Self {
        let get =
            |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let options = Layer { data: Some(data.to_owned()), ..Layer::from_environment(get).unwrap() };
        let config = Config::with(options).unwrap();
        let tools = app::tools(&config).await.unwrap();
        let mut random = rand::rngs::OsRng;
        let keys = load_or_turn(&*tools.credentials, &tools.keys, SystemClock.now(), &mut random).await;
        Self(Tokens::new(config.issuer, 1200, keys.unwrap().0))
    }

    /// Another device of the same account.
    fn another(&self, of: &Device) -> Device {
        let device = DeviceId(Uuid::new_v4());
        let now = SystemClock.now();
        let bearer = Bearer {
            account: of.account,
            device,
            session: SessionId(Uuid::new_v4()),
            scope: Scope::Vault,
            method: Method::Password,
            proven_at: now,
            auth_epoch: 0,
        };
        Device { device, token: self.0.mint(bearer, now).unwrap(), ..of.clone() }
    }
}

/// Opens a socket for each device, some at a time.
async fn open(devices: &[Device]) -> Vec<Socket> {
    let mut sockets = Vec::with_capacity(devices.len());
    for some in devices.chunks(AT_ONCE) {
        sockets.extend(futures_util::future::join_all(some.iter().map(follow)).await);
    }
    sockets
}

/// Every ten devices are an account with its vault; each socket follows both streams.
async fn idle(server: &Lockstepd, mint: &Mint, mode: &str, count: usize, report: &mut Report) {
    let mut devices = Vec::with_capacity(count);
    for _ in 0..count / 10 {
        let first = Device::register_unstretched(server.addr, b"nobody logs in with it").await;
        devices.extend((1..10).map(|_| mint.another(&first)));
        devices.push(first);
    }
    let before = settled(server).await;
    let sockets = open(&devices).await;
    let after = settled(server).await;
    let each = (after - before) / 1024.0 / sockets.len() as f64;
    report.row(
        &format!("memory of an idle socket, {count} of them, {mode}"),
        "KB",
        each,
        Target::AtMost(12.0),
    );
    drop(sockets);
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// Resident bytes once they no longer change: right after many requests some are still being freed.
async fn settled(server: &Lockstepd) -> f64 {
    let mut last = server.memory().0;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = server.memory().0;
        if now.abs_diff(last) < 64 * 1024 {
            return now as f64;
        }
        last = now;
    }
    last as f64
}

async fn fan_out(server: &Lockstepd, mint: &Mint, mode: &str, options: &Options, report: &mut Report) {
    let writer = Device::register(server.addr).await;
    let devices: Vec<_> = (0..LISTENERS).map(|_| mint.another(&writer)).collect();
    let mut sockets = open(&devices).await;
    let first = writer.seq().await;
    let caught_up = sockets.iter_mut().map(|socket| heard(socket, writer.vault.into(), first));
    futures_util::future::join_all(caught_up).await;
    let mut wire = Wire::connect(server.addr).await.unwrap();
    let bearer = format!("Bearer {}", writer.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    let samples = if options.quick { 5 } else { 40 };
    for n in 0..samples {
        let item = writer.edit(entry(), &[], &[n as u8; 600]);
        let body = serde_json::to_vec(&writer.batch(vec![item])).unwrap();
        let bytes = request("POST", &writer.push_path(), &headers, &body);
        let (vault, seq) = (StreamId::from(writer.vault), first + n + 1);
        let waiting: Vec<_> = std::mem::take(&mut sockets)
            .into_iter()
            .map(|mut socket| {
                tokio::spawn(async move {
                    let text = next(&mut socket).await;
                    (socket, text, Instant::now())
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let sent = Instant::now();
        assert_eq!(wire.exchange(&bytes).await.unwrap().status, 200);
        let mut took = Vec::with_capacity(LISTENERS);
        // What came is looked at when all have it: a thousand clients on one machine would measure themselves.
        for (socket, text, at) in futures_util::future::try_join_all(waiting).await.unwrap() {
            assert!(ends(&text, vault, seq), "nobody else writes");
            took.push(at.duration_since(sent).as_secs_f64() * 1000.0);
            sockets.push(socket);
        }
        took.sort_by(f64::total_cmp);
        firsts.push(took[0]);
        lasts.push(took[LISTENERS - 1]);
    }
    let name = |which: &str| format!("push to {which} of {LISTENERS} sockets, p50, {mode}");
    report.row(&name("the first"), "ms", median(firsts), Target::None);
    report.row(&name("the last"), "ms", median(lasts), Target::AtMost(20.0));
}

/// Where a frame ends.
#[derive(Deserialize)]
struct End {
    stream: Option<StreamId>,
    to: Option<u64>,
}

async fn next(socket: &mut Socket) -> Utf8Bytes {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return text;
        }
    }
}

/// Whether a message tells of a vault up to here.
fn ends(text: &str, vault: StreamId, seq: u64) -> bool {
    let ends: Vec<End> = if text.starts_with('[') {
        serde_json::from_str(text).unwrap()
    } else {
        vec![serde_json::from_str(text).unwrap()]
    };
    ends.iter().any(|end| end.stream == Some(vault) && end.to.is_some_and(|to| to >= seq))
}

async fn heard(socket: &mut Socket, vault: StreamId, seq: u64) {
    while !ends(&next(socket).await, vault, seq) {}
}
