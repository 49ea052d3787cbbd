//! The first administrator.

use std::os::unix::fs::PermissionsExt;

use lockstep_api::{Code, admin::Bootstrap, privacy::Erase};
use lockstepd::commands::admin::bootstrap;
use reqwest::StatusCode;

use crate::{
    in_both_modes,
    office::first_admin,
    over_three_nodes,
    support::{Mode, Node, Person, assert_problem},
};

in_both_modes! {
    a_token_names_one_administrator_once_and_a_wiped_read_model_opens_nothing;
    of_many_who_use_the_token_at_once_one_is_named;
    after_half_an_hour_the_token_is_worth_nothing_and_a_new_start_makes_another;
    of_many_that_start_at_once_one_makes_the_token_and_the_others_wait_for_its_use;
}

over_three_nodes! {
    of_many_who_use_the_token_at_once_one_is_named;
}

fn token(node: &Node) -> Bootstrap {
    Bootstrap { token: node.running().bootstrap.as_ref().unwrap().token.clone() }
}

async fn a_token_names_one_administrator_once_and_a_wiped_read_model_opens_nothing(mode: Mode) {
    let mut node = Node::start(mode).await;
    let file = node.running().server.config.bootstrap_path();
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.trim(), token(&node).token);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let ada = Person::register(&node).await;
    let wrong = Bootstrap { token: "lsb_00".into() };
    assert_problem(ada.post(&node, "/v1/admin/bootstrap", &wrong).await, Code::PreconditionFailed).await;
    let used = token(&node);
    let leaves = Person::register(&node).await;
    let asked = node.post("/v1/me/erasure", &Erase { account: leaves.account });
    let asked = asked.bearer_auth(&leaves.tokens.access_token).header("idempotency-key", "leaves");
    assert_eq!(asked.send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_problem(leaves.post(&node, "/v1/admin/bootstrap", &used).await, Code::PreconditionFailed).await;
    let admin = first_admin(&node).await;
    assert!(!file.exists(), "a used token does not lie about");
    assert_problem(ada.post(&node, "/v1/admin/bootstrap", &used).await, Code::PreconditionFailed).await;
    node.wipe_reads_and_restart().await;
    assert!(node.running().bootstrap.is_none(), "the log knows that there was an administrator");
    assert!(!file.exists());
    assert_problem(ada.post(&node, "/v1/admin/bootstrap", &used).await, Code::PreconditionFailed).await;
    let server = &node.running().server;
    let mut rng = rand::rngs::OsRng;
    let opened = bootstrap::open(
        server.log.as_ref(),
        &server.keys,
        &file,
        lockstep_events::Clock::now(&*node.clock),
        &mut rng,
    );
    assert!(opened.await.is_err());
    let admin = admin.again(&node).await;
    assert_eq!(admin.looks(&node, "/v1/admin/accounts").await.status(), StatusCode::OK);
}

async fn of_many_who_use_the_token_at_once_one_is_named(mode: Mode) {
    let node = Node::start(mode).await;
    let mut people = Vec::new();
    for _ in 0..6 {
        people.push(Person::register(&node).await);
    }
    let used = token(&node);
    let tries = people.iter().map(|person| person.post(&node, "/v1/admin/bootstrap", &used));
    let answers = futures_util::future::join_all(tries).await;
    let named = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    let refused = answers.iter().filter(|answer| answer.status() == StatusCode::PRECONDITION_FAILED).count();
    assert_eq!((named, refused), (1, 5));
}

/// As several nodes do on a new log.
async fn of_many_that_start_at_once_one_makes_the_token_and_the_others_wait_for_its_use(mode: Mode) {
    let node = Node::start(mode).await;
    node.clock.pass(bootstrap::LIFE_S + 1);
    let server = &node.running().server;
    let (now, file) = (lockstep_events::Clock::now(&*node.clock), server.config.bootstrap_path());
    let start = async || {
        bootstrap::at_start(&*server.log, &server.keys, &file, now, &mut rand::rngs::OsRng).await.unwrap()
    };
    let mut made = Vec::new();
    for start in futures_util::future::join_all((0..3).map(|_| start())).await {
        match start {
            bootstrap::Start::Made(opened) => made.push(opened),
            bootstrap::Start::Waits(until) => assert_eq!(until, now.plus_seconds(bootstrap::LIFE_S)),
            bootstrap::Start::Nothing => panic!("nobody is administrator"),
        }
    }
    assert_eq!(made.len(), 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), made[0].token);
    let ada = Person::register(&node).await;
    let named = Bootstrap { token: made[0].token.clone() };
    assert_eq!(ada.post(&node, "/v1/admin/bootstrap", &named).await.status(), StatusCode::OK);
}

async fn after_half_an_hour_the_token_is_worth_nothing_and_a_new_start_makes_another(mode: Mode) {
    let mut node = Node::start(mode).await;
    let old = token(&node);
    node.clock.pass(bootstrap::LIFE_S + 1);
    let ada = Person::register(&node).await;
    assert_problem(ada.post(&node, "/v1/admin/bootstrap", &old).await, Code::PreconditionFailed).await;
    node.restart().await;
    assert_ne!(token(&node).token, old.token);
    let answer = ada.post(&node, "/v1/admin/bootstrap", &token(&node)).await;
    assert_eq!(answer.status(), StatusCode::OK);
}
