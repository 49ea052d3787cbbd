//! What a deleted entry held: that which its devices showed when it was deleted.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_client::model::VersionView;
use lockstep_events::{
    Seq, VersionId,
    graph::{Graph, Heads},
};

use super::item_of;

/// Where in the history of a deleted entry the versions are that its deletion took away, and whose content is here: the one
/// that was shown first. `heads` are its tombstones.
pub fn taken_away(versions: &[VersionView], heads: &[VersionId]) -> Vec<usize> {
    let at: BTreeMap<VersionId, usize> = versions.iter().map(|one| one.version).zip(0..).collect();
    let (mut graph, mut so_far, mut branches) = (Graph::default(), Heads::default(), Vec::new());
    for one in versions {
        graph.insert(one.version, &one.parents);
        branches.push(so_far.accept(one.version, one.kind, &one.parents, Seq::ZERO).branch);
    }
    let (mut open, mut seen, mut live) = (heads.to_vec(), BTreeSet::new(), BTreeSet::new());
    while let Some(tombstone) = open.pop() {
        let parents = at.get(&tombstone).map_or(&[][..], |at| &versions[*at].parents);
        let parents = parents.iter().filter_map(|parent| at.get(parent).copied());
        let (shown, deleted): (Vec<_>, Vec<_>) = parents.partition(|at| versions[*at].kind.is_live());
        // What was deleted before, beside a side that lived on, was no choice any more.
        let deleted = if shown.is_empty() { deleted } else { Vec::new() };
        open.extend(deleted.into_iter().map(|at| versions[at].version).filter(|id| seen.insert(*id)));
        live.extend(shown);
    }
    // Where one device deleted what another had built on, the later one was shown.
    let passed = |at: &usize| {
        let on_it =
            |other: &usize| graph.ancestors(versions[*other].version).contains(&versions[*at].version);
        live.iter().any(|other| other != at && on_it(other))
    };
    let mut taken: Vec<usize> = live.iter().filter(|at| !passed(at)).copied().collect();
    taken.retain(|at| item_of(&versions[*at]).is_some());
    taken.sort_by_key(|at| branches[*at]);
    taken
}

/// Where the version is that a deleted entry is shown by and comes back as: the first that was taken away; if none of
/// them has its content still, the last that has.
pub fn shown(versions: &[VersionView], taken: &[usize]) -> Option<usize> {
    let last = || versions.iter().rposition(|version| item_of(version).is_some());
    taken.first().copied().or_else(last)
}

#[cfg(test)]
mod tests {
    use lockstep_client::{
        crypto::wipe::Plaintext,
        model::Content,
        porting::{Body, Item, item::Login},
    };
    use lockstep_events::{DeviceId, VersionKind};

    use super::*;
    use crate::cli::app::content_of;

    const fn id(n: u8) -> VersionId {
        VersionId([n; 32])
    }

    /// Versions in the order of the log: number, what it builds on, and whether it deletes.
    fn history(versions: &[(u8, &[u8], bool)]) -> Vec<VersionView> {
        let made = |(n, parents, deletes): &(u8, &[u8], bool)| {
            let item = Item::new(n.to_string().as_str(), Body::Login(Login::default()));
            VersionView {
                version: id(*n),
                kind: if *deletes { VersionKind::Tombstone } else { VersionKind::Edit },
                parents: parents.iter().map(|n| id(*n)).collect(),
                content_of: None,
                branch: None,
                device: DeviceId::NIL,
                given_back_by: None,
                client_time: 0,
                seq: None,
                accepted_at: None,
                content: if *deletes {
                    Content::None
                } else {
                    Content::Here(Plaintext::new(content_of(&item).unwrap().to_vec()))
                },
            }
        };
        versions.iter().map(made).collect()
    }

    fn taken(versions: &[(u8, &[u8], bool)], heads: &[u8]) -> Vec<u8> {
        let heads: Vec<_> = heads.iter().map(|n| id(*n)).collect();
        taken_away(&history(versions), &heads).into_iter().map(|at| versions[at].0).collect()
    }

    #[test]
    fn the_side_that_was_shown_comes_first_whatever_the_log_has_last() {
        let sides: [(u8, &[u8], bool); 4] =
            [(1, &[], false), (2, &[1], false), (3, &[1], false), (9, &[2, 3], true)];
        assert_eq!(taken(&sides, &[9]), [2, 3]);
        // The first branch went on after the second was there.
        let on: [(u8, &[u8], bool); 5] =
            [(1, &[], false), (2, &[1], false), (3, &[1], false), (4, &[2], false), (9, &[3, 4], true)];
        assert_eq!(taken(&on, &[9]), [4, 3]);
    }

    #[test]
    fn what_was_deleted_or_built_on_before_was_not_shown() {
        // A device deleted the first side; later the other one was deleted with it.
        let beside: [(u8, &[u8], bool); 5] =
            [(1, &[], false), (2, &[1], false), (3, &[1], false), (8, &[2], true), (9, &[3, 8], true)];
        assert_eq!(taken(&beside, &[9]), [3]);
        // One device deleted what another had built on, and deleted then.
        let apart: [(u8, &[u8], bool); 4] =
            [(1, &[], false), (8, &[1], true), (2, &[1], false), (9, &[2], true)];
        assert_eq!(taken(&apart, &[8, 9]), [2]);
        let twice: [(u8, &[u8], bool); 3] = [(1, &[], false), (8, &[1], true), (9, &[8], true)];
        assert_eq!(taken(&twice, &[9]), [1]);
    }

    #[test]
    fn without_what_was_taken_away_it_is_the_last_that_has_its_content() {
        let cut: [(u8, &[u8], bool); 3] = [(1, &[], false), (2, &[1], false), (9, &[7], true)];
        let versions = history(&cut);
        assert!(taken(&cut, &[9]).is_empty());
        assert_eq!(shown(&versions, &[]), Some(1));
    }
}
