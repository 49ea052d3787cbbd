use lockstep_events::graph::MAX_BRANCHES;
use uuid::Uuid;

use super::*;

fn v(n: u8) -> VersionId {
    VersionId([n; 32])
}

fn e(n: u128) -> EntryId {
    EntryId(Uuid::from_u128(n))
}

fn edit(n: u8, parents: &[u8]) -> Ready {
    Ready {
        index: 0,
        version: v(n),
        entry: e(1),
        kind: VersionKind::Edit,
        parents: parents.iter().map(|n| v(*n)).collect(),
        content_of: None,
        content: Some((BlobHash([n; 32]), 10)),
        inline: true,
        attachments: Vec::new(),
        expect_heads: None,
        inferred: false,
        reoffer: false,
        first: None,
        vouched: Seq::ZERO,
        refusal: None,
    }
}

fn adopt(n: u8, parents: &[u8], of: u8) -> Ready {
    Ready {
        kind: VersionKind::Adopt,
        content_of: Some(v(of)),
        content: None,
        inline: false,
        ..edit(n, parents)
    }
}

/// An entry whose versions were accepted in this order.
fn given(versions: &[(u8, &[u8])]) -> Facts {
    let mut heads = Heads::default();
    for (seq, (n, parents)) in (1..).zip(versions) {
        let parents: Vec<_> = parents.iter().map(|n| v(*n)).collect();
        heads.accept(v(*n), VersionKind::Edit, &parents, Seq(seq));
    }
    Facts { heads: HashMap::from([(e(1), heads)]), ..Facts::default() }
}

fn stood(n: u8, seq: u64) -> (VersionId, Option<Stood>) {
    let content = Some(BlobHash([n; 32]));
    (v(n), Some(Stood { entry: e(1), kind: VersionKind::Edit, seq: Seq(seq), content }))
}

fn decided(items: &[Ready], groups: &[Vec<usize>], facts: &Facts) -> Vec<Verdict> {
    decide(&items.iter().collect::<Vec<_>>(), groups, facts).unwrap().verdicts
}

const APPEND: Verdict = Verdict::Append { content_missing: false };

fn refuse(refusal: Refusal) -> Verdict {
    Verdict::Refuse(refusal)
}

#[test]
fn an_edit_of_a_head_and_the_first_version_of_an_entry_need_no_look_up() {
    assert_eq!(decided(&[edit(2, &[1])], &[], &given(&[(1, &[])])), [APPEND]);
    assert_eq!(decided(&[edit(1, &[])], &[], &Facts::default()), [APPEND]);
}

#[test]
fn a_version_whose_parent_is_no_head_is_looked_up_with_its_parent_and_then_forks() {
    let mut facts = given(&[(1, &[]), (2, &[1])]);
    let item = edit(3, &[1]);
    let unknown = decide(&[&item], &[], &facts).unwrap_err();
    assert_eq!(unknown.versions, BTreeSet::from([v(1), v(3)]));
    facts.versions.extend([stood(1, 1), (v(3), None)]);
    assert_eq!(decided(&[item], &[], &facts), [APPEND]);
}

#[test]
fn a_retry_is_recognised_although_its_parent_is_no_head_any_more() {
    let mut facts = given(&[(1, &[]), (2, &[1])]);
    facts.versions.extend([stood(1, 1), stood(2, 2)]);
    assert_eq!(decided(&[edit(2, &[1])], &[], &facts), [Verdict::Stands(Seq(2))]);
}

#[test]
fn a_retry_is_recognised_before_its_expectation_is_looked_at() {
    let mut facts = given(&[(1, &[]), (2, &[1])]);
    facts.versions.extend([stood(1, 1), stood(2, 2)]);
    let item = Ready { expect_heads: Some(vec![v(1)]), ..edit(2, &[1]) };
    assert_eq!(decided(&[item], &[], &facts), [Verdict::Stands(Seq(2))]);
}

#[test]
fn missing_parents_are_named_and_so_is_the_child_of_a_refused_one() {
    let mut facts = given(&[(1, &[])]);
    facts.versions.extend([(v(9), None), (v(3), None), (v(4), None)]);
    let verdicts = decided(&[edit(4, &[3]), edit(3, &[9])], &[], &facts);
    assert_eq!(verdicts[1], refuse(Refusal::MissingParents(vec![v(9)])));
    assert_eq!(verdicts[0], refuse(Refusal::MissingParents(vec![v(3)])));
}

