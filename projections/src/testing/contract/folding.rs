//! The runner over a store.

use std::{sync::Arc, time::Duration};

use lockstep_events::{
    EventLog, Position, StreamKind,
    log::{Contents, Filter},
    testing::build,
};

use super::{live, live_checksums, memory_log};
use crate::{
    Family, Projection, ReadStore, Runner, WaitError,
    testing::{
        MemoryReads,
        script::{Script, append, play, unit_of},
    },
};

const SOON: Duration = Duration::from_secs(20);

async fn everything(log: &dyn EventLog) -> Vec<lockstep_events::Recorded> {
    log.read_all(Position::ZERO, 100_000, &Filter::default(), Contents::No).await.unwrap()
}

/// One event at a time, sevens, or all at once: the rows are those of the store in memory.
pub async fn a_script_folds_to_the_same_rows_in_batches_of_any_size(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    play(&log, &mut Script::new(11), 700).await;
    let events = everything(&*log).await;

    let plain: Arc<dyn ReadStore> = Arc::new(MemoryReads::new());
    Runner::start(Arc::clone(&log), Arc::clone(&plain)).await.unwrap().catch_up().await.unwrap();

    let mut runner = Runner::start(Arc::clone(&log), Arc::clone(&reads)).await.unwrap();
    let (ones, rest) = events.split_at(100);
    let (sevens, all) = rest.split_at(350);
    for batch in ones.chunks(1).chain(sevens.chunks(7)).chain([all]) {
        let reached = runner.apply(batch).await.unwrap();
        assert_eq!(Some(reached), batch.last().map(|recorded| recorded.position));
    }
    assert_eq!(live_checksums(&*reads).await, live_checksums(&*plain).await);
    assert!(
        reads.rows(Projection::Versions, live(&*reads, Projection::Versions).await.0).await.unwrap() > 300
    );
}

/// One runner per node, both handed every batch.
pub async fn two_runners_on_one_store_apply_every_event_once(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    play(&log, &mut Script::new(12), 400).await;
    let events = everything(&*log).await;
    let follow = |reads: Arc<dyn ReadStore>| {
        let (log, events) = (Arc::clone(&log), events.clone());
        async move {
            let mut runner = Runner::start(log, reads).await.unwrap();
            for batch in events.chunks(9) {
                runner.apply(batch).await.unwrap();
            }
        }
    };
    let (one, two) = (tokio::spawn(follow(Arc::clone(&reads))), tokio::spawn(follow(Arc::clone(&reads))));
    one.await.unwrap();
    two.await.unwrap();
    let plain: Arc<dyn ReadStore> = Arc::new(MemoryReads::new());
    Runner::start(Arc::clone(&log), Arc::clone(&plain)).await.unwrap().catch_up().await.unwrap();
    assert_eq!(live_checksums(&*reads).await, live_checksums(&*plain).await);
}

/// Lost, doubled and old batches.
pub async fn a_batch_that_does_not_join_on_makes_the_runner_read_the_log(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    play(&log, &mut Script::new(13), 120).await;
    let events = everything(&*log).await;
    let tail = events.last().unwrap().position;
    let mut runner = Runner::start(Arc::clone(&log), Arc::clone(&reads)).await.unwrap();
    runner.apply(&events[..10]).await.unwrap();
    assert_eq!(runner.progress().position(), Position(10));
    runner.apply(&events[3..20]).await.unwrap();
    assert_eq!(runner.progress().position(), Position(20));
    runner.apply(&events[..5]).await.unwrap();
    assert_eq!(runner.progress().position(), Position(20));
    runner.apply(&events[60..61]).await.unwrap();
    assert_eq!(runner.progress().position(), tail);
}

/// The other family goes on; waiting for the stopped one says why.
pub async fn an_unknown_kind_stops_its_family_and_no_other(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    let mut script = Script::new(14);
    play(&log, &mut script, 80).await;
    let at = log.tail().await.unwrap().position;
    let vault = script.vaults[0].vault;
    append(&log, vec![unit_of(StreamKind::Vault, build::event(1, vault.into()))]).await;
    play(&log, &mut script, 80).await;
    let tail = log.tail().await.unwrap().position;

    let mut runner = Runner::start(Arc::clone(&log), Arc::clone(&reads)).await.unwrap();
    runner.catch_up().await.unwrap();
    assert_eq!(live(&*reads, Projection::Entries).await.1, at);
    assert_eq!(live(&*reads, Projection::Sessions).await.1, tail);
    let progress = runner.progress();
    progress.wait_for_family(Family::Account, tail, SOON).await.unwrap();
    let stopped = progress.wait_for(tail, SOON).await.unwrap_err();
    let text = stopped.to_string();
    assert!(matches!(stopped, WaitError::Stopped { position, .. } if position == at), "{text}");
    assert!(text.contains("unknown event kind test.happened"), "{text}");
    assert!(text.contains(&at.next().to_string()), "{text}");
}

/// Read your writes.
pub async fn waiting_ends_when_the_position_is_visible(reads: Arc<dyn ReadStore>) {
    let log = memory_log();
    let mut runner = Runner::start(Arc::clone(&log), reads).await.unwrap();
    let progress = runner.progress();
    let too_early = progress.wait_for(Position(1), Duration::ZERO).await;
    assert_eq!(too_early, Err(WaitError::Timeout { wanted: Position(1), reached: Position::ZERO }));
    let waiting = tokio::spawn(async move { progress.wait_for(Position(5), SOON).await });
    play(&log, &mut Script::new(15), 10).await;
    runner.catch_up().await.unwrap();
    waiting.await.unwrap().unwrap();
    let progress = runner.progress();
    drop(runner);
    assert_eq!(progress.wait_for(Position(9_999), SOON).await, Err(WaitError::Ended));
}
