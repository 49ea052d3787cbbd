//! What versions keep, by the log, and the index has no place for: the index is older than its log, or lost rows.

use std::collections::{BTreeSet, HashMap, HashSet};

use lockstep_events::{
    AccountId, BlobHash, EntryId, Event, EventId, EventLog, LogError, Position, Recorded, Seq, VaultId,
    VersionId,
    event::{AccountEvent, VaultEvent, VersionAdded},
    log::{Contents, Filter, MAX_INLINE_CONTENT},
};

use super::{Unplaced, VerifyError};
use crate::blobs::Shelf;

/// Events that are read, and hashes that are asked for, at once.
const PAGE: usize = 500;
const VAULTS: [&str; 1] = ["vault.created"];
/// Whose ciphertexts go before an event of their vault says so.
const LEAVING: [&str; 4] = [
    "account.erasure_requested",
    "account.erasure_cancelled",
    "account.erasure_begun",
    "account.subject_erased",
];

/// Long ciphertexts and attachments without a place, vault by vault.
pub(super) async fn unplaced(shelf: &Shelf, log: &dyn EventLog) -> Result<Vec<Unplaced>, VerifyError> {
    let mut found = Vec::new();
    for (vault, owner) in vaults(log).await? {
        let missing = missing(shelf, log, vault).await?;
        if !missing.is_empty() {
            found.push((vault, owner, missing));
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // Beside a server something may have gone meanwhile: its event stands before it goes.
    let leaving = leaving(log).await?;
    let mut unplaced = Vec::new();
    for (vault, _, missing) in found.into_iter().filter(|(_, owner, _)| !leaving.contains(owner)) {
        let kept = Named::of(log, vault).await?.kept();
        unplaced.extend(missing.intersection(&kept).map(|hash| Unplaced { vault, hash: *hash }));
    }
    Ok(unplaced)
}

async fn missing(
    shelf: &Shelf,
    log: &dyn EventLog,
    vault: VaultId,
) -> Result<BTreeSet<BlobHash>, VerifyError> {
    let named = Named::of(log, vault).await?;
    let mut missing = named.kept();
    let all: Vec<BlobHash> = missing.iter().copied().collect();
    for some in all.chunks(PAGE) {
        for (hash, _) in shelf.index.find(vault, some).await? {
            missing.remove(&hash);
        }
    }
    // A short one may lie in the log itself: the event that it came with knows.
    let short: Vec<_> = named.short.iter().filter(|(_, hash)| missing.contains(hash)).collect();
    for some in short.chunks(PAGE) {
        let ids: Vec<EventId> = some.iter().map(|(event, _)| *event).collect();
        let came: HashSet<EventId> = log.came_with_content(&ids).await?.into_iter().collect();
        for (_, hash) in some.iter().filter(|(event, _)| came.contains(event)) {
            missing.remove(hash);
        }
    }
    Ok(missing)
}

/// What the versions of a vault name.
#[derive(Default)]
struct Named {
    /// By versions that keep their content.
    by: HashMap<VersionId, (EntryId, Vec<BlobHash>)>,
    /// Short ciphertexts, each with an event that named it.
    short: Vec<(EventId, BlobHash)>,
    /// What was let go once: a device that slept meanwhile may name it again, and need not have it.
    let_go: HashSet<BlobHash>,
}

impl Named {
    async fn of(log: &dyn EventLog, vault: VaultId) -> Result<Self, LogError> {
        let (mut named, mut after) = (Self::default(), Seq::ZERO);
        loop {
            let page = log.read_stream(vault.into(), after, PAGE, Contents::No).await?;
            for recorded in &page {
                after = recorded.seq;
                // `log verify` names an event that cannot be read.
                if let Ok(Event::Vault(event)) = recorded.event() {
                    named.event(recorded.event_id, event);
                }
            }
            if page.len() < PAGE {
                return Ok(named);
            }
        }
    }

    fn event(&mut self, id: EventId, event: VaultEvent) {
        match event {
            VaultEvent::VersionAdded(added) if !added.content_missing => self.version(id, &added),
            VaultEvent::ContentPruned(pruned) => {
                let gone = pruned.versions.iter().filter_map(|version| self.by.remove(version));
                self.let_go.extend(gone.flat_map(|(_, hashes)| hashes));
            }
            VaultEvent::Purged(purged) => self.by.retain(|_, (entry, _)| *entry != purged.entry),
            VaultEvent::Erased(_) => self.by.clear(),
            VaultEvent::VersionAdded(_) | VaultEvent::Created(_) => {}
        }
    }

    fn version(&mut self, id: EventId, added: &VersionAdded) {
        let header = &added.header;
        let is_short = usize::try_from(header.content_len).is_ok_and(|len| len <= MAX_INLINE_CONTENT);
        if is_short {
            self.short.extend(header.content_hash.map(|hash| (id, hash)));
        }
        let hashes: Vec<BlobHash> = added.contents().collect();
        if !hashes.is_empty() {
            self.by.insert(header.version_id(), (header.entry, hashes));
        }
    }

    fn kept(&self) -> BTreeSet<BlobHash> {
        let all = self.by.values().flat_map(|(_, hashes)| hashes);
        all.filter(|hash| !self.let_go.contains(hash)).copied().collect()
    }
}

async fn each(
    log: &dyn EventLog,
    kinds: &[&str],
    take: &mut (dyn FnMut(&Recorded) + Send),
) -> Result<(), LogError> {
    let filter = Filter { stream_kind: None, kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect() };
    let mut after = Position::ZERO;
    loop {
        let page = log.read_all(after, PAGE, &filter, Contents::No).await?;
        page.iter().for_each(&mut *take);
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.position,
            _ => return Ok(()),
        }
    }
}

/// All vaults, and whose they are.
async fn vaults(log: &dyn EventLog) -> Result<Vec<(VaultId, AccountId)>, LogError> {
    let mut vaults = Vec::new();
    each(log, &VAULTS, &mut |recorded| {
        if let Ok(Event::Vault(VaultEvent::Created(created))) = recorded.event() {
            vaults.push((created.vault, created.account));
        }
    })
    .await?;
    Ok(vaults)
}

/// Who is erased, or is about to be.
async fn leaving(log: &dyn EventLog) -> Result<HashSet<AccountId>, LogError> {
    let mut leaving = HashSet::new();
    each(log, &LEAVING, &mut |recorded| {
        let Ok(Event::Account(event)) = recorded.event() else { return };
        match event {
            AccountEvent::ErasureCancelled(body) => leaving.remove(&body.account),
            AccountEvent::ErasureRequested(body) => leaving.insert(body.account),
            AccountEvent::ErasureBegun(body) => leaving.insert(body.account),
            AccountEvent::SubjectErased(body) => leaving.insert(body.account),
            _ => false,
        };
    })
    .await?;
    Ok(leaving)
}
