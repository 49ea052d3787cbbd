//! Erasure from outside: asked for, called off, done; killed at every step; under load.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lockstep_api::{Code, privacy::Erase};
use lockstep_events::{Chain, Event, Micros, event::AccountEvent};
use lockstepd::{
    erasure::{self, LAST_STEP, queue::Job},
    operate::{
        log::{Known, verify},
        projections::{Place, families, rebuild},
    },
    subjects::{
        Purpose,
        holding::Person as Whose,
        keys::{KeyName, Standing},
    },
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    both,
    canary::files_with,
    ground::{Life, events, finish, item, left, push, quick, stream},
    support::{Mode, Node, assert_problem},
};

/// What must hold once somebody is erased, whatever happened on the way.
async fn assert_erased(node: &Node, mode: Mode, life: &Life) {
    assert_eq!(left(node, mode, &life.words()).await, [] as [String; 0]);
    assert_all_forgotten(node, &[life]).await;
}

/// No key opens anything of theirs, no row is about them, and the log says so, once about each.
pub async fn assert_all_forgotten(node: &Node, lives: &[&Life]) {
    let server = &node.running().server;
    let mut erased: HashMap<_, Vec<_>> = HashMap::new();
    for event in events(&*server.log).await {
        if event.kind == "account.subject_erased" {
            erased.entry(event.stream).or_default().push(event);
        }
    }
    for life in lives {
        assert_forgotten(node, life).await;
        let [event] = &erased[&stream(life)][..] else { panic!("{:?}", erased[&stream(life)]) };
        let Event::Account(AccountEvent::SubjectErased(body)) = event.event().unwrap() else { panic!() };
        assert_eq!((body.account, body.vaults), (life.account(), vec![life.person.vault]));
    }
    node.assert_whole().await;
}

