use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use lockstep_events::{
    Micros,
    log::{Contents, Filter, StreamExpect},
    testing::{HookedLog, MemoryLog, Verdict, build::*},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;

struct At(i64);
impl Clock for At {
    fn now(&self) -> Micros {
        Micros(self.0)
    }
}

fn memory() -> MemoryLog {
    MemoryLog::new(Uuid::nil())
}

fn ok() -> Verdict {
    Box::pin(async { Ok(()) })
}

fn start(log: impl EventLog + 'static) -> Batcher {
    Batcher::start(Arc::new(log), Arc::new(At(1)), |_| ())
}

/// A log that lets a batch through per permit, and the sizes of the batches it was given.
struct Gate {
    permits: Arc<Semaphore>,
    sizes: Arc<Mutex<Vec<usize>>>,
    seen: Arc<Semaphore>,
}

impl Gate {
    fn new() -> (Self, HookedLog) {
        let gate = Self {
            permits: Arc::new(Semaphore::new(0)),
            sizes: Arc::default(),
            seen: Arc::new(Semaphore::new(0)),
        };
        let (permits, sizes, seen) =
            (Arc::clone(&gate.permits), Arc::clone(&gate.sizes), Arc::clone(&gate.seen));
        let log = HookedLog::new(Arc::new(memory())).before(move |units| {
            sizes.lock().unwrap().push(units.len());
            seen.add_permits(1);
            let permits = Arc::clone(&permits);
            Box::pin(async move {
                permits.acquire().await.unwrap().forget();
                Ok(())
            })
        });
        (gate, log)
    }

    async fn batch_in_flight(&self) {
        self.seen.acquire().await.unwrap().forget();
    }
}

/// Starts an append per unit and returns once all of them stand in the queue.
async fn enqueue(
    batcher: &Batcher,
    units: impl Iterator<Item = Unit>,
) -> Vec<tokio::task::JoinHandle<Result<Outcome, LogError>>> {
    let mut handles = Vec::new();
    for unit in units {
        let free = batcher.queue.capacity();
        let batcher = batcher.clone();
        handles.push(tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.append(unit).await }
        }));
        while batcher.queue.capacity() == free {
            tokio::task::yield_now().await;
        }
    }
    handles
}

async fn positions(handles: Vec<tokio::task::JoinHandle<Result<Outcome, LogError>>>) -> Vec<u64> {
    let mut all = Vec::new();
    for handle in handles {
        all.push(placed(&handle.await.unwrap().unwrap())[0].position.0);
    }
    all
}

#[tokio::test]
async fn units_that_wait_while_a_batch_commits_become_one_batch_in_the_order_they_came() {
    let (gate, log) = Gate::new();
    let batcher = start(log);
    let first = tokio::spawn({
        let batcher = batcher.clone();
        async move { batcher.append(unit(vec![event(0, stream(1))])).await }
    });
    gate.batch_in_flight().await;
    let rest = enqueue(&batcher, (1..11).map(|n| unit(vec![event(n, stream(1))]))).await;
    gate.permits.add_permits(2);
    first.await.unwrap().unwrap();
    assert_eq!(positions(rest).await, (2..12).collect::<Vec<_>>());
    assert_eq!(*gate.sizes.lock().unwrap(), [1, 10]);
}

#[tokio::test]
async fn a_batch_has_at_most_256_units() {
    let (gate, log) = Gate::new();
    let batcher = start(log);
    let first = enqueue_first(&gate, &batcher).await;
    let rest = enqueue(&batcher, (1..301).map(|n| unit(vec![event(n, stream(1))]))).await;
    gate.permits.add_permits(3);
    first.await.unwrap().unwrap();
    assert_eq!(positions(rest).await, (2..302).collect::<Vec<_>>());
    assert_eq!(*gate.sizes.lock().unwrap(), [1, 256, 44]);
}

