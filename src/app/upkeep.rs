//! What a node does by itself from time to time: takes over signing keys, turns them when they are due, deletes what
//! has expired, prunes old versions, sweeps blobs that nothing names, keeps what devices were served, asks the blob
//! store whether it answers, looks whether the certificate was renewed, and whether the clock is right.

use std::time::{Duration, Instant, UNIX_EPOCH};

use lockstep_events::{LogError, Micros};
use rand::rngs::OsRng;
use tokio::time::{error::Elapsed, timeout};
use tokio_util::sync::CancellationToken;

use super::people;
use crate::{
    auth::{credentials::CredentialError, refresh::Lives, signing_keys::load_or_turn},
    blobs::{BlobError, sweep},
    causes::with_causes,
    commands::{refresh::lives, rotate_key},
    http::{caller::READ_TOUCH, tls::Renewal},
    retention::{RetentionError, prune},
    state::{Server, Shared},
};

/// A revoked key is refused everywhere within a second.
const KEYS: Duration = Duration::from_millis(400);
/// A look at the keys may take so long.
const KEYS_PATIENCE: Duration = Duration::from_secs(8);
/// Between two looks at the database's clock.
const CLOCK: Duration = Duration::from_secs(10);
/// Between two sweeps of what has expired.
const SWEEP: Duration = Duration::from_mins(1);
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
/// A database that says nothing for so long is gone: no statement takes longer.
const SILENCE: Duration = Duration::from_secs(35);
/// A sweep takes no longer; what is left is the next one's.
const SWEEPING: Duration = Duration::from_hours(4);
/// The last round of a node that stops may take so long.
const LAST_ROUND: Duration = Duration::from_secs(3);
/// Between two sweeps of places that nobody was served for long.
const PLACES_SWEPT: Duration = Duration::from_hours(24);
/// A place is kept so long, in seconds: 180 days.
const PLACES_KEPT_S: i64 = 180 * 24 * 3600;
/// Sessions that ended or ran out are kept so long, in seconds: 30 days, in which whoever refreshes one is told so. That a
/// token is used twice is noticed as long as its session can be refreshed at all, and not after that.
const ENDED_KEPT: i64 = 30 * 24 * 3600;
/// Between two sweeps of sessions that ran out: it looks at all of them.
const RUN_OUT_SWEPT: Duration = Duration::from_hours(1);

/// Why something was not done; it is tried again.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("no answer within {} s", KEYS_PATIENCE.as_secs())]
    Late(#[from] Elapsed),
}

/// Why a round through the stores is not whole; the rest is the next one's.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// Blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// Old versions.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// Whether the clock is right is not known.
    #[error(transparent)]
    Clock(#[from] CredentialError),
    /// A store is there and gives no answer.
    #[error("a store does not answer")]
    Silent(#[from] Elapsed),
    /// Parts of uploads.
    #[error("unfinished uploads cannot be read")]
    Uploads(#[from] std::io::Error),
}

/// Runs until the server stops.
pub async fn run(server: Shared, renewal: Option<Renewal>, stop: CancellationToken) {
    let certificate = async {
        if let Some(renewal) = renewal {
            renewal.run(&*server.clock, &stop).await;
        }
    };
    tokio::join!(
        keys(&server, &stop),
        expired(&server, &stop),
        blobs(&server, &stop),
        served(&server, &stop),
        server.blob_watch.run(&stop),
        clock(&server, &stop),
        people::run(&server, &stop),
        certificate
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
            outcome = timeout(SILENCE, round) => {
                outcome.unwrap_or_else(|late| Err(CredentialError::Unavailable(late.into())))
            }
            () = async { stop.cancelled().await; tokio::time::sleep(LAST_ROUND).await } => return,
        };
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(
                cause = with_causes(error),
                "it is not kept at the moment what devices were served"
            );
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
        server.no_room.look(Instant::now());
        tokio::select! {
            () = stop.cancelled() => return,
            outcome = stores(server) => if let Err(error) = outcome {
                tracing::warn!(cause = with_causes(&error), "blobs cannot be looked after now; it is tried again");
            }
        }
    }
}

/// A round through the stores: prunes and sweeps if it is time. One node does it for all. Whoever took the turn and failed
/// leaves it to the next one: nothing is lost by waiting.
///
/// # Errors
/// [`StoresError`]
pub async fn stores(server: &Server) -> Result<(), StoresError> {
    let index = &server.shelf.index;
    // By a clock that is far off nothing is too old, and a turn that it dates ahead would be the last one for long.
    let Some(now) = server.sure_time().await? else { return Ok(()) };
    server.uploads.sweep(UNIX_EPOCH + Duration::from_micros(now.0.unsigned_abs())).await?;
    if timeout(SILENCE, index.take_turn("prune", now.plus_seconds(-PRUNE_S), now)).await?? {
        let report = prune(server).await?;
        tracing::info!(entries = report.entries, versions = report.versions, "pruned old versions");
    }
    // Pruning may take hours.
    let Some(now) = server.sure_time().await? else { return Ok(()) };
    if timeout(SILENCE, index.take_turn("sweep", now.plus_seconds(-SWEEP_S), now)).await?? {
        let report = timeout(SWEEPING, sweep(&server.shelf, &*server.log)).await??;
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

/// A database that is away is told by those who need it.
async fn clock(server: &Shared, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CLOCK) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = server.sure_time() => {}
        }
    }
}

