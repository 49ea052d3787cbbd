//! Which adapter stands behind each port.

mod connected;
mod form;
mod letters;
mod named;

use std::{path::PathBuf, sync::Arc, time::Duration};

use lockstep_events::EventLog;
use lockstep_projections::store::ReadStore;

pub use connected::{move_name, nobody_connected};
pub use form::{Port, form};
pub use letters::mailer;
pub use named::named;

use super::StartError;
#[cfg(feature = "distributed")]
use crate::adapters::{
    nats::NatsBus,
    postgres::{
        Database, NAME as SERVER, credentials::PostgresCredentials, holdings::PostgresHoldings,
        log::PostgresLog, operations::PostgresOperations, rates::PostgresRates, read::PostgresReads,
        subject_keys::PostgresSubjectKeys, tables::PostgresTables,
    },
    s3::{S3Blobs, S3Options},
};
use crate::{
    adapters::{
        filesystem::FilesystemBlobs,
        in_process::InProcessBus,
        sqlite::{
            self,
            credentials::SqliteCredentials,
            files,
            holdings::{self, SqliteHoldings},
            log::SqliteLog,
            operations::SqliteOperations,
            rates::SqliteRates,
            read::SqliteReads,
            subject_keys::SqliteSubjectKeys,
            tables::SqliteTables,
        },
    },
    auth::credentials::CredentialStore,
    blobs::{BlobIndex, BlobStore},
    bus::Bus,
    config::{Config, Secret},
    erasure::queue::ErasureQueue,
    kept_answers::KeptAnswers,
    limits::RateStore,
    served::ServedPlaces,
    state::Ways,
    subjects::{holding::Holding, keys::SubjectKeys},
    tables::{Family, TableStore},
};

/// A server that stops gives each of its databases so long to come to rest.
const SETTLE: Duration = Duration::from_secs(5);

/// The ports, open.
pub struct Ports {
    pub log: Arc<dyn EventLog>,
    pub reads: Arc<dyn ReadStore>,
    pub credentials: Arc<dyn CredentialStore>,
    pub subject_keys: Arc<dyn SubjectKeys>,
    pub ways: Arc<dyn Ways>,
    pub erasures: Arc<dyn ErasureQueue>,
    pub holdings: Vec<Arc<dyn Holding>>,
    pub blobs: Arc<dyn BlobStore>,
    pub blob_index: Arc<dyn BlobIndex>,
    pub kept_answers: Arc<dyn KeptAnswers>,
    pub served: Arc<dyn ServedPlaces>,
    pub rates: Arc<dyn RateStore>,
    pub facts: Arc<dyn TableStore>,
    pub bus: Arc<dyn Bus>,
}

/// Opens all, for a server that has its data folder for itself.
pub async fn open(config: &Config) -> Result<Ports, StartError> {
    let blobs = own_blobs(config)?;
    let mut databases = Databases::new(config);
    let Operations { blob_index, kept_answers, served } = operations(config, &mut databases).await?;
    let log = log(config, &mut databases).await?;
    let (subject_keys, erasures) = subject_keys(config, &mut databases).await?;
    // After the ports that make their tables.
    let credentials = credentials(config, &mut databases).await?;
    Ok(Ports {
        holdings: holdings(config, &mut databases).await?,
        bus: bus(config, log.as_ref()).await?,
        log,
        blob_index,
        kept_answers,
        served,
        rates: rates(config, &mut databases).await?,
        facts: tables(config, &mut databases, Family::Credentials, Rights::Server).await?,
        reads: reads(config, &mut databases).await?,
        credentials,
        subject_keys,
        erasures,
        ways: ways(config, &mut databases).await?,
        blobs,
    })
}

/// The Postgres databases that the ports name: ports with the same URL share connections.
pub struct Databases<'a> {
    config: &'a Config,
    /// As they are: nothing is made or brought to another form.
    reads_only: bool,
    #[cfg(feature = "distributed")]
    name: &'a str,
    sqlite_credentials: Option<SqliteCredentials>,
    #[cfg(feature = "distributed")]
    open: std::collections::HashMap<String, Database>,
}