#[tokio::test]
async fn a_batch_has_at_most_one_mebibyte_unless_one_unit_is_larger() {
    let (gate, log) = Gate::new();
    let batcher = start(log);
    let first = enqueue_first(&gate, &batcher).await;
    let sized = |n, kib: usize| unit(vec![event_with(n, stream(1), &"x".repeat(kib << 10))]);
    let rest = enqueue(
        &batcher,
        [sized(1, 400), sized(2, 400), sized(3, 400), sized(4, 2000), sized(5, 1)].into_iter(),
    )
    .await;
    gate.permits.add_permits(5);
    first.await.unwrap().unwrap();
    assert_eq!(positions(rest).await, [2, 3, 4, 5, 6]);
    assert_eq!(*gate.sizes.lock().unwrap(), [1, 2, 1, 1, 1]);
}

async fn enqueue_first(gate: &Gate, batcher: &Batcher) -> tokio::task::JoinHandle<Result<Outcome, LogError>> {
    let first = tokio::spawn({
        let batcher = batcher.clone();
        async move { batcher.append(unit(vec![event(0, stream(1))])).await }
    });
    gate.batch_in_flight().await;
    first
}

#[tokio::test]
async fn a_unit_that_the_database_chokes_on_does_not_fail_its_neighbours() {
    let (gate, log) = Gate::new();
    let log = HookedLog::new(Arc::new(log)).before(|units| {
        let poison = units.iter().any(|unit| unit.events[0].kind == "poison");
        Box::pin(async move { if poison { Err(LogError::Other("choked".into())) } else { Ok(()) } })
    });
    let batcher = start(log);
    let first = enqueue_first(&gate, &batcher).await;
    let units = (1..6).map(|n| {
        let mut event = event(n, stream(1));
        event.kind = if n == 3 { "poison".into() } else { event.kind };
        unit(vec![event])
    });
    let rest = enqueue(&batcher, units).await;
    gate.permits.add_permits(10);
    first.await.unwrap().unwrap();
    let mut answers = Vec::new();
    for handle in rest {
        answers.push(handle.await.unwrap());
    }
    let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, false, true, false, false]);
    let error = answers.remove(2).unwrap_err();
    assert!(matches!(&error, LogError::Other(cause) if cause.source().unwrap().to_string() == "choked"));
}

#[tokio::test]
async fn an_unknown_commit_answers_unavailable_and_the_retry_by_id_finds_the_event_once() {
    let log = Arc::new(memory());
    let lost = Arc::new(AtomicBool::new(true));
    let losing = HookedLog::new(Arc::clone(&log) as Arc<dyn EventLog>).after(move |_| {
        match lost.swap(false, Ordering::SeqCst) {
            true => Box::pin(async { Err(LogError::Unavailable("connection lost after the commit".into())) }),
            false => ok(),
        }
    });
    let batcher = start(losing);
    let unit = unit(vec![event(1, stream(1))]).expecting(stream(1), StreamExpect::None);
    assert!(matches!(batcher.append(unit.clone()).await, Err(LogError::Unavailable(_))));
    let again = batcher.append(unit).await.unwrap();
    assert!(placed(&again)[0].duplicate);
    assert_eq!(log.tail().await.unwrap().position, Position(1));
}

