//! The restore rule: a backup from before an erasure or a purge does not bring anything back.

use std::collections::HashMap;

use lockstep_api::{Code, account::LoggedIn, sync};
use lockstep_events::{Epoch, Recorded, StreamId};
use lockstepd::{
    app,
    commands::{
        begin_erasure::begin,
        erase::{Erasure, ErasureState},
    },
    config::{Layer, Secret},
    erasure,
    operate::lives as renewals,
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    both,
    canary::canary,
    ground::{Life, events, finish, item, left, push, quick},
    support::{
        Mode, Node, Person, assert_problem,
        backup::{Database, back_up, put_back, restore},
        body,
        letters::letters,
    },
};

const DAY: i64 = 24 * 3600;

/// Purges the first entry of somebody.
pub async fn purge(node: &Node, life: &Life) {
    let server = &node.running().server;
    lockstepd::commands::account::caught_up(server).await.unwrap();
    let row = server.reads.entries_by_id(life.person.vault, &[life.entry]).await.unwrap().remove(0);
    let deletion = life.person.deletion(life.entry, row.heads.ids());
    let expect_heads = vec![deletion.header.version_id()];
    push(node, &life.person, vec![deletion]).await;
    let path = format!("/v1/vaults/{}/entries/{}/purge", life.person.vault, life.entry);
    let purge = node.post(&path, &sync::Purge { expect_heads });
    let purge = purge.bearer_auth(&life.person.tokens.access_token);
    let purge = purge.header("idempotency-key", Uuid::new_v4().to_string());
    let _: sync::Purged = body(purge.send().await.unwrap(), StatusCode::OK).await;
}

