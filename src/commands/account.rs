//! What account commands look at: the account as it stands, all that was appended before included.

use std::time::Duration;

use lockstep_events::{AccountId, LogError, Position, Seq, roster::Roster};
use lockstep_projections::{Family, ReadError, WaitError, rows::AccountRow};

use crate::{feed::Access, state::Server};

/// Reading what was written takes at most so long.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Waits until the read models of accounts have everything that the log has now. Those of vaults may stand still: who
/// logs in, or revokes a device, does not need them.
///
/// # Errors
/// If the log does not answer, or they do not come that far in time.
pub async fn caught_up(server: &Server) -> Result<(), LookError> {
    family_caught_up(server, Family::Account).await
}

/// The same for the read models of vaults.
///
/// # Errors
/// As [`caught_up`].
pub async fn vaults_caught_up(server: &Server) -> Result<(), LookError> {
    family_caught_up(server, Family::Vault).await
}

async fn family_caught_up(server: &Server, family: Family) -> Result<(), LookError> {
    let tail = server.log.tail().await?;
    Ok(server.progress.wait_for_family(family, tail.position, PATIENCE).await?)
}

/// Waits until what is read of a family has all that this node has heard of: after a start it may be filled still.
/// What stands still, which is told elsewhere, is read as it is.
///
/// # Errors
/// If it does not come that far in time.
pub async fn read_as_heard(server: &Server, family: Family) -> Result<(), LookError> {
    let heard = *server.feed.position().borrow();
    match server.progress.wait_for_family(family, heard, PATIENCE).await {
        Err(WaitError::Stopped { .. }) => Ok(()),
        waited => Ok(waited?),
    }
}

/// Waits until what was appended has effect on this node: queries see it, and whom it revokes is refused.
///
/// It does not fail: what was appended stands, and has effect a moment later. Read models that stand still, which is
/// told elsewhere, keep nobody from waiting for the rest.
pub async fn in_effect(server: &Server, position: Position) {
    let seen = |family| server.progress.wait_for_family(family, position, PATIENCE);
    let (heard, accounts, vaults) =
        tokio::join!(heard(server, position), seen(Family::Account), seen(Family::Vault));
    let slow = |seen| matches!(seen, Err(WaitError::Timeout { .. } | WaitError::Ended));
    if heard.is_err() || slow(accounts) || slow(vaults) {
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
