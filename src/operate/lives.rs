//! What follows from a backup that was put back: every stream begins another life.
//!
//! Places that were given out after the backup may name other events by now. A device that knows such a place could not
//! tell that from a forged history; told of another life it looks for the last common place and offers again what is
//! missing after it.

use lockstep_events::{
    Epoch, EventLog, LogError, Position,
    log::{Contents, Filter},
};
use uuid::Uuid;

/// Events that are read at once.
const PAGE: usize = 500;
/// What a stream that devices follow begins with.
const BEGINNINGS: [&str; 2] = ["account.created", "vault.created"];

/// Begins another life of every account and vault; how many streams that were. May be repeated.
///
/// # Errors
/// If the log does not answer; then some have begun one, which is no harm.
pub async fn renew(log: &dyn EventLog) -> Result<u64, LogError> {
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
            None => return Ok(renewed),
        }
    }
}
