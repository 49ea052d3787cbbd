//! An event id is appended at most once, ever.

use super::*;
use crate::{
    Epoch, Hash32, NewEvent, Seq,
    log::{Current, Placed, StreamExpect},
    testing::build::*,
};
use uuid::Uuid;

fn again(placed: &[Placed]) -> Outcome {
    let known = |placed: &Placed| Placed { subject_prev: None, duplicate: true, ..placed.clone() };
    Outcome::Appended(placed.iter().map(known).collect())
}

pub async fn a_retry_is_answered_with_the_original_places(log: &dyn EventLog) {
    let both = unit(vec![event(1, stream(1)).about(subject(1)), event(2, stream(2))]);
    let first = append_one(log, both.clone()).await;
    for _ in 0..3 {
        assert_eq!(append_one(log, both.clone()).await, again(placed(&first)));
    }
    assert_eq!(all_ids(log).await, [1, 2]);
}

pub async fn a_retry_does_not_look_at_preconditions(log: &dyn EventLog) {
    let first = unit(vec![event(1, stream(1)).about(subject(1))])
        .expecting(stream(1), StreamExpect::None)
        .expecting_subject(stream(1), subject(1), crate::log::SubjectExpect::None);
    let outcome = append_one(log, first.clone()).await;
    append_one(log, unit(vec![event(2, stream(1))])).await;
    assert_eq!(append_one(log, first).await, again(placed(&outcome)));
}

pub async fn a_retry_does_not_look_at_required_events(log: &dyn EventLog) {
    let plain = unit(vec![event(1, stream(1))]);
    let outcome = append_one(log, plain.clone()).await;
    let asking = plain.requiring(stream(1), id(99));
    assert_eq!(append_one(log, asking).await, again(placed(&outcome)));
}

pub async fn a_partly_known_unit_appends_only_the_rest(log: &dyn EventLog) {
    append_one(log, unit(vec![event(2, stream(1))])).await;
    let outcome =
        append_one(log, unit(vec![event(1, stream(1)), event(2, stream(1)), event(3, stream(2))])).await;
    let places: Vec<_> =
        placed(&outcome).iter().map(|p| (p.event_id, p.position.0, p.seq.0, p.duplicate)).collect();
    assert_eq!(places, [(id(1), 2, 2, false), (id(2), 1, 1, true), (id(3), 3, 1, false)]);
    assert_sound(log).await;
}

pub async fn a_partly_known_unit_keeps_its_preconditions(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1))])).await;
    let rest = unit(vec![event(1, stream(1)), event(2, stream(1))]).expecting(stream(1), StreamExpect::None);
    let conflict = Outcome::Conflict(vec![Current::Stream(stream(1), Some(Seq(1)))]);
    assert_eq!(append_one(log, rest).await, conflict);
    assert_eq!(all_ids(log).await, [1]);
}

pub async fn a_used_id_with_another_body_is_refused_and_changes_nothing(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1))])).await;
    let before = all(log).await;
    let other =
        unit(vec![event(2, stream(1)), event_with(1, stream(1), "{\"other\":true}"), event(3, stream(1))]);
    assert_eq!(append_one(log, other).await, Outcome::IdReused(id(1)));
    assert_eq!(all(log).await, before);
}

pub async fn a_used_id_in_another_stream_is_refused(log: &dyn EventLog) {
    let fixed = |stream| NewEvent { body_hash: Hash32([7; 32]), ..event(1, stream) };
    append_one(log, unit(vec![fixed(stream(1))])).await;
    assert_eq!(append_one(log, unit(vec![fixed(stream(2))])).await, Outcome::IdReused(id(1)));
    assert_eq!(head(log, 2).await, None);
}

pub async fn the_same_unit_twice_in_a_batch_is_appended_once(log: &dyn EventLog) {
    let one = unit(vec![event(1, stream(1)).about(subject(1))]).expecting(stream(1), StreamExpect::None);
    let outcomes = append(log, &[one.clone(), one.clone(), one]).await;
    assert!(!placed(&outcomes[0])[0].duplicate);
    assert_eq!(outcomes[1], again(placed(&outcomes[0])));
    assert_eq!(outcomes[2], outcomes[1]);
    assert_eq!(all_ids(log).await, [1]);
}

pub async fn a_used_id_with_another_body_in_the_same_batch_is_refused(log: &dyn EventLog) {
    let units = [
        unit(vec![event(1, stream(1))]),
        unit(vec![event_with(1, stream(1), "{}"), event(2, stream(1))]),
        unit(vec![event(3, stream(1))]),
    ];
    let outcomes = append(log, &units).await;
    assert_eq!(outcomes[1], Outcome::IdReused(id(1)));
    assert_eq!(all_ids(log).await, [1, 3]);
}

pub async fn an_id_that_was_refused_may_be_appended_later(log: &dyn EventLog) {
    let early = unit(vec![event(2, stream(1))]).requiring(stream(1), id(1));
    assert!(matches!(append_one(log, early.clone()).await, Outcome::Missing(_)));
    let units = [early.clone(), unit(vec![event(1, stream(1))]), early];
    let outcomes = append(log, &units).await;
    assert!(matches!(outcomes[0], Outcome::Missing(_)));
    assert_eq!(seqs(&outcomes[2]), [Seq(2)]);
    assert!(!placed(&outcomes[2])[0].duplicate);
}

/// The same choice made on two devices is one event, although other fields differ.
pub async fn a_retry_from_another_device_is_the_same_event(log: &dyn EventLog) {
    let choice = |device, public: &str| NewEvent {
        device: Some(Uuid::from_u128(device).into()),
        public: public.into(),
        body_hash: Hash32([9; 32]),
        ..event(1, stream(1))
    };
    let first = append_one(log, unit(vec![choice(1, "{\"signature\":1}")])).await;
    let mut second = unit(vec![choice(2, "{\"signature\":2}")]);
    second.streams[0].epoch_if_new = Epoch([3; 16]);
    assert_eq!(append_one(log, second).await, again(placed(&first)));
    assert_eq!(all(log).await[0].public, "{\"signature\":1}");
}

pub async fn a_retry_after_the_stream_went_on_finds_its_place(log: &dyn EventLog) {
    let units: Vec<_> = (0..50).map(|n| unit(vec![event(n, stream(n % 2))])).collect();
    let first = append(log, &units).await;
    append_one(log, unit(vec![event(99, stream(0))])).await;
    for (n, retried) in append(log, &units).await.iter().enumerate() {
        assert_eq!(*retried, again(placed(&first[n])));
    }
    assert_eq!(log.tail().await.unwrap().position, Position(51));
    assert_sound(log).await;
}
