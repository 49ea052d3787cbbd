//! A server in this process, reached over the network.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lockstep_events::{Clock, Micros};
use lockstepd::{
    app::{self, Running, StartError},
    config::{Config, Layer},
};
use reqwest::{Client, RequestBuilder};
use tempfile::TempDir;

/// On what the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// SQLite, everything in one process.
    Embedded,
    /// Postgres, NATS and S3.
    Distributed,
    /// The same under three servers: each request goes to the next one.
    ThreeNodes,
}

/// The machine's clock, and what a test adds to it.
#[derive(Debug, Default)]
pub struct TestClock {
    ahead: AtomicI64,
    /// Where it stands still; 0 while it goes.
    stopped: AtomicI64,
}

impl TestClock {
    /// Time passes.
    pub fn pass(&self, seconds: i64) {
        self.ahead.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    #[allow(dead_code, reason = "most suites that share this let it go")]
    /// From now on no time passes but what [`Self::pass`] adds.
    pub fn stop(&self) {
        let Micros(now) = machine();
        self.stopped.store(now, Ordering::SeqCst);
    }
}

fn machine() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Micros(i64::try_from(since.as_micros()).unwrap())
}

impl Clock for TestClock {
    fn now(&self) -> Micros {
        let now = match self.stopped.load(Ordering::SeqCst) {
            0 => machine(),
            stopped => Micros(stopped),
        };
        Micros(now.0 + self.ahead.load(Ordering::SeqCst))
    }
}

/// Where the stores of a server are.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its data folder.
    pub data: std::path::PathBuf,
    /// Its database and its bucket, if it is distributed.
    pub stores: Option<(String, String)>,
}

/// A running server.
pub struct Node {
    running: Option<Running>,
    folder: TempDir,
    options: Layer,
    http: Client,
    /// The other servers on its stores, if requests go to all of them in turn, and whose turn it is.
    others: Vec<Self>,
    turn: AtomicUsize,
    /// Its clock.
    pub clock: Arc<TestClock>,
}

impl Node {
    /// Starts a server of this mode on empty stores.
    pub async fn start(mode: Mode) -> Self {
        Self::start_with(mode, Layer::default()).await
    }

    /// Starts a server of this mode on empty stores, with another clock.
    pub async fn start_at(mode: Mode, clock: Arc<dyn Clock>) -> Self {
        let mut node = Self::made(mode, Layer::default()).await;
        let config = Config::with(node.options.clone()).unwrap();
        node.running = Some(app::start_with(config, clock).await.unwrap());
        node
    }

    /// Starts a server of this mode on empty stores, with some options in place of the usual ones.
    pub async fn start_with(mode: Mode, changed: Layer) -> Self {
        let mut node = Self::made(mode, changed).await;
        node.begin().await;
        if mode == Mode::ThreeNodes {
            node.others = vec![node.second().await, node.second().await];
        }
        node
    }

    async fn made(mode: Mode, changed: Layer) -> Self {
        let options = match mode {
            Mode::Embedded => Layer::default(),
            Mode::Distributed | Mode::ThreeNodes => distributed().await,
        };
        Self::over(options, changed)
    }

    fn over(options: Layer, changed: Layer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Layer {
            data: Some(folder.path().join("data")),
            listen: Some("127.0.0.1:0".parse().unwrap()),
            plain_http: Some(true),
            drain_s: Some(5),
            // The tests' authenticators answer this one.
            passkey_origins: Some("https://localhost:8443".to_owned()),
            tail_poll_ms: Some(100),
            // Tests are faster than people. Those about the limits themselves ask for the real ones.
            rate_limit_factor: changed.rate_limit_factor.or(Some(super::UNLIMITED)),
            ..changed.over(options)
        };
        let clock = Arc::new(TestClock::default());
        Self {
            running: None,
            folder,
            options,
            http: http(),
            others: Vec::new(),
            turn: AtomicUsize::new(0),
            clock,
        }
    }

    #[allow(dead_code, reason = "most suites that share this stay in one process")]
    /// What another process needs to start this server on the same stores.
    pub fn place(&self) -> Place {
        let text = |secret: &Option<lockstepd::config::Secret>| secret.clone().map(|s| s.expose().to_owned());
        let stores = text(&self.options.log).zip(text(&self.options.blobs));
        Place { data: self.data(), stores }
    }

    #[allow(dead_code, reason = "most suites that share this stay in one process")]
    /// Starts a server on stores that are there, with some options in place of the usual ones and another clock.
    pub async fn start_on(place: Place, changed: Layer, clock: Arc<TestClock>) -> Self {
        let kept = place.stores.as_ref().map(|(database, blobs)| services(database, blobs));
        let mut node = Self::over(kept.unwrap_or_default(), changed);
        node.options.data = Some(place.data);
        node.clock = clock;
        node.begin().await;
        node
    }

    /// Starts the server on its stores.
    pub async fn begin(&mut self) {
        self.try_begin().await.unwrap();
    }

    /// Starts the server on its stores, or says why it does not start.
    pub async fn try_begin(&mut self) -> Result<(), StartError> {
        let config = Config::with(self.options.clone()).unwrap();
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        self.running = Some(app::start_with(config, clock).await?);
        Ok(())
    }

    /// Another server on the same stores (distributed only).
    pub async fn second(&self) -> Self {
        self.second_with(Layer::default()).await
    }

