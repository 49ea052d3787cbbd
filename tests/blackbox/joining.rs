//! Joining an account: a statement is one device's, a session is that of its statement, and a proof is as old as it is.

use lockstep_api::{
    Code,
    account::{EnrolDevice, LoggedIn, OfferRoster, Sessions, Tokens},
};
use lockstep_events::{
    Clock, DeviceId, Hash32,
    event::Method,
    roster::{Claim, Statement},
};
use lockstepd::{
    auth::{
        minting::Bearer,
        token::{Claims, Scope},
    },
    commands::{facts::Actor, session},
};
use reqwest::{Response, StatusCode};

use crate::{
    factors::{login, show, with_passkey},
    support::{Mode, Node, Person, assert_problem, body},
    ways::{begin_recovery, set_recovery, step_up},
};

in_both_modes! {
    many threads:
    a_session_that_an_overtaken_enrolment_left_cannot_be_ended_and_stops_nobody,
    a_statement_that_stands_enrols_nobody_else,
    a_revoked_device_comes_back_neither_by_its_statement_nor_by_a_step_up_when_its_end_is_forgotten,
    a_statement_that_stands_is_no_recovery,
    a_code_is_made_though_a_restored_server_lost_the_one_before_and_has_its_statement,
    an_enrolment_that_is_sent_again_gives_the_same_session_and_is_no_fresher,
    a_login_is_as_fresh_as_its_password_however_late_its_factor_is_shown,
}

fn claims(node: &Node, token: &str) -> Claims {
    node.running().server.tokens.verify(token, node.clock.now()).unwrap()
}

async fn enrol(node: &Node, token: &str, request: &EnrolDevice) -> Response {
    node.post("/v1/devices", request).bearer_auth(token).send().await.unwrap()
}

async fn delete(node: &Node, person: &Person, path: &str) -> Response {
    node.request("DELETE", path).bearer_auth(&person.tokens.access_token).send().await.unwrap()
}

async fn sessions(node: &Node, person: &Person) -> Sessions {
    body(person.get(node, "/v1/sessions").await, StatusCode::OK).await
}

/// A login without a device, and what the roster says of one.
async fn asking_for(node: &Node, person: &Person, device: DeviceId) -> (String, Statement) {
    let login: LoggedIn = body(person.login(node, &person.password, false).await, StatusCode::OK).await;
    let added = |statement: &Statement| match statement.claim {
        Claim::DeviceAdded { device, .. } => Some(device),
        _ => None,
    };
    let standing = login.account.roster.iter().find(|one| added(one) == Some(device)).unwrap().clone();
    (login.enrol_token.unwrap(), standing)
}

/// The row of its session is written before the statement, which another one overtook.
async fn a_session_that_an_overtaken_enrolment_left_cannot_be_ended_and_stops_nobody(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, somebody) = (Person::register(&node).await, Person::register(&node).await);
    let (new, token, request) = person.enrolling(&node).await;
    let server = &node.running().server;
    let (session, actor) = (claims(&node, &token).sid, Actor { account: person.account, device: new.device });
    let row = session::with_id(server, actor, session, Method::Password, server.clock.now());
    server.credentials.open_session(&row).await.unwrap();
    let end = format!("/v1/sessions/{session}");
    assert_problem(delete(&node, &person, &end).await, Code::NotFound).await;
    somebody.enrol(&node).await;
    let joined: Tokens = body(enrol(&node, &token, &request).await, StatusCode::CREATED).await;
    assert_eq!(joined.session, session, "the enrolment may go on");
    assert_eq!(delete(&node, &person, &end).await.status(), StatusCode::NO_CONTENT);
    let new = Person { tokens: joined, ..new };
    assert_problem(new.get(&node, "/v1/account").await, Code::Revoked).await;
}

async fn a_statement_that_stands_enrols_nobody_else(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (token, statement) = asking_for(&node, &person, person.device).await;
    let answer = enrol(&node, &token, &EnrolDevice { statement }).await;
    assert_problem(answer, Code::RosterConflict).await;
    assert_eq!(sessions(&node, &person).await.sessions.len(), 1);
}

