//! Heads of entries, kept in memory for those who write.
//!
//! What is kept may be old: another node may have written. It is never trusted blindly: a write claims the entry at
//! exactly the seq that these heads belong to, and the log refuses it if there is more. Then, or before anything is
//! refused, [`EntryStates::refresh`] reads what the log has after that seq. At the same seq another life of the stream may
//! have another event, which no claim would notice: heads are kept with the life in which they were seen.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lockstep_events::{
    EntryId, Epoch, Event, EventLog, LogError, VaultId, VersionId, event::VaultEvent, graph::Heads,
};
use lockstep_projections::ReadStore;
use lru::LruCache;

use crate::bounded::bounded;

/// So many entries, about 300 bytes each.
const KEPT: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const PAGE: usize = 500;

/// The heads that were last seen, by entry.
pub struct EntryStates {
    log: Arc<dyn EventLog>,
    reads: Arc<dyn ReadStore>,
    kept: Mutex<LruCache<(VaultId, EntryId), Seen>>,
}

/// Heads, and the life of the stream in which they were seen.
struct Seen {
    epoch: Epoch,
    heads: Heads,
}

impl EntryStates {
    /// Nothing is known yet.
    pub fn new(log: Arc<dyn EventLog>, reads: Arc<dyn ReadStore>) -> Self {
        Self { log, reads, kept: Mutex::new(bounded(KEPT)) }
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<(VaultId, EntryId), Seen>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The heads of some entries as they probably are in a life of their stream. An entry that is not kept is taken for
    /// empty if it is `expected_new`, or else read from the read model, if that answers.
    pub async fn expect(
        &self,
        vault: VaultId,
        epoch: Epoch,
        entries: &[(EntryId, bool)],
    ) -> HashMap<EntryId, Heads> {
        let mut all = HashMap::with_capacity(entries.len());
        let mut unknown = Vec::new();
        {
            let mut kept = self.kept();
            for (entry, expected_new) in entries {
                match kept.get(&(vault, *entry)).filter(|seen| seen.epoch == epoch) {
                    Some(seen) => drop(all.insert(*entry, seen.heads.clone())),
                    None if *expected_new => drop(all.insert(*entry, Heads::default())),
                    None => unknown.push(*entry),
                }
            }
        }
        if !unknown.is_empty() {
            // Without the read model the log alone answers, after the first conflict.
            let rows = self.reads.entries_by_id(vault, &unknown).await.unwrap_or_default();
            all.extend(unknown.into_iter().map(|entry| (entry, Heads::default())));
            all.extend(rows.into_iter().map(|row| (row.entry, row.heads)));
        }
        all
    }

    /// The heads as the log has them, from older ones. They are not kept, but heads that are kept go on to them.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn refresh(&self, vault: VaultId, entry: EntryId, heads: Heads) -> Result<Heads, LogError> {
        let (heads, _) = self.read(vault, entry, heads, None).await?;
        if let Some(seen) = self.kept().peek_mut(&(vault, entry)) {
            seen.go_on_to(&heads);
        }
        Ok(heads)
    }

    /// The heads as the log had them right before a version of the entry, if that stands; else as it has them. Also
    /// whether it stands.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn before(
        &self,
        vault: VaultId,
        entry: EntryId,
        version: VersionId,
    ) -> Result<(Heads, bool), LogError> {
        self.read(vault, entry, Heads::default(), Some(version)).await
    }

    /// The heads from older ones on: as they were right before a version, if it is met, and whether it was.
    async fn read(
        &self,
        vault: VaultId,
        entry: EntryId,
        mut heads: Heads,
        before: Option<VersionId>,
    ) -> Result<(Heads, bool), LogError> {
        loop {
            let page = self.log.read_subject(vault.into(), entry.into(), heads.last_seq, PAGE).await?;
            for recorded in &page {
                match recorded.event() {
                    Ok(Event::Vault(VaultEvent::VersionAdded(added)))
                        if before.is_some_and(|version| added.header.version_id() == version) =>
                    {
                        return Ok((heads, true));
                    }
                    Ok(Event::Vault(event)) => drop(heads.apply(&event, recorded.seq)),
                    Ok(_) => heads.last_seq = recorded.seq,
                    Err(error) => return Err(LogError::Other(error.into())),
                }
            }
            if page.len() < PAGE {
                return Ok((heads, false));
            }
        }
    }

    /// Keeps heads, unless newer ones of the same life are kept.
    pub fn put(&self, vault: VaultId, epoch: Epoch, entry: EntryId, heads: &Heads) {
        let mut kept = self.kept();
        let seen = kept.get_or_insert_mut((vault, entry), || Seen { epoch, heads: Heads::default() });
        if seen.epoch != epoch {
            *seen = Seen { epoch, heads: Heads::default() };
        }
        seen.go_on_to(heads);
    }

    /// Forgets a vault, which is no more.
    pub fn forget(&self, vault: VaultId) {
        let mut kept = self.kept();
        let of_vault: Vec<_> = kept.iter().map(|(key, _)| *key).filter(|(of, _)| *of == vault).collect();
        for key in of_vault {
            kept.pop(&key);
        }
    }
}

impl Seen {
    fn go_on_to(&mut self, heads: &Heads) {
        if heads.last_seq > self.heads.last_seq {
            self.heads.clone_from(heads);
        }
    }
}
