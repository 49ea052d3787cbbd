//! Purging an entry: erasure for good. Its ciphertexts go, and nothing more is ever accepted for it. Its wrapped keys stand
//! in the log and open nothing that is left. Bytes that another entry keeps as well stay: they are that one's.
//!
//! The event stands before anything is deleted. Who is cut off in between leaves bytes that every node deletes when it
//! reads the event (`erasure::scan`), and so does the same command again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lockstep_events::{
    AccountId, BlobHash, DeviceId, EntryId, Epoch, Event, EventId, EventLog, LogError, Outcome, Seq,
    StreamId, StreamKind, Unit, VaultId, VersionId,
    event::{EntryPurged, VaultEvent},
    graph::{Head, Heads},
    header::VersionKind,
    log::{StreamClaim, StreamExpect, SubjectClaim, SubjectExpect},
};
use tokio::sync::Mutex;

use super::facts::{Actor, derived, new_event};
use crate::{
    batcher::Batcher,
    blobs::{BlobError, IndexError, Keepers, Shelf},
    entries::EntryStates,
    erasure::shred_list::{Shred, ShredList, ShredListError},
};

const PAGE: usize = 500;
const MAX_ROUNDS: usize = 8;

/// Purges an entry whose heads are exactly these.
#[derive(Debug, Clone)]
pub struct Purge {
    /// The account of the token.
    pub account: AccountId,
    /// The device of the token.
    pub device: DeviceId,
    /// The vault; it is the account's.
    pub vault: VaultId,
    /// The entry.
    pub entry: EntryId,
    /// The heads that the person was shown, ascending.
    pub expect_heads: Vec<VersionId>,
    /// The identity of the event: the same for a retry.
    pub event_id: EventId,
}

