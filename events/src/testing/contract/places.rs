//! Positions, seqs, times and chains.

use super::*;
use crate::{
    EventId, Seq,
    log::{StreamExpect, Tail},
    testing::build::*,
};
use uuid::Uuid;

pub async fn an_empty_log_has_nothing_and_its_tail_is_zero(log: &dyn EventLog) {
    assert_eq!(log.tail().await.unwrap(), Tail { position: Position(0), recorded_at: Micros(0) });
    assert!(all(log).await.is_empty());
    assert!(log.find(&[id(1)]).await.unwrap().is_empty());
    assert_eq!(log.chain_at(stream(1), Seq(0)).await.unwrap(), Some(Chain::ZERO));
    assert_eq!(log.chain_at(stream(1), Seq(1)).await.unwrap(), None);
    assert_eq!(head(log, 1).await, None);
}

pub async fn positions_and_seqs_count_from_one_without_a_gap(log: &dyn EventLog) {
    for batch in 0..5 {
        let units: Vec<_> = (0..7)
            .map(|n| {
                let n = batch * 10 + n;
                unit(vec![event(n * 2, stream(n % 3)), event(n * 2 + 1, stream((n + 1) % 3))])
            })
            .collect();
        for outcome in append(log, &units).await {
            assert_eq!(placed(&outcome).len(), 2);
        }
    }
    assert_eq!(log.tail().await.unwrap().position, Position(70));
    assert_sound(log).await;
}

pub async fn refused_units_burn_no_number(log: &dyn EventLog) {
    let good = |n| unit(vec![event(n, stream(1))]);
    let bad = |n| unit(vec![event(n, stream(1))]).expecting(stream(1), StreamExpect::Exact(Seq(99)));
    append(log, &[good(1), bad(2), good(3), bad(4)]).await;
    append(log, &[bad(5)]).await;
    append(log, &[bad(6), good(7)]).await;
    assert_eq!(all_ids(log).await, [1, 3, 7]);
    assert_sound(log).await;
}

pub async fn recorded_at_rises_strictly_while_the_clock_stands_still(log: &dyn EventLog) {
    for n in 0..5 {
        let outcome = append_one(log, unit(vec![event(n * 2, stream(1)), event(n * 2 + 1, stream(2))])).await;
        let times: Vec<_> =
            placed(&outcome).iter().map(|p| u128::try_from(p.recorded_at.0).unwrap()).collect();
        assert_eq!(times, [1000 + n * 2, 1001 + n * 2]);
    }
    assert_sound(log).await;
}

pub async fn recorded_at_rises_strictly_when_the_clock_goes_back(log: &dyn EventLog) {
    for (n, now) in [(1, 5000), (2, 10), (3, -7), (4, 5001)] {
        log.append(&[unit(vec![event(n, stream(n))])], Micros(now)).await.unwrap();
    }
    let times: Vec<_> = all(log).await.iter().map(|event| event.recorded_at.0).collect();
    assert_eq!(times, [5000, 5001, 5002, 5003]);
}

pub async fn recorded_at_is_the_clock_when_the_clock_is_ahead(log: &dyn EventLog) {
    for (n, now) in [(1, 10), (2, 1_000_000), (3, 1_763_000_000_000_000)] {
        log.append(&[unit(vec![event(n, stream(1))])], Micros(now)).await.unwrap();
        assert_eq!(log.tail().await.unwrap().recorded_at, Micros(now));
    }
}

pub async fn the_chain_of_every_stream_recomputes_from_its_events(log: &dyn EventLog) {
    let mut units = Vec::new();
    for n in 0..40 {
        let mut event = event(n, stream(n % 4));
        event.subject = (n % 2 == 0).then(|| subject(n));
        event.actor = (n % 3 == 0).then(|| Uuid::from_u128(n).into());
        event.device = (n % 5 == 0).then(|| Uuid::from_u128(n + 7).into());
        units.push(unit(vec![event]));
    }
    append(log, &units[..15]).await;
    append(log, &units[15..]).await;
    assert_sound(log).await;
}

pub async fn an_answer_is_what_a_reader_sees(log: &dyn EventLog) {
    let units: Vec<_> = (0..20).map(|n| unit(vec![event(n, stream(n % 3))])).collect();
    let outcomes = append(log, &units).await;
    let answered = outcomes.iter().flat_map(placed);
    for (answer, event) in answered.zip(all(log).await) {
        assert_eq!(
            (
                answer.event_id,
                answer.position,
                answer.seq,
                answer.recorded_at,
                answer.chain,
                answer.duplicate
            ),
            (event.event_id, event.position, event.seq, event.recorded_at, event.chain, false)
        );
    }
}

pub async fn the_tail_is_the_last_event(log: &dyn EventLog) {
    for n in 1..6 {
        append_one(log, unit(vec![event(n, stream(n))])).await;
        let last = all(log).await.pop().unwrap();
        let tail = log.tail().await.unwrap();
        assert_eq!((tail.position, tail.recorded_at), (last.position, last.recorded_at));
    }
}

pub async fn every_field_is_read_back_as_it_was_appended(log: &dyn EventLog) {
    let full = crate::NewEvent {
        subject: Some(subject(1)),
        kind: "entry.version_added".into(),
        schema: 32767,
        actor: Some(Uuid::from_u128(u128::MAX).into()),
        device: Some(Uuid::from_u128(1).into()),
        correlation: Some(Uuid::from_u128(2)),
        causation: Some(EventId(Uuid::from_u128(3))),
        public: "{ \"b\" : 1.0,\n\t\"a\":\"\\u00e9 é 𝄞 \\\" '; DROP\" , \"a\": 2 }".into(),
        ..event(1, stream(1))
    };
    append_one(log, unit(vec![full.clone(), event(2, stream(1))])).await;
    for (event, sent) in all(log).await.into_iter().zip([full, event(2, stream(1))]) {
        let place = crate::envelope::Place {
            position: event.position,
            seq: event.seq,
            recorded_at: event.recorded_at,
        };
        assert_eq!(event, sent.placed(crate::StreamKind::Vault, place, event.chain));
    }
    assert_sound(log).await;
}

/// A list as long as this goes over the limit of variables in one statement of every database.
pub async fn a_batch_of_thousands_of_events_is_one_append(log: &dyn EventLog) {
    let units: Vec<_> = (0..10)
        .map(|u| {
            unit((0..400).map(|n| event(u * 400 + n, stream(n % 70)).about(subject(u * 400 + n))).collect())
        })
        .collect();
    for outcome in append(log, &units).await {
        assert_eq!(placed(&outcome).len(), 400);
    }
    let ids: Vec<_> = (0..4000).map(id).collect();
    assert_eq!(log.find(&ids).await.unwrap().len(), 4000);
    assert!(append(log, &units).await.iter().flat_map(placed).all(|placed| placed.duplicate));
    assert_sound(log).await;
}
