//! What a node does by itself from time to time: takes over signing keys, turns them when they are due, deletes what
//! has expired, prunes old versions, sweeps blobs that nothing names, keeps what devices were served, asks the blob
//! store whether it answers.

use std::{
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use lockstep_events::{LogError, Micros};
use rand::rngs::OsRng;
use tokio_util::sync::CancellationToken;

use super::people;
use crate::{
    auth::{credentials::CredentialError, signing_keys::load_or_turn},
    blobs::{BlobError, sweep},
    commands::rotate_key,
    retention::{RetentionError, prune},
    state::{Server, Shared},
};

/// A revoked key is refused everywhere within a second.
const KEYS: Duration = Duration::from_millis(500);
/// Rounds of the key watch between two sweeps: a minute.
const SWEEP: u32 = 120;
/// How often it is looked whether it is time for what follows.
const LOOK: Duration = Duration::from_mins(1);
/// Blobs are swept every so many seconds: a little over what must lie between two sightings of an unnamed one.
const SWEEP_S: i64 = 4 * 3600 + 300;
/// Old versions are pruned once a day.
const PRUNE_S: i64 = 24 * 3600;
/// Between two rounds in which it is kept what devices were served.
const SERVED: Duration = Duration::from_secs(2);
/// Places that are kept in one round: a busy node writes no more than a thousand rows a second for it.
const PLACES: usize = 2_000;
/// The last round of a node that stops may take so long.
const LAST_ROUND: Duration = Duration::from_secs(3);
/// Between two sweeps of places that nobody was served for long.
const PLACES_SWEPT: Duration = Duration::from_hours(24);
/// A place is kept so long, in seconds: 180 days.
const PLACES_KEPT_S: i64 = 180 * 24 * 3600;
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

#[derive(Debug, thiserror::Error)]
enum StoresError {
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Retention(#[from] RetentionError),
    #[error("unfinished uploads cannot be read")]
    Uploads(#[from] std::io::Error),
}

/// Runs until the server stops.
pub async fn run(server: Shared, stop: CancellationToken) {
    tokio::join!(
        credentials(&server, &stop),
        blobs(&server, &stop),
        served(&server, &stop),
        server.blob_watch.run(&stop),
        people::run(&server, &stop)
    );
}

/// Written behind, and once more at the end. What does not get there costs a branch at most.
async fn served(server: &Shared, stop: &CancellationToken) {
    let mut swept = Instant::now();
    let mut failing = false;
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SERVED) => {}
        }
        let round = async {
            let at_most = if stop.is_cancelled() { usize::MAX } else { PLACES };
            let now = server.clock.now();
            server.served.keep(now, at_most).await?;
            if swept.elapsed() > PLACES_SWEPT {
                swept = Instant::now();
                server.served.forget_before(Micros(now.0 - PLACES_KEPT_S * 1_000_000)).await?;
            }
            Ok::<_, CredentialError>(())
        };
        let outcome = tokio::select! {
            outcome = round => outcome,
            () = async { stop.cancelled().await; tokio::time::sleep(LAST_ROUND).await } => return,
        };
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(cause = %error, "it is not kept at the moment what devices were served");
        }
        failing = outcome.is_err();
    }
}

async fn blobs(server: &Shared, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            outcome = stores(server) => if let Err(error) = outcome {
                tracing::warn!(cause = %error, "blobs cannot be looked after now; it is tried again");
            }
        }
    }
}

/// One node does it for all. Whoever took the turn and failed leaves it to the next one: nothing is lost by waiting.
async fn stores(server: &Shared) -> Result<(), StoresError> {
    let (index, now) = (&server.shelf.index, server.clock.now());
    server.uploads.sweep(UNIX_EPOCH + Duration::from_micros(now.0.unsigned_abs())).await?;
    if index.take_turn("prune", now.plus_seconds(-PRUNE_S), now).await? {
        let report = prune(server).await?;
        tracing::info!(entries = report.entries, versions = report.versions, "pruned old versions");
    }
    if index.take_turn("sweep", now.plus_seconds(-SWEEP_S), now).await? {
        let report = sweep(&server.shelf).await?;
        tracing::info!(
            blobs = report.blobs,
            objects = report.objects,
            repacked = report.repacked,
            uploads = report.uploads,
            "swept blobs that nothing names"
        );
    }
    Ok(())
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
    server.kept_answers.sweep(now).await?;
    server.limits.sweep(now).await?;
    Ok(())
}
