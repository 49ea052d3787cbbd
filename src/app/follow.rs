//! Keeps the read models at the end of the log.

use std::{sync::Arc, time::Duration};

use lockstep_projections::Runner;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bus::CommittedBatch;

/// Folds every batch as it comes, and looks at the log from time to time for those that did not come.
pub async fn follow(
    mut runner: Runner,
    mut news: mpsc::Receiver<Arc<CommittedBatch>>,
    poll: Duration,
    stop: CancellationToken,
) {
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            Some(batch) = news.recv() => runner.apply(&batch.events).await,
            () = tokio::time::sleep(poll) => runner.catch_up().await,
        };
        if let Err(error) = outcome {
            tracing::warn!(cause = %error, "the read models cannot follow the log at the moment");
            tokio::time::sleep(poll).await;
        }
    }
}