#[test]
fn parents_come_before_children_whatever_the_order_of_the_request() {
    let items = [edit(3, &[2]), edit(2, &[1]), edit(1, &[])];
    let decision = decide(&items.iter().collect::<Vec<_>>(), &[], &Facts::default()).unwrap();
    assert_eq!(decision.append, [2, 1, 0]);
}

#[test]
fn a_parent_of_another_entry_is_refused() {
    let mut facts = given(&[(1, &[])]);
    let foreign = Stood { entry: e(2), kind: VersionKind::Edit, seq: Seq(5), content: None };
    facts.versions.extend([(v(7), Some(foreign)), (v(3), None)]);
    assert!(matches!(&decided(&[edit(3, &[7])], &[], &facts)[..], [Verdict::Refuse(Refusal::Forbidden(_))]));
    let other = Ready { entry: e(2), ..edit(7, &[]) };
    let facts = Facts { versions: HashMap::from([(v(3), None)]), ..given(&[(1, &[])]) };
    let verdicts = decided(&[other, edit(3, &[7])], &[], &facts);
    assert!(matches!(&verdicts[1], Verdict::Refuse(Refusal::Forbidden(_))), "{verdicts:?}");
}

#[test]
fn expected_heads_are_compared_with_what_stands_when_the_item_comes_to_its_turn() {
    let facts = given(&[(1, &[]), (2, &[])]);
    let expecting = |heads: &[u8]| Ready {
        expect_heads: Some(heads.iter().map(|n| v(*n)).collect()),
        ..adopt(3, &[1, 2], 1)
    };
    assert_eq!(decided(&[expecting(&[1, 2])], &[], &facts), [APPEND]);
    assert_eq!(decided(&[expecting(&[1])], &[], &facts), [refuse(Refusal::PreconditionFailed)]);
    let verdicts = decided(&[edit(4, &[1]), expecting(&[1, 2])], &[], &facts);
    assert_eq!(verdicts, [APPEND, refuse(Refusal::PreconditionFailed)]);
}

#[test]
fn a_group_is_accepted_together_or_not_at_all() {
    let facts = given(&[(1, &[])]);
    let bad = Ready { refusal: Some(Refusal::HashMismatch), ..edit(4, &[1]) };
    let items = [edit(2, &[1]), bad, edit(3, &[2])];
    let alone = decided(&items, &[], &facts);
    assert_eq!(alone, [APPEND, refuse(Refusal::HashMismatch), APPEND]);
    let together =
        decided(&items, &[vec![0, 1]], &Facts { versions: HashMap::from([(v(3), None)]), ..facts });
    assert_eq!(together[0], refuse(Refusal::NotAttempted));
    assert_eq!(together[1], refuse(Refusal::HashMismatch));
    assert_eq!(together[2], refuse(Refusal::MissingParents(vec![v(2)])));
}

#[test]
fn a_purged_entry_takes_nothing_more() {
    let mut facts = given(&[(1, &[])]);
    facts.heads.insert(e(1), Heads { purged: true, next_branch: 1, last_seq: Seq(2), heads: Vec::new() });
    facts.versions.extend([stood(1, 1), (v(2), None)]);
    assert_eq!(decided(&[edit(2, &[1])], &[], &facts), [refuse(Refusal::EntryPurged)]);
}

#[test]
fn past_the_limit_of_branches_only_versions_that_reduce_heads_are_accepted() {
    let most = u8::try_from(MAX_BRANCHES).unwrap();
    let roots: Vec<(u8, &[u8])> = (1..=most).map(|n| (n, &[][..])).collect();
    let mut facts = given(&roots);
    facts.versions.insert(v(100), None);
    assert_eq!(decided(&[edit(100, &[])], &[], &facts), [refuse(Refusal::TooManyBranches)]);
    assert_eq!(decided(&[edit(101, &[1])], &[], &facts), [APPEND]);
    assert_eq!(decided(&[adopt(102, &[1, 2], 1)], &[], &facts), [APPEND]);
}

#[test]
fn a_ciphertext_that_did_not_come_along_must_be_stored_with_its_length() {
    let mut facts = given(&[(1, &[])]);
    let item = Ready { inline: false, ..edit(2, &[1]) };
    let hash = BlobHash([2; 32]);
    assert_eq!(decide(&[&item], &[], &facts).unwrap_err().blobs, BTreeSet::from([hash]));
    for (stored, verdict) in
        [(Some(10), APPEND), (Some(11), refuse(Refusal::HashMismatch)), (None, refuse(Refusal::BlobMissing))]
    {
        facts.blobs.insert(hash, stored);
        assert_eq!(decided(std::slice::from_ref(&item), &[], &facts), [verdict]);
    }
}

