//! Pruning: ciphertexts of old versions go by a retention rule. Never those of heads, of nearest common ancestors of
//! heads (without them two heads could not be compared), or of versions whose content a kept version keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lockstep_events::{
    BlobHash, Clock, EntryId, Epoch, Event, EventId, EventLog, LogError, Micros, Outcome, Recorded, Seq,
    StreamId, StreamKind, Unit, VaultId, VersionId,
    event::{ContentPruned, VaultEvent},
    graph::{Graph, Heads},
    log::{StreamClaim, StreamExpect, SubjectClaim, SubjectExpect},
};
use uuid::Uuid;

use super::{facts::new_event, purge::PurgeError};
use crate::{
    batcher::Batcher,
    blobs::{Keepers, Shelf},
    entries::EntryStates,
};

const PAGE: usize = 500;

/// What is kept besides what is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The last so many versions of an entry.
    pub versions: usize,
    /// What was a head at any time in the last so many days.
    pub days: u32,
}

/// An entry as pruning looks at it.
#[derive(Debug, Clone, Default)]
struct Entry {
    graph: Graph,
    heads: Heads,
    versions: BTreeMap<VersionId, Version>,
    gone: BTreeSet<VersionId>,
    /// Hashes that another entry keeps.
    elsewhere: BTreeSet<BlobHash>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    seq: Seq,
    /// Since when another version builds on it.
    superseded: Option<Micros>,
    /// Its ciphertext, if its kind has one, and its attachments.
    contents: Vec<BlobHash>,
    content_of: Option<VersionId>,
}

impl Entry {
    fn apply(&mut self, recorded: &Recorded) -> Result<(), LogError> {
        let event = match recorded.event() {
            Ok(Event::Vault(event)) => event,
            Ok(_) => return Ok(()),
            Err(error) => return Err(LogError::Other(error.into())),
        };
        self.heads.apply(&event, recorded.seq);
        match event {
            VaultEvent::VersionAdded(added) => {
                let id = added.header.version_id();
                self.graph.insert(id, added.parents());
                for parent in added.parents() {
                    if let Some(parent) = self.versions.get_mut(parent) {
                        parent.superseded.get_or_insert(recorded.recorded_at);
                    }
                }
                let contents = added.contents().collect();
                let (seq, content_of) = (recorded.seq, added.header.content_of);
                self.versions.insert(id, Version { seq, superseded: None, contents, content_of });
                if added.content_missing {
                    self.gone.insert(id);
                }
            }
            VaultEvent::ContentPruned(pruned) => self.gone.extend(pruned.versions),
            VaultEvent::Purged(_) | VaultEvent::Created(_) | VaultEvent::Erased(_) => {}
        }
        Ok(())
    }

    /// Versions whose content stays.
    fn kept(&self, retention: Retention, now: Micros) -> BTreeSet<VersionId> {
        let since = now.plus_seconds(-i64::from(retention.days) * 24 * 3600);
        let mut by_age: Vec<_> = self.versions.iter().collect();
        by_age.sort_unstable_by_key(|(_, version)| std::cmp::Reverse(version.seq));
        let recent = by_age
            .iter()
            .enumerate()
            .filter(|(rank, (_, version))| {
                *rank < retention.versions || version.superseded.is_none_or(|at| at >= since)
            })
            .map(|(_, (id, _))| **id);
        let heads = self.heads.ids();
        let mut kept: BTreeSet<VersionId> = recent.collect();
        kept.extend(self.graph.nearest_common_ancestors(&heads));
        kept.extend(heads);
        let targets: Vec<_> = kept.iter().filter_map(|id| self.versions.get(id)?.content_of).collect();
        kept.extend(targets);
        kept
    }

    /// Versions that are not kept, either those whose content is still there or those that were pruned before, and the
    /// hashes that no kept version has, of this entry or of another one.
    fn others(&self, kept: &BTreeSet<VersionId>, pruned: bool) -> (Vec<VersionId>, Vec<BlobHash>) {
        let kept_hashes: BTreeSet<_> = kept
            .iter()
            .filter_map(|id| self.versions.get(id))
            .flat_map(|version| &version.contents)
            .chain(&self.elsewhere)
            .collect();
        let goes = |(id, version): &(&VersionId, &Version)| {
            let content = version.contents.first();
            let may_go = !kept.contains(*id) && self.gone.contains(*id) == pruned;
            may_go && content.is_some_and(|content| !kept_hashes.contains(content))
        };
        let going: Vec<_> = self.versions.iter().filter(goes).collect();
        let hashes: BTreeSet<_> = going.iter().flat_map(|(_, version)| &version.contents).collect();
        let hashes = hashes.difference(&kept_hashes).map(|hash| **hash).collect();
        (going.into_iter().map(|(id, _)| *id).collect(), hashes)
    }
}

