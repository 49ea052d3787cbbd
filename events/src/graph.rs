//! The version graph of one entry, pure: heads, branch numbers, the provisional winner, conflicts.
//!
//! One road for everybody: the server's answer to a push, the read model and the client fold the same function
//! over the same events, so they cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    event::VaultEvent,
    header::VersionKind,
    ids::{Seq, VersionId},
};

/// An entry has at most so many open branches; past that only versions that reduce heads are accepted.
pub const MAX_BRANCHES: usize = 32;

/// A version nobody built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The version.
    pub version: VersionId,
    /// Its branch number, unique among the heads of the entry.
    pub branch: u32,
    /// What the version is.
    pub kind: VersionKind,
    /// Where it stands in the vault's stream.
    pub seq: Seq,
}

/// The heads of an entry and the next branch number: the smallest state that decides everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// Heads, by branch number.
    pub heads: Vec<Head>,
    /// The number that the next new branch gets; 0 while the entry has no version.
    pub next_branch: u32,
    /// Seq of the last version, prune or purge of this entry.
    pub last_seq: Seq,
    /// Whether the entry was purged: nothing more is accepted.
    pub purged: bool,
}

/// What accepting a version did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The branch it stands on.
    pub branch: u32,
    /// Whether it opened a branch beside an existing one.
    pub forked: bool,
    /// The heads it replaced.
    pub replaced: Vec<VersionId>,
}

impl Heads {
    /// Accepts a version: removes exactly `parents ∩ heads` and adds it (invariant S6).
    ///
    /// A child of current heads inherits the lowest branch among those it replaces; any other version opens the
    /// next branch. The first version is branch 0.
    pub fn accept(
        &mut self,
        version: VersionId,
        kind: VersionKind,
        parents: &[VersionId],
        seq: Seq,
    ) -> Accepted {
        let (replaced, kept): (Vec<Head>, Vec<Head>) =
            std::mem::take(&mut self.heads).into_iter().partition(|head| parents.contains(&head.version));
        self.heads = kept;
        let inherited = replaced.iter().map(|head| head.branch).min();
        let branch = inherited.unwrap_or(self.next_branch);
        let forked = inherited.is_none() && self.next_branch > 0;
        if inherited.is_none() {
            self.next_branch += 1;
        }
        let at = self.heads.partition_point(|head| head.branch < branch);
        self.heads.insert(at, Head { version, branch, kind, seq });
        self.last_seq = seq;
        Accepted { branch, forked, replaced: replaced.into_iter().map(|head| head.version).collect() }
    }

    /// Takes in the next event about this entry; what accepting did, if it was a version.
    pub fn apply(&mut self, event: &VaultEvent, seq: Seq) -> Option<Accepted> {
        match event {
            VaultEvent::VersionAdded(added) => {
                let version = added.header.version_id();
                return Some(self.accept(version, added.header.kind, added.parents(), seq));
            }
            VaultEvent::Purged(_) => {
                self.heads.clear();
                self.purged = true;
            }
            VaultEvent::ContentPruned(_) | VaultEvent::Created(_) | VaultEvent::Erased(_) => {}
        }
        self.last_seq = seq;
        None
    }

    /// Whether a version is a head.
    pub fn has(&self, version: &VersionId) -> bool {
        self.heads.iter().any(|head| head.version == *version)
    }

    /// Whether accepting a version with these parents would leave more than [`MAX_BRANCHES`] heads.
    pub fn would_exceed_branches(&self, parents: &[VersionId]) -> bool {
        let replaced = self.heads.iter().filter(|head| parents.contains(&head.version)).count();
        let after = self.heads.len() - replaced + 1;
        after > MAX_BRANCHES && after >= self.heads.len()
    }

    /// The head shown meanwhile: live before tombstone, then lowest branch number.
    pub fn winner(&self) -> Option<&Head> {
        self.heads.iter().min_by_key(|head| (!head.kind.is_live(), head.branch))
    }

    /// Two or more heads, at least one of them live: a person must resolve it.
    pub fn is_divergent(&self) -> bool {
        self.heads.len() > 1 && self.heads.iter().any(|head| head.kind.is_live())
    }

    /// Whether nothing of the entry is live.
    pub fn is_deleted(&self) -> bool {
        self.heads.iter().all(|head| !head.kind.is_live())
    }

    /// The ids of the heads, ascending: what a resolution or a tombstone names as parents.
    pub fn ids(&self) -> Vec<VersionId> {
        let mut ids: Vec<_> = self.heads.iter().map(|head| head.version).collect();
        ids.sort_unstable();
        ids
    }
}

/// The whole graph of an entry, as a client or a test holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// Parents of every version that is here.
    pub parents: BTreeMap<VersionId, Vec<VersionId>>,
}

impl Graph {
    /// Adds a version; adding it again changes nothing.
    pub fn insert(&mut self, version: VersionId, parents: &[VersionId]) {
        self.parents.entry(version).or_insert_with(|| parents.to_vec());
    }

    /// Versions that are nobody's parent.
    pub fn heads(&self) -> BTreeSet<VersionId> {
        let used: BTreeSet<_> = self.parents.values().flatten().copied().collect();
        self.parents.keys().copied().filter(|version| !used.contains(version)).collect()
    }

    /// All versions that a version builds on, itself included.
    pub fn ancestors(&self, version: VersionId) -> BTreeSet<VersionId> {
        let mut seen = BTreeSet::new();
        let mut open = vec![version];
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(self.parents.get(&next).into_iter().flatten());
            }
        }
        seen
    }

    /// The nearest common ancestors of some versions: what a three-way comparison needs.
    pub fn nearest_common_ancestors(&self, versions: &[VersionId]) -> BTreeSet<VersionId> {
        let mut sets = versions.iter().map(|version| self.ancestors(*version));
        let Some(first) = sets.next() else {
            return BTreeSet::new();
        };
        let common = sets.fold(first, |all, set| &all & &set);
        let passed: BTreeSet<_> = common
            .iter()
            .flat_map(|version| self.ancestors(*version).into_iter().filter(move |a| a != version))
            .collect();
        common.difference(&passed).copied().collect()
    }
}

#[cfg(test)]
mod tests;
