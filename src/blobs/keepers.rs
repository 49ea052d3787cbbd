//! Who keeps a ciphertext, by the log. Bytes lie once in a vault for each hash, and more than one entry may name them: it
//! is asked who else keeps them before they go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use lockstep_events::{
    BlobHash, Chain, EntryId, Event, EventLog, LogError, Recorded, Seq, VaultId, VersionId,
    attached::Attached,
    event::{VaultEvent, VersionAdded},
    log::Contents,
};

const PAGE: usize = 500;
/// Of a vault with more hashes than these nothing is remembered: it is read again.
const REMEMBERED: usize = 1_000_000;

/// What other entries keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Hashes that a version of another entry keeps.
    pub kept: BTreeSet<BlobHash>,
    /// Those of them that no other entry counts, as the log has no length for them there.
    pub late: Vec<BlobHash>,
    /// Up to where the vault's stream was read.
    pub seen: Seq,
}

/// Answers which hashes of an entry another one keeps. Of the vault that was asked about last it is remembered which
/// hashes more than one entry has named, so that many questions about one vault read its stream once.
pub struct Keepers {
    log: Arc<dyn EventLog>,
    last: Mutex<Option<Named>>,
}

impl Keepers {
    /// By this log.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, last: Mutex::default() }
    }

    /// Of these hashes, those that a version of another entry of the vault keeps.
    ///
    /// # Errors
    /// If the log does not answer, or has an event of the vault that cannot be read.
    pub async fn elsewhere(
        &self,
        vault: VaultId,
        entry: EntryId,
        hashes: &[BlobHash],
    ) -> Result<Elsewhere, LogError> {
        let last = self.last().take().filter(|named| named.vault == vault);
        let mut named = match last {
            Some(named) if named.is_of(&*self.log).await? => named,
            _ => Named::nothing(vault),
        };
        named.read_on(&*self.log).await?;
        let seen = named.seq;
        let shared = hashes.iter().filter(|hash| named.shared.contains(&short(hash))).copied().collect();
        if named.first.len() <= REMEMBERED {
            *self.last() = Some(named);
        }
        let kept = kept(&*self.log, vault, &shared, Some(entry)).await?;
        let late = kept.iter().filter(|(_, bytes)| **bytes == 0).map(|(hash, _)| *hash).collect();
        Ok(Elsewhere { kept: kept.into_keys().collect(), late, seen })
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Named>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which hashes of a vault more than one entry has named, as far as its stream was read.
struct Named {
    vault: VaultId,
    seq: Seq,
    chain: Chain,
    /// The entry that named a hash first.
    first: HashMap<u64, EntryId>,
    /// Hashes that another one named as well, and maybe a few others: whether they are kept is looked at closely.
    shared: HashSet<u64>,
}

/// Enough of a hash to tell it from nearly all others.
fn short(hash: &BlobHash) -> u64 {
    hash.0.iter().take(8).fold(0, |short, byte| short << 8 | u64::from(*byte))
}

impl Named {
    fn nothing(vault: VaultId) -> Self {
        Self { vault, seq: Seq::ZERO, chain: Chain::ZERO, first: HashMap::new(), shared: HashSet::new() }
    }

    /// Whether the log is still the one that was read: it may have been restored.
    async fn is_of(&self, log: &dyn EventLog) -> Result<bool, LogError> {
        Ok(log.chain_at(self.vault.into(), self.seq).await? == Some(self.chain))
    }

    async fn read_on(&mut self, log: &dyn EventLog) -> Result<(), LogError> {
        loop {
            let page = log.read_stream(self.vault.into(), self.seq, PAGE, Contents::No).await?;
            for recorded in &page {
                if let Some(VaultEvent::VersionAdded(added)) = vault_event(recorded)? {
                    for hash in added.contents() {
                        let first = *self.first.entry(short(&hash)).or_insert(added.header.entry);
                        if first != added.header.entry {
                            self.shared.insert(short(&hash));
                        }
                    }
                }
                (self.seq, self.chain) = (recorded.seq, recorded.chain);
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// Of these hashes, those that a version of a vault keeps, whatever one entry has; each with its length, 0 where the log
/// counts it nowhere.
///
/// # Errors
/// If the log does not answer, or has an event of the vault that cannot be read: nobody knows what it keeps.
pub(super) async fn kept(
    log: &dyn EventLog,
    vault: VaultId,
    hashes: &BTreeSet<BlobHash>,
    but: Option<EntryId>,
) -> Result<BTreeMap<BlobHash, u64>, LogError> {
    if hashes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut entries: BTreeMap<EntryId, Attached> = BTreeMap::new();
    let mut versions: BTreeMap<VersionId, (EntryId, Vec<BlobHash>)> = BTreeMap::new();
    let mut after = Seq::ZERO;
    loop {
        let page = log.read_stream(vault.into(), after, PAGE, Contents::No).await?;
        for recorded in &page {
            after = recorded.seq;
            match vault_event(recorded)? {
                Some(VaultEvent::VersionAdded(added)) if !added.content_missing => {
                    let named: Vec<_> = sized(&added).filter(|(hash, _)| hashes.contains(hash)).collect();
                    let entry = added.header.entry;
                    if !named.is_empty() && Some(entry) != but {
                        entries.entry(entry).or_default().name(named.iter().copied());
                        let named = named.into_iter().map(|(hash, _)| hash).collect();
                        versions.insert(added.header.version_id(), (entry, named));
                    }
                }
                Some(VaultEvent::ContentPruned(pruned)) => {
                    for (entry, named) in pruned.versions.iter().filter_map(|v| versions.remove(v)) {
                        entries.entry(entry).or_default().let_go(named);
                    }
                }
                Some(VaultEvent::Purged(purged)) => drop(entries.remove(&purged.entry)),
                Some(VaultEvent::Erased(_)) => entries.clear(),
                Some(VaultEvent::VersionAdded(_) | VaultEvent::Created(_)) | None => {}
            }
        }
        if page.len() < PAGE {
            break;
        }
    }
    let mut kept = BTreeMap::new();
    for (hash, bytes) in entries.values().flat_map(Attached::sized) {
        let most = kept.entry(hash).or_insert(bytes);
        *most = bytes.max(*most);
    }
    Ok(kept)
}

/// What a version keeps: its ciphertext and its attachments, with their lengths.
fn sized(added: &VersionAdded) -> impl Iterator<Item = (BlobHash, u64)> {
    let content = added.header.content_hash.map(|hash| (hash, added.header.content_len.into()));
    content.into_iter().chain(added.sized_attachments())
}

fn vault_event(recorded: &Recorded) -> Result<Option<VaultEvent>, LogError> {
    match recorded.event() {
        Ok(Event::Vault(event)) => Ok(Some(event)),
        Ok(_) => Ok(None),
        Err(error) => Err(LogError::Other(error.into())),
    }
}