/// Prunes entries.
pub struct Pruner {
    /// For look-ups and for erasing short ciphertexts.
    pub log: Arc<dyn EventLog>,
    /// For appends.
    pub batcher: Batcher,
    /// Heads, so that they stay known.
    pub entries: Arc<EntryStates>,
    /// Long ciphertexts.
    pub shelf: Arc<Shelf>,
    /// Who else keeps them.
    pub keepers: Keepers,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Pruner {
    /// Prunes one entry; how many versions lost their content. An entry that changes meanwhile is left for the next
    /// time.
    ///
    /// # Errors
    /// If the log or the blob store does not answer. What the event names and is still there goes when it is
    /// pruned again.
    pub async fn prune(&self, vault: VaultId, entry: EntryId, rule: Retention) -> Result<usize, PurgeError> {
        let mut state = Entry::default();
        loop {
            let page = self.log.read_subject(vault.into(), entry.into(), state.heads.last_seq, PAGE).await?;
            page.iter().try_for_each(|recorded| state.apply(recorded))?;
            if page.len() < PAGE {
                break;
            }
        }
        let kept = state.kept(rule, self.clock.now());
        let (versions, contents) = state.others(&kept, false);
        let mut left = self.left(vault, state.others(&kept, true).1).await?;
        if versions.is_empty() && left.is_empty() {
            return Ok(0);
        }
        // A version that is pushed meanwhile and names one of these again finds the event below, looks again, and
        // raises the blob's mark: then the blob stays. So does one of another entry, whether or not it is asked before.
        let all: Vec<_> = contents.iter().chain(&left).copied().collect();
        let mut marks = self.shelf.index.marks(vault, &all).await?;
        let elsewhere = self.keepers.elsewhere(vault, entry, &all).await?;
        left.retain(|hash| !elsewhere.kept.contains(hash));
        marks.retain(|(hash, _)| !elsewhere.kept.contains(hash));
        state.elsewhere = elsewhere.kept;
        let (mut versions, mut contents) = state.others(&kept, false);
        let of_left = |version: &Version| version.contents.iter().any(|hash| left.contains(hash));
        versions.extend(state.versions.iter().filter(|(_, version)| of_left(version)).map(|(id, _)| *id));
        versions.sort_unstable();
        versions.dedup();
        contents.extend(&left);
        if versions.is_empty() {
            return Ok(0);
        }
        let pruned = ContentPruned { entry, versions, contents };
        let (count, hashes) = (pruned.versions.len(), pruned.contents.clone());
        let unit = unit(vault, pruned, state.heads.last_seq)?;
        if !matches!(self.batcher.append(unit).await?, Outcome::Appended(_)) {
            return Ok(0);
        }
        self.log.erase_contents(vault.into(), &hashes, elsewhere.seen).await?;
        self.shelf.remove_unless_named(vault, &marks).await?;
        // What is kept and was counted by this entry alone.
        self.shelf.ask_the_log(vault, &elsewhere.late).await?;
        self.entries.refresh(vault, entry, state.heads).await?;
        Ok(count)
    }

    /// Of contents that an earlier prune named, those that it did not come to delete. They are named again: then nobody
    /// can keep one of them in the meantime.
    async fn left(&self, vault: VaultId, pruned: Vec<BlobHash>) -> Result<BTreeSet<BlobHash>, PurgeError> {
        if pruned.is_empty() {
            return Ok(BTreeSet::new());
        }
        let short = self.log.contents(vault.into(), &pruned).await?;
        let long = self.shelf.index.marks(vault, &pruned).await?;
        Ok(short.into_iter().map(|(hash, _)| hash).chain(long.into_iter().map(|(hash, _)| hash)).collect())
    }
}

fn unit(vault: VaultId, pruned: ContentPruned, last: Seq) -> Result<Unit, LogError> {
    let (stream, subject) = (StreamId::from(vault), pruned.entry.into());
    let event = Event::Vault(VaultEvent::ContentPruned(pruned));
    let event = new_event(None, stream, EventId(Uuid::new_v4()), Some(subject), &event)?;
    Ok(Unit {
        streams: vec![StreamClaim {
            stream,
            kind: StreamKind::Vault,
            expect: StreamExpect::Exists,
            epoch_if_new: Epoch::ZERO,
        }],
        subjects: vec![SubjectClaim { stream, subject, expect: SubjectExpect::Exact(last) }],
        requires: Vec::new(),
        events: vec![event],
    })
}

#[cfg(test)]
mod tests {
    use lockstep_events::header::VersionKind;

