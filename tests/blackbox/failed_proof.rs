//! A proof that fails changes nothing: no event, no credential, no session. Checked first, written afterwards.

use std::sync::Arc;

use lockstep_api::{
    Code,
    account::{EnrolDevice, LoggedIn, Refresh, RevokeDevice},
};
use lockstep_events::{
    DeviceId, Seq, StreamId, canonical::sha256, header::public_key, ids::Signature, roster::Claim,
};
use lockstepd::{
    adapters::{
        postgres::{Database, tables::PostgresTables},
        sqlite::{files, tables::SqliteTables},
    },
    tables::{Family, TableStore},
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{Mode, Node, Person, assert_problem, body, person::random_key};

in_both_modes! {
    many threads:
    failed_proof_no_side_effect,
    a_registration_with_a_false_statement_reserves_no_name,
}

/// Tables in which a failed proof may leave nothing. What it uses up is an attempt and a place in a limit.
const TABLES: [&str; 4] = ["names", "passwords", "wraps", "sessions"];

/// Everything that could have been changed.
#[derive(Debug, PartialEq, Eq)]
struct State {
    heads: Vec<Seq>,
    rows: Vec<[u8; 32]>,
}

/// The tables that the server keeps credentials in, wherever they are.
async fn tables(node: &Node) -> Arc<dyn TableStore> {
    let config = &node.running().server.config;
    match config.credentials.expose() {
        "sqlite" => Arc::new(SqliteTables::new(&config.data.join(files::CREDENTIALS))),
        url => Arc::new(PostgresTables::of_owner(&Database::connect(url, 1).await.unwrap())),
    }
}

async fn state(node: &Node, person: Option<&Person>) -> State {
    let tables = tables(node).await;
    let mut rows = Vec::new();
    for table in Family::Credentials.tables().filter(|table| TABLES.contains(&table.name)) {
        let shape = tables.shape(table).await.unwrap();
        let all = tables.page(&shape, None, 1000).await.unwrap();
        rows.extend(all.iter().map(|row| sha256(format!("{row:?}").as_bytes())));
    }
    let streams: Vec<StreamId> =
        person.into_iter().flat_map(|p| [p.account.into(), p.vault.into()]).collect();
    let heads = node.running().server.log.stream_heads(&streams).await.unwrap();
    State { heads: heads.iter().map(|head| head.seq).collect(), rows }
}

/// Asks with every proof that can be wrong.
async fn fail_everywhere(node: &Node, person: &Person) {
    let wrong = person.login(node, "another password", true).await;
    assert_problem(wrong, Code::LoginFailed).await;
    let mut stranger = person.clone();
    stranger.device_key = random_key();
    assert_problem(stranger.login(node, &person.password, true).await, Code::LoginFailed).await;
    stranger.device = DeviceId(Uuid::new_v4());
    assert_problem(stranger.login(node, &person.password, true).await, Code::LoginFailed).await;

    let unsigned =
        Refresh { refresh_token: person.tokens.refresh_token.clone(), signature: Signature([7; 64]) };
    let answer = node.post("/v1/sessions/refresh", &unsigned).send().await.unwrap();
    assert_problem(answer, Code::RefreshFailed).await;
    let mut token = person.tokens.refresh_token.clone();
    let last = if token.pop() == Some('A') { 'B' } else { 'A' };
    token.push(last);
    assert_problem(person.refresh(node, &token).await, Code::RefreshFailed).await;

    let account = person.look(node).await;
    let mut forger = person.clone();
    forger.ask = random_key();
    let enrol = person.login(node, &person.password, false).await;
    let enrol = body::<LoggedIn>(enrol, StatusCode::OK).await.enrol_token.unwrap();
    let claim =
        Claim::DeviceAdded { device: DeviceId(Uuid::new_v4()), public_key: public_key(&random_key()) };
    let statement = EnrolDevice { statement: forger.state(&account, claim) };
    let answer = node.post("/v1/devices", &statement).bearer_auth(enrol).send().await.unwrap();
    assert_problem(answer, Code::RosterConflict).await;
    let claim = Claim::DeviceRevoked { device: person.device };
    let statement = RevokeDevice { statement: forger.state(&account, claim) };
    let answer = person.post(node, &format!("/v1/devices/{}/revoke", person.device), &statement).await;
    assert_problem(answer, Code::RosterConflict).await;
}

async fn failed_proof_no_side_effect(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let before = state(&node, Some(&person)).await;
    assert!(before.rows.len() >= 6, "{before:?}");
    fail_everywhere(&node, &person).await;
    assert_eq!(state(&node, Some(&person)).await, before);
    assert_eq!(person.login(&node, &person.password, true).await.status(), StatusCode::OK);
    assert_ne!(state(&node, Some(&person)).await, before, "what succeeds is seen by the same comparison");
}

async fn a_registration_with_a_false_statement_reserves_no_name(mode: Mode) {
    let node = Node::start(mode).await;
    let before = state(&node, None).await;
    let mut registration = Person::start(&node, "ada@example.org").await;
    registration.finish.statements[1].signature = Signature([7; 64]);
    let answer = node.post("/v1/accounts/finish", &registration.finish).send().await.unwrap();
    assert_problem(answer, Code::InvalidField).await;
    assert_eq!(state(&node, None).await, before);
}
