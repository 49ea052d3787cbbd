//! What a unit may expect of streams and subjects.

use super::*;
use crate::{
    Seq, StreamKind,
    log::{Current, StreamExpect, SubjectExpect},
    testing::build::*,
};

async fn refused_stream(log: &dyn EventLog, n: u128, expect: StreamExpect, current: Option<Seq>) {
    let outcome = append_one(log, unit(vec![event(n, stream(1))]).expecting(stream(1), expect)).await;
    assert_eq!(outcome, Outcome::Conflict(vec![Current::Stream(stream(1), current)]), "{expect:?}");
}

async fn taken_stream(log: &dyn EventLog, n: u128, expect: StreamExpect, seq: u64) {
    let outcome = append_one(log, unit(vec![event(n, stream(1))]).expecting(stream(1), expect)).await;
    assert_eq!(seqs(&outcome), [Seq(seq)], "{expect:?}");
}

pub async fn stream_none_lets_a_stream_begin_only_once(log: &dyn EventLog) {
    taken_stream(log, 1, StreamExpect::None, 1).await;
    refused_stream(log, 2, StreamExpect::None, Some(Seq(1))).await;
}

pub async fn stream_exists_needs_the_stream(log: &dyn EventLog) {
    refused_stream(log, 1, StreamExpect::Exists, None).await;
    taken_stream(log, 2, StreamExpect::Any, 1).await;
    taken_stream(log, 3, StreamExpect::Exists, 2).await;
}

pub async fn stream_exact_needs_the_last_seq(log: &dyn EventLog) {
    refused_stream(log, 1, StreamExpect::Exact(Seq(1)), None).await;
    taken_stream(log, 2, StreamExpect::None, 1).await;
    taken_stream(log, 3, StreamExpect::Exact(Seq(1)), 2).await;
    refused_stream(log, 4, StreamExpect::Exact(Seq(1)), Some(Seq(2))).await;
    refused_stream(log, 5, StreamExpect::Exact(Seq(3)), Some(Seq(2))).await;
    taken_stream(log, 6, StreamExpect::Exact(Seq(2)), 3).await;
}

pub async fn stream_exact_zero_is_not_a_stream_that_does_not_exist(log: &dyn EventLog) {
    refused_stream(log, 1, StreamExpect::Exact(Seq(0)), None).await;
}

pub async fn stream_any_takes_both(log: &dyn EventLog) {
    taken_stream(log, 1, StreamExpect::Any, 1).await;
    taken_stream(log, 2, StreamExpect::Any, 2).await;
}

pub async fn a_stream_keeps_the_kind_it_was_created_as(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1))])).await;
    let mut other = unit(vec![event(2, stream(1))]);
    other.streams[0].kind = StreamKind::Account;
    let answer = append_one(log, other).await;
    assert_eq!(answer, Outcome::Conflict(vec![Current::Kind(stream(1), StreamKind::Vault)]));
    assert_eq!(head(log, 1).await.unwrap().kind, StreamKind::Vault);
    assert_eq!(all_ids(log).await, [1]);
}

pub async fn a_claim_without_events_is_a_precondition_and_creates_nothing(log: &dyn EventLog) {
    let beside = |n, expect| unit(vec![event(n, stream(1))]).expecting(stream(2), expect);
    assert_eq!(
        append_one(log, beside(1, StreamExpect::Exists)).await,
        Outcome::Conflict(vec![Current::Stream(stream(2), None)])
    );
    assert_eq!(seqs(&append_one(log, beside(2, StreamExpect::None)).await), [Seq(1)]);
    assert_eq!(head(log, 2).await, None);
    assert_sound(log).await;
}

pub async fn subject_none_needs_a_subject_without_events(log: &dyn EventLog) {
    let first = |n| {
        unit(vec![event(n, stream(1)).about(subject(1))]).expecting_subject(
            stream(1),
            subject(1),
            SubjectExpect::None,
        )
    };
    assert_eq!(seqs(&append_one(log, first(1)).await), [Seq(1)]);
    let current = Current::Subject(stream(1), subject(1), Some(Seq(1)));
    assert_eq!(append_one(log, first(2)).await, Outcome::Conflict(vec![current]));
}

