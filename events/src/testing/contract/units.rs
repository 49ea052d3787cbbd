//! Units: all or nothing, each for itself.

use super::*;
use crate::{
    BlobHash, Hash32, LogError, Seq,
    canonical::sha256,
    envelope::Content,
    log::{Current, StreamExpect},
    testing::build::*,
};

pub async fn a_unit_over_several_streams_is_appended_as_a_whole(log: &dyn EventLog) {
    let many = unit((1..=4).map(|n| event(n, stream(n))).collect());
    let outcome = append_one(log, many).await;
    assert_eq!(seqs(&outcome), [Seq(1); 4]);
    assert_eq!(all_ids(log).await, [1, 2, 3, 4]);
}

pub async fn a_refused_unit_leaves_nothing_behind(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1))])).await;
    let before = (all(log).await, head(log, 1).await, log.tail().await.unwrap());
    let refused = unit(vec![
        event(2, stream(1)).about(subject(1)).with_content(b"never"),
        event(3, stream(2)).with_content(b"ever"),
    ])
    .expecting(stream(1), StreamExpect::None);
    assert!(matches!(append_one(log, refused).await, Outcome::Conflict(_)));
    assert_eq!((all(log).await, head(log, 1).await, log.tail().await.unwrap()), before);
    assert_eq!(head(log, 2).await, None);
    assert!(log.find(&[id(2), id(3)]).await.unwrap().is_empty());
    assert!(log.contents(stream(1), &[BlobHash(sha256(b"never"))]).await.unwrap().is_empty());
    assert!(log.contents(stream(2), &[BlobHash(sha256(b"ever"))]).await.unwrap().is_empty());
}

pub async fn a_refused_unit_refuses_only_itself(log: &dyn EventLog) {
    let units = [
        unit(vec![event(1, stream(1))]),
        unit(vec![event(2, stream(1))]).expecting(stream(1), StreamExpect::None),
        unit(vec![event(3, stream(1))]).requiring(stream(1), id(99)),
        unit(vec![event(4, stream(1))]).expecting(stream(1), StreamExpect::Exact(Seq(1))),
    ];
    let outcomes = append(log, &units).await;
    assert_eq!(seqs(&outcomes[0]), [Seq(1)]);
    assert_eq!(outcomes[1], Outcome::Conflict(vec![Current::Stream(stream(1), Some(Seq(1)))]));
    assert_eq!(outcomes[2], Outcome::Missing(vec![id(99)]));
    assert_eq!(seqs(&outcomes[3]), [Seq(2)]);
    assert_sound(log).await;
}

pub async fn outcomes_come_in_the_order_of_the_units(log: &dyn EventLog) {
    let units: Vec<_> = (0..30)
        .map(|n| {
            let unit = unit(vec![event(n, stream(0))]);
            if n % 3 == 1 { unit.expecting(stream(0), StreamExpect::None) } else { unit }
        })
        .collect();
    for (n, outcome) in append(log, &units).await.iter().enumerate() {
        match outcome {
            Outcome::Appended(placed) => assert_eq!(placed[0].event_id, id(n as u128)),
            refused => assert!(n % 3 == 1, "{n}: {refused:?}"),
        }
    }
}

pub async fn an_empty_batch_appends_nothing(log: &dyn EventLog) {
    assert!(append(log, &[]).await.is_empty());
    assert_eq!(log.tail().await.unwrap().position, Position(0));
}

pub async fn a_malformed_unit_fails_the_call_and_nothing_is_appended(log: &dyn EventLog) {
    let one = || event(1, stream(1));
    let content = |hash, bytes| Some(Content { hash, bytes });
    let malformed = [
        Unit::default(),
        Unit { streams: Vec::new(), ..unit(vec![one()]) },
        Unit { streams: vec![any(stream(1)), any(stream(1))], ..unit(vec![one()]) },
        unit(vec![one(), one()]),
        unit(vec![crate::NewEvent { public: "a\0b".into(), ..one() }]),
        unit(vec![crate::NewEvent { kind: "\0".into(), ..one() }]),
        unit(vec![crate::NewEvent { schema: 32768, ..one() }]),
        unit(vec![crate::NewEvent { content: content(BlobHash::ZERO, vec![1]), ..one() }]),
        unit(vec![one().with_content(&vec![0; 16 * 1024 + 1])]),
    ];
    let good = unit(vec![event(2, stream(2))]);
    for bad in malformed {
        let answer = log.append(&[good.clone(), bad.clone()], Micros(1000)).await;
        assert!(matches!(answer, Err(LogError::Malformed(_))), "{bad:?} was taken: {answer:?}");
    }
    assert!(all(log).await.is_empty());
}

pub async fn a_unit_of_512_events_is_appended_and_one_of_513_is_not(log: &dyn EventLog) {
    let events = |n| unit((0..n).map(|n| event(n, stream(1))).collect());
    assert!(matches!(log.append(&[events(513)], Micros(1)).await, Err(LogError::Malformed(_))));
    assert_eq!(placed(&append_one(log, events(512)).await).len(), 512);
    let reused = unit(vec![crate::NewEvent { body_hash: Hash32::ZERO, ..event(511, stream(1)) }]);
    assert_eq!(append_one(log, reused).await, Outcome::IdReused(id(511)));
}
