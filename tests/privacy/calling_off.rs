//! Who calls an erasure off at the last moment, while another node begins it: one of the two stands, however long either is
//! on its way, and whoever is told that it is called off keeps everything.

use std::{sync::Arc, time::Duration};

use lockstep_events::{EventId, EventLog, Micros, testing::HookedLog};
use lockstepd::{
    batcher::Batcher,
    commands::{
        begin_erasure::begin,
        erase::{CancelErasure, Desk, EraseError, ErasureState},
    },
    erasure::{self, LAST_STEP, queue::Job},
    state::Server,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    both,
    erasing::assert_all_forgotten,
    ground::{Life, events, finish, left, stream},
    support::{Mode, Node},
};

/// The rounds of a server by itself leave an erasure alone that is due then.
const NEVER: Micros = Micros(i64::MAX / 2);
/// After so long, in seconds, an erasure that was asked for can begin.
const WAIT: i64 = 80 * 3600;

/// Another node on the same stores, over whose way to the log an event of one kind takes as long as it is held.
struct Slow {
    desk: Desk,
    /// The event is on its way.
    came: CancellationToken,
    /// It goes on.
    go: CancellationToken,
}

fn slow(server: &Server, kind: &'static str) -> Slow {
    let (came, go) = (CancellationToken::new(), CancellationToken::new());
    let (its_coming, its_going) = (came.clone(), go.clone());
    let log = HookedLog::new(Arc::clone(&server.log)).before(move |units| {
        let held = units.iter().flat_map(|unit| &unit.events).any(|event| event.kind == kind);
        let (came, go) = (its_coming.clone(), its_going.clone());
        Box::pin(async move {
            if held {
                came.cancel();
                go.cancelled().await;
            }
            Ok(())
        })
    });
    let log: Arc<dyn EventLog> = Arc::new(log);
    let desk = Desk {
        batcher: Batcher::start(Arc::clone(&log), Arc::clone(&server.clock), |_| {}),
        log,
        subjects: Arc::clone(&server.subjects),
        erasures: Arc::clone(&server.erasures),
    };
    Slow { desk, came, go }
}

async fn on_its_way(came: &CancellationToken) {
    tokio::time::timeout(Duration::from_secs(60), came.cancelled()).await.expect("it is never sent");
}

fn call_off(life: &Life) -> CancelErasure {
    CancelErasure { account: life.account(), actor: None, event_id: EventId(Uuid::new_v4()) }
}

/// Somebody who asked to be erased, and the erasure, which waits for whoever does its steps.
async fn asked(node: &Node) -> (Life, Job) {
    let life = Life::lead(node).await;
    life.ask_to_be_erased(node).await;
    let erasures = &node.running().server.erasures;
    let job = Job { due_at: NEVER, ..erasures.find(life.account()).await.unwrap().unwrap() };
    erasures.note(&job).await.unwrap();
    (life, job)
}

async fn called_off(server: &Server, life: &Life) -> usize {
    let all = events(&*server.log).await;
    let of = all.iter().filter(|event| event.stream == stream(life));
    of.filter(|event| event.kind == "account.erasure_cancelled").count()
}

both! {
    async fn a_call_off_that_is_late_on_its_way_is_refused_once_another_node_has_begun(mode: Mode) {
        let node = Node::start(mode).await;
        let (life, job) = asked(&node).await;
        let server = &node.running().server;
        let other = slow(server, "account.erasure_cancelled");
        let (came, go) = (other.came.clone(), other.go.clone());
        let (late, in_time) = (call_off(&life), server.clock.now());
        let calling = tokio::spawn(async move { late.run(&other.desk, in_time).await });
        on_its_way(&came).await;

        node.clock.pass(WAIT);
        let next = erasure::step(server, job).await.unwrap().unwrap();
        assert_eq!(next.step, 3);
        server.erasures.note(&Job { due_at: NEVER, ..next.clone() }).await.unwrap();
        go.cancel();
        let answer = calling.await.unwrap();
        assert!(matches!(answer, Err(EraseError::NothingToCancel)), "{answer:?}");
        assert_eq!(called_off(server, &life).await, 0);

        server.erasures.note(&next).await.unwrap();
        finish(&node, life.account()).await;
        assert_eq!(left(&node, mode, &life.words()).await, [] as [String; 0]);
        assert_all_forgotten(&node, &[&life]).await;
    }

    async fn a_beginning_that_is_late_on_its_way_destroys_nothing_of_who_was_told_that_it_is_called_off(mode: Mode) {
        let node = Node::start(mode).await;
        let (life, job) = asked(&node).await;
        let server = &node.running().server;
        let (account, in_time) = (life.account(), server.clock.now());
        node.clock.pass(WAIT);
        let other = slow(server, "account.erasure_begun");
        let (came, go) = (other.came.clone(), other.go.clone());
        let now = server.clock.now();
        let beginning = tokio::spawn(async move { begin(&other.desk, account, now).await });
        on_its_way(&came).await;

        // It was sent in time to a node that took as long.
        call_off(&life).run(&server.desk(), in_time).await.unwrap().expect("it is called off");
        go.cancel();
        assert_eq!(beginning.await.unwrap().unwrap(), ErasureState::None);
        assert_eq!(erasure::step(server, job).await.unwrap(), None);
        assert_eq!(server.erasures.find(account).await.unwrap(), None);
        let kept = left(&node, mode, &life.secrets).await;
        assert!(kept.len() >= life.secrets.len(), "{kept:?}");
        assert!(life.person.login(&node, &life.person.password, true).await.status().is_success());
    }

    async fn what_two_nodes_begin_at_the_same_time_begins_once_and_goes_on_after_each_crash(mode: Mode) {
        let node = Node::start(mode).await;
        let (life, job) = asked(&node).await;
        let server = &node.running().server;
        node.clock.pass(WAIT);
        let now = server.clock.now();
        let other = slow(server, "account.erasure_begun");
        other.go.cancel();
        let desk = server.desk();
        let (here, there) =
            tokio::join!(begin(&desk, life.account(), now), begin(&other.desk, life.account(), now));
        let (here, there) = (here.unwrap(), there.unwrap());
        assert!(matches!(here, ErasureState::Begun(_)) && here == there, "{here:?} {there:?}");
        // Nothing was destroyed yet, as by a crash right behind the event. Who calls it off now is too late all the same.
        let answer = call_off(&life).run(&desk, now.plus_seconds(-WAIT)).await;
        assert!(matches!(answer, Err(EraseError::NothingToCancel)), "{answer:?}");
        let mut next = job;
        while next.step <= LAST_STEP {
            next = erasure::step(server, next).await.unwrap().unwrap();
        }
        server.erasures.done(life.account()).await.unwrap();
        let all = events(&*server.log).await;
        assert_eq!(all.iter().filter(|event| event.kind == "account.erasure_begun").count(), 1);
        assert_all_forgotten(&node, &[&life]).await;
    }
}
