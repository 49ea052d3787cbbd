//! What a node does by itself from time to time: takes over signing keys, turns them when they are due, deletes what
//! has expired, sweeps blobs that nothing names.

use std::{sync::Arc, time::Duration};

use lockstep_events::{LogError, Micros};
use rand::rngs::OsRng;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{credentials::CredentialError, signing_keys::load_or_turn},
    blobs::sweep,
    commands::rotate_key,
    state::{Server, Shared},
};

/// A revoked key is refused everywhere within a second.
const KEYS: Duration = Duration::from_millis(500);
/// Rounds of the key watch between two sweeps: a minute.
const SWEEP: u32 = 120;
/// A little over what must lie between two sightings of the same unnamed blob.
const BLOBS: Duration = Duration::from_secs(4 * 3600 + 300);
/// Sessions that ended are kept so long, in seconds: 30 days.
const ENDED_KEPT: i64 = 30 * 24 * 3600;

/// Why something was not done; it is tried again.
#[derive(Debug, thiserror::Error)]
enum UpkeepError {
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Runs until the server stops.
pub async fn run(server: Shared, stop: CancellationToken) {
    tokio::join!(credentials(&server, &stop), blobs(&server, &stop));
}

/// Every node sweeps: what the sweep has seen stands in the index with its time, so that many do no more than one.
async fn blobs(server: &Shared, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(BLOBS) => {}
        }
        match sweep(&server.shelf).await {
            Ok(report) => {
                tracing::info!(
                    blobs = report.blobs,
                    objects = report.objects,
                    "swept blobs that nothing names"
                );
            }
            Err(error) => {
                tracing::warn!(cause = %error, "blobs cannot be swept now; they are at the next sweep")
            }
        }
    }
}

async fn credentials(server: &Shared, stop: &CancellationToken) {
    let mut round = 0_u32;
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(KEYS) => {}
        }
        let outcome = keys(server, round == 0).await;
        let outcome =
            if outcome.is_ok() && round.is_multiple_of(SWEEP) { expired(server).await } else { outcome };
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(cause = %error, "keys and expired credentials cannot be looked after at the moment");
        }
        failing = outcome.is_err();
        // A round that failed is done again.
        round = if failing { round } else { round.wrapping_add(1) };
    }
}

/// The first time the current key is announced in any case: the event is the same.
async fn keys(server: &Arc<Server>, first: bool) -> Result<(), UpkeepError> {
    let (set, turned) =
        load_or_turn(&*server.credentials, &server.keys, server.clock.now(), &mut OsRng).await?;
    if turned || first {
        rotate_key::announce(server, &set).await?;
    }
    server.tokens.use_keys(set);
    Ok(())
}

async fn expired(server: &Arc<Server>) -> Result<(), UpkeepError> {
    let now = server.clock.now();
    server.credentials.sweep(now, Micros(now.0 - ENDED_KEPT * 1_000_000)).await?;
    server.limits.sweep(now).await?;
    Ok(())
}
