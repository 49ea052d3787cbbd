//! The answers: verdicts and places become what the sender is told.

use std::collections::HashMap;

use lockstep_events::{
    EntryId, VersionId,
    graph::{Head, Heads},
    log::Placed,
};

use super::{
    Answer, Ready, Refusal,
    decide::{Decision, Verdict},
};

type HeadsOf = HashMap<EntryId, Heads>;

/// The answers, and the heads after them.
pub(super) struct Now {
    pub answers: Vec<(usize, Answer)>,
    pub heads: HeadsOf,
}

/// Nothing was appended: everything stands or is refused.
pub(super) fn nothing_appended(
    items: &[&Ready],
    decision: &Decision,
    heads: &HeadsOf,
) -> Vec<(usize, Answer)> {
    let answers = items.iter().zip(&decision.verdicts);
    answers.map(|(item, verdict)| (item.index, without_place(item, verdict, heads))).collect()
}

/// Every event is new, and the claims held: the heads were exactly these, so folding gives exactly what stands now.
pub(super) fn all_new(items: &[&Ready], decision: &Decision, mut heads: HeadsOf, placed: &[Placed]) -> Now {
    let mut accepted = HashMap::new();
    for (&at, placed) in decision.append.iter().zip(placed) {
        let item = items[at];
        let heads = heads.entry(item.entry).or_default();
        let done = heads.accept(item.version, item.kind, &item.parents, placed.seq);
        let heads = heads.heads.clone();
        let answer = Answer::Accepted { seq: placed.seq, branch: done.branch, forked: done.forked, heads };
        accepted.insert(at, answer);
    }
    let answers = items.iter().zip(&decision.verdicts).enumerate().map(|(at, (item, verdict))| {
        let answer = accepted.remove(&at).unwrap_or_else(|| without_place(item, verdict, &heads));
        (item.index, answer)
    });
    Now { answers: answers.collect(), heads }
}

/// Some events stood there before: a retry. `heads` are the present ones.
pub(super) fn some_stood(
    items: &[&Ready],
    decision: &Decision,
    heads: &HeadsOf,
    placed: &[Placed],
) -> Vec<(usize, Answer)> {
    let places: HashMap<_, _> = decision.append.iter().copied().zip(placed).collect();
    let answers = items.iter().zip(&decision.verdicts).enumerate().map(|(at, (item, verdict))| {
        let answer = match places.get(&at) {
            None => without_place(item, verdict, heads),
            Some(placed) if placed.duplicate => stood(item, placed.seq, heads),
            Some(placed) => Answer::Accepted {
                seq: placed.seq,
                branch: branch_of(item, heads).unwrap_or(0),
                forked: false,
                heads: present(item, heads),
            },
        };
        (item.index, answer)
    });
    answers.collect()
}

/// The answer of each item; one that repeats an earlier item has the earlier one's.
pub(super) fn complete(
    ready: &[Ready],
    answers: Vec<(VersionId, Option<Answer>)>,
) -> Vec<(VersionId, Answer)> {
    let first = |answer: &Answer| match answer.clone() {
        Answer::Accepted { seq, branch, heads, .. } => Answer::Duplicate { seq, branch: Some(branch), heads },
        other => other,
    };
    let answer = |item: &Ready| {
        let of = answers.get(item.first.unwrap_or(item.index)).and_then(|(_, answer)| answer.as_ref());
        let repeated = of.map(|answer| if item.first.is_some() { first(answer) } else { answer.clone() });
        repeated.unwrap_or(Answer::Refused { refusal: Refusal::NotAttempted, heads: None })
    };
    ready.iter().map(|item| (item.version, answer(item))).collect()
}

fn without_place(item: &Ready, verdict: &Verdict, heads: &HeadsOf) -> Answer {
    match verdict {
        Verdict::Stands(seq) => stood(item, *seq, heads),
        Verdict::Refuse(refusal) => {
            let about_heads = matches!(
                refusal,
                Refusal::PreconditionFailed | Refusal::TooManyBranches | Refusal::MissingParents(_)
            );
            Answer::Refused { refusal: refusal.clone(), heads: about_heads.then(|| present(item, heads)) }
        }
        Verdict::Append { .. } => Answer::Refused { refusal: Refusal::NotAttempted, heads: None },
    }
}

fn stood(item: &Ready, seq: lockstep_events::Seq, heads: &HeadsOf) -> Answer {
    Answer::Duplicate { seq, branch: branch_of(item, heads), heads: present(item, heads) }
}

fn present(item: &Ready, heads: &HeadsOf) -> Vec<Head> {
    heads.get(&item.entry).map(|heads| heads.heads.clone()).unwrap_or_default()
}

fn branch_of(item: &Ready, heads: &HeadsOf) -> Option<u32> {
    let heads = &heads.get(&item.entry)?.heads;
    heads.iter().find(|head| head.version == item.version).map(|head| head.branch)
}