async fn assert_forgotten(node: &Node, life: &Life) {
    let server = &node.running().server;
    for purpose in [Purpose::Identity, Purpose::Telemetry, Purpose::Credential] {
        let period = purpose.period(server.clock.now());
        let name = KeyName { subject: life.account(), purpose, period };
        assert_eq!(server.subjects.store().find(&name).await.unwrap(), Standing::Destroyed);
    }
    let person = Whose { account: life.account(), vaults: vec![life.person.vault] };
    for holding in &server.holdings {
        // Mail is a reactor: the task that the request made may come a moment late, and then goes a moment later.
        let since = Instant::now();
        while !holding.held(&person).await.unwrap().is_empty() {
            assert!(since.elapsed() < Duration::from_secs(60), "{:?}", holding.held(&person).await.unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(server.reads.devices(life.account()).await.unwrap(), []);
    assert_eq!(server.reads.sessions(life.account()).await.unwrap(), []);
    assert_eq!(server.reads.entries(life.person.vault, None, 10).await.unwrap(), []);
}

/// The chains of all streams, each event checked against the one before.
async fn chains(node: &Node) -> HashMap<lockstep_events::StreamId, Vec<Chain>> {
    let mut chains: HashMap<_, Vec<Chain>> = HashMap::new();
    for event in events(&*node.running().server.log).await {
        let chain = chains.entry(event.stream).or_default();
        assert!(
            event.follows(chain.last().unwrap_or(&Chain::ZERO)),
            "the chain breaks at {}",
            event.position
        );
        chain.push(event.chain);
    }
    chains
}

both! {
    async fn an_audit_of_before_holds_after_an_erasure(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let life = Life::lead(&node).await;
        let log = &node.running().server.log;
        let first = verify(&**log, &Known::default(), &mut |_, _| {}).await.unwrap();
        life.ask_to_be_erased(&node).await;
        finish(&node, life.account()).await;
        let known = Known { since: Some(first.audit.clone()), ..Known::default() };
        let second = verify(&**log, &known, &mut |_, _| {}).await.unwrap();
        assert_eq!((second.faulty, second.differs.len()), (0, 0), "{:?}", second.faults);
        assert!(first.audit.is_whole() && second.audit.position > first.audit.position);
        assert!(second.contents < first.contents, "and there was something to erase");
    }

    async fn erase_then_scan(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let (gone, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let (before, secrets) = (left(&node, mode, &gone.secrets).await, gone.secrets.len());
        assert!(before.len() >= secrets, "the scan finds what is there: {before:?}");
        gone.ask_to_be_erased(&node).await;
        node.clock.pass(10);
        erasure::run_due(&node.running().server).await.unwrap();
        assert_problem(gone.person.get(&node, "/v1/account").await, Code::Revoked).await;
        finish(&node, gone.account()).await;
        assert_erased(&node, mode, &gone).await;
        assert_problem(gone.person.login(&node, &gone.person.password, true).await, Code::LoginFailed).await;
        let kept = left(&node, mode, &other.secrets).await;
        assert!(kept.len() >= other.secrets.len(), "{kept:?}");
        assert!(other.person.login(&node, &other.person.password, true).await.status().is_success());
    }

    async fn erase_then_rebuild(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let (gone, other) = (Life::lead(&node).await, Life::lead(&node).await);
        gone.ask_to_be_erased(&node).await;
        finish(&node, gone.account()).await;
        let server = &node.running().server;
        let (log, reads) = (Arc::clone(&server.log), Arc::clone(&server.reads));
        let place = Place { log, reads, clock: Arc::clone(&server.clock) };
        let all = families(&[], true).unwrap();
        let mut draw = |_: lockstep_projections::rebuild::Step| std::ops::ControlFlow::Continue(());
        for report in rebuild(&place, &all, Uuid::new_v4(), &mut draw).await.unwrap() {
            assert!(report.different.is_empty(), "rebuilt and folded bit by bit differ: {:?}", report.different);
        }
        assert_erased(&node, mode, &gone).await;
        let stone = server.reads.account(gone.account()).await.unwrap().unwrap();
        assert!(stone.erased_at.is_some() && stone.roster.is_empty() && stone.vaults.is_empty());
        assert!(other.person.login(&node, &other.person.password, true).await.status().is_success());
    }

    async fn erase_keeps_chain(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let (gone, _other) = (Life::lead(&node).await, Life::lead(&node).await);
        let before = chains(&node).await;
        gone.ask_to_be_erased(&node).await;
        finish(&node, gone.account()).await;
        let after = chains(&node).await;
        for (stream, chain) in before {
            assert_eq!(after[&stream][..chain.len()], chain, "what stood in {stream} stands");
        }
    }

    async fn erase_under_load(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let (gone, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
        let writing = async {
            while !stop.load(Ordering::SeqCst) {
                push(&node, &other.person, vec![item(&other.person, Uuid::new_v4().as_bytes())]).await;
                written.fetch_add(1, Ordering::SeqCst);
            }
        };
        let erasing = async {
            gone.ask_to_be_erased(&node).await;
            step_to(&node, &gone, LAST_STEP).await;
            while written.load(Ordering::SeqCst) < 20 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            stop.store(true, Ordering::SeqCst);
        };
        tokio::join!(writing, erasing);
        finish(&node, gone.account()).await;
        assert_erased(&node, mode, &gone).await;
        let server = &node.running().server;
        lockstepd::commands::account::caught_up(server).await.unwrap();
        let kept = server.reads.vault(other.person.vault).await.unwrap().unwrap();
        assert_eq!(kept.versions, 3 + written.load(Ordering::SeqCst));
        chains(&node).await;
    }

    async fn an_erasure_can_be_called_off_until_it_begins(mode: Mode) {
        let node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        let key = |name: &str| ("idempotency-key", format!("{name}-key"));
        let call = |method: &str, (header, key): (&'static str, String)| {
            let request = node.request(method, "/v1/me/erasure").header(header, key);
            request.bearer_auth(&life.person.tokens.access_token)
        };
        assert_problem(call("GET", key("x")).send().await.unwrap(), Code::NotFound).await;
        assert_problem(call("DELETE", key("a")).send().await.unwrap(), Code::NotFound).await;
        let due = life.ask_to_be_erased(&node).await.due_at;
        assert_eq!(life.ask_to_be_erased(&node).await.due_at, due, "asking again puts nothing off");
        assert!((71..=72).contains(&((due.0 - node.running().server.clock.now().0) / 3_600_000_000 + 1)));
        node.clock.pass(200);
        erasure::run_due(&node.running().server).await.unwrap();
        for _ in 0..2 {
            let called_off = call("DELETE", key("b")).send().await.unwrap();
            assert_eq!(called_off.status(), StatusCode::NO_CONTENT);
        }
        assert_problem(call("GET", key("x")).send().await.unwrap(), Code::NotFound).await;
        node.clock.pass(80 * 3600);
        erasure::run_due(&node.running().server).await.unwrap();
        let server = &node.running().server;
        assert_eq!(server.reads.devices(life.account()).await.unwrap().len(), 1);
        assert_eq!(server.erasures.find(life.account()).await.unwrap(), None);
    }

    async fn letters_that_lie_in_a_folder_are_erased_with_their_account_and_nobody_else_s_are(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let (gone, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let address = |life: &Life, n: u8| format!("{}-{n}@example.org", life.name);
        for life in [&gone, &other] {
            life.person.with_email(&node, &address(life, 1)).await;
            // An address that is never confirmed has a letter too.
            life.person.name_email(&node, &address(life, 2)).await;
            node.letter(&address(life, 2), "Confirm", 1).await;
        }
        let (folder, names) = (node.mail_folder(), [gone.name.clone()]);
        assert!(files_with(&folder, &names).len() >= 2);
        let others = files_with(&folder, std::slice::from_ref(&other.name));
        let named = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name());
        assert!(named.into_iter().all(|name| !name.to_string_lossy().contains('@')), "an address is in a name");
        gone.ask_to_be_erased(&node).await;
        finish(&node, gone.account()).await;
        assert_eq!(files_with(&folder, &names), [] as [String; 0]);
        // One that was still on its way may have come; each that lay there lies there.
        let left = files_with(&folder, std::slice::from_ref(&other.name));
        assert!(others.iter().all(|letter| left.contains(letter)), "{others:?} became {left:?}");
    }

    async fn only_the_own_account_is_erased(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let (life, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let ask = |account| {
            let request = node.post("/v1/me/erasure", &Erase { account }).header("idempotency-key", "k");
            request.bearer_auth(&life.person.tokens.access_token).send()
        };
        assert_problem(ask(other.account()).await.unwrap(), Code::InvalidField).await;
        assert_eq!(node.running().server.erasures.find(other.account()).await.unwrap(), None);
    }

    // A file of the first one cannot be deleted: the second one, whose turn is after it, goes all the way meanwhile.
    async fn an_erasure_that_cannot_go_on_holds_up_no_other(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let (stuck, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let server = &node.running().server;
        // A folder in the place of a piece of an upload.
        let piece = format!("{}-a-piece", stuck.person.vault);
        std::fs::create_dir_all(node.data().join("uploads").join(piece)).unwrap();
        for (life, turn) in [(&stuck, 1), (&other, 2)] {
            life.ask_to_be_erased(&node).await;
            let job = server.erasures.find(life.account()).await.unwrap().unwrap();
            server.erasures.note(&Job { step: 4, due_at: Micros(turn), ..job }).await.unwrap();
        }
        let _ = erasure::run_due(server).await;
        // A round of the server by itself may have it in its hands.
        for _ in 0..1200 {
            if server.erasures.find(other.account()).await.unwrap().is_none() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(server.erasures.find(other.account()).await.unwrap().is_none());
        assert!(server.erasures.find(stuck.account()).await.unwrap().is_some());
    }
}

/// Does the steps before one.
async fn step_to(node: &Node, life: &Life, step: u8) {
    let server = &node.running().server;
    for _ in 0..60 {
        // The node itself may have been faster.
        let Some(job) = server.erasures.find(life.account()).await.unwrap() else { return };
        if job.step >= step {
            return;
        }
        node.clock.pass(10);
        if let Some(next) = erasure::step(server, job).await.unwrap() {
            server.erasures.note(&next).await.unwrap();
        }
    }
    panic!("step {step} was never reached");
}
