//! The beginning of an erasure: an event, appended at exactly the state in which the erasure is due.
//!
//! Whoever calls an erasure off appends at exactly that state, too. However long one of the two is on its way, and whatever
//! the clocks of two nodes say, only one of them stands: nothing is destroyed of somebody who was told that it is called off.

use lockstep_events::{
    AccountId, Micros,
    event::{AccountEvent, ErasureBegun},
};

use super::{
    erase::{Desk, EraseError, Erasure, ErasureState, GRACE_S, append, event_of},
    facts::derived,
};

/// Rounds against others who ask, call off or begin at the same moment.
const ROUNDS: usize = 32;

/// Begins an erasure if it is due, and says where it stands: only of [`ErasureState::Begun`] anything may be destroyed.
///
/// # Errors
/// If the log does not answer. It may have begun: whoever tries again is told so.
pub async fn begin(desk: &Desk, account: AccountId, now: Micros) -> Result<ErasureState, EraseError> {
    for _ in 0..ROUNDS {
        let found = Erasure::of(&*desk.log, account).await?;
        match found.state {
            ErasureState::Due(due) if now >= due.plus_seconds(GRACE_S) => {}
            state => return Ok(state),
        }
        let id = derived("lockstep/v1/erasure-begun", &[account.as_bytes(), &found.last.0.to_be_bytes()]);
        let event = event_of(None, account, id, AccountEvent::ErasureBegun(ErasureBegun { account }))?;
        append(desk, account, event, found.expect()).await?;
    }
    Err(EraseError::Contended)
}