impl<'a> Databases<'a> {
    /// None is open yet.
    pub fn new(config: &'a Config) -> Self {
        Self {
            config,
            reads_only: false,
            #[cfg(feature = "distributed")]
            name: SERVER,
            sqlite_credentials: None,
            #[cfg(feature = "distributed")]
            open: std::collections::HashMap::new(),
        }
    }

    /// The same for what is only looked at, as it is.
    pub fn reading(config: &'a Config) -> Self {
        Self { reads_only: true, ..Self::new(config) }
    }

    /// The file of the credentials, opened once.
    async fn sqlite_credentials(&mut self) -> Result<SqliteCredentials, StartError> {
        if let Some(open) = &self.sqlite_credentials {
            return Ok(open.clone());
        }
        let open = SqliteCredentials::open(&self.config.data.join(files::CREDENTIALS)).await?;
        Ok(self.sqlite_credentials.insert(open).clone())
    }

    #[cfg(feature = "distributed")]
    async fn of(&mut self, port: &Secret) -> Result<Database, StartError> {
        if let Some(database) = self.open.get(port.expose()) {
            return Ok(database.clone());
        }
        let connections = self.config.database_connections;
        let database = if self.reads_only {
            Database::as_it_is(port.expose(), connections)
        } else {
            Database::connect_as(self.name, port.expose(), connections).await
        };
        let database = database.map_err(|source| unopened(self.config, port, source))?;
        self.open.insert(port.expose().to_owned(), database.clone());
        Ok(database)
    }
}

/// Where the log of the embedded mode lies.
pub fn log_file(config: &Config) -> PathBuf {
    config.data.join(files::LOG)
}

/// Where the read models of the embedded mode lie.
pub fn reads_file(config: &Config) -> PathBuf {
    config.data.join(files::READS)
}

#[cfg(feature = "distributed")]
fn unopened(config: &Config, port: &Secret, source: sqlx::Error) -> StartError {
    let options = form::naming(config, port);
    if Database::is_named(port.expose()).is_err() {
        return StartError::NoDatabase { options, source };
    }
    StartError::Database { options, source }
}

/// Brings the databases of the data folder to rest, so that each file is whole without its journal. What cannot be
/// brought there now is brought there by the next start.
pub async fn settle(config: &Config) {
    for name in files::ALL {
        let file = config.data.join(name);
        if !file.exists() {
            continue;
        }
        let cause = match tokio::time::timeout(SETTLE, sqlite::settle(&file)).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::warn!(%cause, "a database keeps its journal until the next start");
    }
}

/// The files whose loss no read model makes up for.
pub fn irreplaceable(config: &Config) -> Vec<PathBuf> {
    if !Config::is_sqlite(&config.credentials) {
        return Vec::new();
    }
    [files::CREDENTIALS, files::OPERATIONS].map(|file| config.data.join(file)).into()
}

pub async fn log(config: &Config, databases: &mut Databases<'_>) -> Result<Arc<dyn EventLog>, StartError> {
    match scheme(&config.log) {
        "sqlite" if databases.reads_only => Ok(Arc::new(SqliteLog::reading(&log_file(config)))),
        "sqlite" => Ok(Arc::new(SqliteLog::open(&log_file(config)).await?)),
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => Ok(Arc::new(PostgresLog::new(databases.of(&config.log).await?))),
        _ => Err(unsupported("log", &config.log)),
    }
}

pub async fn reads(config: &Config, databases: &mut Databases<'_>) -> Result<Arc<dyn ReadStore>, StartError> {
    match scheme(&config.reads) {
        "sqlite" if databases.reads_only => Ok(Arc::new(SqliteReads::reading(&reads_file(config)))),
        "sqlite" => Ok(Arc::new(SqliteReads::open(&reads_file(config)).await?)),
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            Ok(Arc::new(PostgresReads::new(databases.of(&config.reads).await?.pool().clone())))
        }
        _ => Err(unsupported("reads", &config.reads)),
    }
}

pub async fn credentials(
    config: &Config,
    databases: &mut Databases<'_>,
) -> Result<Arc<dyn CredentialStore>, StartError> {
    match scheme(&config.credentials) {
        "sqlite" => Ok(Arc::new(databases.sqlite_credentials().await?)),
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            Ok(Arc::new(PostgresCredentials::new(&databases.of(&config.credentials).await?)))
        }
        _ => Err(unsupported("credentials", &config.credentials)),
    }
}

