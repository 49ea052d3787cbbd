//! The loops that keep a device fresh: pull and push, independent of each other, for ever.

use std::{sync::Arc, time::Duration};

use lockstep_events::StreamKind;
use tokio::time::sleep;

use super::{
    backoff::{Backoff, jitter},
    live::End,
};
use crate::{crypto::os_random, engine::Engine, error::Error, model::Link};

/// Another process of this profile may have put something into the outbox: look so often.
const LOOK: Duration = Duration::from_secs(1);
/// How long one long-poll waits, in seconds.
const POLL_S: u64 = 20;
/// After so many sockets that could not be opened in a row, news come by long-poll between the tries.
const BEFORE_POLLING: u32 = 2;

/// What a failure means for a loop.
fn pause(error: &Error, backoff: &mut Backoff) -> Option<Duration> {
    match error {
        Error::Revoked | Error::UpdateNeeded(_) => None,
        Error::Refused { retry_after, .. } => Some(backoff.next(*retry_after, &mut os_random())),
        _ => Some(backoff.next(None, &mut os_random())),
    }
}

/// Pushes whenever the outbox is not empty.
pub(crate) async fn push_loop(engine: Arc<Engine>) {
    let mut backoff = Backoff::default();
    loop {
        let idle = match engine.waiting().await {
            Ok(0) | Err(_) => true,
            Ok(_) => match engine.push().await {
                Ok(_) => {
                    let stuck = engine.waiting().await.is_ok_and(|waiting| waiting > 0);
                    if stuck {
                        // Another plan may have come, or something that makes room.
                        tokio::select! {
                            () = engine.outbox.notified() => {}
                            () = sleep(backoff.next(None, &mut os_random())) => {}
                        }
                    } else {
                        backoff.reset();
                    }
                    !stuck
                }
                // A person must look first, perhaps by another process: until then what is written waits.
                Err(Error::Held(_)) => true,
                Err(error) => {
                    let Some(wait) = pause(&error, &mut backoff) else { return };
                    sleep(wait).await;
                    false
                }
            },
        };
        if idle {
            tokio::select! {
                () = engine.outbox.notified() => {}
                () = sleep(LOOK) => {}
            }
        }
    }
}

/// Pulls whenever somebody noticed that this device is behind. Runs beside the socket.
pub(crate) async fn pull_loop(engine: Arc<Engine>) {
    let mut backoff = Backoff::default();
    loop {
        engine.behind.notified().await;
        while let Err(error) = engine.pull().await {
            let Some(wait) = pause(&error, &mut backoff) else { return };
            if matches!(error, Error::Alarm(_)) {
                engine.link(Link::Stale);
            }
            sleep(wait).await;
        }
        backoff.reset();
    }
}

/// Catches up, follows the socket, and falls back to long-poll while no socket can be had.
pub(crate) async fn feed_loop(engine: Arc<Engine>) {
    let mut backoff = Backoff::default();
    let mut unopened = 0;
    loop {
        let round = async {
            engine.pull().await?;
            engine.live().await
        };
        let wait = match round.await {
            Ok(end) => {
                // A proxy may open a socket and let nothing through.
                let was_live = *engine.link.borrow() == Link::Live;
                unopened = if was_live { 0 } else { unopened + 1 };
                match after(&engine, end, &mut backoff).await {
                    Some(wait) => wait,
                    None => break,
                }
            }
            Err(error) => {
                unopened += 1;
                let Some(wait) = pause(&error, &mut backoff) else { break };
                wait
            }
        };
        if unopened >= BEFORE_POLLING && poll(&engine).await.is_ok() {
            continue;
        }
        engine.link(Link::Stale);
        sleep(wait).await;
    }
    engine.link(Link::Stale);
}

/// How long to wait after a socket that was open; none if it is not to be opened again.
async fn after(engine: &Engine, end: End, backoff: &mut Backoff) -> Option<Duration> {
    let rng = &mut os_random();
    match end {
        End::ComeBack { wait_ms: (least, most) } => {
            backoff.reset();
            Some(jitter(Duration::from_millis(least.into()), Duration::from_millis(most.into()), rng))
        }
        End::Renew => {
            if let Ok(stale) = engine.access_token().await
                && matches!(engine.renew(&stale).await, Err(Error::Revoked))
            {
                return None;
            }
            Some(backoff.next(None, rng))
        }
        End::Lost => {
            let was_live = *engine.link.borrow() == Link::Live;
            if was_live {
                backoff.reset();
            }
            Some(backoff.next(None, rng))
        }
        End::Revoked | End::Refused => None,
    }
}

/// One long-poll of the vault, then whatever is new. `Err` if the server does not answer either.
async fn poll(engine: &Engine) -> Result<(), Error> {
    engine.pull().await?;
    engine.link(Link::Polling);
    let place = engine.place(engine.vault().into(), StreamKind::Vault).await?;
    let page = engine.changes_after(&place, POLL_S).await?;
    engine.apply_polled(page).await?;
    Ok(())
}
