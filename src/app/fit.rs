//! Whether what a server is started with belongs together. A part that was put back without the others, or not at all,
//! is noticed before anything is made anew in its place.

use lockstep_events::Position;
use lockstep_projections::Family;

use super::{StartError, ports::Ports};
use crate::config::Config;

/// Looks at the log, the read models and the key file.
///
/// # Errors
/// [`StartError::LostKeys`], [`StartError::Ahead`], or what a store does not answer.
pub async fn check(config: &Config, ports: &Ports) -> Result<(), StartError> {
    // Before the log: other nodes go on with both meanwhile.
    let mut reads = Position::ZERO;
    for family in Family::ALL {
        reads = reads.max(ports.reads.checkpoint_of(family).await?.position);
    }
    let log = ports.log.tail().await?.position;
    if log.0 > 0 && !config.key_path().exists() {
        return Err(StartError::LostKeys(config.key_path()));
    }
    if reads > log { Err(StartError::Ahead { reads: reads.0, log: log.0 }) } else { Ok(()) }
}
