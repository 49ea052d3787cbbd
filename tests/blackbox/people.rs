//! A person with devices, and how to wait for something to become true.

use std::{future::Future, time::Duration};

use lockstep_client::{
    Client, Unlock,
    crypto::password::Password,
    model::{Entry, VersionView},
};

use crate::server::Server;

/// Strong enough for zxcvbn, the same for everybody.
pub const PASSWORD: &str = "violet anchor mumbles seventeen";
const PATIENCE: Duration = Duration::from_secs(30);

/// A device: a client with its own folder.
pub struct Device {
    pub home: tempfile::TempDir,
    pub client: Client,
}

impl std::ops::Deref for Device {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

pub fn password() -> Password {
    Password::new(PASSWORD.to_owned())
}

/// Registers a new person; this is their first device.
pub async fn register(server: &Server, name: &str) -> Device {
    let home = tempfile::tempdir().unwrap();
    let client = Client::register(home.path(), &server.address, name, &password()).await.unwrap();
    client.sync().await.unwrap();
    Device { home, client }
}

/// Another device of a person.
pub async fn another(server: &Server, name: &str) -> Device {
    let home = tempfile::tempdir().unwrap();
    let client = Client::login(home.path(), &server.address, name, &password()).await.unwrap();
    client.sync().await.unwrap();
    Device { home, client }
}

impl Device {
    /// The same device after its program was started anew.
    pub async fn reopened(self) -> Self {
        let Self { home, client } = self;
        drop(client);
        let client = Client::open(home.path(), &Unlock::Password(password())).await.unwrap();
        Self { home, client }
    }

    /// The contents of all heads of all entries, sorted.
    pub async fn contents(&self) -> Vec<String> {
        contents(&self.entries().await.unwrap())
    }
}

/// The contents of all heads of some entries, sorted.
pub fn contents(entries: &[Entry]) -> Vec<String> {
    let mut all: Vec<_> = entries.iter().flat_map(|entry| &entry.heads).map(text).collect();
    all.sort();
    all
}

/// What a version says.
pub fn text(version: &VersionView) -> String {
    match version.content.bytes() {
        Some(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        None => format!("{:?}", version.content),
    }
}

/// Waits until something is true; looks again every few milliseconds, and gives up after half a minute.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let tries = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, tries).await.is_ok(), "not within half a minute: {what}");
}
