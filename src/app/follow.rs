//! Keeps the read models at the end of the log.

use std::{sync::Arc, time::Duration};

use lockstep_events::{Position, Recorded};
use lockstep_projections::{Progress, RunError, Runner, store::ReadError};
use tokio::{
    sync::broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    bus::CommittedBatch,
    causes::with_causes,
    no_room::{NoRoom, Store},
};

/// After a commit of the read models the next comes this much later, with all that has gathered, unless somebody waits
/// for it: a lone write is folded at once, a stream of writes costs fifty transactions a second and not one for each batch.
const PACE: Duration = Duration::from_millis(20);
/// A store from which nothing has come for so long gives no answer any more: longer than a statement may take.
const SILENCE: Duration = Duration::from_secs(35);
/// A node to which nothing comes looks so often whether the store is still where it was: a database that crashed may lack
/// the last commits. Where something comes, the next commit notices it.
const LOOK: Duration = Duration::from_secs(5);
/// A node that stops lets what it has begun to write come to its end, for so long.
const LAST: Duration = Duration::from_secs(3);
/// More is not folded at once.
const TOGETHER: usize = 1_000;

/// Folds every batch as the feed hands it over, and reads the log where it fell behind, something failed or nothing came.
pub async fn follow(
    mut runner: Runner,
    mut news: Receiver<Arc<CommittedBatch>>,
    (retry, no_room): (Duration, Arc<NoRoom>),
    stop: CancellationToken,
) {
    let progress = runner.progress();
    let (mut behind, mut failing) = (true, false);
    let mut not_before = Instant::now();
    loop {
        let next = if behind {
            Gathered::Missed
        } else {
            tokio::select! {
                () = stop.cancelled() => return,
                batch = news.recv() => match batch {
                    Ok(batch) => {
                        tokio::select! {
                            () = sleep_until(not_before) => {}
                            () = progress.awaited() => {}
                        }
                        gathered(batch, &mut news)
                    }
                    Err(RecvError::Lagged(_)) => Gathered::Missed,
                    Err(RecvError::Closed) => return,
                },
                () = sleep(LOOK) => Gathered::Missed,
            }
        };
        let folding = async {
            match &next {
                Gathered::One(batch) => runner.apply(&batch.events).await,
                Gathered::Many(events) => runner.apply(events).await,
                Gathered::Missed => runner.catch_up().await,
            }
        };
        let outcome = tokio::select! {
            outcome = folding => outcome,
            () = silent(&progress) => Err(RunError::Read(ReadError::Unavailable("a store gives no answer".into()))),
            () = async { stop.cancelled().await; sleep(LAST).await } => return,
        };
        if outcome.is_err() {
            runner.forget();
        }
        not_before = Instant::now() + PACE;
        tell(&outcome, &mut failing, &no_room);
        behind = outcome.is_err();
        if behind {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(retry) => {}
            }
        }
    }
}

/// Returns once the read models have not moved for a while. A long way is taken in many steps, each of which is seen.
async fn silent(progress: &Progress) {
    loop {
        let before = progress.positions();
        sleep(SILENCE).await;
        if before == progress.positions() {
            return;
        }
    }
}

/// Logs what changed: a store that is away is asked again several times a second.
fn tell(outcome: &Result<Position, RunError>, failing: &mut bool, no_room: &NoRoom) {
    const WHAT: &str = "read models follow";
    match outcome {
        Ok(_) => {
            no_room.taken(|| WHAT.to_owned(), Instant::now().into_std());
            if *failing {
                tracing::info!("the read models follow the log again");
            }
        }
        Err(RunError::Read(error @ ReadError::Full(_))) => {
            no_room.refused(Store::Reads, WHAT, &with_causes(error), Instant::now().into_std());
        }
        Err(error) if !*failing => {
            let cause = with_causes(error);
            tracing::warn!(cause, "the read models cannot follow the log at the moment; it is tried again");
        }
        Err(_) => {}
    }
    *failing = outcome.is_err();
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
