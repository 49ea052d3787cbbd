//! The loops that keep a device fresh: pull and push, independent of each other, for ever.

use std::{convert::Infallible, sync::Arc, time::Duration};

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

/// How long a loop waits after a failure; `Err` if waiting does not help.
fn pause(error: Error, backoff: &mut Backoff) -> Result<Duration, Error> {
    match error {
        Error::Revoked(_) | Error::UpdateNeeded(_) | Error::Certificate => Err(error),
        Error::Refused { retry_after, .. } => Ok(backoff.next(retry_after, &mut os_random())),
        _ => Ok(backoff.next(None, &mut os_random())),
    }
}

/// Pushes whenever the outbox is not empty. Says why it ended.
pub(crate) async fn push_loop(engine: Arc<Engine>) -> Error {
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
                    match pause(error, &mut backoff) {
                        Ok(wait) => sleep(wait).await,
                        Err(end) => return end,
                    }
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

/// Pulls whenever somebody noticed that this device is behind. Runs beside the socket. Says why it ended.
pub(crate) async fn pull_loop(engine: Arc<Engine>) -> Error {
    let mut backoff = Backoff::default();
    loop {
        engine.behind.notified().await;
        let mut lied = false;
        while let Err(error) = engine.pull().await {
            let alarm = matches!(error, Error::Alarm(_));
            let wait = match pause(error, &mut backoff) {
                Ok(wait) => wait,
                Err(end) => return end,
            };
            if alarm {
                lied = true;
                engine.link(Link::Stale);
            }
            sleep(wait).await;
        }
        if lied {
            // The socket may be without the vault that the alarm was about.
            engine.believed.notify_one();
        }
        backoff.reset();
    }
}

/// Catches up, follows the socket, and falls back to long-poll while no socket can be had. Says why it ended.
pub(crate) async fn feed_loop(engine: Arc<Engine>) -> Error {
    let end = match feed(&engine).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    engine.link(Link::Stale);
    end
}

async fn feed(engine: &Engine) -> Result<Infallible, Error> {
    engine.begin_telling().await?;
    let mut backoff = Backoff::default();
    let mut unopened = 0;
    loop {
        let round = async {
            if engine.pull_all().await?.1.is_some() {
                // A lie about one vault is no reason not to follow the others. This one is read again beside them.
                engine.behind.notify_one();
            }
            engine.live().await
        };
        let wait = match round.await {
            // The socket is another's now: to ask for it again would only take it away there.
            Ok((End::Refused, _)) => return only_poll(engine).await,
            Ok((end, open)) => {
                // A proxy may open a socket and let nothing through.
                unopened = if open { 0 } else { unopened + 1 };
                after(engine, (end, open), &mut backoff).await?
            }
            Err(error) => {
                unopened += 1;
                pause(error, &mut backoff)?
            }
        };
        if unopened >= BEFORE_POLLING && poll(engine).await.is_ok() {
            continue;
        }
        engine.link(Link::Stale);
        sleep(wait).await;
    }
}

/// Another follows with this profile and has the socket, or the server will not have this client there: news come by
/// long-poll from now on, of which there may be any number beside a socket.
async fn only_poll(engine: &Engine) -> Result<Infallible, Error> {
    let mut backoff = Backoff::default();
    loop {
        match poll(engine).await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                let wait = pause(error, &mut backoff)?;
                engine.link(Link::Stale);
                sleep(wait).await;
            }
        }
    }
}

/// How long to wait after a socket, and whether anything went through it; `Err` if it is not to be opened again.
async fn after(engine: &Engine, (end, open): (End, bool), backoff: &mut Backoff) -> Result<Duration, Error> {
    let rng = &mut os_random();
    Ok(match end {
        End::ComeBack { wait_ms: (least, most) } => {
            backoff.reset();
            jitter(Duration::from_millis(least.into()), Duration::from_millis(most.into()), rng)
        }
        End::Renew => {
            if let Ok(stale) = engine.access_token().await
                && let Err(Error::Revoked(end)) = engine.renew(&stale).await
            {
                return Err(Error::Revoked(end));
            }
            backoff.next(None, rng)
        }
        End::Lost => {
            if open {
                backoff.reset();
            }
            backoff.next(None, rng)
        }
        // That session has ended. Another process of this profile may have opened a new one: the next pull tells, and
        // no socket is opened before it.
        End::Revoked | End::Refused => backoff.next(None, rng),
    })
}

/// One long-poll of the vault, then whatever is new. `Err` if the server does not answer either.
async fn poll(engine: &Engine) -> Result<(), Error> {
    let lie = engine.pull_all().await?.1;
    engine.link(if lie.is_some() { Link::Stale } else { Link::Polling });
    // What is not believed comes with no page either: then the account is waited for, and every vault read after it.
    let place = if engine.is_believed().await? {
        engine.place(engine.vault().into(), StreamKind::Vault).await?
    } else {
        engine.place(engine.account().into(), StreamKind::Account).await?
    };
    let page = engine.changes_after(&place, POLL_S).await?;
    engine.apply_polled(page).await?;
    Ok(())
}
