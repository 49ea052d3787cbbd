//! Pruning: ciphertexts of old versions go by a retention rule. Never those of heads, of nearest common ancestors of
//! heads (without them two heads could not be compared), or of versions whose content a kept version keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lockstep_events::{
    BlobHash, Clock, EntryId, Epoch, Event, EventId, EventLog, LogError, Micros, NewEvent, Outcome, Recorded,
    Seq, StreamId, StreamKind, Unit, VaultId, VersionId,
    event::{ContentPruned, VaultEvent},
    graph::{Graph, Heads},
    log::{StreamClaim, StreamExpect, SubjectClaim, SubjectExpect},
};
use uuid::Uuid;

use super::purge::PurgeError;
use crate::{batcher::Batcher, blobs::Shelf, entries::EntryStates};

const PAGE: usize = 500;

/// What is kept besides what is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The last so many versions of an entry.
    pub versions: usize,
    /// Versions of the last so many days.
    pub days: u32,
}

/// An entry as pruning looks at it.
#[derive(Debug, Clone, Default)]
struct Entry {
    graph: Graph,
    heads: Heads,
    versions: BTreeMap<VersionId, Version>,
    gone: BTreeSet<VersionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    seq: Seq,
    at: Micros,
    content: Option<BlobHash>,
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
                let (content, content_of) = (added.header.content_hash, added.header.content_of);
                self.versions
                    .insert(id, Version { seq: recorded.seq, at: recorded.recorded_at, content, content_of });
                if added.content_missing {
                    self.gone.insert(id);
                }
            }
            VaultEvent::ContentPruned(pruned) => self.gone.extend(pruned.versions),
            VaultEvent::Purged(_) | VaultEvent::Created(_) => {}
        }
        Ok(())
    }

    /// Versions whose content goes, and the hashes that no kept version has.
    fn prunable(&self, retention: Retention, now: Micros) -> (Vec<VersionId>, Vec<BlobHash>) {
        let since = now.plus_seconds(-i64::from(retention.days) * 24 * 3600);
        let mut by_age: Vec<_> = self.versions.iter().collect();
        by_age.sort_unstable_by_key(|(_, version)| std::cmp::Reverse(version.seq));
        let recent = by_age
            .iter()
            .enumerate()
            .filter(|(rank, (_, version))| *rank < retention.versions || version.at >= since)
            .map(|(_, (id, _))| **id);
        let heads = self.heads.ids();
        let mut kept: BTreeSet<VersionId> = recent.collect();
        kept.extend(self.graph.nearest_common_ancestors(&heads));
        kept.extend(heads);
        let targets: Vec<_> = kept.iter().filter_map(|id| self.versions.get(id)?.content_of).collect();
        kept.extend(targets);
        let kept_hashes: BTreeSet<_> = kept.iter().filter_map(|id| self.versions.get(id)?.content).collect();
        let goes = |(id, version): (&VersionId, &Version)| {
            let content = version.content.filter(|_| !kept.contains(id) && !self.gone.contains(id))?;
            (!kept_hashes.contains(&content)).then_some((*id, content))
        };
        self.versions.iter().filter_map(goes).unzip()
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
        let (versions, contents) = state.prunable(rule, self.clock.now());
        if versions.is_empty() {
            return Ok(0);
        }
        let pruned = ContentPruned { entry, versions, contents };
        let (count, hashes) = (pruned.versions.len(), pruned.contents.clone());
        let unit = unit(vault, pruned, state.heads.last_seq)?;
        if !matches!(self.batcher.append(unit).await?, Outcome::Appended(_)) {
            return Ok(0);
        }
        self.log.erase_contents(vault.into(), &hashes).await?;
        self.shelf.remove(vault, &hashes).await?;
        self.entries.refresh(vault, entry, state.heads).await?;
        Ok(count)
    }
}

fn unit(vault: VaultId, pruned: ContentPruned, last: Seq) -> Result<Unit, LogError> {
    let (stream, subject) = (StreamId::from(vault), pruned.entry.into());
    let encoded = Event::Vault(VaultEvent::ContentPruned(pruned))
        .encode()
        .map_err(|error| LogError::Other(error.into()))?;
    let body_hash =
        NewEvent::hash_body(stream, Some(subject), encoded.kind, encoded.schema, &encoded.public, None);
    let event = NewEvent {
        event_id: EventId(Uuid::new_v4()),
        stream,
        subject: Some(subject),
        kind: encoded.kind.to_owned(),
        schema: encoded.schema,
        actor: None,
        device: None,
        correlation: None,
        causation: None,
        public: encoded.public,
        sealed: None,
        content: None,
        body_hash,
    };
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
            let content = of.is_none().then_some(BlobHash([*n; 32]));
            let version = Version { seq: Seq(seq), at: Micros(0), content, content_of: of.map(v) };
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
        assert_eq!(entry.prunable(NOTHING, NOW).0, [v(1), v(4)]);
    }

    #[test]
    fn the_last_versions_and_those_of_the_last_days_are_kept() {
        let mut entry = given(&[(1, &[], None), (2, &[1], None), (3, &[2], None), (4, &[3], None)]);
        assert_eq!(entry.prunable(Retention { versions: 3, days: 0 }, NOW).0, [v(1)]);
        entry.versions.get_mut(&v(2)).unwrap().at = NOW;
        assert_eq!(entry.prunable(Retention { versions: 0, days: 1 }, NOW).0, [v(1), v(3)]);
    }

    #[test]
    fn what_an_adopted_head_keeps_is_kept() {
        let entry = given(&[(1, &[], None), (2, &[1], None), (3, &[2], None), (4, &[3], Some(1))]);
        assert_eq!(entry.prunable(NOTHING, NOW).0, [v(2), v(3)]);
    }

    #[test]
    fn what_is_gone_does_not_go_again() {
        let mut entry = given(&[(1, &[], None), (2, &[1], None)]);
        entry.gone.insert(v(1));
        assert_eq!(entry.prunable(NOTHING, NOW).0, []);
    }
}
