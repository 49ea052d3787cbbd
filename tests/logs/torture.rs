//! Sixteen writers, a fifth of their units refused, some of their calls broken off, against readers of the tail.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lockstep_events::{
    Clock, EventId, EventLog, LogError, Micros, Outcome, Position, Seq, Unit,
    log::{Contents, Filter, StreamExpect},
    testing::{Dice, build::*, contract::assert_sound},
};
use lockstepd::{
    adapters::{
        postgres::{Database, log::PostgresLog},
        sqlite::log::SqliteLog,
    },
    batcher::Batcher,
};

const WRITERS: u64 = 16;
const UNITS_EACH: u64 = 120;

/// A clock that jumps about, as no log should mind.
struct Jumping;
impl Clock for Jumping {
    fn now(&self) -> Micros {
        Micros(i64::from(rand_jitter()))
    }
}

fn rand_jitter() -> u16 {
    uuid::Uuid::new_v4().as_u64_pair().0.to_le_bytes()[0].into()
}

fn a_unit(writer: u64, n: u64, dice: &mut Dice) -> (Unit, bool) {
    let base = u128::from(writer * 1_000_000 + n * 10);
    let events = (0..=u128::from(dice.below(3)))
        .map(|k| event(base + k, stream(dice.below(4).into())).about(subject(dice.below(6).into())));
    let made = unit(events.collect());
    let refused = dice.chance(20);
    let first = made.events[0].stream;
    (if refused { made.expecting(first, StreamExpect::Exact(Seq(1 << 40))) } else { made }, refused)
}

/// What one writer had acknowledged, and what it was refused.
#[derive(Default)]
struct Answers {
    appended: Vec<EventId>,
    refused: Vec<EventId>,
}

async fn write(writer: u64, batcher: Batcher, direct: Arc<dyn EventLog>) -> Answers {
    let mut dice = Dice::new(writer);
    let mut answers = Answers::default();
    for n in 0..UNITS_EACH {
        let (unit, refused) = a_unit(writer, n, &mut dice);
        let ids = unit.events.iter().map(|event| event.event_id);
        match until_answered(&unit, &batcher, &*direct, &mut dice).await {
            Outcome::Appended(_) => answers.appended.extend(ids),
            Outcome::Conflict(_) if refused => answers.refused.extend(ids),
            other => panic!("{other:?}"),
        }
    }
    answers
}

/// Mostly through the batcher; sometimes directly, and then sometimes broken off in the middle and sent again.
async fn until_answered(unit: &Unit, batcher: &Batcher, direct: &dyn EventLog, dice: &mut Dice) -> Outcome {
    loop {
        let answer = if dice.chance(80) {
            batcher.append(unit.clone()).await
        } else {
            let patience = Duration::from_micros(if dice.chance(30) { dice.below(3000) } else { 60_000_000 });
            let call = direct.append(std::slice::from_ref(unit), Micros(1));
            match tokio::time::timeout(patience, call).await {
                Ok(answer) => answer.map(|mut outcomes| outcomes.remove(0)),
                Err(_) => continue,
            }
        };
        match answer {
            Ok(outcome) => return outcome,
            Err(LogError::Unavailable(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Follows the tail as a projection does: whatever it is given must be the very next events.
async fn follow(log: Arc<dyn EventLog>, stop: Arc<AtomicBool>) -> u64 {
    let mut at = 0;
    loop {
        let last_round = stop.load(Ordering::SeqCst);
        let page = log.read_all(Position(at), 50, &Filter::default(), Contents::No).await.unwrap();
        for event in &page {
            assert_eq!(event.position.0, at + 1, "a reader of the tail met a gap or an inversion");
            at += 1;
        }
        if last_round && page.is_empty() {
            return at;
        }
        tokio::task::yield_now().await;
    }
}

/// Whoever sees a place sees everything below it, in the log and in each stream.
async fn probe(log: Arc<dyn EventLog>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let tail = log.tail().await.unwrap().position.0;
        let from = tail.saturating_sub(20);
        let seen = log.read_all(Position(from), 20, &Filter::default(), Contents::No).await.unwrap();
        let below = seen.iter().map(|event| event.position.0).filter(|position| *position <= tail);
        assert!(below.eq(from + 1..=tail), "a hole below the tail {tail}");
        for head in log.stream_heads(&[0, 1, 2, 3].map(stream)).await.unwrap() {
            let from = head.seq.0.saturating_sub(10);
            let seen = log.read_stream(head.stream, Seq(from), 10, Contents::No).await.unwrap();
            let below = seen.iter().map(|event| event.seq.0).filter(|seq| *seq <= head.seq.0);
            assert!(below.eq(from + 1..=head.seq.0), "a hole below a head");
        }
        tokio::task::yield_now().await;
    }
}

/// Each log is one node: its writers share a batcher, its readers follow on their own.
async fn torture(nodes: Vec<Arc<dyn EventLog>>) {
    let batchers: Vec<_> =
        nodes.iter().map(|log| Batcher::start(Arc::clone(log), Arc::new(Jumping), |_| ())).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let followers: Vec<_> =
        nodes.iter().map(|log| tokio::spawn(follow(Arc::clone(log), Arc::clone(&stop)))).collect();
    let probes: Vec<_> =
        nodes.iter().map(|log| tokio::spawn(probe(Arc::clone(log), Arc::clone(&stop)))).collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let node = usize::try_from(writer).unwrap() % nodes.len();
            tokio::spawn(write(writer, batchers[node].clone(), Arc::clone(&nodes[node])))
        })
        .collect();
    let (mut appended, mut refused) = (HashSet::new(), HashSet::new());
    for writer in writers {
        let answers = writer.await.unwrap();
        appended.extend(answers.appended);
        refused.extend(answers.refused);
    }
    stop.store(true, Ordering::SeqCst);
    for probe in probes {
        probe.await.unwrap();
    }
    for follower in followers {
        assert_eq!(follower.await.unwrap(), appended.len() as u64, "a follower missed something");
    }
    let mut times: HashMap<EventId, u32> = HashMap::new();
    for event in nodes[0].read_all(Position(0), 1 << 20, &Filter::default(), Contents::No).await.unwrap() {
        *times.entry(event.event_id).or_default() += 1;
    }
    assert!(times.values().all(|n| *n == 1) && times.len() == appended.len());
    assert!(appended.iter().all(|id| times.contains_key(id)), "an acknowledged event is not there");
    assert!(!refused.iter().any(|id| times.contains_key(id)), "a refused event is there");
    assert!(refused.len() > 300, "the script must refuse a fifth");
    assert_sound(&*nodes[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_has_no_gap_no_hole_no_inversion_under_sixteen_writers_of_two_openings_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let first = SqliteLog::open(&path).await.unwrap();
    let second = SqliteLog::open(&path).await.unwrap();
    torture(vec![Arc::new(first), Arc::new(second)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_has_no_gap_no_hole_no_inversion_under_sixteen_writers_of_two_nodes() {
    let database = super::postgres::TestDatabase::create().await;
    let mut nodes: Vec<Arc<dyn EventLog>> = Vec::new();
    for _ in 0..2 {
        nodes.push(Arc::new(PostgresLog::new(Database::connect(&database.url(), 4).await.unwrap())));
    }
    torture(nodes).await;
}
