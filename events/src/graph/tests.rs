use proptest::prelude::*;

use super::*;

fn v(n: u8) -> VersionId {
    VersionId([n; 32])
}

/// A random history: each version builds on some of those before it, as branches and merges do.
fn history() -> impl Strategy<Value = Vec<(VersionKind, Vec<VersionId>)>> {
    let step = (0..4_usize, proptest::collection::vec(any::<prop::sample::Index>(), 0..4));
    proptest::collection::vec(step, 1..40).prop_map(|steps| {
        let mut made: Vec<(VersionKind, Vec<VersionId>)> = Vec::new();
        for (kind, picks) in steps {
            let kind =
                [VersionKind::Edit, VersionKind::Merge, VersionKind::Adopt, VersionKind::Tombstone][kind];
            let mut parents: Vec<_> = match made.len() {
                0 => Vec::new(),
                so_far => picks.iter().map(|pick| v(u8::try_from(pick.index(so_far)).unwrap())).collect(),
            };
            parents.sort_unstable();
            parents.dedup();
            made.push((kind, parents));
        }
        made
    })
}

fn number(n: usize) -> VersionId {
    v(u8::try_from(n).unwrap())
}

proptest! {
    /// S6: accepting a version removes from the heads exactly its parents among them, and adds it.
    #[test]
    fn accepting_replaces_exactly_the_parents_that_were_heads(history in history()) {
        let mut heads = Heads::default();
        for (n, (kind, parents)) in history.iter().enumerate() {
            let before: BTreeSet<_> = heads.ids().into_iter().collect();
            let named: BTreeSet<_> = parents.iter().copied().collect();
            let accepted = heads.accept(number(n), *kind, parents, Seq(n as u64 + 1));
            let replaced: BTreeSet<_> = accepted.replaced.into_iter().collect();
            prop_assert_eq!(&replaced, &(&before & &named));
            let mut expected = &before - &named;
            expected.insert(number(n));
            prop_assert_eq!(heads.ids().into_iter().collect::<BTreeSet<_>>(), expected);
            prop_assert_eq!(heads.last_seq, Seq(n as u64 + 1));
        }
    }

    /// S5: the heads that are kept are those of the whole graph: versions that are nobody's parent.
    #[test]
    fn kept_heads_are_the_heads_of_the_graph(history in history()) {
        let (mut heads, mut graph) = (Heads::default(), Graph::default());
        for (n, (kind, parents)) in history.iter().enumerate() {
            heads.accept(number(n), *kind, parents, Seq(n as u64 + 1));
            graph.insert(number(n), parents);
            prop_assert_eq!(heads.ids().into_iter().collect::<BTreeSet<_>>(), graph.heads());
        }
    }

    /// S7: branch numbers of heads are distinct, ascending and below the next one.
    #[test]
    fn branch_numbers_of_heads_are_distinct(history in history()) {
        let mut heads = Heads::default();
        for (n, (kind, parents)) in history.iter().enumerate() {
            let accepted = heads.accept(number(n), *kind, parents, Seq(n as u64 + 1));
            prop_assert!(heads.heads.is_sorted_by(|a, b| a.branch < b.branch));
            prop_assert!(heads.heads.iter().all(|head| head.branch < heads.next_branch));
            prop_assert!(heads.heads.iter().any(|head| head.branch == accepted.branch && head.version == number(n)));
        }
    }

    /// S7: while nothing is resolved or deleted, edits never move the winner to another branch.
    #[test]
    fn the_winner_stays_on_its_branch_while_people_only_edit(
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 1..60),
    ) {
        let mut heads = Heads::default();
        heads.accept(v(0), VersionKind::Edit, &[], Seq(1));
        for (n, pick) in picks.iter().enumerate() {
            let parent = v(u8::try_from(pick.index(n + 1)).unwrap());
            heads.accept(number(n + 1), VersionKind::Edit, &[parent], Seq(n as u64 + 2));
            prop_assert_eq!(heads.winner().unwrap().branch, 0);
        }
    }

    /// The order in which heads are listed decides nothing.
    #[test]
    fn the_winner_is_a_function_of_the_set_of_heads(history in history(), turn in any::<prop::sample::Index>()) {
        let mut heads = Heads::default();
        for (n, (kind, parents)) in history.iter().enumerate() {
            heads.accept(number(n), *kind, parents, Seq(n as u64 + 1));
        }
        let mut turned = heads.clone();
        let by = turn.index(turned.heads.len());
        turned.heads.rotate_left(by);
        prop_assert_eq!(turned.winner(), heads.winner());
        prop_assert_eq!(turned.ids(), heads.ids());
        prop_assert_eq!(turned.is_divergent(), heads.is_divergent());
    }

    /// A common ancestor is nearest if no other common ancestor builds on it.
    #[test]
    fn nearest_common_ancestors_are_common_and_nearest(history in history()) {
        let mut graph = Graph::default();
        for (n, (_, parents)) in history.iter().enumerate() {
            graph.insert(number(n), parents);
        }
        let heads: Vec<_> = graph.heads().into_iter().collect();
        let nearest = graph.nearest_common_ancestors(&heads);
        for ancestor in &nearest {
            prop_assert!(heads.iter().all(|head| graph.ancestors(*head).contains(ancestor)));
            let others = nearest.iter().filter(|other| *other != ancestor);
            prop_assert!(others.clone().all(|other| !graph.ancestors(*other).contains(ancestor)));
        }
    }
}

