//! The digest of the versions of each vault, at the end of its stream: what devices compare theirs with.
//!
//! Folded from the log and kept in memory for a bounded number of vaults. Whoever asks for the digest at a place that
//! is a page away gets it at once; one that is further away (a large vault, after a restart) is folded in the
//! background, one vault at a time, and given out from the next question on. Nothing here is on the path of a push.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lockstep_events::{
    Chain, Event, EventLog, Recorded, Seq, SetDigest, StreamId, canonical::next_chain, event::VaultEvent,
    log::Contents,
};
use lru::LruCache;
use tokio::sync::Semaphore;

use crate::bounded::bounded;

/// So many vaults, about 100 bytes each.
const KEPT: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const PAGE: usize = 1000;

/// A digest and the place that it belongs to. The chain tells whether the log is still the one it was folded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    seq: Seq,
    chain: Chain,
    digest: SetDigest,
}

impl Known {
    const START: Self = Self { seq: Seq::ZERO, chain: Chain::ZERO, digest: SetDigest::ZERO };

    /// Goes on by the events that follow; none if they do not.
    fn after(mut self, events: &[Recorded]) -> Option<Self> {
        for event in events {
            if event.seq <= self.seq {
                continue;
            }
            if event.seq != self.seq.next() || next_chain(&self.chain, &event.leaf_hash()) != event.chain {
                return None;
            }
            if let Ok(Event::Vault(VaultEvent::VersionAdded(added))) = event.event() {
                self.digest.add(&added.header.version_id());
            }
            (self.seq, self.chain) = (event.seq, event.chain);
        }
        Some(self)
    }
}

/// The digests that this node knows.
pub struct Digests {
    log: Arc<dyn EventLog>,
    kept: Mutex<LruCache<StreamId, Known>>,
    folding: Semaphore,
}

impl Digests {
    /// Nothing is known yet.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, kept: Mutex::new(bounded(KEPT)), folding: Semaphore::new(1) }
    }

    fn kept(&self, stream: StreamId) -> Known {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&stream).copied().unwrap_or(Known::START)
    }

    fn keep(&self, stream: StreamId, known: Known) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(stream, known);
    }

    /// The digest at the end of a page of a vault's stream; `events` are those of the page.
    pub async fn at(
        self: &Arc<Self>,
        stream: StreamId,
        (seq, chain): (Seq, Chain),
        events: &[Recorded],
    ) -> Option<SetDigest> {
        let kept = self.kept(stream);
        let page_is_further = events.first().is_none_or(|first| first.seq > kept.seq.next());
        let mut known = if page_is_further { kept } else { kept.after(events).unwrap_or(Known::START) };
        if known.seq.0 + (PAGE as u64) < seq.0 {
            self.fold_later(stream);
            return None;
        }
        if known.seq < seq {
            known = self.next(stream, known).await.unwrap_or(Known::START);
        }
        if known.seq != kept.seq {
            self.keep(stream, known);
        }
        (known.seq == seq && known.chain == chain).then_some(known.digest)
    }

    /// Goes on by a page that was read for somebody and does not end at the head, if it joins on: nobody reads it for the
    /// digest once more.
    pub fn pass(&self, stream: StreamId, events: &[Recorded]) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        let kept = self.kept(stream);
        let joins = first.seq <= kept.seq.next() && last.seq > kept.seq;
        if joins && let Some(further) = kept.after(events) {
            self.keep(stream, further);
        }
    }

    /// The digest at the end of a vault's stream if it is known. If not, it is the next time.
    pub fn known(self: &Arc<Self>, stream: StreamId, seq: Seq) -> Option<SetDigest> {
        let known = self.kept(stream);
        if known.seq == seq {
            return Some(known.digest);
        }
        self.fold_later(stream);
        None
    }

    async fn next(&self, stream: StreamId, known: Known) -> Option<Known> {
        let events = self.log.read_stream(stream, known.seq, PAGE, Contents::No).await.ok()?;
        known.after(&events)
    }

    fn fold_later(self: &Arc<Self>, stream: StreamId) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            // Somebody is at it: whoever asks again gets it then.
            let Ok(_turn) = this.folding.try_acquire() else { return };
            let (mut known, mut anew) = (this.kept(stream), false);
            loop {
                let before = known.seq;
                known = match this.next(stream, known).await {
                    Some(next) => next,
                    // The log was restored to another past. If it is so again, an event of it is damaged: there is no
                    // digest beyond it.
                    None if before > Seq::ZERO && !anew => {
                        anew = true;
                        Known::START
                    }
                    None => return,
                };
                this.keep(stream, known);
                if known.seq == before {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockstep_events::{Micros, StreamKind, testing::MemoryLog};
    use lockstep_projections::testing::script::{Script, play};
    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;
    use crate::feed::testing::{Flaky, new_event, unit};

    /// The events of a vault with a history, and the digest at its end.
    async fn history() -> (StreamId, Vec<Recorded>, SetDigest) {
        let (log, mut script): (Arc<dyn EventLog>, _) =
            (Arc::new(MemoryLog::new(Uuid::nil())), Script::new(3));
        play(&log, &mut script, 300).await;
        let stream = StreamId::from(script.vaults[0].vault);
        let events = log.read_stream(stream, Seq::ZERO, PAGE, Contents::No).await.unwrap();
        let whole = Known::START.after(&events).unwrap();
        (stream, events, whole.digest)
    }

    #[tokio::test]
    async fn pages_that_are_read_for_somebody_are_not_read_once_more_for_the_digest() {
        let (stream, events, digest) = history().await;
        assert!(events.len() > 20 && digest != SetDigest::ZERO);
        // Its log has nothing to read.
        let digests = Arc::new(Digests::new(Arc::new(MemoryLog::new(Uuid::nil()))));
        for page in events.chunks(7) {
            digests.pass(stream, page);
            digests.pass(stream, &page[..3.min(page.len())]);
        }
        assert_eq!(digests.known(stream, events[events.len() - 1].seq), Some(digest));
    }

    #[tokio::test]
    async fn a_page_that_does_not_join_on_and_one_of_another_past_are_passed_over() {
        let (stream, mut events, _) = history().await;
        let digests = Arc::new(Digests::new(Arc::new(MemoryLog::new(Uuid::nil()))));
        digests.pass(stream, &events[10..]);
        assert_eq!(digests.kept(stream), Known::START);
        digests.pass(stream, &events[..10]);
        events[12].chain = Chain::ZERO;
        digests.pass(stream, &events[8..]);
        assert_eq!(digests.kept(stream).seq, events[9].seq);
    }

    /// Whatever is asked for is folded one after the other.
    #[tokio::test]
    async fn a_damaged_event_behind_the_first_page_of_a_vault_keeps_no_other_vault_waiting() {
        let log = Arc::new(Flaky::new());
        let [damaged, whole] = [7, 8].map(|n| StreamId(Uuid::from_u128(n)));
        let mut units = Vec::new();
        for (stream, events) in [(damaged, 1_500), (whole, 3)] {
            let first = stream.0.as_u128() << 32;
            units.extend((0..events).map(|n| unit(StreamKind::Vault, new_event(stream, first + n))));
        }
        log.append(&units, Micros(1)).await.unwrap();
        log.damage(damaged, Seq(1_200));
        let digests = Arc::new(Digests::new(log));
        assert_eq!(digests.known(damaged, Seq(1_500)), None);
        let other = async {
            while digests.known(whole, Seq(3)).is_none() {
                assert_eq!(digests.known(damaged, Seq(1_500)), None);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), other).await.expect("the other vault is never folded");
    }
}
