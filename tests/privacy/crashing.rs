//! Erasures that are killed: a hundred times within and behind each of the nine steps, by tasks that die between two of
//! their breaths; and by `kill -9` on a process, which also takes what was on its way to the disk.

use std::{
    future::Future,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::future::join_all;
use lockstep_events::{
    AccountId, BlobHash, EventId, Micros, canonical::sha256, event::AskedBy, testing::Dice,
};
use lockstepd::{
    commands::{erase::RequestErasure, purge::Purge},
    config::Layer,
    erasure::{self, LAST_STEP, queue::Job},
    state::Server,
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    canary::canary,
    erasing::assert_all_forgotten,
    ground::{Life, finish, item, left, push},
    support::{
        Mode, Node,
        node::{Place, TestClock},
    },
};

/// The rounds of a server by itself leave an erasure alone that is due then.
const NEVER: Micros = Micros(i64::MAX / 2);
/// After so long, in seconds, an erasure that was asked for can begin.
const WAIT: i64 = 80 * 3600;

/// How often each step is killed.
const RUNS: usize = 100;

/// Does some work until it was polled so often; none: it died before its end. A task that dies `in_flight` has begun
/// something that ends without it; else it died of what it heard.
pub async fn dies<T>(after: u32, in_flight: bool, work: impl Future<Output = T>) -> (Option<T>, u32) {
    let mut work = Box::pin(work);
    let mut polled = 0;
    let outcome = std::future::poll_fn(|context| {
        if polled == after {
            return Poll::Ready(None);
        }
        polled += 1;
        match work.as_mut().poll(context) {
            Poll::Pending if polled == after && in_flight => Poll::Ready(None),
            polled => polled.map(Some),
        }
    });
    (outcome.await, polled)
}

/// Kills at one step.
struct Reaper {
    dice: Dice,
    /// How often work on the step was polled when it was last done whole.
    whole: u32,
    within: u32,
    behind: u32,
}

impl Reaper {
    fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), whole: 1, within: 0, behind: 0 }
    }

    /// Kills some work somewhere; every fifth one when it is done, and before that is noted.
    async fn kill<T>(&mut self, work: impl Future<Output = T>) {
        let behind = (self.within + self.behind).is_multiple_of(5);
        let after =
            if behind { u32::MAX } else { u32::try_from(self.dice.below(self.whole.into())).unwrap() };
        let (outcome, polled) = dies(after, self.dice.below(2) == 0, work).await;
        if outcome.is_some() {
            self.whole = polled;
            self.behind += 1;
        } else {
            self.within += 1;
        }
    }

    fn assert_busy(&self, step: u8) {
        assert_eq!((self.within + self.behind) as usize, RUNS, "step {step}");
        assert!(self.behind > 0 && self.within as usize > RUNS / 3, "step {step}: {} within", self.within);
    }
}

async fn some_lives(node: &Node, family: &str, count: usize) -> Vec<Life> {
    let mut lives = Vec::new();
    while lives.len() < count {
        let some = (count - lives.len()).min(10);
        lives.extend(join_all((0..some).map(|_| Life::lead_in(node, family))).await);
    }
    lives
}

fn request(life: &Life, server: &Server) -> RequestErasure {
    RequestErasure {
        account: life.account(),
        actor: None,
        by: AskedBy::Person,
        reason: None,
        due_at: server.clock.now().plus_seconds(server.config.erasure_wait_s()),
        event_id: EventId(Uuid::new_v4()),
    }
}

/// The erasure, kept from the rounds that a server makes by itself.
async fn job(server: &Server, account: AccountId) -> Job {
    let job = server.erasures.find(account).await.unwrap().expect("it is on its way");
    let kept = Job { due_at: NEVER, ..job };
    server.erasures.note(&kept).await.unwrap();
    kept
}

/// Does the step that is next.
async fn go_on(server: &Server, account: AccountId) {
    let next = erasure::step(server, job(server, account).await).await.unwrap().unwrap();
    server.erasures.note(&Job { due_at: NEVER, ..next }).await.unwrap();
}

/// Whoever is not erased yet is now, and all of them are forgotten.
async fn all_end(node: &Node, mode: Mode, family: &str, lives: &[Life]) {
    let server = &node.running().server;
    for life in lives {
        if let Some(job) = server.erasures.find(life.account()).await.unwrap() {
            server.erasures.note(&Job { due_at: server.clock.now(), ..job }).await.unwrap();
        }
    }
    for life in lives {
        finish(node, life.account()).await;
    }
    assert_eq!(left(node, mode, &[family.to_owned()]).await, [] as [String; 0]);
    assert_all_forgotten(node, &lives.iter().collect::<Vec<_>>()).await;
}

