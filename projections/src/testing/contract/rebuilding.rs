//! The rebuild over a store.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use lockstep_events::{Clock, EventLog, Micros, Position, StreamKind, testing::build};

use super::{live, live_checksums, memory_log};
use crate::{
    Family, Projection, ReadStore, Rebuild, Runner,
    rebuild::{RebuildError, Step},
    store::ReadError,
    testing::script::{Script, append, play, unit_of},
};

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Micros {
        Micros(1)
    }
}

pub(super) fn rebuild(log: &Arc<dyn EventLog>, reads: &Arc<dyn ReadStore>) -> Rebuild {
    Rebuild::new(Arc::clone(log), Arc::clone(reads), Arc::new(Stopped)).with_page(64)
}

async fn follow(log: &Arc<dyn EventLog>, reads: &Arc<dyn ReadStore>) -> Runner {
    let mut runner = Runner::start(Arc::clone(log), Arc::clone(reads)).await.unwrap();
    runner.catch_up().await.unwrap();
    runner
}

/// By checksum, for every read model; and the runner goes on from there.
pub async fn a_rebuild_gives_the_rows_that_following_gave(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    let mut script = Script::new(21);
    play(&log, &mut script, 900).await;
    let mut runner = follow(&log, &reads).await;
    let before = live_checksums(&*reads).await;
    for family in Family::ALL {
        let mut steps: Vec<Step> = Vec::new();
        let mut watch = |step| {
            steps.push(step);
            ControlFlow::Continue(())
        };
        let done = rebuild(&log, &reads).run(family, &mut watch).await.unwrap();
        assert!(done.identical(), "{done:?}");
        assert!(done.dropped_rows > 0);
        assert!(steps.is_sorted_by(|a, b| a.position < b.position), "{steps:?}");
        assert_eq!(steps.last().unwrap().position, done.position);
        assert_eq!(live(&*reads, family.members()[1]).await.0, done.live);
        assert_eq!(reads.generations(family.members()[2]).await.unwrap(), [(done.live, done.position)]);
    }
    assert_eq!(live_checksums(&*reads).await, before);
    play(&log, &mut script, 50).await;
    let tail = log.tail().await.unwrap().position;
    assert_eq!(runner.catch_up().await.unwrap(), tail);
    assert_eq!(live(&*reads, Projection::Vaults).await.1, tail);
}

/// Neither hangs nor fails.
pub async fn a_rebuild_of_an_empty_log_ends(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    for family in Family::ALL {
        let done = rebuild(&log, &reads).run(family, &mut |_| ControlFlow::Continue(())).await.unwrap();
        assert!(done.identical());
        assert_eq!((done.position, done.events), (Position::ZERO, 0));
    }
    play(&log, &mut Script::new(22), 20).await;
    follow(&log, &reads).await;
    assert_eq!(live(&*reads, Projection::Devices).await.1, log.tail().await.unwrap().position);
}

