//! Stores on fresh ground, of every adapter.

use std::{any::Any, sync::Arc};

use lockstepd::{
    adapters::{
        filesystem::FilesystemBlobs,
        postgres::{Database, credentials::PostgresCredentials, operations::PostgresOperations},
        s3::{S3Blobs, S3Options},
        sqlite::{credentials::SqliteCredentials, operations::SqliteOperations},
    },
    auth::credentials::CredentialStore,
    blobs::{BlobIndex, BlobStore},
    kept_answers::KeptAnswers,
    state::Ways,
};
use tempfile::TempDir;
use uuid::Uuid;

/// A store, and what must live as long as it.
pub struct Opened<P: ?Sized> {
    pub port: Arc<P>,
    /// A folder, if it has one.
    pub _keep: Box<dyn Any + Send>,
}

fn service(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run cargo xtask test"))
}

pub async fn filesystem() -> Opened<dyn BlobStore> {
    let folder = tempfile::tempdir().unwrap();
    let store = FilesystemBlobs::open(&folder.path().join("blobs")).unwrap();
    Opened { port: Arc::new(store), _keep: Box::new(folder) }
}

/// A bucket of its own on the server that `cargo xtask test` started.
pub async fn s3() -> Opened<dyn BlobStore> {
    let endpoint = service("LOCKSTEP_TEST_S3");
    let options = S3Options {
        public_endpoint: endpoint.clone(),
        endpoint,
        region: "us-east-1".to_owned(),
        bucket: format!("stores-{}", Uuid::new_v4()),
        access_key: service("LOCKSTEP_TEST_S3_KEY"),
        secret_key: service("LOCKSTEP_TEST_S3_SECRET"),
    };
    let store = S3Blobs::new(&options);
    store.make_bucket().await.unwrap();
    Opened { port: Arc::new(store), _keep: Box::new(()) }
}

async fn sqlite_operations() -> (SqliteOperations, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteOperations::open(&folder.path().join("operations.sqlite")).await.unwrap(), folder)
}

pub async fn database() -> Database {
    Database::connect(&crate::database::fresh("stores").await, 4).await.unwrap()
}

pub async fn sqlite_index() -> Opened<dyn BlobIndex> {
    let (tables, folder) = sqlite_operations().await;
    Opened { port: Arc::new(tables), _keep: Box::new(folder) }
}

pub async fn postgres_index() -> Opened<dyn BlobIndex> {
    Opened { port: Arc::new(PostgresOperations::new(&database().await)), _keep: Box::new(()) }
}

pub async fn sqlite_answers() -> Opened<dyn KeptAnswers> {
    let (tables, folder) = sqlite_operations().await;
    Opened { port: Arc::new(tables), _keep: Box::new(folder) }
}

pub async fn postgres_answers() -> Opened<dyn KeptAnswers> {
    Opened { port: Arc::new(PostgresOperations::new(&database().await)), _keep: Box::new(()) }
}

/// Ways in, of every kind: they stand in the same tables' database.
pub trait Entrances: Ways + CredentialStore {}

impl<T: Ways + CredentialStore> Entrances for T {}

pub async fn sqlite_entrances() -> Opened<dyn Entrances> {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteCredentials::open(&folder.path().join("credentials.sqlite")).await.unwrap();
    Opened { port: Arc::new(store), _keep: Box::new(folder) }
}

pub async fn postgres_entrances() -> Opened<dyn Entrances> {
    Opened { port: Arc::new(PostgresCredentials::new(&database().await)), _keep: Box::new(()) }
}

pub async fn sqlite_credentials() -> Opened<dyn CredentialStore> {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteCredentials::open(&folder.path().join("credentials.sqlite")).await.unwrap();
    Opened { port: Arc::new(store), _keep: Box::new(folder) }
}

pub async fn postgres_credentials() -> Opened<dyn CredentialStore> {
    Opened { port: Arc::new(PostgresCredentials::new(&database().await)), _keep: Box::new(()) }
}