/// Why an entry was not purged.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The entry has no version.
    #[error("there is no such entry")]
    NotFound,
    /// The heads are others.
    #[error("the entry has other heads")]
    Heads(Vec<Head>),
    /// A head of it is not deleted.
    #[error("the entry is not deleted")]
    Alive(Vec<Head>),
    /// The entry changed again and again meanwhile.
    #[error("the entry changed too often meanwhile")]
    Contended,
    /// The log did not answer.
    #[error("the log did not take the purge")]
    Log(#[from] LogError),
    /// The entry is purged, but not on the list that outlives a restore; it gets there later.
    #[error("the purge could not be noted outside the database")]
    List(#[from] ShredListError),
    /// The blob store did not answer; the entry is purged, its long ciphertexts are deleted later.
    #[error("the long ciphertexts could not be deleted")]
    Blobs(#[from] BlobError),
}

/// What to do about the heads as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decision {
    Append(SubjectExpect),
    Done(Seq),
}

fn decide(heads: &Heads, expected: &[VersionId]) -> Result<Decision, PurgeError> {
    if heads.last_seq == Seq::ZERO {
        return Err(PurgeError::NotFound);
    }
    if heads.purged {
        return Ok(Decision::Done(heads.last_seq));
    }
    if heads.ids() != expected {
        return Err(PurgeError::Heads(heads.heads.clone()));
    }
    // A device believes a purge only of what a device deleted: a server alone erases nothing.
    if heads.heads.iter().any(|head| head.kind != VersionKind::Tombstone) {
        return Err(PurgeError::Alive(heads.heads.clone()));
    }
    Ok(Decision::Append(SubjectExpect::Exact(heads.last_seq)))
}

/// Takes purges.
pub struct Purger {
    /// For look-ups and for erasing short ciphertexts.
    pub log: Arc<dyn EventLog>,
    /// For appends.
    pub batcher: Batcher,
    /// Heads.
    pub entries: Arc<EntryStates>,
    /// Long ciphertexts.
    pub shelf: Arc<Shelf>,
    /// Who else keeps them.
    pub keepers: Keepers,
    /// What outlives a restore.
    pub shred_list: Arc<ShredList>,
    /// What was erased is in no journal.
    pub scrubs: Scrubs,
}

/// Scrubs that were asked for, and those that are done: purges at the same time share one.
#[derive(Debug, Default)]
pub struct Scrubs {
    asked: AtomicU64,
    done: Mutex<u64>,
}

impl Scrubs {
    /// Makes sure that what is erased by now is in no file that the log writes.
    async fn scrub(&self, log: &dyn EventLog) -> Result<(), LogError> {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut done = self.done.lock().await;
        if *done < mine {
            let until = self.asked.load(Ordering::Acquire);
            log.scrub().await?;
            *done = until;
        }
        Ok(())
    }
}

impl PurgeError {
    /// Whether a store is away: then it is the same for every other entry.
    pub fn is_everywhere(&self) -> bool {
        match self {
            Self::Log(error) | Self::Blobs(BlobError::Log(error)) => {
                matches!(error, LogError::Unavailable(_) | LogError::Full(_))
            }
            Self::Blobs(BlobError::Index(error)) => {
                matches!(error, IndexError::Unavailable(_) | IndexError::Full(_))
            }
            Self::Blobs(error) => matches!(error, BlobError::Unavailable(_) | BlobError::Full(_)),
            _ => false,
        }
    }
}

impl Purger {
    /// Purges an entry; the seq of the event. Purging it again changes nothing.
    ///
    /// # Errors
    /// [`PurgeError`]
    pub async fn purge(&self, purge: &Purge) -> Result<Seq, PurgeError> {
        let mut heads = Heads::default();
        for _ in 0..MAX_ROUNDS {
            heads = self.entries.refresh(purge.vault, purge.entry, heads).await?;
            let expect = match decide(&heads, &purge.expect_heads)? {
                Decision::Append(expect) => expect,
                Decision::Done(seq) => {
                    self.erase_at_once(purge.vault, purge.entry).await?;
                    return Ok(seq);
                }
            };
            if let Outcome::Appended(placed) = self.batcher.append(unit(purge, &heads, expect)?).await? {
                self.entries.refresh(purge.vault, purge.entry, heads).await?;
                let shred = Shred::Entry { vault: purge.vault, entry: purge.entry };
                self.shred_list.add(&shred, self.shelf.clock.now())?;
                self.erase_at_once(purge.vault, purge.entry).await?;
                return Ok(placed.first().map(|placed| placed.seq).unwrap_or_default());
            }
        }
        Err(PurgeError::Contended)
    }

    /// Purges an entry that a restore brought back, whatever its heads are; whether it was there.
    ///
    /// # Errors
    /// If the log or the blob store does not answer.
    pub async fn purge_again(&self, vault: VaultId, entry: EntryId) -> Result<bool, PurgeError> {
        for _ in 0..MAX_ROUNDS {
            let heads = self.entries.refresh(vault, entry, Heads::default()).await?;
            if heads.last_seq == Seq::ZERO {
                return Ok(false);
            }
            let is_back = !heads.purged;
            if is_back {
                let unit = unit_again(vault, entry, &heads)?;
                if !matches!(self.batcher.append(unit).await?, Outcome::Appended(_)) {
                    continue;
                }
                self.entries.refresh(vault, entry, heads).await?;
            }
            self.erase(vault, entry).await?;
            return Ok(is_back);
        }
        Err(PurgeError::Contended)
    }

    /// Deletes every ciphertext of an entry that no other entry keeps; how many were there. May be repeated.
    ///
    /// # Errors
    /// If the log or the blob store does not answer.
    pub async fn erase(&self, vault: VaultId, entry: EntryId) -> Result<u64, PurgeError> {
        let stream = StreamId::from(vault);
        let hashes = self.named(vault, entry).await?;
        // Before it is asked who else keeps them: who begins to name one after that raises its mark.
        let mut long = self.shelf.index.marks(vault, &hashes).await?;
        let mut short = Vec::new();
        for some in hashes.chunks(PAGE) {
            short.extend(self.log.contents(stream, some).await?.into_iter().map(|(hash, _)| hash));
        }
        if long.is_empty() && short.is_empty() {
            return Ok(0);
        }
        let elsewhere = self.keepers.elsewhere(vault, entry, &hashes).await?;
        long.retain(|(hash, _)| !elsewhere.kept.contains(hash));
        short.retain(|hash| !elsewhere.kept.contains(hash));
        let erased = self.log.erase_contents(stream, &short, elsewhere.seen).await?;
        self.shelf.remove_unless_named(vault, &long).await?;
        // What is kept and was counted by this entry alone.
        self.shelf.ask_the_log(vault, &elsewhere.late).await?;
        Ok(erased + long.len() as u64)
    }

    /// Every ciphertext that versions of an entry name.
    async fn named(&self, vault: VaultId, entry: EntryId) -> Result<Vec<BlobHash>, LogError> {
        let (mut after, mut named) = (Seq::ZERO, BTreeSet::new());
        loop {
            let page = self.log.read_subject(vault.into(), entry.into(), after, PAGE).await?;
            for recorded in &page {
                after = recorded.seq;
                if let Ok(Event::Vault(VaultEvent::VersionAdded(added))) = recorded.event() {
                    named.extend(added.contents());
                }
            }
            if page.len() < PAGE {
                return Ok(named.into_iter().collect());
            }
        }
    }

    /// Deletes what a purge of before may have left: what stands in the log is done by whoever reads it there.
    ///
    /// # Errors
    /// As [`Self::erase`].
    pub async fn finish(&self, vault: VaultId, entry: EntryId) -> Result<(), PurgeError> {
        if self.erase(vault, entry).await? > 0 {
            tracing::info!("what a purge that was cut off had left is deleted");
            self.scrub().await;
        }
        Ok(())
    }

    /// Deletes every ciphertext of an entry, from the journal of the log as well.
    async fn erase_at_once(&self, vault: VaultId, entry: EntryId) -> Result<(), PurgeError> {
        self.erase(vault, entry).await?;
        self.scrub().await;
        Ok(())
    }

    /// Where somebody reads the journal all the time, it is emptied by the next purge.
    async fn scrub(&self) {
        if let Err(error) = self.scrubs.scrub(self.log.as_ref()).await {
            tracing::warn!(cause = %error, "what was purged is still in the journal of the log");
        }
    }
}

fn unit_again(vault: VaultId, entry: EntryId, heads: &Heads) -> Result<Unit, LogError> {
    let event_id = derived("lockstep/v1/purge-again", &[vault.as_bytes(), entry.as_bytes()]);
    let (account, device) = (AccountId::NIL, DeviceId::NIL);
    let purge = Purge { account, device, vault, entry, expect_heads: Vec::new(), event_id };
    let mut unit = unit(&purge, heads, SubjectExpect::Exact(heads.last_seq))?;
    unit.events.iter_mut().for_each(|event| (event.actor, event.device) = (None, None));
    Ok(unit)
}

fn unit(purge: &Purge, heads: &Heads, expect: SubjectExpect) -> Result<Unit, LogError> {
    let stream = StreamId::from(purge.vault);
    let subject = purge.entry.into();
    let body = EntryPurged { entry: purge.entry, heads: heads.ids() };
    let actor = Actor { account: purge.account, device: purge.device };
    let event = Event::Vault(VaultEvent::Purged(body));
    let event = new_event(Some(actor), stream, purge.event_id, Some(subject), &event)?;
    Ok(Unit {
        streams: vec![StreamClaim {
            stream,
            kind: StreamKind::Vault,
            expect: StreamExpect::Exists,
            epoch_if_new: Epoch::ZERO,
        }],
        subjects: vec![SubjectClaim { stream, subject, expect }],
        requires: Vec::new(),
        events: vec![event],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads of an entry, each of them deleted.
    fn given(heads: &[u8]) -> Heads {
        let mut state = Heads::default();
        for (seq, n) in (1..).zip(heads) {
            state.accept(VersionId([*n; 32]), VersionKind::Tombstone, &[], Seq(seq));
        }
        state
    }

    #[test]
    fn an_entry_with_a_head_that_is_not_deleted_is_not_purged() {
        let mut heads = given(&[1]);
        heads.accept(VersionId([2; 32]), VersionKind::Edit, &[], Seq(2));
        let refused = decide(&heads, &heads.ids());
        assert!(matches!(refused, Err(PurgeError::Alive(heads)) if heads.len() == 2));
    }

    #[test]
    fn exactly_the_heads_that_were_shown_are_purged_at_exactly_that_state() {
        let two = [VersionId([1; 32]), VersionId([2; 32])];
        assert_eq!(decide(&given(&[2, 1]), &two).unwrap(), Decision::Append(SubjectExpect::Exact(Seq(2))));
        let refused = decide(&given(&[2, 1, 3]), &two);
        assert!(matches!(refused, Err(PurgeError::Heads(heads)) if heads.len() == 3));
        assert!(matches!(decide(&given(&[]), &two), Err(PurgeError::NotFound)));
    }

    #[test]
    fn a_store_that_is_away_or_full_is_so_for_every_entry_whichever_of_them_it_is() {
        let everywhere: [PurgeError; 8] = [
            LogError::Unavailable("away".into()).into(),
            LogError::Full("full".into()).into(),
            BlobError::Unavailable("away".into()).into(),
            BlobError::Full("full".into()).into(),
            BlobError::Index(IndexError::Unavailable("away".into())).into(),
            BlobError::Index(IndexError::Full("full".into())).into(),
            BlobError::Log(LogError::Unavailable("away".into())).into(),
            BlobError::Log(LogError::Full("full".into())).into(),
        ];
        for error in everywhere {
            assert!(error.is_everywhere(), "{error:?}");
        }
        let here: [PurgeError; 4] = [
            PurgeError::Contended,
            BlobError::Missing.into(),
            BlobError::Index(IndexError::Other("odd".into())).into(),
            BlobError::Log(LogError::Malformed("odd")).into(),
        ];
        for error in here {
            assert!(!error.is_everywhere(), "{error:?}");
        }
    }

    #[test]
    fn purging_twice_is_done_once() {
        let heads = Heads { purged: true, last_seq: Seq(9), ..Heads::default() };
        assert_eq!(decide(&heads, &[VersionId([1; 32])]).unwrap(), Decision::Done(Seq(9)));
    }
}