/// What was revoked is remembered as long as its tokens live. What follows from it holds for ever.
async fn a_revoked_device_comes_back_neither_by_its_statement_nor_by_a_step_up_when_its_end_is_forgotten(
    mode: Mode,
) {
    let mut node = Node::start(mode).await;
    let mut person = Person::register(&node).await;
    let mut gone = person.enrol(&node).await;
    assert!(person.revoke(&node, gone.device).await.status().is_success());
    node.clock.pass(31 * 60);
    let back: LoggedIn = body(person.login(&node, &person.password, true).await, StatusCode::OK).await;
    person.tokens = back.tokens.unwrap();
    // A node that starts knows what ended in the last half hour of the log.
    node.restart().await;
    let (token, statement) = asking_for(&node, &person, gone.device).await;
    let answer = enrol(&node, &token, &EnrolDevice { statement }).await;
    assert_problem(answer, Code::RosterConflict).await;
    let open = sessions(&node, &person).await.sessions.into_iter().filter(|session| !session.ended).count();
    assert_eq!(open, 1);
    let server = &node.running().server;
    let bearer = Bearer {
        account: gone.account,
        device: gone.device,
        session: gone.tokens.session,
        scope: Scope::Vault,
        method: Method::Password,
        proven_at: server.clock.now(),
        auth_epoch: 0,
    };
    gone.tokens.access_token = server.tokens.mint(bearer, server.clock.now()).unwrap();
    assert_problem(step_up(&node, &gone, &gone.password, &gone).await, Code::Revoked).await;
}

async fn a_statement_that_stands_is_no_recovery(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
    let (_, statement) = asking_for(&node, &person, person.device).await;
    let (new, right) = begin_recovery(&node, &person, [7; 32], "another horse entirely", 2).await;
    let mut standing = right.clone();
    standing.statement = statement;
    let answer = node.post("/v1/recovery/finish", &standing).send().await.unwrap();
    assert_problem(answer, Code::RosterConflict).await;
    assert_eq!(person.get(&node, "/v1/account").await.status(), StatusCode::OK, "nothing has ended");
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = node.post("/v1/recovery/finish", &right).send().await.unwrap();
        tokens.push(body::<Tokens>(answer, StatusCode::CREATED).await);
    }
    assert_eq!(tokens[0].session, tokens[1].session);
    let new = Person { tokens: tokens.remove(1), ..new };
    assert_eq!(new.get(&node, "/v1/account").await.status(), StatusCode::OK);
}

/// A device gives the statement of a code back; what the code opens it does not have. Devices count statements.
async fn a_code_is_made_though_a_restored_server_lost_the_one_before_and_has_its_statement(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let claim = Claim::RecoverySlotSet { slot: 0, commitment: Hash32([5; 32]) };
    let statement = person.state(&person.look(&node).await, claim);
    let offer = OfferRoster { statements: vec![statement], wraps: Vec::new() };
    assert_eq!(person.post(&node, "/v1/roster", &offer).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(set_recovery(&node, &person, [7; 32], 2).await.status(), StatusCode::NO_CONTENT);
    let older = set_recovery(&node, &person, [8; 32], 2).await;
    assert_problem(older, Code::InvalidField).await;
    let (_, right) = begin_recovery(&node, &person, [7; 32], "another horse entirely", 2).await;
    let answer = node.post("/v1/recovery/finish", &right).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
}

async fn an_enrolment_that_is_sent_again_gives_the_same_session_and_is_no_fresher(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (_, token, request) = person.enrolling(&node).await;
    let proven_at = claims(&node, &token).auth_time;
    let mut first: Option<Tokens> = None;
    for _ in 0..2 {
        node.clock.pass(60);
        let joined: Tokens = body(enrol(&node, &token, &request).await, StatusCode::CREATED).await;
        assert_eq!(claims(&node, &joined.access_token).auth_time, proven_at);
        let first = first.get_or_insert_with(|| joined.clone());
        assert_eq!((joined.session, &joined.refresh_token), (first.session, &first.refresh_token));
    }
    assert_eq!(sessions(&node, &person).await.sessions.len(), 2);
}

async fn a_login_is_as_fresh_as_its_password_however_late_its_factor_is_shown(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let mut passkey = with_passkey(&node, &person).await;
    node.clock.pass(5);
    let asked = login(&node, &person).await;
    let proven_at = node.clock.now().seconds();
    node.clock.pass(60);
    let answer = show(&node, asked.attempt, passkey.assert(&asked.challenge.0)).await;
    let tokens = body::<LoggedIn>(answer, StatusCode::OK).await.tokens.unwrap();
    let fresh = claims(&node, &tokens.access_token).auth_time;
    assert!((1..=proven_at).contains(&fresh), "{fresh} of {proven_at}");
}