    /// Another server on the same stores, with some options in place of the first one's.
    pub async fn second_with(&self, changed: Layer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Layer {
            data: Some(folder.path().join("data")),
            key_file: Some(self.folder.path().join("data/keys/server.json")),
            ..changed.over(self.options.clone())
        };
        let clock = Arc::clone(&self.clock);
        let (others, turn) = (Vec::new(), AtomicUsize::new(0));
        let mut node = Self { running: None, folder, options, http: http(), others, turn, clock };
        node.begin().await;
        node
    }

    /// Stops the server; [`Node::begin`] starts it again.
    pub async fn stop(&mut self) {
        self.running.take().unwrap().shutdown().await;
    }

    /// The URL of the log's database (distributed only).
    pub fn database(&self) -> String {
        self.options.log.as_ref().unwrap().expose().to_owned()
    }

    /// Stops the server and starts it again on the same stores.
    pub async fn restart(&mut self) {
        self.restart_with(Layer::default()).await;
    }

    /// Stops the server and starts it again on the same stores, with some options in place of its own; and so the others
    /// that are asked in turn.
    pub async fn restart_with(&mut self, changed: Layer) {
        self.options = changed.clone().over(self.options.clone());
        self.running.take().unwrap().shutdown().await;
        self.begin().await;
        for other in &mut self.others {
            Box::pin(other.restart_with(changed.clone())).await;
        }
    }

    #[allow(dead_code, reason = "some suites that share this wipe nothing")]
    /// Stops the server, deletes every row of its read models, and starts it again.
    pub async fn wipe_reads_and_restart(&mut self) {
        use sqlx::{Connection, Executor};
        self.running.take().unwrap().shutdown().await;
        if let Some(reads) = self.options.reads.as_ref().filter(|reads| reads.expose() != "sqlite") {
            let mut database = sqlx::PgConnection::connect(reads.expose()).await.unwrap();
            let wipe = "TRUNCATE read_rows; UPDATE read_checkpoints SET position = 0";
            database.execute(sqlx::raw_sql(wipe)).await.unwrap();
        } else {
            for entry in std::fs::read_dir(self.folder.path().join("data")).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_string_lossy().starts_with("reads.sqlite") {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
        self.begin().await;
    }

    /// The server itself, for what the network does not show.
    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Its data folder.
    pub fn data(&self) -> std::path::PathBuf {
        self.options.data.clone().unwrap()
    }

    #[allow(dead_code, reason = "most suites that share this erase nothing")]
    /// Its log is whole, and whatever is gone from it went by an event or by its age.
    pub async fn assert_whole(&self) {
        let known = lockstepd::operate::log::Known { now: Some(self.clock.now()), ..Default::default() };
        let log = &self.running().server.log;
        let found = lockstepd::operate::log::verify(&**log, &known, &mut |_, _| {}).await.unwrap();
        assert_eq!(found.faulty, 0, "{:?} {:?}", found.faults, found.rows);
    }

    /// Itself, and the others that are asked in turn.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }

    /// The URL of the server whose turn it is.
    pub fn url(&self) -> &str {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) % (1 + self.others.len());
        let next = self.all().nth(turn).unwrap();
        &next.running().url
    }

    /// A request.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url());
        self.http.request(method.parse().unwrap(), url)
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request("GET", path)
    }

    /// `POST` with a JSON body.
    pub fn post<T: serde::Serialize>(&self, path: &str, body: &T) -> RequestBuilder {
        self.request("POST", path).json(body)
    }
}

fn http() -> Client {
    // Refused only where another test of this process has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A connection is given up before the server, which waits ten seconds for the next request, hangs up: one that is
    // sent in that very moment would be lost.
    Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(5)).build().unwrap()
}

fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run cargo xtask test"))
}

/// A database, a bus and a bucket of its own.
async fn distributed() -> Layer {
    let database = crate::database::fresh("blackbox").await;
    services(&database, &format!("s3://{}", make_bucket().await))
}

/// The options of a server that keeps everything here.
fn services(database: &str, blobs: &str) -> Layer {
    let key = |name: &str| Some(service(name).as_str().into());
    Layer {
        log: Some(database.into()),
        reads: Some(database.into()),
        credentials: Some(database.into()),
        bus: key("LOCKSTEP_TEST_NATS"),
        blobs: Some(blobs.into()),
        s3_endpoint: Some(service("LOCKSTEP_TEST_S3")),
        s3_access_key: key("LOCKSTEP_TEST_S3_KEY"),
        s3_secret_key: key("LOCKSTEP_TEST_S3_SECRET"),
        database_connections: Some(4),
        ..Layer::default()
    }
}

/// Its own: a sweep deletes what its index does not know.
async fn make_bucket() -> String {
    let bucket = format!("blackbox-{}", uuid::Uuid::new_v4());
    let options = lockstepd::adapters::s3::S3Options {
        endpoint: service("LOCKSTEP_TEST_S3"),
        public_endpoint: String::new(),
        region: "us-east-1".to_owned(),
        bucket: bucket.clone(),
        access_key: service("LOCKSTEP_TEST_S3_KEY"),
        secret_key: service("LOCKSTEP_TEST_S3_SECRET"),
    };
    lockstepd::adapters::s3::S3Blobs::new(&options).make_bucket().await.unwrap();
    bucket
}