/// By themselves: nothing that takes longer may stand between a revoked key and this node.
async fn keys(server: &Shared, stop: &CancellationToken) {
    let mut announced = false;
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(KEYS) => {}
        }
        let outcome = take_over(server, !announced).await;
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(
                cause = %error,
                "the signing keys cannot be read at the moment; until they are read again, writes are refused \
                 after 10 s and everything after 30 s"
            );
        }
        if outcome.is_ok() && failing {
            tracing::info!("the signing keys are read again");
        }
        failing = outcome.is_err();
        announced = !failing;
        if server.tokens.out_of_touch() > READ_TOUCH {
            // Whoever is connected goes on by a key of which nobody knows whether it was revoked.
            server.feed.sockets.accept(&[]);
        }
        if server.feed.out_of_touch() > READ_TOUCH {
            // Nor does anybody know whose access has ended.
            server.feed.sockets.send_away();
        }
    }
}

/// The first time the current key is announced in any case: the event is the same.
async fn take_over(server: &Shared, first: bool) -> Result<(), KeysError> {
    let (asked, now) = (Instant::now(), server.clock.now());
    let mut rng = OsRng;
    let read = load_or_turn(&*server.credentials, &server.keys, now, &mut rng);
    let (set, turned) = timeout(KEYS_PATIENCE, read).await??;
    // Before anything else can fail. Tokens first, then who is connected by them: nobody comes in between.
    let accepted = set.accepted();
    let announced = rotate_key::rotated(&set, rotate_key::system_epoch(&server.keys))?;
    server.tokens.use_keys(set, asked);
    server.feed.sockets.accept(&accepted);
    if let Some(unit) = announced.filter(|_| turned || first) {
        timeout(KEYS_PATIENCE, server.batcher.append(unit)).await??;
    }
    Ok(())
}

async fn expired(server: &Shared, stop: &CancellationToken) {
    let mut failing = false;
    let mut swept = None;
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = timeout(SILENCE, sweep_credentials(server, &mut swept)) => {
                outcome.unwrap_or_else(|late| Err(CredentialError::Unavailable(late.into())))
            }
        };
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(cause = %error, "expired credentials cannot be looked after at the moment");
        }
        failing = outcome.is_err();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}

/// Deletes what has expired; sessions that ran out only if that was not done just now.
///
/// # Errors
/// If a store does not answer.
pub async fn sweep_credentials(server: &Server, swept: &mut Option<Instant>) -> Result<(), CredentialError> {
    // By a clock that is far off nothing has: whoever comes to a node whose clock is right goes on.
    let Some(now) = server.sure_time().await? else { return Ok(()) };
    let kept_since = now.plus_seconds(-ENDED_KEPT);
    server.credentials.sweep(now, kept_since).await?;
    if swept.is_none_or(|at| at.elapsed() > RUN_OUT_SWEPT) {
        let Lives { idle, absolute, .. } = lives(server);
        let (opened, used) = (kept_since.plus_seconds(-absolute), kept_since.plus_seconds(-idle));
        server.credentials.sweep_run_out(opened, used).await?;
        *swept = Some(Instant::now());
    }
    server.kept_answers.sweep(now).await?;
    server.limits.sweep(now).await?;
    Ok(())
}
