//! After a restore erasures are put off, also where a start is cut off before, or not everything can be read.

use std::sync::Arc;

use lockstep_events::{Micros, Outcome, Unit, testing::build::event};
use lockstepd::{
    app,
    commands::{erase::Erasure, facts::existing_account},
    erasure::{restore::reapply, scan},
};
use uuid::Uuid;

use crate::{
    both,
    crashing::dies,
    ground::{Life, events},
    support::{
        Mode, Node,
        backup::{back_up, put_back},
    },
};

const DAY: i64 = 24 * 3600;

async fn asked(node: &Node) -> usize {
    let events = events(&*node.running().server.log).await;
    events.iter().filter(|event| event.kind == "account.erasure_requested").count()
}

async fn due(node: &Node, life: &Life) -> Option<Micros> {
    Erasure::of(&*node.running().server.log, life.account()).await.unwrap().state.due()
}

both! {
    async fn a_start_that_is_cut_off_after_a_restore_is_known_to_be_one_until_erasures_are_put_off(mode: Mode) {
        let node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        life.ask_to_be_erased(&node).await;
        let server = &node.running().server;
        let key_file = server.config.key_path();
        assert!(reapply(server).await.is_ok());
        assert!(scan::say_restored(&key_file).unwrap());
        let mut after = 0;
        while dies(after, true, reapply(server)).await.0.is_none() {
            after += 1;
            let is_known = scan::mark(&key_file).unwrap().restored;
            assert!(is_known || asked(&node).await == 2, "cut off at {after}");
        }
        assert_eq!(asked(&node).await, 2);
        assert!(!scan::mark(&key_file).unwrap().restored, "once for a restore");
    }

    async fn a_start_that_notices_a_restore_and_is_cut_off_asks_anew_for_each_erasure_that_is_due_exactly_once(mode: Mode) {
        let mut node = Node::start(mode).await;
        let (lives, stays) = ([Life::lead(&node).await, Life::lead(&node).await], Life::lead(&node).await);
        for life in &lives {
            life.ask_to_be_erased(&node).await;
        }
        let server = Arc::clone(&node.running().server);
        let key_file = server.config.key_path();
        assert!(!reapply(&server).await.unwrap().restored);
        // The log was longer when it was last read, and nobody says anything.
        let mut mark = scan::mark(&key_file).unwrap();
        mark.position.0 += 1000;
        assert!(!mark.restored);
        std::fs::write(scan::path(&key_file), serde_json::to_vec(&mark).unwrap()).unwrap();
        let times = async || {
            let events = events(&*server.log).await;
            let asked: Vec<_> = events.iter().filter(|event| event.kind == "account.erasure_requested").collect();
            let of = |life: &Life| asked.iter().filter(|event| event.stream == life.account().into()).count();
            [&lives[0], &lives[1], &stays].map(of)
        };
        let mut after = 0;
        while dies(after, true, reapply(&server)).await.0.is_none() {
            after += 1;
            let is_known = scan::is_restored(&server, &scan::mark(&key_file).unwrap()).await.unwrap();
            assert!(is_known || times().await == [2, 2, 0], "cut off at {after}");
        }
        assert_eq!(times().await, [2, 2, 0]);
        assert!(!reapply(&server).await.unwrap().restored, "once for a restore");
        node.restart().await;
        assert_eq!(times().await, [2, 2, 0]);
    }

    async fn what_is_read_meanwhile_does_not_take_the_word_away_that_the_log_was_restored(mode: Mode) {
        let node = Node::start(mode).await;
        let server = &node.running().server;
        let key_file = server.config.key_path();
        assert!(scan::say_restored(&key_file).unwrap());
        let life = Life::lead(&node).await;
        life.ask_to_be_erased(&node).await;
        scan::scan(server, scan::mark(&key_file)).await.unwrap();
        assert!(scan::mark(&key_file).unwrap().restored);
        assert_eq!(reapply(server).await.unwrap().put_off, 1);
        assert!(!scan::mark(&key_file).unwrap().restored);
    }

    async fn whoever_says_that_the_log_was_restored_is_believed_though_nothing_says_how_far_it_was_read(mode: Mode) {
        let mut node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        life.ask_to_be_erased(&node).await;
        let backup = back_up(&mut node, mode).await;
        let config = node.running().server.config.clone();
        put_back(&mut node, &backup).await;
        std::fs::remove_file(scan::path(&config.key_path())).unwrap();
        let (log, held) = app::log_held(&config).await.unwrap();
        scan::note_restored(&config.key_path(), &*log).await.unwrap();
        drop((log, held));
        node.clock.pass(4 * DAY);
        node.begin().await;
        assert!(due(&node, &life).await.unwrap() > node.running().server.clock.now().plus_seconds(2 * DAY));
        assert_eq!(asked(&node).await, 2);
        node.restart().await;
        assert_eq!(asked(&node).await, 2, "once for a restore");
    }

    async fn an_account_that_cannot_be_read_keeps_no_erasure_of_others_from_being_put_off(mode: Mode) {
        let node = Node::start(mode).await;
        let (odd, life) = (Life::lead(&node).await, Life::lead(&node).await);
        for life in [&odd, &life] {
            life.ask_to_be_erased(&node).await;
        }
        let server = &node.running().server;
        let (stream, subject) = (odd.account().into(), odd.account().0.into());
        let event = event(Uuid::new_v4().as_u128(), stream).about(subject);
        let (streams, events) = (vec![existing_account(odd.account())], vec![event]);
        let unit = Unit { streams, events, ..Unit::default() };
        let outcome = server.log.append(&[unit], server.clock.now()).await.unwrap().remove(0);
        assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
        assert!(Erasure::of(&*server.log, odd.account()).await.is_err());
        let before = due(&node, &life).await.unwrap();
        assert!(scan::say_restored(&server.config.key_path()).unwrap());
        node.clock.pass(DAY);
        assert_eq!(reapply(server).await.unwrap().put_off, 1);
        assert!(due(&node, &life).await.unwrap() > before);
    }
}