async fn tasks_that_die(mode: Mode) {
    let family = canary();
    let mut node = Node::start(mode).await;
    // The first two steps: whoever is on the shred list when a server starts is erased before it serves anybody.
    let mut all = some_lives(&node, &family, RUNS).await;
    let mut reapers = [Reaper::new(1), Reaper::new(2)];
    let server = Arc::clone(&node.running().server);
    for life in &all {
        reapers[0].kill(request(life, &server).run(&server.desk())).await;
        // What died may be appended only now: then the two have met, and the second asks again.
        while life.ask(&node).await.status() == StatusCode::SERVICE_UNAVAILABLE {}
        job(&server, life.account()).await;
    }
    node.clock.pass(WAIT);
    for life in &all {
        let job = job(&server, life.account()).await;
        reapers[1].kill(erasure::step(&server, job)).await;
    }
    reapers.iter().zip(1..).for_each(|(reaper, step)| reaper.assert_busy(step));
    let lives = some_lives(&node, &family, RUNS).await;
    for life in &lives {
        life.ask_to_be_erased(&node).await;
        job(&server, life.account()).await;
    }
    assert!(left(&node, mode, std::slice::from_ref(&family)).await.len() > 3, "the scan finds what is there");
    node.clock.pass(WAIT);
    for life in &lives {
        go_on(&server, life.account()).await;
    }
    drop(server);
    node.restart().await;
    for step in 3..=LAST_STEP {
        let mut reaper = Reaper::new(step.into());
        let server = Arc::clone(&node.running().server);
        for life in &lives {
            let job = job(&server, life.account()).await;
            assert_eq!(job.step, step);
            reaper.kill(erasure::step(&server, job)).await;
        }
        reaper.assert_busy(step);
        drop(server);
        node.restart().await;
        if step < LAST_STEP {
            for life in &lives {
                go_on(&node.running().server, life.account()).await;
            }
        }
    }
    all.extend(lives);
    all_end(&node, mode, &family, &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erase_crash_each_step() {
    tasks_that_die(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erase_crash_each_step_distributed() {
    tasks_that_die(Mode::Distributed).await;
}

const DATA: &str = "LOCKSTEP_ERASE_DATA";
const STORES: &str = "LOCKSTEP_ERASE_STORES";
const ACCOUNT: &str = "LOCKSTEP_ERASE_ACCOUNT";
const STEP: &str = "LOCKSTEP_ERASE_STEP";

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// A server that is only there to erase somebody, and says when it comes to a step.
async fn erase(place: Place, account: AccountId, step: u8) {
    say("starting");
    let clock = Arc::new(TestClock::default());
    clock.pass(WAIT);
    let node = Node::start_on(place, Layer::default(), clock).await;
    let server = &node.running().server;
    while let Some(job) = server.erasures.find(account).await.unwrap() {
        if job.step == step {
            say("now");
        }
        match erasure::step(server, job).await.unwrap() {
            Some(next) if next.step <= LAST_STEP => {
                server.erasures.note(&Job { due_at: NEVER, ..next }).await.unwrap();
            }
            _ => server.erasures.done(account).await.unwrap(),
        }
    }
    say("erased");
}

/// Started by the parents below with somebody to erase. Without anybody it proves that the child erases at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_erases_whom_it_is_told_to() {
    if let (Ok(data), Ok(account)) = (std::env::var(DATA), std::env::var(ACCOUNT)) {
        let stores = std::env::var(STORES).ok().and_then(|text| {
            text.split_once(' ').map(|(database, blobs)| (database.to_owned(), blobs.to_owned()))
        });
        let step = std::env::var(STEP).unwrap().parse().unwrap();
        erase(Place { data: data.into(), stores }, account.parse().unwrap(), step).await;
        // The parent kills it when it has heard enough.
        return std::future::pending().await;
    }
    let mut node = Node::start(Mode::Embedded).await;
    let life = Life::lead(&node).await;
    life.ask_to_be_erased(&node).await;
    node.stop().await;
    erase(node.place(), life.account(), 0).await;
    node.begin().await;
    assert_all_forgotten(&node, &[&life]).await;
}

/// Runs a child until it is at a step, or at its end, and kills it a moment later. What it said last.
fn live_and_die(place: &Place, account: AccountId, step: u8, moment: Duration) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crashing::the_child_erases_whom_it_is_told_to", "--nocapture", "--quiet"])
        .env(DATA, &place.data)
        .env(ACCOUNT, account.to_string())
        .env(STEP, step.to_string());
    if let Some((database, blobs)) = &place.stores {
        command.env(STORES, format!("{database} {blobs}"));
    }
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let waited_for = if step == 1 { "starting" } else { "now" };
    let heard = lines.find(|line| line == waited_for || line == "erased").expect("the child died by itself");
    std::thread::sleep(moment);
    process.kill().unwrap();
    process.wait().unwrap();
    heard
}

/// Each child is killed within a step or soon behind it; the first one while it starts.
async fn processes_that_are_killed(mode: Mode) {
    const EACH: usize = 3;
    let family = canary();
    let mut node = Node::start(mode).await;
    let lives = some_lives(&node, &family, EACH * usize::from(LAST_STEP)).await;
    for life in &lives {
        life.ask_to_be_erased(&node).await;
        job(&node.running().server, life.account()).await;
    }
    node.stop().await;
    let place = node.place();
    let mut dice = Dice::new(7);
    let mut met = 0;
    for (life, step) in lives.iter().zip((1..=LAST_STEP).cycle()) {
        let longest = if step == 1 { 600_000 } else { 30_000 };
        let moment = Duration::from_micros(dice.below(longest));
        let (place, account) = (place.clone(), life.account());
        let heard = tokio::task::spawn_blocking(move || live_and_die(&place, account, step, moment));
        met += usize::from(heard.await.unwrap() != "erased");
    }
    assert!(met >= lives.len() - EACH, "only {met} kills met the step they were meant for");
    node.begin().await;
    node.clock.pass(WAIT);
    all_end(&node, mode, &family, &lives).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_ends_whole_though_its_server_is_killed_again_and_again_embedded() {
    processes_that_are_killed(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_ends_whole_though_its_server_is_killed_again_and_again_distributed() {
    processes_that_are_killed(Mode::Distributed).await;
}

/// Purges that die anywhere, before and after their event: what an event says is purged is gone after the next look at
/// the log, whoever is asked to do it, and though the client has nothing that it could repeat it with.
async fn purges_that_die(mode: Mode) {
    let node = Node::start(mode).await;
    let life = Life::lead(&node).await;
    let (server, person) = (&node.running().server, &life.person);
    erasure::scan::scan(server, None).await.unwrap();
    let (mut cut, mut half) = (Vec::new(), 0);
    // Where a cut falls is a matter of the machine: a busy one is given more of them.
    for after in (0..24).cycle().take(24 * 8) {
        if after == 0 && half > 0 {
            break;
        }
        let words = canary();
        let alive = item(person, words.as_bytes());
        let (entry, content) = (alive.header.entry, BlobHash(sha256(words.as_bytes())));
        let deletion = person.deletion(entry, vec![alive.header.version_id()]);
        let expect_heads = vec![deletion.header.version_id()];
        push(&node, person, vec![alive, deletion]).await;
        let (account, device, vault) = (person.account, person.device, person.vault);
        let event_id = EventId(Uuid::new_v4());
        let purge = Purge { account, device, vault, entry, expect_heads, event_id };
        let (outcome, _) = dies(after, after % 2 == 0, server.purger.purge(&purge)).await;
        if outcome.is_some() {
            continue;
        }
        // What the batcher had in its hands is in the log.
        push(&node, person, vec![item(person, b"behind it")]).await;
        half += u32::from(stands(server, event_id).await && kept(&life, server, content).await);
        cut.push((event_id, content));
    }
    assert!(half > 0, "none died between its event and the end");
    let mark = erasure::scan::mark(&server.config.key_path());
    erasure::scan::scan(server, mark).await.unwrap();
    for (event_id, content) in cut {
        assert_eq!(kept(&life, server, content).await, !stands(server, event_id).await);
    }
}

async fn kept(life: &Life, server: &Server, content: BlobHash) -> bool {
    !server.log.contents(life.person.vault.into(), &[content]).await.unwrap().is_empty()
}

async fn stands(server: &Server, event: EventId) -> bool {
    !server.log.find(&[event]).await.unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_dies_after_its_event_is_finished_by_the_next_look_at_the_log_embedded() {
    purges_that_die(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_dies_after_its_event_is_finished_by_the_next_look_at_the_log_distributed() {
    purges_that_die(Mode::Distributed).await;
}
