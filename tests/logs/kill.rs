//! Kill −9 between a batch and its acknowledgement, again and again: what was acknowledged is there, once.
//!
//! The child is this test binary, started anew with a store and a plan in its environment. It appends through the
//! batcher, prints a line per acknowledgement, and at the batch it was told stops between the commit and the
//! answers, where the parent kills it. The next child sends what was left unanswered again, by the same ids.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lockstep_events::{
    Clock, EventLog, LogError, Micros, Outcome, Position,
    log::{Contents, Filter},
    testing::{Dice, HookedLog, build::*, contract::assert_sound},
};
use lockstepd::{
    adapters::{
        postgres::{Database, log::PostgresLog},
        sqlite::log::SqliteLog,
    },
    batcher::Batcher,
};

const KILLS: u64 = 215;
const WRITERS: u128 = 6;
const STORE: &str = "LOCKSTEP_KILL_STORE";
const PLAN: &str = "LOCKSTEP_KILL_PLAN";

struct Still;
impl Clock for Still {
    fn now(&self) -> Micros {
        Micros(1)
    }
}

/// `sqlite:PATH` or a Postgres URL.
async fn open(store: &str) -> Arc<dyn EventLog> {
    match store.strip_prefix("sqlite:") {
        Some(path) => Arc::new(SqliteLog::open(Path::new(path)).await.unwrap()),
        None => Arc::new(PostgresLog::new(Database::connect(store, 2).await.unwrap())),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the child does: first what the one before left unanswered, then new events until it is killed.
struct Plan {
    stop_at_batch: u64,
    first_new: u128,
    limit: u128,
    again: Vec<u128>,
}

impl Plan {
    fn print(&self) -> String {
        let again: Vec<_> = self.again.iter().map(u128::to_string).collect();
        format!("{} {} {} {}", self.stop_at_batch, self.first_new, self.limit, again.join(" "))
    }

    fn parse(text: &str) -> Self {
        let numbers: Vec<u128> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        Self {
            stop_at_batch: u64::try_from(numbers[0]).unwrap(),
            first_new: numbers[1],
            limit: numbers[2],
            again: numbers[3..].to_vec(),
        }
    }
}

async fn child(store: &str, plan: Plan) {
    let batches = AtomicU64::new(0);
    let stop_at = plan.stop_at_batch;
    let log = HookedLog::new(open(store).await).after(move |units| {
        if batches.fetch_add(1, Ordering::SeqCst) + 1 != stop_at {
            return Box::pin(async { Ok(()) });
        }
        for unit in units {
            say(&format!("committed {}", unit.events[0].event_id.0.as_u128() - 0xe_0000_0000));
        }
        say("stopped");
        Box::pin(std::future::pending())
    });
    let batcher = Batcher::start(Arc::new(log), Arc::new(Still), |_| ());
    for n in plan.again {
        append(&batcher, n).await;
    }
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let batcher = batcher.clone();
            tokio::spawn(async move {
                for k in 0..plan.limit {
                    append(&batcher, plan.first_new + k * WRITERS + writer).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    batcher.shutdown().await;
}

async fn append(batcher: &Batcher, n: u128) {
    loop {
        match batcher.append(unit(vec![event(n, stream(n % 3)).about(subject(n % 5))])).await {
            Ok(Outcome::Appended(placed)) => {
                let how = if placed[0].duplicate { "again" } else { "new" };
                return say(&format!("acked {n} {how}"));
            }
            Ok(refused) => panic!("{refused:?}"),
            Err(LogError::Unavailable(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Started by the parents below with a plan. Without one it proves that the child only prints what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_acknowledges_only_what_is_in_the_log() {
    if let (Ok(store), Ok(plan)) = (std::env::var(STORE), std::env::var(PLAN)) {
        return child(&store, Plan::parse(&plan)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("log.db").display());
    child(&store, Plan { stop_at_batch: 0, first_new: 0, limit: 5, again: vec![2, 2] }).await;
    assert_eq!(open(&store).await.tail().await.unwrap().position.0, 5 * u64::try_from(WRITERS).unwrap());
}

/// What the parent knows of one life of the child.
#[derive(Default)]
struct Life {
    acked: BTreeMap<u128, bool>,
    committed: BTreeSet<u128>,
    stopped: bool,
}

/// Runs a child until it stops itself, or until it has said so many acknowledgements, and kills it there.
fn live_and_die(store: &str, plan: &Plan, after_acks: usize) -> Life {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_child_acknowledges_only_what_is_in_the_log", "--nocapture", "--quiet"])
        .env(STORE, store)
        .env(PLAN, plan.print())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut life = Life::default();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        life.hear(&line);
        if life.stopped || (plan.stop_at_batch == 0 && life.acked.len() >= after_acks) {
            break;
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    // What it had said before it died counts as said.
    lines.map_while(Result::ok).for_each(|line| life.hear(&line));
    life
}

impl Life {
    fn hear(&mut self, line: &str) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["acked", n, how] => drop(self.acked.insert(n.parse().unwrap(), how == "again")),
            ["committed", n] => drop(self.committed.insert(n.parse().unwrap())),
            ["stopped"] => self.stopped = true,
            _ => {}
        }
    }
}

fn kill_again_and_again(store: &str) -> BTreeSet<u128> {
    let mut dice = Dice::new(9);
    let mut acked = BTreeSet::new();
    let mut must_be_there = BTreeSet::new();
    let mut plan = Plan { stop_at_batch: 1, first_new: 0, limit: 1000, again: Vec::new() };
    let mut between = 0;
    for kill in 0..KILLS {
        // Most are killed exactly between commit and answer, the others wherever they happen to be.
        plan.stop_at_batch = if kill % 21 == 20 { 0 } else { plan.again.len() as u64 + 1 + dice.below(4) };
        let life = live_and_die(store, &plan, plan.again.len() + 10);
        between += u64::from(life.stopped && !life.committed.is_empty());
        for (n, again) in &life.acked {
            assert!(*again || !must_be_there.contains(n), "{n} was committed twice");
            acked.insert(*n);
        }
        must_be_there.extend(life.committed);
        plan.again = unanswered(&plan, &life.acked);
        let used = plan.again.iter().chain(life.acked.keys()).max();
        plan.first_new = used.map_or(plan.first_new, |last| last + 1).max(plan.first_new);
    }
    assert!(between >= 200, "only {between} kills met the moment between commit and answer");
    let last = Plan { limit: 0, stop_at_batch: 0, ..plan };
    let life = live_and_die(store, &last, usize::MAX);
    assert_eq!(life.acked.len(), last.again.len(), "a retry was not answered");
    acked.extend(life.acked.keys());
    assert!(must_be_there.is_subset(&acked));
    acked
}

/// What a dead child may have sent without hearing the answer: the retries it did not get to, and of each writer
/// the event after its last acknowledged one.
fn unanswered(plan: &Plan, acked: &BTreeMap<u128, bool>) -> Vec<u128> {
    let mut open: Vec<u128> = plan.again.iter().copied().filter(|n| !acked.contains_key(n)).collect();
    if open.is_empty() {
        let next = |writer| (0..).map(move |k| plan.first_new + k * WRITERS + writer);
        open.extend((0..WRITERS).filter_map(|writer| next(writer).find(|n| !acked.contains_key(n))));
    }
    open
}

async fn assert_each_is_there_once(store: &str, acked: &BTreeSet<u128>) {
    let log = open(store).await;
    let all = log.read_all(Position(0), 1 << 20, &Filter::default(), Contents::No).await.unwrap();
    let ids: Vec<_> = all.iter().map(|event| event.event_id.0.as_u128() - 0xe_0000_0000).collect();
    let once: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(once.len(), ids.len(), "an event is there twice");
    assert!(acked.is_subset(&once), "lost: {:?}", acked.difference(&once).collect::<Vec<_>>());
    assert_sound(&*log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_has_every_acknowledged_event_once_after_two_hundred_kills() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("log.db").display());
    let acked = tokio::task::block_in_place(|| kill_again_and_again(&store));
    assert_each_is_there_once(&store, &acked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_has_every_acknowledged_event_once_after_two_hundred_kills() {
    let database = super::postgres::TestDatabase::create().await;
    let store = database.url();
    let acked = tokio::task::block_in_place(|| kill_again_and_again(&store));
    assert_each_is_there_once(&store, &acked).await;
}
