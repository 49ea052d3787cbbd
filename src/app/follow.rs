//! Keeps the read models at the end of the log.

use std::{sync::Arc, time::Duration};

use lockstep_projections::Runner;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::bus::CommittedBatch;

/// Folds every batch as the feed hands it over, and reads the log where it fell behind or something failed.
pub async fn follow(
    mut runner: Runner,
    mut news: Receiver<Arc<CommittedBatch>>,
    retry: Duration,
    stop: CancellationToken,
) {
    let mut behind = true;
    loop {
        let outcome = if behind {
            runner.catch_up().await
        } else {
            tokio::select! {
                () = stop.cancelled() => return,
                batch = news.recv() => match batch {
                    Ok(batch) => runner.apply(&batch.events).await,
                    Err(RecvError::Lagged(_)) => runner.catch_up().await,
                    Err(RecvError::Closed) => return,
                },
            }
        };
        behind = outcome.is_err();
        if let Err(error) = outcome {
            tracing::warn!(cause = %error, "the read models cannot follow the log at the moment");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(retry) => {}
            }
        }
    }
}
