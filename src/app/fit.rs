//! Whether what a server is started with belongs together. A part that was put back without the others, or not at all,
//! is noticed before anything is made anew in its place.

use lockstep_events::{Micros, Position};
use lockstep_projections::Family;

use super::{
    StartError,
    ports::{self, Databases, Ports},
};
use crate::config::Config;

/// Before a store is opened, as opening makes it: a file that is gone though the log has events. An empty file in its
/// place is the word of whoever runs the server that it is gone for good.
///
/// # Errors
/// [`StartError::LostFile`], or what the log does not answer.
pub async fn nothing_lost(config: &Config) -> Result<(), StartError> {
    let Some(lost) = ports::files(config).into_iter().find(|file| !file.exists()) else { return Ok(()) };
    if Config::is_sqlite(&config.log) && !ports::log_file(config).exists() {
        return Ok(());
    }
    let log = ports::log(config, &mut Databases::new(config)).await?;
    if log.tail().await?.position == Position::ZERO { Ok(()) } else { Err(StartError::LostFile(lost)) }
}

/// Looks at the log, the read models and the key file.
///
/// # Errors
/// [`StartError::LostKeys`], [`StartError::Ahead`], or what a store does not answer.
pub async fn check(config: &Config, ports: &Ports, now: Micros) -> Result<(), StartError> {
    // Before the log: other nodes go on with both meanwhile.
    let mut reads = Position::ZERO;
    for family in Family::ALL {
        reads = reads.max(ports.reads.checkpoint_of(family).await?.position);
    }
    let tail = ports.log.tail().await?;
    if let Some(ms) = ahead_ms(tail.recorded_at, now) {
        tracing::warn!(
            ms,
            "the clock is behind the last event of the log: until it has caught up, all events carry that event's time"
        );
    }
    let log = tail.position;
    if log.0 > 0 && !config.key_path().exists() {
        return Err(StartError::LostKeys(config.key_path()));
    }
    if reads > log { Err(StartError::Ahead { reads: reads.0, log: log.0 }) } else { Ok(()) }
}

/// By how much a time of the log is ahead of the clock, if by more than clocks of several nodes differ.
fn ahead_ms(recorded_at: Micros, now: Micros) -> Option<i64> {
    const APART_MS: i64 = 10_000;
    Some((recorded_at.0 - now.0) / 1000).filter(|ahead| *ahead > APART_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_the_log_is_told_and_one_of_another_node_is_not() {
        let now = Micros(1_000_000_000_000);
        assert_eq!(ahead_ms(now.plus_seconds(172_800), now), Some(172_800_000));
        assert_eq!(ahead_ms(now.plus_seconds(5), now), None);
        assert_eq!(ahead_ms(Micros(0), now), None);
    }
}
