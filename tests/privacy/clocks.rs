//! Erasures by a clock that is wrong: by one that has jumped none begins, and by one that is behind none is put off too short.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstep_events::Micros;
use lockstepd::{
    app::people::privacy,
    commands::erase::{Erasure, ErasureState},
    erasure::{restore::reapply, scan},
};

use crate::{
    both,
    ground::{Life, events},
    support::{Mode, Node},
};

const DAY: i64 = 24 * 3600;

async fn begun(node: &Node) -> usize {
    let events = events(&*node.running().server.log).await;
    events.iter().filter(|event| event.kind == "account.erasure_begun").count()
}

async fn state(node: &Node, life: &Life) -> ErasureState {
    Erasure::of(&*node.running().server.log, life.account()).await.unwrap().state
}

both! {
    async fn no_erasure_begins_by_a_clock_that_has_just_jumped_unless_there_is_no_other(mode: Mode) {
        let node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        life.ask_to_be_erased(&node).await;
        let server = &node.running().server;
        node.clock.pass(4 * DAY);
        privacy(server, 1).await.unwrap();
        if mode == Mode::Distributed {
            node.clock.pass(-4 * DAY);
            privacy(server, 1).await.unwrap();
            assert_eq!(begun(&node).await, 0);
            assert!(matches!(state(&node, &life).await, ErasureState::Due(_)));
            return;
        }
        // A round of the node's own may have it in its hands.
        let until = Instant::now() + Duration::from_secs(60);
        while begun(&node).await == 0 {
            assert!(Instant::now() < until, "it does not begin");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restore_a_node_whose_clock_is_behind_puts_erasures_off_by_that_of_the_database() {
    let node = Node::start(Mode::Distributed).await;
    let server = &node.running().server;
    // What is asked for then is due long ago by any other clock.
    node.clock.pass(-8 * DAY);
    let life = Life::lead(&node).await;
    life.ask_to_be_erased(&node).await;
    assert!(scan::say_restored(&server.config.key_path()).unwrap());
    assert_eq!(reapply(server).await.unwrap().put_off, 1);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let right = Micros(i64::try_from(since.as_micros()).unwrap());
    assert!(state(&node, &life).await.due().unwrap() > right.plus_seconds(2 * DAY));
}
