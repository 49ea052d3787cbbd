//! The life of a stream, and the name of the log.

use super::*;
use crate::{Epoch, LogError, Seq, testing::build::*};

pub async fn the_unit_that_creates_a_stream_gives_its_epoch(log: &dyn EventLog) {
    let with = |n, epoch| {
        let mut unit = unit(vec![event(n, stream(1))]);
        unit.streams[0].epoch_if_new = Epoch([epoch; 16]);
        unit
    };
    let refused = with(1, 1).requiring(stream(1), id(99));
    append(log, &[refused, with(2, 2), with(3, 3)]).await;
    append_one(log, with(4, 4)).await;
    let head = head(log, 1).await.unwrap();
    assert_eq!((head.epoch, head.seq), (Epoch([2; 16]), Seq(3)));
}

pub async fn a_renewed_epoch_changes_nothing_else(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1)), event(2, stream(2))])).await;
    let (before, other, events) = (head(log, 1).await.unwrap(), head(log, 2).await, all(log).await);
    log.renew_epoch(stream(1), Epoch([9; 16])).await.unwrap();
    assert_eq!(head(log, 1).await, Some(StreamHead { epoch: Epoch([9; 16]), ..before }));
    assert_eq!(head(log, 2).await, other);
    assert_eq!(all(log).await, events);
    append_one(log, unit(vec![event(3, stream(1))])).await;
    assert_eq!(head(log, 1).await.unwrap().epoch, Epoch([9; 16]));
    assert_sound(log).await;
}

pub async fn a_stream_that_does_not_exist_gets_no_epoch(log: &dyn EventLog) {
    let answer = log.renew_epoch(stream(1), Epoch([9; 16])).await;
    assert!(matches!(answer, Err(LogError::Malformed(_))));
    assert_eq!(head(log, 1).await, None);
}

pub async fn the_log_keeps_its_name(log: &dyn EventLog) {
    let name = log.log_id().await.unwrap();
    append_one(log, unit(vec![event(1, stream(1))])).await;
    assert_eq!(log.log_id().await.unwrap(), name);
}
