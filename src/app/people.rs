//! What a node does by itself about personal data: erasures that are due, what other nodes erased, and data whose
//! time is over. Every node does it.

use std::{collections::HashSet, time::Duration};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    erasure::{self, ErasureError, shred_list::Shred},
    mail::kept,
    private_file,
    state::{Server, Shared},
};

/// Between two looks for erasures that are due.
const ERASURES: Duration = Duration::from_secs(5);
/// Rounds of that between two looks at the log: a minute.
const SCAN: u32 = 12;
/// Rounds of that between two looks for personal data whose time is over.
const HOUR: u32 = 720;
/// Nothing of it takes longer: then another node may have taken it over.
const PATIENCE: Duration = Duration::from_mins(10);

/// Runs until the server stops.
pub async fn run(server: &Shared, stop: &CancellationToken) {
    let (mut round, mut failing) = (0_u32, false);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ERASURES) => {}
        }
        // A step that is broken off is done again whole, by this node or another one.
        tokio::select! {
            () = stop.cancelled() => return,
            outcome = privacy(server, round) => {
                if let Err(error) = &outcome
                    && !failing
                {
                    tracing::warn!(cause = %error, "personal data cannot be looked after now; it is tried again");
                }
                failing = outcome.is_err();
            }
        }
        round = round.wrapping_add(1);
    }
}

/// One round of it. Each by itself: one that cannot go on keeps none of the others waiting.
///
/// # Errors
/// The first.
pub async fn privacy(server: &Server, round: u32) -> Result<(), ErasureError> {
    // By a clock that is far off nobody's time is over.
    let sure_time = server.sure_time().await;
    let is_time_known = matches!(sure_time, Ok(Some(_)));
    let mut outcome = sure_time.map(drop).map_err(ErasureError::from);
    if is_time_known {
        outcome = within(erasure::run_due(server)).await.map(drop);
    }
    if round.is_multiple_of(SCAN) {
        let mark = erasure::scan::mark(&server.config.key_path());
        outcome = outcome.and(within(erasure::scan::scan(server, mark)).await);
    }
    if round.is_multiple_of(HOUR) {
        if is_time_known {
            outcome = outcome.and(within(erasure::expire(server)).await);
        }
        outcome = outcome.and(forget_letters(server).await);
        private_file::sweep(&server.config.key_path());
    }
    outcome
}

/// Ends what a database left without an answer for good. All of it may be done again.
async fn within<T>(work: impl Future<Output = Result<T, ErasureError>>) -> Result<T, ErasureError> {
    timeout(PATIENCE, work).await?
}

/// Letters that this node wrote, about whom another one erased.
async fn forget_letters(server: &Server) -> Result<(), ErasureError> {
    // What other nodes put on the list is read first.
    server.shred_list.count()?;
    let erased = server.shred_list.all().into_iter().filter_map(|shred| match shred {
        Shred::Subject { account, .. } => Some(account),
        Shred::Entry { .. } => None,
    });
    let erased: HashSet<_> = erased.collect();
    kept::forget(&server.config.mail_folder(), |account| erased.contains(&account)).await?;
    Ok(())
}
