//! What a node does by itself about personal data: erasures that are due, what other nodes erased, and data whose
//! time is over. Every node does it.

use std::{collections::HashSet, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    erasure::{self, ErasureError, shred_list::Shred},
    mail::kept,
    state::{Server, Shared},
};

/// Between two looks for erasures that are due.
const ERASURES: Duration = Duration::from_secs(5);
/// Rounds of that between two looks at the log: a minute.
const SCAN: u32 = 12;
/// Rounds of that between two looks for personal data whose time is over.
const HOUR: u32 = 720;

/// Runs until the server stops.
pub async fn run(server: &Shared, stop: &CancellationToken) {
    let mut round = 0_u32;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ERASURES) => {}
        }
        // A step that is broken off is done again whole, by this node or another one.
        tokio::select! {
            () = stop.cancelled() => return,
            outcome = privacy(server, round) => if let Err(error) = outcome {
                tracing::warn!(cause = %error, "personal data cannot be looked after now; it is in a moment");
            }
        }
        round = round.wrapping_add(1);
    }
}

async fn privacy(server: &Server, round: u32) -> Result<(), ErasureError> {
    erasure::run_due(server).await?;
    if round.is_multiple_of(SCAN) {
        let mark = erasure::scan::mark(&server.config.key_path());
        erasure::scan::scan(server, mark).await?;
    }
    if round.is_multiple_of(HOUR) {
        erasure::expire(server).await?;
        // What other nodes put on the list is read first.
        server.shred_list.count()?;
        let erased = server.shred_list.all().into_iter().filter_map(|shred| match shred {
            Shred::Subject { account, .. } => Some(account),
            Shred::Entry { .. } => None,
        });
        let erased: HashSet<_> = erased.collect();
        // Letters that this node wrote, about whom another one erased.
        kept::forget(&server.config.mail_folder(), |account| erased.contains(&account)).await?;
    }
    Ok(())
}
