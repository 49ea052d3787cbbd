//! A server with somebody who has lived there a while, and what they left behind.

use std::{path::PathBuf, process::Command};

use lockstep_api::{
    Bytes64,
    account::Wrap,
    privacy::{Erase, ErasureDue},
    sync::{Push, PushItem, Pushed},
};
use lockstep_events::{
    AccountId, BatchId, BlobHash, EntryId, EventLog, Position, StreamId,
    canonical::sha256,
    log::{Contents, Filter},
};
use lockstepd::{config::Layer, erasure};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    canary::{canary_of, files_with, has},
    support::{Mode, Node, Person, body},
};

/// Options of a server that erases at once.
pub fn quick() -> Layer {
    Layer { erasure_wait_hours: Some(0), ..Layer::default() }
}

/// Somebody, and the words that only they have written.
pub struct Life {
    pub person: Person,
    /// Personal data: their name.
    pub name: String,
    /// Ciphertexts and wrapped keys: words in the place of what a client would have sealed.
    pub secrets: Vec<String>,
    /// An entry of theirs.
    pub entry: EntryId,
}

impl Life {
    /// Registers, and leaves wrapped keys, short ciphertexts and a long one.
    pub async fn lead(node: &Node) -> Self {
        Self::lead_in(node, "").await
    }

    /// As [`Self::lead`]; all words of people of one family begin alike.
    pub async fn lead_in(node: &Node, family: &str) -> Self {
        let canary = || canary_of(family);
        let (name, wrapped, short, long) = (canary(), canary(), canary(), canary());
        let mut registration = Person::start(node, &format!("{name}@example.org")).await;
        let wrap = |mut wrap: Wrap| {
            let mut bytes = wrapped.clone().into_bytes();
            bytes.resize(wrap.bytes.0.len(), 7);
            wrap.bytes = Bytes64(bytes);
            wrap
        };
        registration.finish.wraps = registration.finish.wraps.into_iter().map(wrap).collect();
        let person = registration.send(node).await;
        let first = item(&person, format!("first {short}").as_bytes());
        let entry = first.header.entry;
        let blob = format!("{long} {}", "z".repeat(20_000));
        push(node, &person, vec![first, item(&person, short.as_bytes())]).await;
        push_blob(node, &person, blob.as_bytes()).await;
        Self { person, name, secrets: vec![wrapped, short, long], entry }
    }

    pub fn account(&self) -> AccountId {
        self.person.account
    }

    /// Every word of theirs.
    pub fn words(&self) -> Vec<String> {
        self.secrets.iter().cloned().chain([self.name.clone()]).collect()
    }

    /// Asks for the end of it all.
    pub async fn ask_to_be_erased(&self, node: &Node) -> ErasureDue {
        body(self.ask(node).await, StatusCode::ACCEPTED).await
    }

    /// Asks once.
    pub async fn ask(&self, node: &Node) -> Response {
        let request = node.post("/v1/me/erasure", &Erase { account: self.account() });
        let request = request.bearer_auth(&self.person.tokens.access_token);
        request.header("idempotency-key", Uuid::new_v4().to_string()).send().await.unwrap()
    }
}

/// A version with this ciphertext.
pub fn item(person: &Person, ciphertext: &[u8]) -> PushItem {
    person.entry(ciphertext)
}

/// Pushes; everything is accepted.
pub async fn push(node: &Node, person: &Person, items: Vec<PushItem>) -> Pushed {
    let head = node.running().server.log.stream_heads(&[person.vault.into()]).await.unwrap();
    let (epoch, batch_id) = (head[0].epoch, BatchId(Uuid::new_v4()));
    let push = Push { epoch, batch_id, items, groups: Vec::new(), reoffer: false };
    let path = format!("/v1/vaults/{}/versions", person.vault);
    let pushed: Pushed = body(person.post(node, &path, &push).await, StatusCode::OK).await;
    assert!(pushed.results.iter().all(|result| result.outcome.stands()), "{:?}", pushed.results);
    pushed
}

async fn push_blob(node: &Node, person: &Person, bytes: &[u8]) {
    let hash = BlobHash(sha256(bytes));
    let path = format!("/v1/vaults/{}/blobs", person.vault);
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let frames = [hash.0.as_slice(), &length, bytes].concat();
    let sent = node.request("POST", &path).bearer_auth(&person.tokens.access_token);
    let sent = sent.header("content-type", "application/octet-stream").body(frames).send().await.unwrap();
    assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    let mut named = item(person, bytes);
    named.inline = None;
    push(node, person, vec![named]).await;
}

/// Lets time pass until an erasure is done.
pub async fn finish(node: &Node, account: AccountId) {
    let server = &node.running().server;
    for _ in 0..600 {
        node.clock.pass(200);
        // Another round may have it in its hands.
        let _ = erasure::run_due(server).await;
        if server.erasures.find(account).await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not erased: {:?}", server.erasures.find(account).await.unwrap());
}

/// Every event, contents left out.
pub async fn events(log: &dyn EventLog) -> Vec<lockstep_events::Recorded> {
    log.read_all(Position(0), 1_000_000, &Filter::default(), Contents::No).await.unwrap()
}

/// Where one of these words stands in what the server keeps.
pub async fn left(node: &Node, mode: Mode, words: &[String]) -> Vec<String> {
    let mut found = files_with(&node.data(), words);
    if mode == Mode::Distributed {
        let dump = dump(node);
        found.extend(words.iter().filter(|word| has(&dump, word)).map(|word| format!("the dump has {word}")));
        let store = &node.running().server.shelf.store;
        for object in store.list("", None, 100_000).await.unwrap() {
            let key = object.key;
            // Other tests use the bucket too: what they delete meanwhile is gone, what they keep long is not ours.
            let Ok(bytes) = store.get(&key, 0, object.length.min(100_000)).await else { continue };
            let named = words.iter().filter(|word| has(&bytes, word) || has(key.as_bytes(), word));
            found.extend(named.map(|word| format!("the object {key} has {word}")));
        }
    }
    found
}

/// What `pg_dump` writes.
pub fn dump(node: &Node) -> Vec<u8> {
    let output = Command::new(program("pg_dump")).arg(node.database()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.len() > 10_000);
    output.stdout
}

fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no {name} found"))
}

/// The stream of somebody's account.
pub fn stream(life: &Life) -> StreamId {
    life.account().into()
}