#[test]
fn a_re_offered_version_may_lack_its_ciphertext_only_if_it_is_no_head() {
    let facts = Facts { blobs: HashMap::from([(BlobHash([1; 32]), None)]), ..Facts::default() };
    let old = Ready { inline: false, reoffer: true, ..edit(1, &[]) };
    let child = Ready { reoffer: true, ..edit(2, &[1]) };
    assert_eq!(decided(std::slice::from_ref(&old), &[], &facts), [refuse(Refusal::BlobMissing)]);
    let verdicts = decided(&[old.clone(), child.clone()], &[], &facts);
    assert_eq!(verdicts, [Verdict::Append { content_missing: true }, APPEND]);
    let bad = Ready { refusal: Some(Refusal::HashMismatch), ..child };
    assert_eq!(decided(&[old, bad], &[], &facts)[0], refuse(Refusal::BlobMissing));
}

#[test]
fn an_adopt_keeps_content_that_is_there() {
    let mut facts = given(&[(1, &[]), (2, &[1])]);
    facts.versions.extend([stood(1, 1), (v(8), None)]);
    facts.blobs.insert(BlobHash([1; 32]), Some(10));
    assert_eq!(decided(&[adopt(3, &[2], 1)], &[], &facts), [APPEND]);
    assert_eq!(decided(&[adopt(3, &[2], 2)], &[], &facts), [APPEND]);
    assert_eq!(decided(&[adopt(3, &[2], 8)], &[], &facts), [refuse(Refusal::MissingParents(vec![v(8)]))]);
    facts.blobs.insert(BlobHash([1; 32]), None);
    assert_eq!(decided(&[adopt(3, &[2], 1)], &[], &facts), [refuse(Refusal::BlobMissing)]);
}

#[test]
fn a_version_waits_for_its_attachments_unless_it_is_offered_again() {
    let file = BlobHash([99; 32]);
    let item = Ready { attachments: vec![file], ..edit(1, &[]) };
    let mut facts = given(&[]);
    let unknown = decide(&[&item], &[], &facts).unwrap_err();
    assert_eq!(unknown.blobs, BTreeSet::from([file]));
    facts.blobs.insert(file, None);
    assert_eq!(decided(std::slice::from_ref(&item), &[], &facts), [Verdict::Refuse(Refusal::BlobMissing)]);
    let accepted = Verdict::Append { content_missing: false };
    let again = Ready { reoffer: true, ..item.clone() };
    facts.versions.insert(v(1), None);
    assert_eq!(decided(&[again], &[], &facts), std::slice::from_ref(&accepted));
    facts.blobs.insert(file, Some(5));
    assert_eq!(decided(&[item], &[], &facts), [accepted]);
}

/// What a version of the entry named that stands may be gone: by pruning, or because it was lost.
#[test]
fn a_version_need_not_bring_what_an_older_one_of_its_entry_named_and_names_no_more_what_was_pruned() {
    let [pruned, lost, foreign] = [97, 98, 99].map(|n| BlobHash([n; 32]));
    let item = |attachments| Ready { attachments, ..edit(2, &[1]) };
    let mut facts = given(&[(1, &[])]);
    let unknown = decide(&[&item(vec![pruned])], &[], &facts).unwrap_err();
    assert_eq!((unknown.blobs, unknown.attached), (BTreeSet::from([pruned]), BTreeSet::from([e(1)])));
    facts.blobs.extend([pruned, lost, foreign].map(|hash| (hash, None)));
    let mut attached = Attached::default();
    attached.name([(lost, 7)]);
    facts.attached.insert(e(1), attached);
    facts.once.insert(e(1), BTreeSet::from([pruned, lost]));
    let of_it = item(vec![pruned, lost]);
    assert_eq!(decided(std::slice::from_ref(&of_it), &[], &facts), [APPEND]);
    assert_eq!(facts.sized(&of_it), [(lost, 0)], "it counts with the version that named it before");
    for others in [vec![foreign], vec![pruned, foreign]] {
        assert_eq!(decided(&[item(others)], &[], &facts), [refuse(Refusal::BlobMissing)]);
    }
    let elsewhere = Ready { entry: e(2), ..edit(3, &[]) };
    let elsewhere = Ready { attachments: vec![pruned], ..elsewhere };
    assert_eq!(decided(&[elsewhere], &[], &facts), [refuse(Refusal::BlobMissing)], "of another entry");
    // Who has it brings it back.
    facts.blobs.insert(pruned, Some(5));
    assert_eq!(facts.sized(&of_it), [(pruned, 5), (lost, 0)]);
}
