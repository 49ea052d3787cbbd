//! One device: a real client on a database of its own, and what its person was told is saved.

use std::collections::BTreeMap;

use lockstep_client::{
    Client, Error, Unlock,
    crypto::wipe::Plaintext,
    model::{Entry, Resolution, SyncReport, VersionView},
};
use lockstep_events::{DeviceId, EntryId, VersionId, testing::Dice};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::{ground::copy, people::text};

/// Something that a person was told is saved.
#[derive(Debug, Clone)]
pub struct Told {
    pub entry: EntryId,
    pub version: VersionId,
    /// What was written; nothing for a choice, which has the same id wherever it is made.
    pub text: Option<String>,
    /// The device was revoked before.
    pub late: bool,
}

pub struct Device {
    pub client: Client,
    pub id: DeviceId,
    home: TempDir,
    token: Zeroizing<String>,
    pub online: bool,
    /// Another device has revoked it.
    pub revoked: bool,
    /// Its last sync broke off: it does not know what the server did.
    pub unsure: bool,
    pub told: Vec<Told>,
    /// So many of them were acknowledged.
    pub acknowledged: usize,
    /// Its deletes, with the heads that its person was shown.
    pub deletes: Vec<(VersionId, Vec<VersionId>)>,
}

impl Device {
    /// Opens a copy of a device's folder.
    pub async fn copied(from: &TempDir, token: &Zeroizing<String>) -> Self {
        let home = tempfile::tempdir().unwrap();
        copy(from.path(), home.path()).await;
        let client = Client::open(home.path(), &Unlock::Token(token.clone())).await.unwrap();
        Self::new(home, client).await
    }

    pub async fn new(home: TempDir, client: Client) -> Self {
        let (id, token) = (client.status().await.unwrap().device, client.unlock_token());
        Self {
            client,
            id,
            home,
            token,
            online: true,
            revoked: false,
            unsure: false,
            told: Vec::new(),
            acknowledged: 0,
            deletes: Vec::new(),
        }
    }

    fn tell(&mut self, entry: EntryId, version: VersionId, text: Option<String>) {
        self.told.push(Told { entry, version, text, late: self.revoked });
    }

    pub async fn add(&mut self, text: String) {
        let entry = self.client.add(text.as_bytes()).await.unwrap();
        let version = self.client.get(entry).await.unwrap().head_ids()[0];
        self.tell(entry, version, Some(text));
    }

    /// Writes on top of one live head of an entry.
    pub async fn edit(&mut self, dice: &mut Dice, text: String) {
        let all = self.client.entries().await.unwrap();
        let Some(entry) = dice.pick(&all) else { return };
        let base = dice.pick(&entry.head_ids()).copied().unwrap();
        let version = self.client.edit(entry.entry, &[base], text.as_bytes()).await.unwrap();
        self.tell(entry.entry, version, Some(text));
    }

    pub async fn remove(&mut self, dice: &mut Dice) {
        let all = self.client.entries().await.unwrap();
        let Some(entry) = dice.pick(&all) else { return };
        let shown = entry.head_ids();
        let version = self.client.remove(entry.entry, &shown).await.unwrap();
        self.tell(entry.entry, version, None);
        self.deletes.push((version, shown));
    }

    /// Resolves some divergent entry in some way.
    pub async fn resolve(&mut self, dice: &mut Dice, text: String) {
        let conflicts = self.client.conflicts().await.unwrap();
        let Some(conflict) = dice.pick(&conflicts) else { return };
        let (entry, shown) = (conflict.entry.entry, conflict.entry.head_ids());
        let keep = dice.pick(&shown).copied().unwrap();
        let (way, said) = match dice.below(3) {
            0 => (Resolution::Merge(Plaintext::new(text.clone().into_bytes())), Some(text)),
            1 => (Resolution::KeepBoth(keep), None),
            _ => (Resolution::Keep(keep), None),
        };
        let version = self.client.resolve(entry, &shown, &way).await.unwrap();
        self.tell(entry, version, said);
    }

    /// Brings back some version of a deleted entry that is here.
    pub async fn restore(&mut self, dice: &mut Dice) {
        let all = self.client.deleted().await.unwrap();
        let Some(entry) = dice.pick(&all) else { return };
        let history = self.client.history(entry.entry).await.unwrap();
        let here: Vec<_> = history.iter().filter(|version| version.content.bytes().is_some()).collect();
        let Some(old) = dice.pick(&here) else { return };
        let version = self.client.restore(entry.entry, old.version).await.unwrap();
        self.tell(entry.entry, version, None);
    }

    /// Syncs; what it was told until now is acknowledged if nothing waits after it.
    pub async fn sync(&mut self) -> Result<SyncReport, Error> {
        let told = self.told.len();
        let synced = self.client.sync().await;
        self.unsure = synced.is_err();
        if synced.as_ref().is_ok_and(|report| report.waiting == 0) {
            self.acknowledged = told;
        }
        synced
    }

    /// The program ends at once, as by SIGKILL, or properly, and is started anew. Nothing is another after it.
    pub async fn starts_anew(&mut self, killed: bool) {
        let before = self.held().await;
        let home = tempfile::tempdir().unwrap();
        if !killed {
            self.client.close().await;
        }
        // What a killed process leaves: whatever it wrote is in its files, and nothing was put in order.
        copy(self.home.path(), home.path()).await;
        if killed {
            self.client.close().await;
        }
        self.client = Client::open(home.path(), &Unlock::Token(self.token.clone())).await.unwrap();
        self.home = home;
        assert_eq!(self.held().await, before, "a device that was started anew shows something else");
    }

    /// Everything that it shows: each entry with its heads in order, and what waits.
    pub async fn held(&self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::new();
        for entries in [self.client.entries().await.unwrap(), self.client.deleted().await.unwrap()] {
            all.extend(entries.iter().map(shown));
        }
        let status = self.client.status().await.unwrap();
        let counts =
            format!("{} wait, {} refused, {} alarms", status.waiting, status.quarantined, status.alarms);
        all.insert("counts".to_owned(), vec![counts]);
        all
    }
}

fn shown(entry: &Entry) -> (String, Vec<String>) {
    let head = |head: &VersionView| {
        format!("{} {:?} on {:?} at {:?}: {}", head.version, head.kind, head.branch, head.seq, text(head))
    };
    let name = format!("{} divergent {} deleted {}", entry.entry, entry.divergent, entry.deleted);
    (name, entry.heads.iter().map(head).collect())
}
