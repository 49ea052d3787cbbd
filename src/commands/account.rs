//! What account commands look at: the account as it stands, all that was appended before included.

use std::time::Duration;

use lockstep_events::{AccountId, LogError, Position, roster::Roster};
use lockstep_projections::{ReadError, WaitError, rows::AccountRow};

use crate::state::Server;

/// Reading what was written takes at most so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why an account could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The read models did not answer.
    #[error(transparent)]
    Reads(#[from] ReadError),
    /// The read models are too far behind.
    #[error(transparent)]
    Behind(#[from] WaitError),
    /// The stored roster does not follow itself: the log was tampered with.
    #[error("the stored roster of an account is damaged")]
    Damaged,
}

/// Waits until the read models have everything that the log has now.
///
/// # Errors
/// If the log does not answer, or they do not come that far in time.
pub async fn caught_up(server: &Server) -> Result<(), LookError> {
    let tail = server.log.tail().await?;
    Ok(server.progress.wait_for(tail.position, PATIENCE).await?)
}

/// Waits until what was appended has effect on this node: queries see it, and whom it revokes is refused.
///
/// It does not fail: what was appended stands, and has effect a moment later.
pub async fn in_effect(server: &Server, position: Position) {
    let seen = async { Ok(server.progress.wait_for(position, PATIENCE).await?) };
    if tokio::try_join!(heard(server, position), seen).is_err() {
        tracing::warn!(position = position.0, "this node is slow to see what it appended");
    }
}

/// Waits until this node knows of all ends of access that stand before a position.
///
/// # Errors
/// If it does not come that far in time.
pub async fn heard(server: &Server, position: Position) -> Result<(), LookError> {
    let mut followed = server.feed.position();
    let heard = followed.wait_for(|at| *at >= position);
    match tokio::time::timeout(PATIENCE, heard).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(WaitError::Timeout { wanted: position, reached: *server.feed.position().borrow() }.into()),
    }
}

/// An account with everything that was appended before this call; none if it does not exist.
///
/// # Errors
/// [`LookError`]
pub async fn present(server: &Server, account: AccountId) -> Result<Option<AccountRow>, LookError> {
    caught_up(server).await?;
    Ok(server.reads.account(account).await?.filter(|row| row.erased_at.is_none()))
}

/// The fold of an account's statements.
///
/// # Errors
/// If they do not follow each other, which only a damaged log brings about.
pub fn roster(row: &AccountRow) -> Result<Roster, LookError> {
    let (first, rest) = row.roster.split_first().ok_or(LookError::Damaged)?;
    let mut roster = Roster::start(first).map_err(|_| LookError::Damaged)?;
    for statement in rest {
        roster.apply(statement).map_err(|_| LookError::Damaged)?;
    }
    Ok(roster)
}
