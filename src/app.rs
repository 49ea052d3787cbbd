//! Builds the server from its options. Together with `ports` the only place that names adapters.

mod fit;
mod follow;
mod moving;
pub mod people;
mod ports;
mod reading;
mod start_error;
mod tools;
pub mod upkeep;

pub use moving::{OpenMove, open_move, take_back};
pub use reading::{log_alone, log_and_reads, log_held, read_position, shelf_and_log};
pub use start_error::StartError;
pub use tools::{SubjectTools, Tools, subject_tools, tools};

use std::{fs::File, io, net::SocketAddr, sync::Arc, time::Duration};

use lockstep_events::{Clock, EventLog, Micros};
use lockstep_projections::{Runner, store::ReadStore};
use rand::rngs::OsRng;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{minting::Tokens, oidc::Idps, server_keys::ServerKeys, signing_keys::load_or_turn},
    batcher::Batcher,
    blobs::{BlobStore, Keepers, Shelf, Uploads, Watch},
    clock::SystemClock,
    clock_watch::ClockWatch,
    commands::{
        admin::{
            AdminError,
            bootstrap::{self, OpenError, Start},
            pending::Office,
        },
        purge::{Purger, Scrubs},
        push::{Batches, Pusher},
    },
    config::{Config, Listen},
    digests::Digests,
    entries::EntryStates,
    erasure::{
        self,
        shred_list::{ShredList, ShredListError},
    },
    feed::{Feed, Pace},
    http::{access_log::Readiness, guests::Guests, serve::Serve, tls, untaken::Untaken},
    limits::{Limits, Proxies, Seats},
    mail::{self, worker::Post},
    metrics::Metrics,
    plans::PlanBook,
    private_file,
    pseudonyms::Pseudonyms,
    quotas::Quotas,
    served::Served,
    state::{Server, Shared},
    subjects::Subjects,
};

/// Bodies of several blobs that an account sends at the same time.
const PACKS: usize = 4;
/// Connections of operators at most.
const OPERATORS: usize = 64;

/// A server that runs.
pub struct Running {
    /// Where clients reach it, for example `https://127.0.0.1:8443`.
    pub url: String,
    /// The address that it listens on.
    pub addr: SocketAddr,
    /// Where operators reach it, if anywhere.
    pub admin_url: Option<String>,
    /// SHA-256 of its certificate, lower-case hex; none with plain HTTP.
    pub fingerprint: Option<String>,
    /// The token that names the first administrator, if this start made one.
    pub bootstrap: Option<bootstrap::Opened>,
    /// Until when a token of before can be used, if this start made none because of it.
    pub bootstrap_waits: Option<Micros>,
    /// What its requests use.
    pub server: Shared,
    tasks: Tasks,
}

struct Tasks {
    http: JoinHandle<()>,
    admin: Option<JoinHandle<()>>,
    follower: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    mail: JoinHandle<((), ())>,
    stop_following: CancellationToken,
    _lock: File,
}