/// The ports that the operational tables keep.
pub struct Operations {
    pub blob_index: Arc<dyn BlobIndex>,
    pub kept_answers: Arc<dyn KeptAnswers>,
    pub served: Arc<dyn ServedPlaces>,
}

impl Operations {
    fn of<T: BlobIndex + KeptAnswers + ServedPlaces + 'static>(tables: T) -> Self {
        let tables = Arc::new(tables);
        Self { blob_index: Arc::clone(&tables) as _, kept_answers: Arc::clone(&tables) as _, served: tables }
    }
}

/// The subject keys and the erasures on their way stand beside the credentials: in the same database or file.
#[cfg_attr(not(feature = "distributed"), expect(unused_variables, reason = "there is no Postgres"))]
pub async fn subject_keys(
    config: &Config,
    databases: &mut Databases<'_>,
) -> Result<(Arc<dyn SubjectKeys>, Arc<dyn ErasureQueue>), StartError> {
    match scheme(&config.credentials) {
        "sqlite" => {
            let keys = Arc::new(SqliteSubjectKeys::open(&config.data.join(files::CREDENTIALS)).await?);
            Ok((Arc::clone(&keys) as Arc<dyn SubjectKeys>, keys))
        }
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            let keys = Arc::new(PostgresSubjectKeys::new(&databases.of(&config.credentials).await?));
            Ok((Arc::clone(&keys) as Arc<dyn SubjectKeys>, keys))
        }
        _ => Err(unsupported("credentials", &config.credentials)),
    }
}

/// What lies about people beside the log: where the credentials are. The tables exist already.
#[cfg_attr(not(feature = "distributed"), expect(unused_variables, reason = "there is no Postgres"))]
pub async fn holdings(
    config: &Config,
    databases: &mut Databases<'_>,
) -> Result<Vec<Arc<dyn Holding>>, StartError> {
    match scheme(&config.credentials) {
        "sqlite" => {
            let mut all: Vec<Arc<dyn Holding>> = Vec::new();
            for (file, tables) in holdings::FILES {
                all.push(Arc::new(SqliteHoldings::open(&config.data.join(file), tables).await?));
            }
            Ok(all)
        }
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            let holdings: Arc<dyn Holding> =
                Arc::new(PostgresHoldings::new(&databases.of(&config.credentials).await?));
            Ok(vec![holdings])
        }
        _ => Err(unsupported("credentials", &config.credentials)),
    }
}

/// Addresses, identities and mail stand with the credentials.
pub async fn ways(config: &Config, databases: &mut Databases<'_>) -> Result<Arc<dyn Ways>, StartError> {
    match scheme(&config.credentials) {
        "sqlite" => Ok(Arc::new(databases.sqlite_credentials().await?)),
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            Ok(Arc::new(PostgresCredentials::new(&databases.of(&config.credentials).await?)))
        }
        _ => Err(unsupported("credentials", &config.credentials)),
    }
}

/// The operational tables stand beside the credentials: in the same database, or in a file of the same folder.
pub async fn operations(config: &Config, databases: &mut Databases<'_>) -> Result<Operations, StartError> {
    match scheme(&config.credentials) {
        "sqlite" => {
            let file = config.data.join(files::OPERATIONS);
            Ok(Operations::of(if databases.reads_only {
                SqliteOperations::reading(&file)
            } else {
                SqliteOperations::open(&file).await?
            }))
        }
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            Ok(Operations::of(PostgresOperations::new(&databases.of(&config.credentials).await?)))
        }
        _ => Err(unsupported("credentials", &config.credentials)),
    }
}

/// What all nodes count together stands beside the credentials that it protects: if they are gone, so is it.
#[cfg_attr(not(feature = "distributed"), expect(unused_variables, reason = "there is no Postgres"))]
pub async fn rates(config: &Config, databases: &mut Databases<'_>) -> Result<Arc<dyn RateStore>, StartError> {
    match scheme(&config.credentials) {
        "sqlite" => Ok(Arc::new(SqliteRates::open(&config.data.join(files::RATES)).await?)),
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            Ok(Arc::new(PostgresRates::new(&databases.of(&config.credentials).await?)))
        }
        _ => Err(unsupported("credentials", &config.credentials)),
    }
}