/// The listener has every committed event once, in order, with its content, exactly as a reader of the log sees it.
#[tokio::test]
async fn the_listener_is_given_what_was_committed_and_nothing_else() {
    let log = Arc::new(memory());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let batcher = Batcher::start(Arc::clone(&log) as Arc<dyn EventLog>, Arc::new(At(1)), {
        let heard = Arc::clone(&heard);
        move |batch| heard.lock().unwrap().push(batch)
    });
    let both = unit(vec![event(1, stream(1)).with_content(b"ciphertext"), event(2, stream(2))]);
    batcher.append(both.clone()).await.unwrap();
    batcher.append(both).await.unwrap();
    let refused = unit(vec![event(3, stream(1))]).expecting(stream(1), StreamExpect::None);
    assert!(matches!(batcher.append(refused).await.unwrap(), Outcome::Conflict(_)));
    batcher.append(unit(vec![event(2, stream(2)), event(4, stream(2))])).await.unwrap();

    let heard = std::mem::take(&mut *heard.lock().unwrap());
    let bounds: Vec<_> = heard.iter().map(|batch| (batch.after.0, batch.to.0)).collect();
    assert_eq!(bounds, [(0, 2), (2, 3)]);
    let events: Vec<_> = heard.iter().flat_map(|batch| batch.events.clone()).collect();
    let all = log.read_all(Position(0), 10, &Filter::default(), Contents::UpTo(100)).await.unwrap();
    assert_eq!(events, all);
}

/// Marten #4730: news that is out before the commit is news of something that may never be.
#[tokio::test]
async fn regression_nothing_is_published_before_it_is_committed() {
    let log = Arc::new(memory());
    let committed = Arc::new(Mutex::new(HashSet::new()));
    let hooked = HookedLog::new(Arc::clone(&log) as Arc<dyn EventLog>).after({
        let committed = Arc::clone(&committed);
        move |units| {
            committed.lock().unwrap().extend(units.iter().map(|unit| unit.events[0].event_id));
            ok()
        }
    });
    let early = Arc::new(AtomicBool::new(false));
    let batcher = Batcher::start(Arc::new(hooked), Arc::new(At(1)), {
        let early = Arc::clone(&early);
        move |batch| {
            let committed = committed.lock().unwrap();
            if !batch.events.iter().all(|event| committed.contains(&event.event_id)) {
                early.store(true, Ordering::SeqCst);
            }
        }
    });
    for n in 0..50 {
        batcher.append(unit(vec![event(n, stream(1))])).await.unwrap();
    }
    assert!(!early.load(Ordering::SeqCst));
    assert_eq!(log.tail().await.unwrap().position, Position(50));
}

#[tokio::test]
async fn shutdown_commits_what_waits_and_takes_no_more() {
    let (gate, log) = Gate::new();
    let batcher = start(log);
    let first = enqueue_first(&gate, &batcher).await;
    let rest = enqueue(&batcher, (1..6).map(|n| unit(vec![event(n, stream(1))]))).await;
    let stopping = tokio::spawn({
        let batcher = batcher.clone();
        async move { batcher.shutdown().await }
    });
    gate.permits.add_permits(2);
    stopping.await.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(positions(rest).await, [2, 3, 4, 5, 6]);
    let late = batcher.append(unit(vec![event(9, stream(1))])).await;
    assert!(matches!(late, Err(LogError::Unavailable(_))));
}

#[tokio::test]
async fn a_unit_whose_caller_went_away_before_its_batch_began_is_left_out() {
    let (gate, log) = Gate::new();
    let batcher = start(log);
    let first = enqueue_first(&gate, &batcher).await;
    let rest = enqueue(&batcher, (1..4).map(|n| unit(vec![event(n, stream(1))]))).await;
    let [before, gone, after] = <[_; 3]>::try_from(rest).unwrap();
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    gate.permits.add_permits(2);
    first.await.unwrap().unwrap();
    assert_eq!(positions(vec![before, after]).await, [2, 3]);
    assert_eq!(*gate.sizes.lock().unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_malformed_unit_never_reaches_the_log() {
    let (gate, log) = Gate::new();
    let batcher = start(log);
    assert!(matches!(batcher.append(Unit::default()).await, Err(LogError::Malformed(_))));
    assert!(gate.sizes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_defect_that_ends_the_task_is_seen_from_outside() {
    let log = HookedLog::new(Arc::new(memory())).before(|_| panic!("a defect"));
    let batcher = start(log);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), batcher.ended()).await.is_err());
    let refused = batcher.append(unit(vec![event(0, stream(1))])).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
    batcher.ended().await;
}