#[test]
fn the_first_version_is_branch_zero_and_no_fork() {
    let mut heads = Heads::default();
    assert!(heads.winner().is_none() && !heads.is_divergent());
    let first = heads.accept(v(1), VersionKind::Edit, &[], Seq(1));
    assert_eq!(first, Accepted { branch: 0, forked: false, replaced: Vec::new() });
}

#[test]
fn two_edits_of_one_version_are_two_branches_and_a_merge_ends_on_the_lower_one() {
    let mut heads = Heads::default();
    heads.accept(v(1), VersionKind::Edit, &[], Seq(1));
    assert!(!heads.accept(v(2), VersionKind::Edit, &[v(1)], Seq(2)).forked);
    let fork = heads.accept(v(3), VersionKind::Edit, &[v(1)], Seq(3));
    assert_eq!((fork.branch, fork.forked), (1, true));
    assert!(heads.is_divergent());
    assert_eq!(heads.winner().unwrap().version, v(2));
    let merge = heads.accept(v(4), VersionKind::Merge, &[v(2), v(3)], Seq(4));
    assert_eq!((merge.branch, merge.replaced), (0, vec![v(2), v(3)]));
    assert!(!heads.is_divergent());
    assert_eq!(heads.next_branch, 2, "a number is never given twice");
}

#[test]
fn a_deletion_beside_an_edit_is_a_conflict_that_the_edit_wins_meanwhile() {
    let mut heads = Heads::default();
    heads.accept(v(1), VersionKind::Edit, &[], Seq(1));
    heads.accept(v(2), VersionKind::Tombstone, &[v(1)], Seq(2));
    assert!(heads.is_deleted() && !heads.is_divergent());
    heads.accept(v(3), VersionKind::Edit, &[v(1)], Seq(3));
    assert!(heads.is_divergent() && !heads.is_deleted());
    assert_eq!(heads.winner().unwrap().version, v(3));
    heads.accept(v(4), VersionKind::Tombstone, &[v(3)], Seq(4));
    assert!(!heads.is_divergent(), "two deletions agree");
}

#[test]
fn past_the_limit_of_branches_only_versions_that_do_not_add_one_are_taken() {
    let mut heads = Heads::default();
    heads.accept(v(0), VersionKind::Edit, &[], Seq(1));
    for n in 1..=u8::try_from(MAX_BRANCHES).unwrap() {
        assert!(!heads.would_exceed_branches(&[v(0)]), "branch {n}");
        heads.accept(v(n), VersionKind::Edit, &[v(0)], Seq(u64::from(n) + 1));
    }
    assert_eq!(heads.heads.len(), MAX_BRANCHES);
    assert!(heads.would_exceed_branches(&[v(0)]));
    assert!(heads.would_exceed_branches(&[]));
    assert!(!heads.would_exceed_branches(&[v(1)]));
    assert!(!heads.would_exceed_branches(&[v(1), v(2)]));
}

#[test]
fn the_nearest_common_ancestor_of_a_fork_is_where_it_forked() {
    let mut graph = Graph::default();
    for (n, parents) in [(1, vec![]), (2, vec![1]), (3, vec![2]), (4, vec![2]), (5, vec![4])] {
        graph.insert(v(n), &parents.into_iter().map(v).collect::<Vec<_>>());
    }
    assert_eq!(graph.nearest_common_ancestors(&[v(3), v(5)]), BTreeSet::from([v(2)]));
    assert_eq!(graph.nearest_common_ancestors(&[v(2), v(5)]), BTreeSet::from([v(2)]));
    assert_eq!(graph.nearest_common_ancestors(&[v(3), v(9)]), BTreeSet::new());
    assert!(graph.nearest_common_ancestors(&[]).is_empty());
    graph.insert(v(3), &[]);
    assert_eq!(graph.parents[&v(3)], [v(2)], "adding a version again changes nothing");
}