/// With whose rights tables are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Those that a server has: enough for what is kept about the place.
    Server,
    /// Those of whoever owns the tables: to read and fill all.
    Owner,
}

/// The tables of a family. They exist already.
#[cfg_attr(not(feature = "distributed"), expect(unused_variables, reason = "there is no Postgres"))]
#[cfg_attr(not(feature = "distributed"), expect(clippy::unused_async, reason = "there is no Postgres"))]
pub async fn tables(
    config: &Config,
    databases: &mut Databases<'_>,
    family: Family,
    rights: Rights,
) -> Result<Arc<dyn TableStore>, StartError> {
    let (option, port, file) = match family {
        Family::Log => ("log", &config.log, files::LOG),
        Family::Credentials => ("credentials", &config.credentials, files::CREDENTIALS),
        Family::Operations => ("credentials", &config.credentials, files::OPERATIONS),
        Family::Rates => ("credentials", &config.credentials, files::RATES),
    };
    match scheme(port) {
        "sqlite" => Ok(Arc::new(SqliteTables::new(&config.data.join(file)))),
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            let database = databases.of(port).await?;
            Ok(Arc::new(match rights {
                Rights::Server => PostgresTables::of_server(&database),
                Rights::Owner => PostgresTables::of_owner(&database),
            }))
        }
        _ => Err(unsupported(option, port)),
    }
}

/// The blob store, without what an earlier process has not finished. Only for whoever has the data folder for itself.
fn own_blobs(config: &Config) -> Result<Arc<dyn BlobStore>, StartError> {
    if scheme(&config.blobs) != "filesystem" {
        return blobs(config);
    }
    let store = FilesystemBlobs::open(&config.data.join("blobs"))?;
    store.forget_unfinished()?;
    Ok(Arc::new(store))
}

pub fn blobs(config: &Config) -> Result<Arc<dyn BlobStore>, StartError> {
    match scheme(&config.blobs) {
        "filesystem" => Ok(Arc::new(FilesystemBlobs::open(&config.data.join("blobs"))?)),
        #[cfg(feature = "distributed")]
        "s3" => Ok(Arc::new(S3Blobs::new(&S3Options {
            endpoint: config.s3_endpoint.clone(),
            public_endpoint: config.s3_public_endpoint.clone(),
            region: config.s3_region.clone(),
            bucket: config.blobs.expose().trim_start_matches("s3://").to_owned(),
            access_key: config.s3_access_key.expose().to_owned(),
            secret_key: config.s3_secret_key.expose().to_owned(),
        }))),
        _ => Err(unsupported("blobs", &config.blobs)),
    }
}

async fn bus(config: &Config, log: &dyn EventLog) -> Result<Arc<dyn Bus>, StartError> {
    match scheme(&config.bus) {
        "in_process" => Ok(Arc::new(InProcessBus::default())),
        #[cfg(feature = "distributed")]
        "nats" | "tls" => Ok(Arc::new(NatsBus::connect(config.bus.expose(), log.log_id().await?).await?)),
        _ => {
            // Without NATS nothing asks for the name of the log.
            let _ = log;
            Err(unsupported("bus", &config.bus))
        }
    }
}

/// What stands before `://`, or the whole word. Nothing after it is ever shown: it may hold a password.
fn scheme(port: &Secret) -> &str {
    port.expose().split_once("://").map_or(port.expose(), |(scheme, _)| scheme)
}

fn unsupported(option: &'static str, value: &Secret) -> StartError {
    let hint = match option {
        _ if !cfg!(feature = "distributed") => {
            ": this build is embedded only; build it with --features distributed"
        }
        "bus" => ": in_process or nats://HOST:PORT",
        "blobs" => ": filesystem or s3://BUCKET",
        _ => ": sqlite or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    };
    let shown = Some(scheme(value)).filter(|shown| !shown.contains('@'));
    StartError::Unsupported { option, value: shown.unwrap_or("what is given").to_owned(), hint }
}
