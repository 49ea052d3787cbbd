//! What follows from a backup that was put back: every stream begins another life.
//!
//! Places that were given out after the backup may name other events by now. A device that knows such a place could not
//! tell that from a forged history; told of another life it looks for the last common place and offers again what is
//! missing after it.
//!
//! Each node notices the restore by itself when it starts, and one of them renews. When that was stands in the log, as a
//! restore takes it back together with the rest: in the life of the server's own stream, which no device follows.

use std::time::Duration;

use lockstep_events::{
    Clock, Epoch, EventLog, LogError, Micros, Position, StreamId,
    log::{Contents, Filter},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Events that are read at once.
const PAGE: usize = 500;
/// What a stream that devices follow begins with.
const BEGINNINGS: [&str; 2] = ["account.created", "vault.created"];
/// Nodes that start within so long of a renewal start after the same restore. A later one renews once more: it may have
/// slept through a restore, and what it finds may be from before another one.
const TOGETHER: Duration = Duration::from_mins(10);
/// By so much the clocks of nodes may differ.
const APART: Duration = Duration::from_mins(1);

/// When all streams of a log began another life the last time, in milliseconds; 0 if they never did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Renewed(u64);

impl Renewed {
    fn at(now: Micros) -> Self {
        Self(u64::try_from(now.0 / 1000).unwrap_or(0))
    }

    /// The time in 48 bits, and what is random.
    fn epoch(self) -> Epoch {
        let mut bytes = *Uuid::new_v4().as_bytes();
        bytes[..6].copy_from_slice(&self.0.to_be_bytes()[2..]);
        Epoch(bytes)
    }

    fn of(epoch: Epoch) -> Self {
        Self(epoch.0[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte)))
    }

    /// Whether it was done for a restore that a node notices now which knew of the renewal `known` when it last ran.
    fn is_for_this(self, known: Self, now: Self) -> bool {
        // What was random, as the first life of a stream is, lies in the future, near enough always.
        let is_time = |of: Self| of.0 <= now.0 + millis(APART);
        let is_news = self > known || !is_time(known);
        is_news && is_time(self) && now.0 <= self.0 + millis(TOGETHER)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the log says about its last renewal. A stream that never was renewed says any time.
///
/// # Errors
/// If the log does not answer.
pub async fn last(log: &dyn EventLog) -> Result<Renewed, LogError> {
    let heads = log.stream_heads(&[StreamId::SYSTEM]).await?;
    Ok(heads.first().map_or_else(Renewed::default, |head| Renewed::of(head.epoch)))
}

/// Begins another life of every account and vault, unless another node has done so for the same restore; how many streams
/// that were. One that comes meanwhile waits: nobody may serve in between.
///
/// # Errors
/// If the log does not answer; then some have begun one, which is no harm.
pub async fn renew_once(
    log: &dyn EventLog,
    known: Renewed,
    clock: &dyn Clock,
) -> Result<Option<u64>, LogError> {
    let _turn = log.turn_to_renew().await?;
    if last(log).await?.is_for_this(known, Renewed::at(clock.now())) {
        return Ok(None);
    }
    renew(log, clock).await.map(Some)
}

/// Begins another life of every account and vault; how many streams that were. May be repeated.
///
/// # Errors
/// As [`renew_once`].
pub async fn renew(log: &dyn EventLog, clock: &dyn Clock) -> Result<u64, LogError> {
    let filter = Filter { stream_kind: None, kinds: BEGINNINGS.map(str::to_owned).to_vec() };
    let (mut after, mut renewed) = (Position::ZERO, 0);
    loop {
        let page = log.read_all(after, PAGE, &filter, Contents::No).await?;
        for recorded in &page {
            log.renew_epoch(recorded.stream, Epoch(*Uuid::new_v4().as_bytes())).await?;
            renewed += 1;
        }
        match page.last() {
            Some(last) => after = last.position,
            None => break,
        }
    }
    // Last of all: whoever finds it need do nothing more.
    if !log.stream_heads(&[StreamId::SYSTEM]).await?.is_empty() {
        log.renew_epoch(StreamId::SYSTEM, Renewed::at(clock.now()).epoch()).await?;
    }
    Ok(renewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_says_when_it_was_and_is_no_other_one() {
        let at = Renewed::at(Micros(1_763_800_000_123_456));
        assert_eq!(Renewed::of(at.epoch()), at);
        assert_ne!(at.epoch(), at.epoch());
    }

    #[test]
    fn only_a_renewal_of_a_moment_ago_that_a_node_did_not_know_is_for_the_restore_that_it_notices() {
        let (before, now) = (Renewed(1_000_000_000), Renewed(2_000_000_000));
        let ago = |ms: u64| Renewed(now.0 - ms);
        assert!(ago(0).is_for_this(before, now) && ago(600_000).is_for_this(before, now));
        assert!(Renewed(now.0 + 60_000).is_for_this(before, now), "by another clock");
        assert!(!ago(600_001).is_for_this(before, now), "of an earlier restore, for all that can be known");
        assert!(!ago(5).is_for_this(ago(5), now), "its own: the log was restored since");
        assert!(!ago(9).is_for_this(ago(5), now), "the log was restored to before the last one");
        assert!(!Renewed(now.0 + 60_001).is_for_this(before, now), "what was random and never a time");
        assert!(ago(5).is_for_this(Renewed(now.0 + 60_001), now), "nothing was known but what was random");
        assert!(!Renewed::default().is_for_this(Renewed::default(), now));
    }
}