impl Running {
    /// Waits until something of the server ends that nobody asked to end, by a defect: its name. A server that lacks a
    /// part of itself does harm in silence; one that ends is started again.
    pub async fn broken(&mut self) -> &'static str {
        let Tasks { http, admin, follower, upkeep, mail, .. } = &mut self.tasks;
        let admin = async {
            match admin {
                Some(admin) => drop(admin.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = http => "what serves clients",
            () = admin => "what serves operators",
            _ = follower => "what keeps the read models",
            _ = upkeep => "upkeep",
            _ = mail => "mail",
            () = self.server.batcher.ended() => "what appends to the log",
            () = self.server.feed.ended() => "the live feed",
            () = self.server.bus.ended() => "the bus",
        }
    }

    /// Stops: no new connections, requests and sockets get their time, what waits for the log is appended.
    pub async fn shutdown(self) {
        self.server.draining.cancel();
        let drain = Duration::from_secs(self.server.config.drain_s);
        self.server.feed.drain(drain).await;
        let _ = self.tasks.http.await;
        if let Some(admin) = self.tasks.admin {
            let _ = admin.await;
        }
        self.tasks.stop_following.cancel();
        let _ = self.tasks.upkeep.await;
        let _ = self.tasks.mail.await;
        self.server.batcher.shutdown().await;
        let _ = self.tasks.follower.await;
        self.server.feed.stop().await;
        self.server.bus.close().await;
        ports::settle(&self.server.config).await;
    }
}

/// Starts a server with the clock of the machine.
///
/// # Errors
/// [`StartError`]
pub async fn start(config: Config) -> Result<Running, StartError> {
    start_with(config, Arc::new(SystemClock)).await
}

/// Starts a server with another clock.
///
/// # Errors
/// [`StartError`]
pub async fn start_with(config: Config, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    // What cannot be meant so is said before anything is made.
    ports::named(&config)?;
    let idps = providers(&config)?;
    let lock = lock_data(&config)?;
    let (listener, addr) = bind("--listen", &config.listen).await?;
    let admin = match config.admin_address() {
        Some(address) => Some(bind("admin_listen", &address).await?),
        None => None,
    };
    let scheme = if config.plain_http { "http" } else { "https" };
    let url = format!("{scheme}://{}", config.listen.at(addr));
    let (server, runner) = assemble(config, idps, clock, &url).await?;
    // Not before it is known that this place may serve: the move that goes on would find a certificate that is not its own.
    let mut certified = server.config.has_certificate().then(|| tls::load(&server.config)).transpose()?;
    let renewal = certified.as_mut().and_then(|tls| tls.renewal.take());
    let tls = certified.as_ref().filter(|_| !server.config.plain_http);
    let (bootstrap, bootstrap_waits) = first_administrator(&server).await?;
    let news = server.feed.applied();
    let stop_following = CancellationToken::new();
    let poll = Duration::from_millis(server.config.tail_poll_ms);
    let no_room = Arc::clone(&server.no_room);
    let follower = tokio::spawn(follow::follow(runner, news, (poll, no_room), stop_following.clone()));
    erasure::restore::reapply(&server).await?;
    let upkeep = tokio::spawn(upkeep::run(Arc::clone(&server), renewal, stop_following.clone()));
    let mail = tokio::spawn(mail::run(Arc::clone(&server), stop_following.clone()));
    let serve = Serve {
        router: crate::http::router(Arc::clone(&server)),
        tls: tls.map(|tls| TlsAcceptor::from(Arc::clone(&tls.config))),
        max_connections: server.config.max_connections,
        guests: Guests::new(server.config.max_connections_per_address, server.limits.proxies().clone()),
        draining: server.draining.clone(),
    };
    let http = tokio::spawn(serve.run(listener, Duration::from_secs(server.config.drain_s)));
    let (admin_url, admin) = admin.map(|bound| for_operators(&server, certified.as_ref(), bound)).unzip();
    Ok(Running {
        url,
        addr,
        admin_url,
        fingerprint: tls.map(|tls| tls.fingerprint.clone()),
        bootstrap,
        bootstrap_waits,
        server,
        tasks: Tasks { http, admin, follower, upkeep, mail, stop_following, _lock: lock },
    })
}

/// A server that never had an administrator makes the one-time token that names one, or says how long an earlier one can
/// be used.
async fn first_administrator(
    server: &Server,
) -> Result<(Option<bootstrap::Opened>, Option<Micros>), StartError> {
    let (log, now) = (server.log.as_ref(), server.clock.now());
    let file = server.config.bootstrap_path();
    match bootstrap::at_start(log, &server.keys, &file, now, &mut OsRng).await {
        Ok(Start::Made(opened)) => Ok((Some(opened), None)),
        Ok(Start::Waits(until)) => Ok((None, Some(until))),
        // What is stored is served all the same; the next start makes one.
        Err(error) if error.is_full() => {
            tracing::warn!(cause = %error, "there is no room for the token of the first administrator");
            Ok((None, None))
        }
        Err(OpenError::Admin(AdminError::Log(error))) => Err(error.into()),
        Err(error @ OpenError::File { .. }) => Err(StartError::Bootstrap(error)),
        // There was one, or the roll keeps changing.
        Ok(Start::Nothing) | Err(OpenError::Admin(_)) => Ok((None, None)),
    }
}

/// Listens at the first address of a name that this machine has: where IPv6 is off, a name may have one of it all the
/// same. One that is in use is no reason to take another, or two servers would share the name.
async fn bind(option: &'static str, listen: &Listen) -> Result<(TcpListener, SocketAddr), StartError> {
    let unknown = |source| StartError::NoAddress { name: listen.host(), source };
    let mut failed = unknown(io::ErrorKind::NotFound.into());
    for address in listen.addresses().await.map_err(unknown)? {
        match bind_to(option, address).await {
            Err(StartError::Listen { address, source }) if is_elsewhere(&source) => {
                failed = StartError::Listen { address, source };
            }
            done => return done,
        }
    }
    Err(failed)
}

fn is_elsewhere(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
}

async fn bind_to(option: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::Taken { address, option },
        _ => StartError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves operators: in the open on this machine, with the server's certificate elsewhere if it has one, and wherever
/// administrators come with their tokens.
fn for_operators(
    server: &Shared,
    tls: Option<&tls::Tls>,
    (listener, addr): (TcpListener, SocketAddr),
) -> (String, JoinHandle<()>) {
    let tls = tls.filter(|_| server.config.admin_apart || !addr.ip().is_loopback());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let serve = Serve {
        router: crate::http::metrics::router(Arc::clone(server)),
        tls: tls.map(|tls| TlsAcceptor::from(Arc::clone(&tls.config))),
        max_connections: OPERATORS,
        guests: Guests::new(OPERATORS, server.limits.proxies().clone()),
        draining: server.draining.clone(),
    };
    let drain = Duration::from_secs(server.config.drain_s);
    (format!("{scheme}://{addr}"), tokio::spawn(serve.run(listener, drain)))
}

/// Makes sure that no server uses the log while the answer is kept: none with this data folder, and none that is connected
/// to its database.
///
/// # Errors
/// If one does.
pub async fn alone(config: &Config) -> Result<File, StartError> {
    let lock = lock_data(config)?;
    ports::nobody_connected(config, "").await?;
    Ok(lock)
}

fn quotas(config: &Config, reads: &Arc<dyn ReadStore>, feed: &Feed, shelf: &Shelf) -> Arc<Quotas> {
    let book = Arc::new(PlanBook::new(&config.plans, &config.default_plan));
    Arc::new(Quotas {
        reads: Arc::clone(reads),
        index: Arc::clone(&shelf.index),
        standings: Arc::clone(&feed.standings),
        usage: Arc::clone(&feed.usage),
        attached: Arc::clone(&feed.attached),
        plans: book,
        clock: Arc::clone(&shelf.clock),
    })
}

fn shred_list(config: &Config, keys: &ServerKeys) -> Result<Arc<ShredList>, ShredListError> {
    let list = erasure::list_path(&config.key_path());
    Ok(Arc::new(ShredList::open(&list, keys.shred_list_key())?))
}

async fn assemble(
    mut config: Config,
    idps: Idps,
    clock: Arc<dyn Clock>,
    own_url: &str,
) -> Result<(Shared, Runner), StartError> {
    fit::of_no_newer_form(&config).await?;
    fit::nothing_lost(&config).await?;
    config.ask_for_passkeys_at(own_url);
    let ports = ports::open(&config).await?;
    fit::check(&config, &ports, clock.now()).await?;
    let keys = ServerKeys::load_or_make(&config.key_path(), &mut OsRng)?;
    if ports.credentials.key_commitment(keys.commitment()).await? != keys.commitment() {
        return Err(StartError::ForeignKeys(config.key_path()));
    }
    let clock_watch = ClockWatch::default();
    let sure_time = clock_watch.sure_time(&*ports.credentials, &*clock).await?;
    let (signing, _) = load_or_turn(&*ports.credentials, &keys, clock.now(), &mut OsRng).await?;
    let subjects = Subjects::new(ports.subject_keys, &keys, Arc::clone(&clock), config.key_path());
    let subjects = Arc::new(subjects);
    let shred_list = shred_list(&config, &keys)?;
    if sure_time.is_some() {
        subjects.turn_epochs().await?;
    }
    let runner = Runner::start(Arc::clone(&ports.log), Arc::clone(&ports.reads)).await?;
    let pace = Pace { poll: Duration::from_millis(config.tail_poll_ms), ..Pace::default() };
    let feed = Feed::start(Arc::clone(&ports.log), Arc::clone(&ports.bus), pace, clock.now()).await?;
    let bus = Arc::clone(&ports.bus);
    let batcher = Batcher::start(Arc::clone(&ports.log), Arc::clone(&clock), move |batch| bus.publish(batch));
    let entries = Arc::new(EntryStates::new(Arc::clone(&ports.log), Arc::clone(&ports.reads)));
    let served = Arc::new(Served::new(ports.served));
    let blob_watch = Arc::new(Watch::new(ports.blobs));
    let store = Arc::clone(&blob_watch) as Arc<dyn BlobStore>;
    let shelf = Arc::new(Shelf { store, index: ports.blob_index, clock: Arc::clone(&clock) });
    let purger = purger((&ports.log, &batcher), &entries, &shelf, &shred_list);
    let quotas = quotas(&config, &ports.reads, &feed, &shelf);
    let pusher = pusher((&ports.log, &batcher), (&entries, &shelf, &served), (&quotas, &feed));
    let tokens = Tokens::new(config.issuer.clone(), config.access_token_s, signing);
    let proxies = Proxies::parse(&config.trusted_proxies).unwrap_or_default();
    let limits = Limits::new(ports.rates, &keys, config.rate_limit_factor, proxies);
    let post = post(&config, own_url)?;
    let server = Server {
        post,
        idps,
        proofs: Semaphore::new(config.max_password_proofs),
        untaken: Untaken::new(limits.proxies().clone()),
        ways: ports.ways,
        progress: runner.progress(),
        uploads: Uploads::new(&config.data.join("uploads")),
        shelf,
        blob_watch,
        kept_answers: ports.kept_answers,
        members: Arc::clone(&feed.members),
        entries,
        digests: Arc::new(Digests::new(Arc::clone(&ports.log))),
        served,
        purger,
        pusher,
        office: Office::default(),
        quotas,
        config,
        clock,
        clock_watch,
        log: ports.log,
        batcher,
        reads: ports.reads,
        credentials: ports.credentials,
        subjects,
        erasures: ports.erasures,
        shred_list,
        holdings: ports.holdings,
        bus: ports.bus,
        feed,
        tokens,
        limits,
        metrics: Metrics::default(),
        no_room: Arc::default(),
        readiness: Readiness::default(),
        pseudonyms: Pseudonyms::new(&keys),
        packs: Seats::new(PACKS),
        keys,
        draining: CancellationToken::new(),
    };
    Ok((Arc::new(server), runner))
}

fn pusher(
    (log, batcher): (&Arc<dyn EventLog>, &Batcher),
    (entries, shelf, served): (&Arc<EntryStates>, &Arc<Shelf>, &Arc<Served>),
    (quotas, feed): (&Arc<Quotas>, &Feed),
) -> Pusher {
    Pusher {
        quotas: Arc::clone(quotas),
        log: Arc::clone(log),
        batcher: batcher.clone(),
        shelf: Arc::clone(shelf),
        entries: Arc::clone(entries),
        members: Arc::clone(&feed.members),
        served: Arc::clone(served),
        batches: Batches::default(),
    }
}

fn purger(
    (log, batcher): (&Arc<dyn EventLog>, &Batcher),
    entries: &Arc<EntryStates>,
    shelf: &Arc<Shelf>,
    shred_list: &Arc<ShredList>,
) -> Purger {
    Purger {
        log: Arc::clone(log),
        batcher: batcher.clone(),
        entries: Arc::clone(entries),
        shelf: Arc::clone(shelf),
        keepers: Keepers::new(Arc::clone(log)),
        shred_list: Arc::clone(shred_list),
        scrubs: Scrubs::default(),
    }
}

/// What letters leave by, and where their links lead.
fn post(config: &Config, own_url: &str) -> Result<Post, StartError> {
    let base = if config.public_url.is_empty() { own_url } else { &config.public_url };
    Ok(Post::new(ports::mailer(config)?, base))
}

fn providers(config: &Config) -> Result<Idps, StartError> {
    let authority = Some(config.oidc_ca.as_path()).filter(|file| !file.as_os_str().is_empty());
    Ok(Idps::new(&config.oidc, authority)?)
}

/// Makes the data folder and holds it for this process.
fn lock_data(config: &Config) -> Result<File, StartError> {
    let failed = |source| StartError::Data { path: config.data.clone(), source };
    private_file::make_folder(&config.data).map_err(failed)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(config.data.join("lock"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::InUse(config.data.clone())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests;
