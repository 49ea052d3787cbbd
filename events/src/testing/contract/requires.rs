//! Required earlier events: a version's parents.

use super::*;
use crate::{
    Seq,
    log::{Current, StreamExpect},
    testing::build::*,
};

pub async fn a_required_event_that_stands_is_found(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1)), event(2, stream(1))])).await;
    let child = unit(vec![event(3, stream(1))]).requiring(stream(1), id(1)).requiring(stream(1), id(2));
    assert_eq!(seqs(&append_one(log, child).await), [Seq(3)]);
}

pub async fn required_events_that_do_not_stand_are_all_named(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1))])).await;
    let child = unit(vec![event(2, stream(1))])
        .requiring(stream(1), id(8))
        .requiring(stream(1), id(1))
        .requiring(stream(1), id(7));
    assert_eq!(append_one(log, child).await, Outcome::Missing(vec![id(8), id(7)]));
    assert_eq!(all_ids(log).await, [1]);
}

pub async fn a_required_event_may_come_in_the_same_unit(log: &dyn EventLog) {
    let both = unit(vec![event(1, stream(1)), event(2, stream(1))]).requiring(stream(1), id(1));
    assert_eq!(seqs(&append_one(log, both).await), [Seq(1), Seq(2)]);
}

pub async fn a_required_event_may_come_earlier_in_the_batch(log: &dyn EventLog) {
    let units =
        [unit(vec![event(1, stream(1))]), unit(vec![event(2, stream(1))]).requiring(stream(1), id(1))];
    assert_eq!(seqs(&append(log, &units).await[1]), [Seq(2)]);
}

pub async fn a_required_event_later_in_the_batch_does_not_count(log: &dyn EventLog) {
    let units =
        [unit(vec![event(2, stream(1))]).requiring(stream(1), id(1)), unit(vec![event(1, stream(1))])];
    let outcomes = append(log, &units).await;
    assert_eq!(outcomes[0], Outcome::Missing(vec![id(1)]));
    assert_eq!(seqs(&outcomes[1]), [Seq(1)]);
}

pub async fn a_required_event_of_a_refused_unit_is_missing(log: &dyn EventLog) {
    let units = [
        unit(vec![event(1, stream(1))]).expecting(stream(1), StreamExpect::Exists),
        unit(vec![event(2, stream(1))]).requiring(stream(1), id(1)),
    ];
    assert_eq!(append(log, &units).await[1], Outcome::Missing(vec![id(1)]));
    assert!(all(log).await.is_empty());
}

pub async fn a_required_event_in_another_stream_is_missing(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(2))])).await;
    let child = unit(vec![event(2, stream(1)), event(3, stream(2))]).requiring(stream(1), id(1));
    assert_eq!(append_one(log, child.clone()).await, Outcome::Missing(vec![id(1)]));
    let own_but_elsewhere = unit(vec![event(2, stream(1)), event(3, stream(2))]).requiring(stream(1), id(3));
    assert_eq!(append_one(log, own_but_elsewhere).await, Outcome::Missing(vec![id(3)]));
}

pub async fn a_conflict_is_answered_before_missing_events(log: &dyn EventLog) {
    let both_wrong = unit(vec![event(1, stream(1))])
        .expecting(stream(1), StreamExpect::Exists)
        .requiring(stream(1), id(9));
    let conflict = Outcome::Conflict(vec![Current::Stream(stream(1), None)]);
    assert_eq!(append_one(log, both_wrong).await, conflict);
}
