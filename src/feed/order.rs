//! The order of batches: what may be applied now, what waits, and whether something is missing. Pure.

use std::{collections::BTreeMap, sync::Arc};

use lockstep_events::Position;

use crate::bus::CommittedBatch;

/// Batches that may wait for an earlier one; more are dropped, for the log has them.
const WAITING: usize = 64;

/// Brings batches into the order of the log, each event exactly once.
#[derive(Debug)]
pub struct Order {
    position: Position,
    known: Position,
    waiting: BTreeMap<Position, Arc<CommittedBatch>>,
}

impl Order {
    /// Nothing after `position` has been applied.
    pub const fn new(position: Position) -> Self {
        Self { position, known: position, waiting: BTreeMap::new() }
    }

    /// Everything up to here has been taken by [`Self::next`].
    pub const fn position(&self) -> Position {
        self.position
    }

    /// A batch has come, from wherever.
    pub fn offer(&mut self, batch: Arc<CommittedBatch>) {
        self.heard(batch.to);
        if batch.to > self.position && !batch.events.is_empty() && self.waiting.len() < WAITING {
            let longest = self.waiting.entry(batch.after).or_insert_with(|| Arc::clone(&batch));
            if longest.to < batch.to {
                *longest = batch;
            }
        }
    }

    /// A batch was read from the log right after [`Self::position`]; there is always room for it.
    pub fn offer_read(&mut self, batch: Arc<CommittedBatch>) {
        self.heard(batch.to);
        self.waiting.insert(batch.after, batch);
    }

    /// The log is known to reach at least so far.
    pub fn heard(&mut self, tail: Position) {
        self.known = self.known.max(tail);
    }

    /// The log has been read to its end: whatever was heard beyond it is not true, or will be heard again.
    pub fn settle(&mut self) {
        self.known = self.waiting.values().map(|batch| batch.to).fold(self.position, Position::max);
    }

    /// The next batch in order, without what has been taken before; none if there is none, or an earlier one is
    /// missing.
    pub fn next(&mut self) -> Option<Arc<CommittedBatch>> {
        while let Some(first) = self.waiting.first_entry().filter(|first| *first.key() <= self.position) {
            let batch = first.remove();
            if batch.to > self.position {
                let rest = self.rest_of(batch);
                self.position = rest.to;
                return Some(rest);
            }
        }
        None
    }

    /// Whether the log reaches further than what can be applied.
    pub fn has_gap(&self) -> bool {
        self.known > self.position
    }

    fn rest_of(&self, batch: Arc<CommittedBatch>) -> Arc<CommittedBatch> {
        if batch.after == self.position {
            return batch;
        }
        let old = batch.events.partition_point(|event| event.position <= self.position);
        let events = batch.events[old..].to_vec();
        Arc::new(CommittedBatch { after: self.position, to: batch.to, events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing::{positions, some_batch};
    use proptest::prelude::*;

    fn applied(order: &mut Order) -> Vec<u64> {
        std::iter::from_fn(|| order.next()).flat_map(|batch| positions(&batch.events)).collect()
    }

    #[test]
    fn a_batch_that_joins_on_is_applied_at_once() {
        let mut order = Order::new(Position(4));
        order.offer(some_batch(4, 6));
        assert_eq!(applied(&mut order), [5, 6]);
        assert!(!order.has_gap());
    }

    #[test]
    fn an_old_batch_is_ignored() {
        let mut order = Order::new(Position(4));
        order.offer(some_batch(2, 4));
        assert_eq!(applied(&mut order), [0_u64; 0]);
        assert!(!order.has_gap());
    }

    #[test]
    fn a_batch_after_a_gap_waits_for_the_one_between() {
        let mut order = Order::new(Position(0));
        order.offer(some_batch(2, 3));
        assert_eq!(applied(&mut order), [0_u64; 0]);
        assert!(order.has_gap());
        order.offer(some_batch(0, 2));
        assert_eq!(applied(&mut order), [1, 2, 3]);
        assert!(!order.has_gap());
    }

    #[test]
    fn positions_without_events_are_a_gap() {
        let mut order = Order::new(Position(0));
        order.offer(Arc::new(CommittedBatch { after: Position(0), to: Position(9), events: Vec::new() }));
        assert!(order.next().is_none() && order.has_gap());
    }

    proptest! {
        #[test]
        fn whatever_is_lost_repeated_or_reordered_no_event_is_applied_twice_or_over_a_gap(
            offers in proptest::collection::vec((0..40_u64, 1..6_u64), 0..60),
        ) {
            let mut order = Order::new(Position(0));
            let mut all = Vec::new();
            for (after, length) in offers {
                order.offer(some_batch(after, after + length));
                all.extend(applied(&mut order));
            }
            prop_assert_eq!(&all, &(1..=all.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(order.position(), Position(all.len() as u64));
        }
    }
}
