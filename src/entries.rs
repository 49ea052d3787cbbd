//! Heads of entries, kept in memory for those who write.
//!
//! What is kept may be old: another node may have written. It is never trusted blindly: a write claims the entry at
//! exactly the seq that these heads belong to, and the log refuses it if there is more. Then, or before anything is
//! refused, [`EntryStates::refresh`] reads what the log has after that seq.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lockstep_events::{EntryId, Event, EventLog, LogError, VaultId, graph::Heads};
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
    kept: Mutex<LruCache<(VaultId, EntryId), Heads>>,
}

impl EntryStates {
    /// Nothing is known yet.
    pub fn new(log: Arc<dyn EventLog>, reads: Arc<dyn ReadStore>) -> Self {
        Self { log, reads, kept: Mutex::new(bounded(KEPT)) }
    }

    fn kept(&self) -> MutexGuard<'_, LruCache<(VaultId, EntryId), Heads>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The heads of some entries as they probably are. An entry that is not kept is taken for empty if it is
    /// `expected_new`, or else read from the read model, if that answers.
    pub async fn expect(&self, vault: VaultId, entries: &[(EntryId, bool)]) -> HashMap<EntryId, Heads> {
        let mut all = HashMap::with_capacity(entries.len());
        let mut unknown = Vec::new();
        {
            let mut kept = self.kept();
            for (entry, expected_new) in entries {
                match kept.get(&(vault, *entry)) {
                    Some(heads) => drop(all.insert(*entry, heads.clone())),
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

    /// The heads as the log has them, from older ones.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn refresh(&self, vault: VaultId, entry: EntryId, mut heads: Heads) -> Result<Heads, LogError> {
        loop {
            let page = self.log.read_subject(vault.into(), entry.into(), heads.last_seq, PAGE).await?;
            for recorded in &page {
                match recorded.event() {
                    Ok(Event::Vault(event)) => drop(heads.apply(&event, recorded.seq)),
                    Ok(_) => heads.last_seq = recorded.seq,
                    Err(error) => return Err(LogError::Other(error.into())),
                }
            }
            if page.len() < PAGE {
                self.put(vault, entry, &heads);
                return Ok(heads);
            }
        }
    }

    /// Keeps heads, unless newer ones are kept.
    pub fn put(&self, vault: VaultId, entry: EntryId, heads: &Heads) {
        let mut kept = self.kept();
        let newest = kept.get_or_insert_mut((vault, entry), Heads::default);
        if heads.last_seq > newest.last_seq {
            newest.clone_from(heads);
        }
    }

    /// Forgets a vault: its stream has begun another life.
    pub fn forget(&self, vault: VaultId) {
        let mut kept = self.kept();
        let of_vault: Vec<_> = kept.iter().map(|(key, _)| *key).filter(|(of, _)| *of == vault).collect();
        for key in of_vault {
            kept.pop(&key);
        }
    }
}