    use super::*;

    fn v(n: u8) -> VersionId {
        VersionId([n; 32])
    }

    /// Versions in order of acceptance: number, parents, and what an adopt keeps.
    fn given(versions: &[(u8, &[u8], Option<u8>)]) -> Entry {
        let mut entry = Entry::default();
        for (seq, (n, parents, of)) in (1..).zip(versions) {
            let parents: Vec<_> = parents.iter().map(|n| v(*n)).collect();
            let kind = if of.is_some() { VersionKind::Adopt } else { VersionKind::Edit };
            entry.heads.accept(v(*n), kind, &parents, Seq(seq));
            entry.graph.insert(v(*n), &parents);
            for parent in &parents {
                entry.versions.get_mut(parent).unwrap().superseded.get_or_insert(Micros(0));
            }
            let contents = if of.is_none() { vec![BlobHash([*n; 32])] } else { Vec::new() };
            let version = Version { seq: Seq(seq), superseded: None, contents, content_of: of.map(v) };
            entry.versions.insert(v(*n), version);
        }
        entry
    }

    const NOW: Micros = Micros(100 * 24 * 3600 * 1_000_000);
    const NOTHING: Retention = Retention { versions: 0, days: 0 };

    #[test]
    fn heads_and_what_they_are_compared_with_are_kept_and_the_rest_goes() {
        let entry =
            given(&[(1, &[], None), (2, &[1], None), (3, &[2], None), (4, &[2], None), (5, &[4], None)]);
        assert_eq!(entry.others(&entry.kept(NOTHING, NOW), false).0, [v(1), v(4)]);
    }

    #[test]
    fn the_last_versions_and_those_of_the_last_days_are_kept() {
        let mut entry = given(&[(1, &[], None), (2, &[1], None), (3, &[2], None), (4, &[3], None)]);
        assert_eq!(entry.others(&entry.kept(Retention { versions: 3, days: 0 }, NOW), false).0, [v(1)]);
        entry.versions.get_mut(&v(2)).unwrap().superseded = Some(NOW);
        assert_eq!(entry.others(&entry.kept(Retention { versions: 0, days: 1 }, NOW), false).0, [v(1), v(3)]);
    }

    #[test]
    fn what_an_adopted_head_keeps_is_kept() {
        let entry = given(&[(1, &[], None), (2, &[1], None), (3, &[2], None), (4, &[3], Some(1))]);
        assert_eq!(entry.others(&entry.kept(NOTHING, NOW), false).0, [v(2), v(3)]);
    }

    #[test]
    fn an_attachment_goes_with_the_last_version_that_names_it() {
        let file = |n: u8| BlobHash([100 + n; 32]);
        let mut entry = given(&[(1, &[], None), (2, &[1], None), (3, &[2], None)]);
        for (n, files) in [(1, vec![file(1), file(2)]), (2, vec![file(1)]), (3, vec![file(2)])] {
            entry.versions.get_mut(&v(n)).unwrap().contents.extend(files);
        }
        let (versions, hashes) = entry.others(&entry.kept(NOTHING, NOW), false);
        assert_eq!(versions, [v(1), v(2)]);
        assert_eq!(hashes, [BlobHash([1; 32]), BlobHash([2; 32]), file(1)]);
    }

    #[test]
    fn what_is_gone_does_not_go_again() {
        let mut entry = given(&[(1, &[], None), (2, &[1], None)]);
        entry.gone.insert(v(1));
        assert_eq!(entry.others(&entry.kept(NOTHING, NOW), false).0, []);
    }
}
