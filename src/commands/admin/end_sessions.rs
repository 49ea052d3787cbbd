//! Ending all sessions of an account. Its owner logs in again.

use lockstep_events::{Outcome, Unit, event::RevokeReason};
use uuid::Uuid;

use super::act::{Act, AdminError, Done};
use crate::commands::{account::in_effect, end_access::EndAccess, facts::existing_account};

/// Ends all sessions of the account of the act.
///
/// # Errors
/// [`AdminError`]
pub async fn end_sessions(act: &Act<'_>) -> Result<Done, AdminError> {
    act.checked()?;
    act.erasure().await?;
    let ends = EndAccess {
        account: act.account,
        reason: RevokeReason::Admin,
        keep: None,
        actor: Some(act.by),
        cause: Uuid::new_v4().as_bytes().to_vec(),
        at: act.server.clock.now(),
    };
    let events = vec![act.sealed(ends.event()?).await?];
    let unit = Unit { streams: vec![existing_account(act.account)], events, ..Unit::default() };
    let Outcome::Appended(placed) = act.server.batcher.append(unit).await? else {
        return Err(AdminError::NoAccount);
    };
    ends.settle(act.server).await?;
    let position = placed.iter().map(|placed| placed.position).max().unwrap_or_default();
    in_effect(act.server, position).await;
    Ok(Done::at(position))
}
