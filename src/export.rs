//! Everything that the server holds about a person, line by line, with a signed manifest at the end.
//!
//! Nothing is collected in memory: a line is written as soon as it is read, and a slow reader slows the reading.

mod long;
mod office;

use std::{collections::HashMap, error::Error as _, sync::Arc};

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use lockstep_api::{
    Bytes64,
    privacy::{ExportLine, Personal, manifest_message},
};
use lockstep_events::{
    AccountId, BlobHash, Clock, EventId, EventLog, Hash32, LogError, Recorded, Sealed, Seq, StreamId,
    VaultId,
    ids::{PublicKey, Signature},
    log::Contents,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    auth::{
        addresses::{Addresses, Standing},
        credentials::CredentialError,
    },
    blobs::{BlobError, Shelf},
    commands::address,
    members::Members,
    subjects::{
        SubjectError, Subjects,
        holding::{Holding, Person},
        keys::KeyStoreError,
    },
};

const PAGE: usize = 200;
/// Whoever ever had a role looked after others.
const ROLE_SET: &str = "account.role_set";
/// The table whose rows are shown with what is sealed in them.
const ADDRESSES: &str = "addresses";
/// Pieces that wait for a slow reader: a line, or a megabyte of a long one.
const WAITING: usize = 4;

/// Why an export breaks off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nobody reads it any more.
    #[error("nobody reads the export any more")]
    Gone,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Personal data could not be opened.
    #[error(transparent)]
    Subjects(#[from] SubjectError),
    /// A store did not answer.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// Addresses cannot be read.
    #[error(transparent)]
    Addresses(#[from] CredentialError),
    /// The blob store did not answer.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// A line cannot be written.
    #[error("a line cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// What an export reads, and what it signs with.
#[derive(Clone)]
pub struct Exporter {
    /// Events.
    pub log: Arc<dyn EventLog>,
    /// Whose vaults.
    pub members: Arc<Members>,
    /// Personal data.
    pub subjects: Arc<Subjects>,
    /// Long ciphertexts.
    pub shelf: Arc<Shelf>,
    /// Addresses.
    pub addresses: Arc<dyn Addresses>,
    /// Rows beside the log.
    pub holdings: Vec<Arc<dyn Holding>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The lines on their way to a reader.
struct Lines {
    out: mpsc::Sender<Bytes>,
    hash: Sha256,
    count: u64,
    lost: u64,
}

impl Lines {
    fn into(out: mpsc::Sender<Bytes>) -> Self {
        Self { out, hash: Sha256::new(), count: 0, lost: 0 }
    }

    async fn write(&mut self, line: &ExportLine) -> Result<(), ExportError> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.count += 1;
        self.piece(text.into()).await
    }

    /// A part of a line, or the whole of one.
    async fn piece(&mut self, text: Bytes) -> Result<(), ExportError> {
        self.hash.update(&text);
        self.out.send(text).await.map_err(|_| ExportError::Gone)
    }
}

impl Exporter {
    /// Writes everything about a person into a channel, whose other end is given back. A channel that ends without a
    /// manifest broke off; why is logged.
    pub fn start(&self, account: AccountId, signer: (String, SigningKey)) -> mpsc::Receiver<Bytes> {
        let (lines, done) = self.begin(account, signer);
        tokio::spawn(async move {
            match done.await {
                Ok(Ok(lost @ 1..)) => {
                    tracing::warn!(blobs = lost, "an export lacks what the blob store has lost");
                }
                Ok(Ok(0) | Err(ExportError::Gone)) => {}
                Ok(Err(error)) => {
                    let cause = error.source().map(ToString::to_string).unwrap_or_default();
                    tracing::warn!(error = %error, cause, "an export broke off");
                }
                Err(error) => tracing::warn!(cause = %error, "an export broke off"),
            }
        });
        lines
    }

    /// The same for who asks how it ended: how many long ciphertexts the blob store has lost, or why it broke off.
    pub fn begin(
        &self,
        account: AccountId,
        signer: (String, SigningKey),
    ) -> (mpsc::Receiver<Bytes>, JoinHandle<Result<u64, ExportError>>) {
        let (out, lines) = mpsc::channel(WAITING);
        let exporter = self.clone();
        (lines, tokio::spawn(async move { exporter.run(account, signer, out).await }))
    }

    async fn run(
        &self,
        account: AccountId,
        (kid, key): (String, SigningKey),
        out: mpsc::Sender<Bytes>,
    ) -> Result<u64, ExportError> {
        let mut lines = Lines::into(out);
        lines.write(&ExportLine::Begin { format: 1, account, at: self.clock.now() }).await?;
        let vaults = self.members.vaults(account).await?;
        let person = Person { account, vaults: vaults.clone() };
        self.rows(&person, &mut lines).await?;
        let mut own: Vec<StreamId> = vec![account.into()];
        let had_role = self.stream(account.into(), account, &mut lines).await?;
        for vault in &vaults {
            self.stream((*vault).into(), account, &mut lines).await?;
            own.push((*vault).into());
        }
        self.office(account, &mut lines).await?;
        own.push(StreamId::SYSTEM);
        self.elsewhere(account, &own, &mut lines).await?;
        if had_role {
            self.acts(account, &own, &mut lines).await?;
        }
        for vault in vaults {
            self.blobs(vault, &mut lines).await?;
        }
        let sha256 = Hash32(lines.hash.clone().finalize().into());
        let message = manifest_message(account, lines.count, &sha256);
        let signature = Signature(key.sign(&message).to_bytes());
        let public_key = Some(PublicKey(key.verifying_key().to_bytes()));
        let manifest = ExportLine::Manifest { lines: lines.count, sha256, kid, public_key, signature };
        lines.write(&manifest).await?;
        Ok(lines.lost)
    }

    async fn rows(&self, person: &Person, lines: &mut Lines) -> Result<(), ExportError> {
        for holding in &self.holdings {
            for held in holding.held(person).await? {
                let mut row = serde_json::from_str(&held.json)?;
                if held.table == ADDRESSES {
                    self.open_address(person.account, &mut row).await?;
                }
                lines.write(&ExportLine::Row { table: held.table.to_owned(), row }).await?;
            }
        }
        for key in self.subjects.store().of(person.account).await? {
            let purpose = key.name.purpose.name().to_owned();
            lines.write(&ExportLine::Key { id: key.id, purpose, period: key.name.period }).await?;
        }
        Ok(())
    }

    /// The row of an address has the address sealed; its owner gets to read it.
    async fn open_address(&self, account: AccountId, row: &mut Value) -> Result<(), ExportError> {
        let standing = row["standing"].as_str().and_then(Standing::from_name);
        let Some(standing) = standing else { return Ok(()) };
        let Some(kept) = self.addresses.address(account, standing).await? else { return Ok(()) };
        if let Some(text) = address::open(&self.subjects, &kept).await? {
            row["address"] = text.into();
        }
        Ok(())
    }

    /// A stream of the person's; whether it says that they ever had a role.
    async fn stream(
        &self,
        stream: StreamId,
        account: AccountId,
        lines: &mut Lines,
    ) -> Result<bool, ExportError> {
        let (mut after, mut had_role) = (Seq::ZERO, false);
        loop {
            let page = self.log.read_stream(stream, after, PAGE, Contents::UpTo(usize::MAX >> 1)).await?;
            after = page.last().map_or(after, |last| last.seq);
            let full = page.len() == PAGE;
            let mut parts = self.parts(&page, account).await?;
            for event in page {
                had_role |= event.kind == ROLE_SET;
                let part = parts.remove(&event.event_id);
                self.event(event, part, lines).await?;
            }
            if !full {
                return Ok(had_role);
            }
        }
    }

    /// What is sealed with these events about the person. What one of them says about somebody else is theirs.
    async fn parts(
        &self,
        page: &[Recorded],
        account: AccountId,
    ) -> Result<HashMap<EventId, Sealed>, ExportError> {
        let sealed = page.iter().filter(|event| event.sealed_hash.is_some());
        let ids: Vec<_> = sealed.map(|event| event.event_id).collect();
        let parts = self.log.sealed_parts(&ids).await?.into_iter();
        Ok(parts.filter(|(_, part)| part.subject == account).collect())
    }

    /// What events of any other stream say about the person.
    async fn elsewhere(
        &self,
        account: AccountId,
        own: &[StreamId],
        lines: &mut Lines,
    ) -> Result<(), ExportError> {
        let mut after = None;
        loop {
            let parts = self.log.sealed_about(account, after, PAGE).await?;
            after = parts.last().map(|(id, _)| *id).or(after);
            let full = parts.len() == PAGE;
            let ids: Vec<_> = parts.iter().map(|(id, _)| *id).collect();
            let mut parts: HashMap<_, _> = parts.into_iter().collect();
            for event in self.log.find(&ids).await? {
                if !own.contains(&event.stream) {
                    let part = parts.remove(&event.event_id);
                    self.event(event, part, lines).await?;
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn event(
        &self,
        event: Recorded,
        part: Option<Sealed>,
        lines: &mut Lines,
    ) -> Result<(), ExportError> {
        let personal = match part {
            None => None,
            Some(part) => {
                let opened = self.subjects.open_of(event.event_id, &part).await?;
                let text = opened.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                Some(Personal { purpose: part.purpose, period: part.period, text })
            }
        };
        let line = ExportLine::Event {
            stream: event.stream,
            seq: event.seq,
            position: event.position,
            event_id: event.event_id,
            at: event.recorded_at,
            kind: event.kind,
            public: serde_json::from_str::<Value>(&event.public)?,
            personal,
            content: event.content.map(Bytes64),
            chain: event.chain,
        };
        lines.write(&line).await
    }

    async fn blobs(&self, vault: VaultId, lines: &mut Lines) -> Result<(), ExportError> {
        let mut after: Option<BlobHash> = None;
        loop {
            let hashes = self.shelf.index.of_vault(vault, after, PAGE).await?;
            after = hashes.last().copied().or(after);
            for hash in &hashes {
                self.blob(vault, *hash, lines).await?;
            }
            if hashes.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn blob(&self, vault: VaultId, hash: BlobHash, lines: &mut Lines) -> Result<(), ExportError> {
        // Unless it was taken off the shelf a moment ago, it has a place.
        let Some((length, pieces)) = self.shelf.stream(vault, hash, 0).await? else { return Ok(()) };
        if !long::write(pieces, (vault, hash), lines).await? {
            lines.lost += 1;
            lines.write(&ExportLine::Lost { vault, hash, length }).await?;
        }
        Ok(())
    }
}
