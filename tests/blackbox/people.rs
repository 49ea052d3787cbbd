//! A person with devices, and how to wait for something to become true.

use std::{future::Future, time::Duration};

use lockstep_client::{
    Client, Follow, Unlock,
    crypto::password::Password,
    model::{AlarmKind, Change, Entry, VersionView},
};

use crate::server::Server;

/// Strong enough for zxcvbn, the same for everybody.
pub const PASSWORD: &str = "violet anchor mumbles seventeen";
/// Longer than a device that was refused may rightly wait until it asks again.
const PATIENCE: Duration = Duration::from_secs(150);

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
    pub async fn reopened(mut self) -> Self {
        self.client.close().await;
        self.client = Client::open(self.home.path(), &Unlock::Password(password())).await.unwrap();
        self
    }

    /// The contents of all heads of all entries, sorted.
    pub async fn contents(&self) -> Vec<String> {
        contents(&self.entries().await.unwrap())
    }
}

/// A test that ends ends its process, and the database's threads must not be cut off while its cipher library cleans
/// up. The test's own runtime stands still meanwhile, so the closing has one of its own.
impl Drop for Device {
    fn drop(&mut self) {
        let client = self.client.clone();
        let close = async move { tokio::time::timeout(Duration::from_secs(2), client.close()).await };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let closing = std::thread::spawn(move || runtime.map(|runtime| runtime.block_on(close)));
        let _ = closing.join();
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

/// Waits for the next alarm that whoever follows is told of.
pub async fn heard(following: &mut Follow, kind: AlarmKind) {
    loop {
        if let Change::Alarm(alarm) = following.changes.recv().await.unwrap() {
            break assert_eq!(alarm.kind, kind);
        }
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
