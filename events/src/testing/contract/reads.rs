//! Reading: pages, filters, order.

use super::*;
use crate::{NewEvent, Seq, StreamKind, testing::build::*};

fn kinded(n: u128, stream_n: u128, kind: &str) -> NewEvent {
    NewEvent { kind: kind.into(), ..event(n, stream(stream_n)) }
}

fn account(mut unit: Unit) -> Unit {
    for claim in &mut unit.streams {
        claim.kind = StreamKind::Account;
    }
    unit
}

async fn filtered(log: &dyn EventLog, after: u64, limit: usize, filter: &Filter) -> Vec<u64> {
    let read = log.read_all(Position(after), limit, filter, Contents::No).await.unwrap();
    read.iter().map(|event| event.position.0).collect()
}

/// Streams 1 (vault) and 2 (account), kinds a, b and c in turn: position n has kind n mod 3.
async fn mixed(log: &dyn EventLog) {
    for n in 1..=12 {
        let unit = unit(vec![kinded(n, 1 + n % 2, ["c", "a", "b"][usize::try_from(n % 3).unwrap()])]);
        append_one(log, if n % 2 == 1 { account(unit) } else { unit }).await;
    }
}

pub async fn the_whole_log_is_read_page_by_page(log: &dyn EventLog) {
    append_one(log, unit((0..25).map(|n| event(n, stream(n % 3))).collect())).await;
    let (mut after, mut read, mut pages) = (0, Vec::new(), 0);
    loop {
        let page = filtered(log, after, 7, &Filter::default()).await;
        let Some(last) = page.last() else { break };
        after = *last;
        read.extend(page);
        pages += 1;
    }
    assert_eq!(read, (1..=25).collect::<Vec<_>>());
    assert_eq!(pages, 4);
}

pub async fn a_filter_by_stream_kind_leaves_the_others_out(log: &dyn EventLog) {
    mixed(log).await;
    let of = |kind| Filter { stream_kind: Some(kind), ..Filter::default() };
    assert_eq!(filtered(log, 0, 100, &of(StreamKind::Account)).await, [1, 3, 5, 7, 9, 11]);
    assert_eq!(filtered(log, 4, 2, &of(StreamKind::Vault)).await, [6, 8]);
    assert!(filtered(log, 0, 100, &of(StreamKind::System)).await.is_empty());
}

pub async fn a_filter_by_kinds_leaves_the_others_out(log: &dyn EventLog) {
    mixed(log).await;
    let of = |kinds: &[&str], stream_kind| Filter {
        stream_kind,
        kinds: kinds.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(filtered(log, 0, 100, &of(&["a"], None)).await, [1, 4, 7, 10]);
    assert_eq!(filtered(log, 1, 3, &of(&["c", "a"], None)).await, [3, 4, 6]);
    assert_eq!(filtered(log, 0, 9, &of(&["a", "b"], Some(StreamKind::Vault))).await, [2, 4, 8, 10]);
    assert!(filtered(log, 0, 100, &of(&["unknown"], None)).await.is_empty());
}

pub async fn a_page_of_zero_is_empty(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1)).about(subject(1))])).await;
    assert!(filtered(log, 0, 0, &Filter::default()).await.is_empty());
    assert!(log.read_stream(stream(1), Seq(0), 0, Contents::No).await.unwrap().is_empty());
    assert!(log.read_subject(stream(1), subject(1), Seq(0), 0).await.unwrap().is_empty());
}

/// A cursor comes from outside and may be any number.
pub async fn a_place_beyond_the_end_reads_nothing(log: &dyn EventLog) {
    append_one(log, unit(vec![event(1, stream(1)).about(subject(1))])).await;
    for beyond in [1, 2, u64::MAX / 2, u64::MAX] {
        assert!(filtered(log, beyond, 10, &Filter::default()).await.is_empty());
        assert!(log.read_stream(stream(1), Seq(beyond), 10, Contents::No).await.unwrap().is_empty());
        assert!(log.read_subject(stream(1), subject(1), Seq(beyond), 10).await.unwrap().is_empty());
    }
    assert_eq!(log.chain_at(stream(1), Seq(u64::MAX)).await.unwrap(), None);
}

pub async fn a_stream_is_read_alone_and_in_order(log: &dyn EventLog) {
    append_one(log, unit((0..30).map(|n| event(n, stream(n % 3))).collect())).await;
    let read = log.read_stream(stream(1), Seq(2), 4, Contents::No).await.unwrap();
    assert!(read.iter().all(|event| event.stream == stream(1)));
    assert_eq!(read.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert_eq!(log.read_stream(stream(1), Seq(0), 100, Contents::No).await.unwrap().len(), 10);
    assert!(log.read_stream(stream(9), Seq(0), 100, Contents::No).await.unwrap().is_empty());
}

pub async fn a_subject_is_read_alone_and_in_order(log: &dyn EventLog) {
    let events = (0..30).map(|n| event(n, stream(n % 2)).about(subject(n % 3)));
    append_one(log, unit(events.collect())).await;
    let read = log.read_subject(stream(0), subject(0), Seq(1), 3).await.unwrap();
    assert!(read.iter().all(|event| event.subject == Some(subject(0)) && event.stream == stream(0)));
    assert_eq!(read.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [4, 7, 10]);
    assert!(log.read_subject(stream(0), subject(9), Seq(0), 9).await.unwrap().is_empty());
}

pub async fn events_are_found_in_the_order_asked(log: &dyn EventLog) {
    append_one(log, unit((0..100).map(|n| event(n, stream(1))).collect())).await;
    let asked: Vec<_> = (0..120).rev().map(id).collect();
    let found = log.find(&asked).await.unwrap();
    let ids: Vec<_> = found.iter().map(|event| event.event_id).collect();
    assert_eq!(ids, asked[20..]);
    assert!(log.find(&[]).await.unwrap().is_empty());
}

pub async fn heads_come_in_the_order_asked(log: &dyn EventLog) {
    append_one(log, unit((0..100).map(|n| event(n, stream(n))).collect())).await;
    let asked: Vec<_> = (0..120).rev().map(stream).collect();
    let heads = log.stream_heads(&asked).await.unwrap();
    assert_eq!(heads.iter().map(|head| head.stream).collect::<Vec<_>>(), asked[20..]);
    assert!(log.stream_heads(&[]).await.unwrap().is_empty());
}

pub async fn the_chain_at_every_seq_is_that_of_its_event(log: &dyn EventLog) {
    append_one(log, unit((0..9).map(|n| event(n, stream(n % 2))).collect())).await;
    for event in all(log).await {
        assert_eq!(log.chain_at(event.stream, event.seq).await.unwrap(), Some(event.chain));
    }
    assert_eq!(log.chain_at(stream(1), Seq(0)).await.unwrap(), Some(Chain::ZERO));
    assert_eq!(log.chain_at(stream(1), Seq(5)).await.unwrap(), None);
}
