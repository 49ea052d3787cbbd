//! What account commands look at: the account as it stands, all that was appended before included.

use std::time::Duration;

use lockstep_events::{AccountId, LogError, Position, Seq, roster::Roster};
use lockstep_projections::{ReadError, WaitError, rows::AccountRow};

use crate::{feed::Access, state::Server};

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

/// Whether an access has not ended, by all that was appended before this call.
///
/// # Errors
/// [`LookError`]
pub async fn stands(server: &Server, access: &Access) -> Result<bool, LookError> {
    heard(server, server.log.tail().await?.position).await?;
    Ok(!server.feed.revocations.refuses(access))
}

/// The place of an account's last event. Whoever looks at the account after that, and appends right behind this place,
/// knows that nothing came in between.
///
/// # Errors
/// If the log does not answer.
pub async fn last_seq(server: &Server, account: AccountId) -> Result<Seq, LogError> {
    Ok(server.log.stream_heads(&[account.into()]).await?.first().map(|head| head.seq).unwrap_or_default())
}

/// An account with everything that was appended before this call; none if it does not exist.
///
/// # Errors
/// [`LookError`]
pub async fn present(server: &Server, account: AccountId) -> Result<Option<AccountRow>, LookError> {
    caught_up(server).await?;
    Ok(server.reads.account(account).await?.filter(|row| row.erased_at.is_none()))
}

/// The fold of an account's statements. Every one was checked when it was taken.
///
/// # Errors
/// If they do not follow each other, which only a damaged log brings about.
pub fn roster(row: &AccountRow) -> Result<Roster, LookError> {
    Roster::fold(&row.roster).map_err(|_| LookError::Damaged)
}
