//! The loops that keep a device fresh: pull and push, independent of each other, for ever.

use std::{convert::Infallible, sync::Arc, time::Duration};

use lockstep_events::StreamKind;
use tokio::{sync::watch, time::sleep};

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
    let mut link = engine.link.subscribe();
    loop {
        link.mark_unchanged();
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
                    let asked = match &error {
                        Error::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
                        _ => Duration::ZERO,
                    };
                    let wait = match pause(error, &mut backoff) {
                        Ok(wait) => wait,
                        Err(end) => return end,
                    };
                    if waited(&mut link, asked, wait).await {
                        backoff.reset();
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

/// Waits for the next try: as long as the server asks in any case, and then no longer than until the feed has found it
/// again; whether that was it.
async fn waited(link: &mut watch::Receiver<Link>, asked: Duration, wait: Duration) -> bool {
    sleep(asked).await;
    let comes_back = async {
        while link.changed().await.is_ok() {
            if *link.borrow_and_update() != Link::Stale {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        () = sleep(wait.saturating_sub(asked)) => false,
        () = comes_back => true,
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
            Ok((end @ (End::TakenOver | End::Refused), _)) => {
                only_poll(engine, end).await?;
                continue;
            }
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
/// long-poll, of which there may be any number beside a socket; in the first case until the other one has ended.
async fn only_poll(engine: &Engine, why: End) -> Result<(), Error> {
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
        if why == End::TakenOver && engine.socket_is_free() {
            return Ok(());
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
        End::Revoked | End::TakenOver | End::Refused => backoff.next(None, rng),
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn what_waits_is_tried_as_soon_as_the_feed_has_found_the_server_again() {
        let (feed, mut link) = watch::channel(Link::Live);
        link.mark_unchanged();
        feed.send_replace(Link::Stale);
        let in_vain = timeout(Duration::from_millis(50), waited(&mut link, Duration::ZERO, LONG)).await;
        assert!(in_vain.is_err(), "it was live until then, and is stale since");
        for found in [Link::Live, Link::Polling] {
            feed.send_replace(Link::Stale);
            link.mark_unchanged();
            // While it was tried, or while it waits.
            feed.send_replace(found);
            let again = timeout(Duration::from_mins(1), waited(&mut link, Duration::ZERO, LONG)).await;
            assert_eq!(again, Ok(true), "{found:?}");
        }
        assert!(!waited(&mut link, Duration::ZERO, Duration::from_millis(1)).await, "it was never away");
    }

    #[tokio::test]
    async fn as_long_as_the_server_asks_nothing_is_tried_though_it_is_heard() {
        let (feed, mut link) = watch::channel(Link::Stale);
        feed.send_replace(Link::Live);
        let (asked, began) = (Duration::from_millis(300), Instant::now());
        assert!(waited(&mut link, asked, LONG).await);
        assert!(began.elapsed() >= asked);
    }
}