/// Stopped by its callback, and dropped in the middle of a write.
pub async fn a_killed_rebuild_leaves_the_live_rows_and_can_start_again(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    play(&log, &mut Script::new(23), 600).await;
    follow(&log, &reads).await;
    let before = live_checksums(&*reads).await;

    let mut pages = 0;
    let mut after_three = |_| {
        pages += 1;
        if pages == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stopped = rebuild(&log, &reads).run(Family::Vault, &mut after_three).await;
    assert!(matches!(stopped, Err(RebuildError::Stopped)), "{stopped:?}");

    let (reached, killed) = tokio::sync::oneshot::channel();
    let running = tokio::spawn({
        let (log, reads) = (Arc::clone(&log), Arc::clone(&reads));
        async move {
            let (mut reached, mut pages) = (Some(reached), 0);
            let mut watch = move |_| {
                pages += 1;
                if pages == 4 {
                    reached.take().map(|reached| reached.send(()));
                }
                ControlFlow::Continue(())
            };
            rebuild(&log, &reads).run(Family::Vault, &mut watch).await
        }
    });
    if killed.await.is_err() {
        panic!("ended before the axe: {:?}", running.await);
    }
    running.abort();
    let _ = running.await;
    // The axe may have come too late for the switch, or for its commit alone: then these are the rows of the new
    // generation, and all of them.
    assert_eq!(live_checksums(&*reads).await, before);

    let done = rebuild(&log, &reads).run(Family::Vault, &mut |_| ControlFlow::Continue(())).await.unwrap();
    assert!(done.identical());
    assert_eq!(live_checksums(&*reads).await, before);
    assert_eq!(reads.generations(Projection::Entries).await.unwrap().len(), 1);
}

/// And gives it back when it ends, however it ends.
pub async fn one_at_a_time_has_the_right_to_rebuild(reads: Arc<dyn ReadStore>) {
    let first = reads.claim_rebuild().await.unwrap();
    let Err(ReadError::Rebuilding(holder)) = reads.claim_rebuild().await else { panic!("two have it") };
    assert!(!holder.is_empty());
    first.give_back().await;
    drop(reads.claim_rebuild().await.unwrap());
    // A database hears of it a moment later.
    let again = async {
        while matches!(reads.claim_rebuild().await, Err(ReadError::Rebuilding(_))) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
    reads.start_generation(Family::Vault).await.unwrap();
}

/// Nothing is lost at the switch, and the follower notices it.
pub async fn a_rebuild_ends_exact_while_the_log_grows_and_a_runner_follows(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    let mut script = Script::new(24);
    play(&log, &mut script, 500).await;
    let mut runner = follow(&log, &reads).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let growing = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            while stopped.try_recv().is_err() {
                play(&log, &mut script, 3).await;
                runner.catch_up().await.unwrap();
            }
            play(&log, &mut script, 20).await;
            runner.catch_up().await.unwrap()
        }
    });
    for family in Family::ALL {
        let done = rebuild(&log, &reads).run(family, &mut |_| ControlFlow::Continue(())).await.unwrap();
        assert!(done.identical(), "{done:?}");
    }
    stop.send(()).unwrap();
    let reached = growing.await.unwrap();
    assert_eq!(reached, log.tail().await.unwrap().position);

    let plain: Arc<dyn ReadStore> = Arc::new(crate::testing::MemoryReads::new());
    follow(&log, &plain).await;
    assert_eq!(live_checksums(&*reads).await, live_checksums(&*plain).await);
}

/// The rows of the generation that it followed are gone: that is no event that does not fit.
pub async fn a_runner_that_holds_no_rows_goes_on_in_the_generation_of_a_rebuild(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    let mut script = Script::new(25);
    play(&log, &mut script, 300).await;
    follow(&log, &reads).await;
    let mut runner = follow(&log, &reads).await;
    for family in Family::ALL {
        rebuild(&log, &reads).run(family, &mut |_| ControlFlow::Continue(())).await.unwrap();
    }
    play(&log, &mut script, 30).await;
    let tail = log.tail().await.unwrap().position;
    assert_eq!(runner.catch_up().await.unwrap(), tail);
    assert!(Family::ALL.iter().all(|family| runner.progress().of(*family).stopped.is_none()));
}

/// As an operator does who has put the cause right.
pub async fn a_family_that_stopped_goes_on_where_a_rebuild_has_come_since(reads: Arc<dyn ReadStore>) {
    let (damaged, mended) = (memory_log(), memory_log());
    let mut script = Script::new(26);
    play(&damaged, &mut script, 100).await;
    play(&mended, &mut Script::new(26), 101).await;
    let vault = script.vaults[0].vault;
    append(&damaged, vec![unit_of(StreamKind::Vault, build::event(1, vault.into()))]).await;
    let mut runner = follow(&damaged, &reads).await;
    assert!(runner.progress().of(Family::Vault).stopped.is_some());
    rebuild(&mended, &reads).run(Family::Vault, &mut |_| ControlFlow::Continue(())).await.unwrap();
    runner.catch_up().await.unwrap();
    assert!(runner.progress().of(Family::Vault).stopped.is_none());
}
