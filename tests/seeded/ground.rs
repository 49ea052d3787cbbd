//! A server with an account of some devices, made once; every script plays on a copy of it, at the same addresses.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lockstep_client::{Client, server::Server as Address};
use lockstep_events::{Clock, Micros};
use lockstepd::{
    app::{self, Running},
    config::{Config, Layer},
};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    mode::Mode,
    people::{password, until},
    port::Port,
    proxy::Proxy,
    relay::Relay,
};

/// Devices that there are from the beginning.
pub const DEVICES: usize = 4;
pub const NAME: &str = "seeded@example.org";

/// The machine's clock, and what a script adds to it.
#[derive(Debug, Default)]
pub struct Time(AtomicI64);

impl Time {
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for Time {
    fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Micros(i64::try_from(since.as_micros()).unwrap() + self.0.load(Ordering::SeqCst))
    }
}

/// How one device reaches the server: over a line that can be cut, and a proxy that can lose an answer.
pub struct Line {
    pub relay: Relay,
    pub proxy: Proxy,
    pub address: Address,
}

impl Line {
    async fn start(upstream: SocketAddr) -> Self {
        let proxy = Proxy::start(upstream).await;
        let behind = proxy.address.url.trim_start_matches("https://").parse().unwrap();
        let relay = Relay::start(behind);
        let url = format!("https://{}", relay.addr);
        let address = Address::new(&url, proxy.address.trust.clone()).unwrap();
        Self { relay, proxy, address }
    }

    /// An honest line that is whole.
    pub fn mend(&self) {
        self.relay.mend();
        self.proxy.honest();
    }
}

/// What is copied for every script.
pub struct Ground {
    options: Vec<(String, String)>,
    port: Port,
    data: TempDir,
    /// The folder of each device, and what opens it.
    pub homes: Vec<(TempDir, Zeroizing<String>)>,
    /// One for each of them, and one for a device that joins.
    pub lines: Vec<Line>,
}

/// A server that a script plays against.
pub struct Serving {
    pub running: Running,
    pub time: Arc<Time>,
    _data: TempDir,
    database: Option<String>,
}

impl Ground {
    /// Registers a person with some devices, which agree about some entries.
    pub async fn make(mode: Mode) -> Self {
        let (options, data) = (mode.options().await, tempfile::tempdir().unwrap());
        let port = Port::reserve();
        let running = serve(data.path(), &port, &options, Arc::default()).await;
        let mut lines = Vec::new();
        for _ in 0..=DEVICES {
            lines.push(Line::start(port.addr()).await);
        }
        let mut clients: Vec<(TempDir, Client)> = Vec::new();
        for line in &lines[..DEVICES] {
            let home = tempfile::tempdir().unwrap();
            let client = if clients.is_empty() {
                Client::register(home.path(), &line.address, NAME, &password()).await.unwrap()
            } else {
                Client::login(home.path(), &line.address, NAME, &password()).await.unwrap()
            };
            clients.push((home, client));
        }
        for text in ["kept", "edited", "removed"] {
            clients[0].1.add(text.as_bytes()).await.unwrap();
        }
        let mut homes = Vec::new();
        for (home, client) in clients {
            client.sync().await.unwrap();
            let token = client.unlock_token();
            client.close().await;
            settle(home.path()).await;
            homes.push((home, token));
        }
        running.shutdown().await;
        settle(data.path()).await;
        Self { options, port, data, homes, lines }
    }

    /// A copy of the server, at the same address.
    pub async fn serve(&self) -> Serving {
        let data = tempfile::tempdir().unwrap();
        copy(self.data.path(), data.path()).await;
        let (mut options, mut database) = (self.options.clone(), None);
        if let Some((_, made)) = self.options.iter().find(|(name, _)| name == "LOCKSTEP_LOG") {
            let copied = copy_database(made).await;
            options
                .iter_mut()
                .filter(|(_, value)| value == made)
                .for_each(|(_, value)| value.clone_from(&copied));
            database = Some(copied);
        }
        let time = Arc::default();
        let running = serve(data.path(), &self.port, &options, Arc::clone(&time)).await;
        self.lines.iter().for_each(Line::mend);
        Serving { running, time, _data: data, database }
    }
}

impl Serving {
    pub async fn end(self) {
        self.running.shutdown().await;
        // The few of a run go with their Postgres, which would have to write out whatever other tests have just written to
        // drop one; those of a night would fill a disk.
        if let (Some(url), true) = (self.database, crate::number("LOCKSTEP_TEST_SEEDS").is_some()) {
            let (server, name) = url.rsplit_once('/').unwrap();
            admin(server, &format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await;
        }
    }
}

async fn serve(data: &Path, port: &Port, named: &[(String, String)], time: Arc<Time>) -> Running {
    let of = |name: &str| named.iter().find(|(option, _)| option == name).map(|(_, value)| value.clone());
    let options = Layer {
        data: Some(data.to_owned()),
        listen: Some(port.addr().into()),
        plain_http: Some(true),
        drain_s: Some(0),
        tail_poll_ms: Some(100),
        database_connections: Some(4),
        // Scripts are faster than people.
        rate_limit_factor: Some(1_000_000),
        ..Layer::default()
    };
    let options = options.over(Layer::from_environment(of).unwrap());
    app::start_with(Config::with(options).unwrap(), time).await.unwrap()
}

async fn copy_database(url: &str) -> String {
    let (server, name) = url.rsplit_once('/').unwrap();
    let copied = format!("seeded-{}", Uuid::new_v4());
    admin(server, &format!("CREATE DATABASE \"{copied}\" TEMPLATE \"{name}\"")).await;
    format!("{server}/{copied}")
}

/// Connections of a server that was just stopped may need a moment to end.
async fn admin(server: &str, sql: &str) {
    let mut connection = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    for attempt in 0.. {
        match connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await {
            Ok(_) => return,
            Err(error) if attempt > 300 => panic!("{sql}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Databases that were closed are whole in their own files a moment later. Whoever only read and is the last to close
/// leaves an empty journal behind.
async fn settle(folder: &Path) {
    until("the journals are written back", || async { !has_journal(folder) }).await;
}

fn has_journal(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let journal = entry.file_name().to_string_lossy().ends_with("-wal");
        journal && entry.metadata().is_ok_and(|file| file.len() > 0)
            || (entry.path().is_dir() && has_journal(&entry.path()))
    })
}

/// Copies a folder in which nobody writes. A journal may vanish even so, when it was written back: then all of it is
/// copied anew.
pub async fn copy(from: &Path, to: &Path) {
    until("the folder is copied", || async {
        let _ = std::fs::remove_dir_all(to);
        try_copy(from, to).is_ok()
    })
    .await;
}

fn try_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy(&entry.path(), &target)?;
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
