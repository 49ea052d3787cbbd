//! Keeps the read models at the end of the log.

use std::{sync::Arc, time::Duration};

use lockstep_events::Recorded;
use lockstep_projections::Runner;
use tokio::{
    sync::broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::bus::CommittedBatch;

/// After a commit of the read models the next comes this much later, with all that has gathered, unless somebody waits
/// for it: a lone write is folded at once, a stream of writes costs fifty transactions a second and not one for each batch.
const PACE: Duration = Duration::from_millis(20);
/// More is not folded at once.
const TOGETHER: usize = 1_000;

/// Folds every batch as the feed hands it over, and reads the log where it fell behind or something failed.
pub async fn follow(
    mut runner: Runner,
    mut news: Receiver<Arc<CommittedBatch>>,
    retry: Duration,
    stop: CancellationToken,
) {
    let progress = runner.progress();
    let mut behind = true;
    let mut not_before = Instant::now();
    loop {
        let outcome = if behind {
            runner.catch_up().await
        } else {
            tokio::select! {
                () = stop.cancelled() => return,
                batch = news.recv() => match batch {
                    Ok(batch) => {
                        tokio::select! {
                            () = sleep_until(not_before) => {}
                            () = progress.awaited() => {}
                        }
                        match gathered(batch, &mut news) {
                            Gathered::One(batch) => runner.apply(&batch.events).await,
                            Gathered::Many(events) => runner.apply(&events).await,
                            Gathered::Missed => runner.catch_up().await,
                        }
                    }
                    Err(RecvError::Lagged(_)) => runner.catch_up().await,
                    Err(RecvError::Closed) => return,
                },
            }
        };
        not_before = Instant::now() + PACE;
        behind = outcome.is_err();
        if let Err(error) = outcome {
            tracing::warn!(cause = %error, "the read models cannot follow the log at the moment");
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(retry) => {}
            }
        }
    }
}

enum Gathered {
    One(Arc<CommittedBatch>),
    Many(Vec<Recorded>),
    Missed,
}

/// What has come in the meantime, behind `first`. Contents are left behind: read models hold none.
fn gathered(first: Arc<CommittedBatch>, news: &mut Receiver<Arc<CommittedBatch>>) -> Gathered {
    let mut more: Vec<Recorded> = Vec::new();
    while more.len() < TOGETHER {
        match news.try_recv() {
            Ok(batch) => {
                if more.is_empty() {
                    more.extend(first.events.iter().map(without_content));
                }
                more.extend(batch.events.iter().map(without_content));
            }
            Err(TryRecvError::Lagged(_)) => return Gathered::Missed,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    if more.is_empty() { Gathered::One(first) } else { Gathered::Many(more) }
}

fn without_content(event: &Recorded) -> Recorded {
    Recorded { content: None, kind: event.kind.clone(), public: event.public.clone(), ..*event }
}