/// Calls the erasure of somebody off.
async fn call_off(node: &Node, person: &Person) {
    let request = node.request("DELETE", "/v1/me/erasure").bearer_auth(&person.tokens.access_token);
    let answer = request.header("idempotency-key", Uuid::new_v4().to_string()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{}", answer.text().await.unwrap());
}

/// In which life its streams are.
async fn lives(node: &Node, life: &Life) -> HashMap<StreamId, Epoch> {
    let streams = [life.account().into(), life.person.vault.into()];
    let heads = node.running().server.log.stream_heads(&streams).await.unwrap();
    heads.into_iter().map(|head| (head.stream, head.epoch)).collect()
}

both! {
    async fn an_empty_log_beside_the_keys_of_another_one_is_refused_and_the_right_one_goes_on(mode: Mode) {
        let mut node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        node.restart().await;
        let before = lives(&node, &life).await;
        let mut wrong = node.running().server.config.clone();
        let elsewhere = tempfile::tempdir().unwrap();
        (wrong.key_file, wrong.data) = (wrong.key_path(), elsewhere.path().to_owned());
        let empty = match mode {
            Mode::Embedded => "sqlite".into(),
            Mode::Distributed | Mode::ThreeNodes => {
                Secret::from(Database::empty_beside(&node.database()).await.as_str())
            }
        };
        (wrong.log, wrong.reads, wrong.credentials) = (empty.clone(), empty.clone(), empty);
        let mark = || std::fs::read(wrong.key_path().with_file_name("shred-scan.json")).unwrap();
        node.stop().await;
        let kept = mark();
        for _ in 0..2 {
            let refused = app::start(wrong.clone()).await.err().unwrap().to_string();
            assert!(refused.contains("does `log` name the right database?"), "{refused}");
            assert!(refused.contains("shred-scan.json") && refused.contains("log restored"), "{refused}");
            let refused = app::tools(&wrong).await.err().unwrap().to_string();
            assert!(refused.contains("does `log` name the right database?"), "{refused}");
        }
        assert_eq!(mark(), kept);
        node.begin().await;
        assert_eq!(lives(&node, &life).await, before);

        // The word of whoever has lost the log for good.
        node.stop().await;
        erasure::scan::say_restored(&wrong.key_path()).unwrap();
        app::start(wrong).await.unwrap().shutdown().await;
    }

    async fn erase_survives_restore(mode: Mode) {
        let mut node = Node::start_with(mode, quick()).await;
        let (gone, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let backup = back_up(&mut node, mode).await;
        gone.ask_to_be_erased(&node).await;
        finish(&node, gone.account()).await;
        assert_eq!(left(&node, mode, &gone.words()).await, [] as [String; 0]);

        restore(&mut node, &backup).await;
        assert_eq!(left(&node, mode, &gone.words()).await, [] as [String; 0]);
        assert_problem(gone.person.login(&node, &gone.person.password, true).await, Code::LoginFailed).await;
        let server = &node.running().server;
        let again: Vec<_> = events(&*server.log).await;
        assert_eq!(again.iter().filter(|event| event.kind == "account.subject_erased").count(), 1);
        assert!(other.person.login(&node, &other.person.password, true).await.status().is_success());

        node.restart().await;
        let after = events(&*node.running().server.log).await;
        let erased = after.iter().filter(|event| event.kind == "account.subject_erased");
        assert_eq!(erased.count(), 1, "once is enough");
    }

    async fn an_erasure_that_was_called_off_after_the_backup_can_be_called_off_again(mode: Mode) {
        let mut node = Node::start(mode).await;
        let (stays, goes) = (Life::lead(&node).await, Life::lead(&node).await);
        for life in [&stays, &goes] {
            life.ask_to_be_erased(&node).await;
        }
        let backup = back_up(&mut node, mode).await;
        call_off(&node, &stays.person).await;
        // It notes how far it has read the log.
        node.restart().await;
        put_back(&mut node, &backup).await;
        node.clock.pass(4 * DAY);
        node.begin().await;
        let server = &node.running().server;
        for life in [&stays, &goes] {
            let found = Erasure::of(&*server.log, life.account()).await.unwrap();
            assert!(found.state.due().unwrap() > server.clock.now().plus_seconds(2 * DAY), "{found:?}");
        }
        let asked = |events: Vec<Recorded>| {
            events.iter().filter(|event| event.kind == "account.erasure_requested").count()
        };
        assert_eq!(asked(events(&*server.log).await), 4);
        erasure::run_due(server).await.unwrap();
        let login = stays.person.login(&node, &stays.person.password, true).await;
        let tokens = body::<LoggedIn>(login, StatusCode::OK).await.tokens.unwrap();
        call_off(&node, &Person { tokens, ..stays.person.clone() }).await;

        // Once for a restore: what was put off is not put off again, and nobody who wants to go has to stay.
        node.restart().await;
        assert_eq!(asked(events(&*node.running().server.log).await), 4);
        node.clock.pass(4 * DAY);
        finish(&node, goes.account()).await;
        assert_eq!(left(&node, mode, &goes.words()).await, [] as [String; 0]);
        assert!(stays.person.login(&node, &stays.person.password, true).await.status().is_success());
    }

    async fn a_called_off_erasure_is_asked_for_again_after_a_restore_however_much_time_is_left(mode: Mode) {
        let mut node = Node::start(mode).await;
        let (life, address) = (Life::lead(&node).await, format!("{}@example.org", Uuid::new_v4().simple()));
        life.person.with_email(&node, &address).await;
        let before = life.ask_to_be_erased(&node).await.due_at;
        node.letter(&address, "will be deleted", 1).await;
        let backup = back_up(&mut node, mode).await;
        call_off(&node, &life.person).await;
        // It notes how far it has read the log.
        node.restart().await;
        put_back(&mut node, &backup).await;
        std::fs::remove_dir_all(node.mail_folder()).unwrap();
        node.begin().await;
        for start in 1..=3 {
            let log = &node.running().server.log;
            let asked = events(&**log).await.into_iter().filter(|event| event.kind == "account.erasure_requested");
            assert_eq!(asked.count(), 2, "once for a restore, at start {start}");
            assert!(Erasure::of(&**log, life.account()).await.unwrap().state.due() >= Some(before));
            node.letter(&address, "will be deleted", 1).await;
            node.restart().await;
        }
        assert_eq!(letters(&node.mail_folder()).len(), 1);
    }

    async fn an_erasure_that_has_begun_is_not_asked_for_again_after_a_restore(mode: Mode) {
        let mut node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        life.ask_to_be_erased(&node).await;
        let server = &node.running().server;
        let due = Erasure::of(&*server.log, life.account()).await.unwrap().state.due().unwrap();
        assert!(begin(&server.desk(), life.account(), due.plus_seconds(DAY)).await.is_ok());
        let backup = back_up(&mut node, mode).await;
        Life::lead(&node).await;
        node.restart().await;
        restore(&mut node, &backup).await;
        let log = &node.running().server.log;
        let asked = events(&**log).await.into_iter().filter(|event| event.kind == "account.erasure_requested");
        assert_eq!(asked.count(), 1);
        assert_eq!(Erasure::of(&**log, life.account()).await.unwrap().state, ErasureState::Begun(due));
    }

    async fn a_log_that_was_restored_begins_another_life_of_every_stream_once(mode: Mode) {
        let mut node = Node::start_with(mode, quick()).await;
        let life = Life::lead(&node).await;
        let backup = back_up(&mut node, mode).await;
        push(&node, &life.person, vec![item(&life.person, b"after the backup")]).await;
        node.restart().await;
        let before = lives(&node, &life).await;
        restore(&mut node, &backup).await;
        // Writes that make the log longer than it was hide from the devices that it was restored.
        let items: Vec<_> = (0..9).map(|n| item(&life.person, &[n])).collect();
        push(&node, &life.person, items).await;
        let after = lives(&node, &life).await;
        assert!(before.iter().all(|(stream, epoch)| after[stream] != *epoch));
        node.restart().await;
        assert_eq!(lives(&node, &life).await, after);
    }

    async fn a_purge_survives_a_restore(mode: Mode) {
        let mut node = Node::start_with(mode, quick()).await;
        let life = Life::lead(&node).await;
        let backup = back_up(&mut node, mode).await;
        purge(&node, &life).await;

        restore(&mut node, &backup).await;
        let server = &node.running().server;
        lockstepd::commands::account::caught_up(server).await.unwrap();
        let row = server.reads.entries_by_id(life.person.vault, &[life.entry]).await.unwrap().remove(0);
        assert!(row.heads.purged && row.heads.heads.is_empty());
        let words = [format!("first {}", life.secrets[1])];
        assert_eq!(left(&node, mode, &words).await, [] as [String; 0]);
    }

    async fn a_shred_list_that_was_cut_is_made_whole_from_the_log_and_never_beside_a_restored_one(mode: Mode) {
        let mut node = Node::start_with(mode, quick()).await;
        let (life, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let backup = back_up(&mut node, mode).await;
        purge(&node, &life).await;
        purge(&node, &other).await;
        node.restart().await;
        let list = node.data().join("keys/shred-list.jsonl");
        let whole = std::fs::read_to_string(&list).unwrap();
        let first = whole.split_inclusive('\n').next().unwrap();
        for cut in [Some(first), Some(""), None] {
            node.stop().await;
            match cut {
                Some(lines) => std::fs::write(&list, lines).unwrap(),
                None => std::fs::remove_file(&list).unwrap(),
            }
            node.begin().await;
            assert_eq!(std::fs::read_to_string(&list).unwrap().lines().count(), 2, "{cut:?}");
        }

        put_back(&mut node, &backup).await;
        std::fs::write(&list, first).unwrap();
        let refused = format!("{:?}", node.try_begin().await.unwrap_err());
        assert!(refused.to_string().contains("shred-list.jsonl"), "{refused}");
        std::fs::write(&list, whole).unwrap();
        node.begin().await;
        let words = [life, other].map(|life| format!("first {}", life.secrets[1]));
        assert_eq!(left(&node, mode, &words).await, [] as [String; 0]);
    }

    async fn what_was_purged_is_at_once_in_no_file_and_in_no_journal(mode: Mode) {
        let node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        let kept = canary();
        push(&node, &life.person, vec![item(&life.person, kept.as_bytes())]).await;
        let words = [format!("first {}", life.secrets[1])];
        assert!(!left(&node, mode, &words).await.is_empty(), "the search finds what is there");
        purge(&node, &life).await;
        assert_eq!(left(&node, mode, &words).await, [] as [String; 0]);
        assert!(!left(&node, mode, &[kept]).await.is_empty(), "and what was not purged is there");
    }

    async fn an_erasure_that_another_node_asked_for_is_found_in_the_log(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let life = Life::lead(&node).await;
        life.ask_to_be_erased(&node).await;
        let server = &node.running().server;
        // The node that asked died between the event and its queue.
        server.erasures.done(life.account()).await.unwrap();
        erasure::scan::scan(server, None).await.unwrap();
        finish(&node, life.account()).await;
        assert_eq!(left(&node, mode, &life.words()).await, [] as [String; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nodes_that_start_after_the_same_restore_one_begins_another_life_of_every_stream() {
    let mut node = Node::start_with(Mode::Distributed, quick()).await;
    let life = Life::lead(&node).await;
    let (mut second, keys) = (node.second().await, tempfile::tempdir().unwrap());
    for file in std::fs::read_dir(node.data().join("keys")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), keys.path().join(file.file_name())).unwrap();
    }
    let own_keys = Layer { key_file: Some(keys.path().join("server.json")), ..Layer::default() };
    second.stop().await;
    let backup = back_up(&mut node, Mode::Distributed).await;
    push(&node, &life.person, vec![item(&life.person, b"after the backup")]).await;
    // Each has seen it, and notices by itself that it is gone.
    node.restart().await;
    second.begin().await;
    second.restart_with(own_keys).await;
    second.stop().await;
    let before = lives(&node, &life).await;

    put_back(&mut node, &backup).await;
    node.begin().await;
    let after = lives(&node, &life).await;
    assert!(before.iter().all(|(stream, epoch)| after[stream] != *epoch));
    second.begin().await;
    assert_eq!(lives(&second, &life).await, after);

    // And of those that start at the same moment.
    let servers = [&node, &second].map(|node| &node.running().server);
    let known = renewals::last(&*servers[0].log).await.unwrap();
    let starting = (0..8).map(|n| {
        let server = servers[n % 2];
        renewals::renew_once(&*server.log, known, &*server.clock)
    });
    let done = futures_util::future::join_all(starting).await;
    let renewed: Vec<u64> = done.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(renewed.len(), 1, "{renewed:?}");
    assert!(lives(&node, &life).await.iter().all(|(stream, epoch)| after[stream] != *epoch));
}