pub async fn subject_exact_needs_the_last_event_about_it(log: &dyn EventLog) {
    let exact = |n, seq| {
        let expect = SubjectExpect::Exact(Seq(seq));
        unit(vec![event(n, stream(1)).about(subject(1))]).expecting_subject(stream(1), subject(1), expect)
    };
    let current =
        |seq: Option<u64>| Outcome::Conflict(vec![Current::Subject(stream(1), subject(1), seq.map(Seq))]);
    assert_eq!(append_one(log, exact(1, 1)).await, current(None));
    append_one(log, unit(vec![event(2, stream(1)).about(subject(2)), event(3, stream(1)).about(subject(1))]))
        .await;
    append_one(log, unit(vec![event(4, stream(1)), event(5, stream(1)).about(subject(2))])).await;
    assert_eq!(append_one(log, exact(6, 4)).await, current(Some(2)));
    assert_eq!(seqs(&append_one(log, exact(7, 2)).await), [Seq(5)]);
    assert_eq!(append_one(log, exact(8, 2)).await, current(Some(5)));
    let any = unit(vec![event(9, stream(1)).about(subject(1))]).expecting_subject(
        stream(1),
        subject(1),
        SubjectExpect::Any,
    );
    assert_eq!(seqs(&append_one(log, any).await), [Seq(6)]);
}

pub async fn a_subject_belongs_to_its_stream(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1)).about(subject(1))])).await;
    let elsewhere = unit(vec![event(2, stream(2)).about(subject(1))]).expecting_subject(
        stream(2),
        subject(1),
        SubjectExpect::None,
    );
    let outcome = append_one(log, elsewhere).await;
    assert_eq!(placed(&outcome)[0].subject_prev, None);
}

pub async fn a_precondition_sees_the_earlier_units_of_its_batch(log: &dyn EventLog) {
    let about = |n| unit(vec![event(n, stream(1)).about(subject(1))]);
    let units = [
        about(1).expecting(stream(1), StreamExpect::None),
        about(2).expecting(stream(1), StreamExpect::None),
        about(3).expecting(stream(1), StreamExpect::Exact(Seq(1))),
        about(4).expecting_subject(stream(1), subject(1), SubjectExpect::Exact(Seq(1))),
        about(5).expecting_subject(stream(1), subject(1), SubjectExpect::Exact(Seq(2))),
    ];
    let outcomes = append(log, &units).await;
    assert_eq!(seqs(&outcomes[0]), [Seq(1)]);
    assert_eq!(outcomes[1], Outcome::Conflict(vec![Current::Stream(stream(1), Some(Seq(1)))]));
    assert_eq!(seqs(&outcomes[2]), [Seq(2)]);
    assert_eq!(outcomes[3], Outcome::Conflict(vec![Current::Subject(stream(1), subject(1), Some(Seq(2)))]));
    assert_eq!(seqs(&outcomes[4]), [Seq(3)]);
}

pub async fn a_precondition_does_not_see_refused_units_of_its_batch(log: &dyn EventLog) {
    let units = [
        unit(vec![event(1, stream(1)).about(subject(1))]).requiring(stream(1), id(99)),
        unit(vec![event(2, stream(1)).about(subject(1))])
            .expecting(stream(1), StreamExpect::None)
            .expecting_subject(stream(1), subject(1), SubjectExpect::None),
    ];
    let outcomes = append(log, &units).await;
    assert_eq!(outcomes[0], Outcome::Missing(vec![id(99)]));
    assert_eq!(seqs(&outcomes[1]), [Seq(1)]);
}

pub async fn a_conflict_names_every_claim_that_failed_in_order(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1)).about(subject(1)), event(2, stream(3))])).await;
    let mut bad = unit(vec![event(3, stream(1)).about(subject(1)), event(4, stream(2)), event(5, stream(3))])
        .expecting(stream(1), StreamExpect::None)
        .expecting(stream(2), StreamExpect::Exists)
        .expecting_subject(stream(1), subject(2), SubjectExpect::Exact(Seq(1)))
        .expecting_subject(stream(1), subject(1), SubjectExpect::None);
    let third = bad.streams.iter_mut().find(|claim| claim.stream == stream(3)).unwrap();
    third.kind = StreamKind::System;
    assert_eq!(
        append_one(log, bad).await,
        Outcome::Conflict(vec![
            Current::Kind(stream(3), StreamKind::Vault),
            Current::Stream(stream(1), Some(Seq(1))),
            Current::Stream(stream(2), None),
            Current::Subject(stream(1), subject(2), None),
            Current::Subject(stream(1), subject(1), Some(Seq(1))),
        ])
    );
}

pub async fn the_event_about_the_subject_before_is_named(log: &dyn EventLog) {
    let about = |n, s| event(n, stream(1)).about(subject(s));
    let units = [
        unit(vec![about(1, 1), about(2, 2), about(3, 1)]),
        unit(vec![about(4, 1), event(5, stream(1)), about(6, 3)]),
    ];
    let mut before = Vec::new();
    for outcome in append(log, &units).await {
        before.extend(placed(&outcome).iter().map(|placed| placed.subject_prev));
    }
    let outcome = append_one(log, unit(vec![about(7, 2), about(8, 3)])).await;
    before.extend(placed(&outcome).iter().map(|placed| placed.subject_prev));
    let seq = |n| Some(Seq(n));
    assert_eq!(before, [None, None, seq(1), seq(3), None, None, seq(2), seq(6)]);
}
