//! Changing the password, and recovering without it: what opens afterwards, what does not, and what is cut off.

use lockstep_api::{
    Code,
    account::{LoggedIn, Tokens},
    recovery::RecoveryFinish,
};
use lockstep_events::{canonical::sha256, header::public_key, roster::Claim};
use lockstepd::auth::{
    credentials::{PasswordRecord, Wrapped},
    factors::{Replacement, Staged},
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    support::{Mode, Node, Person, assert_problem, body},
    ways::{
        NewPassword, begin_recovery, change_password, fresh, new_password, recover, set_recovery,
        start_recovery, wrap,
    },
};

in_both_modes! {
    many threads:
    the_session_that_changes_the_password_goes_on,
    a_change_needs_a_fresh_proof_the_next_generation_and_its_own_session,
    a_login_begun_with_the_old_password_does_not_end_in_a_session_after_the_change,
    an_account_that_is_disabled_is_not_recovered,
    a_wrong_code_an_account_without_one_and_an_unknown_name_are_answered_alike,
    nobody_keeps_the_right_recovery_code_out_by_wrong_ones,
    a_recovery_slot_that_the_account_did_not_sign_is_refused,
}

over_three_nodes! {
    a_change_needs_a_fresh_proof_the_next_generation_and_its_own_session,
    nobody_keeps_the_right_recovery_code_out_by_wrong_ones,
}

const NEW: &str = "another horse entirely";
const MODES: [Mode; 2] = [Mode::Embedded, Mode::Distributed];
const WITH_NODES: [Mode; 3] = [Mode::Embedded, Mode::Distributed, Mode::ThreeNodes];

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_only_the_new_password_opens_and_every_other_session_has_ended() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let other = person.enrol(&node).await;
        let changed = change_password(&node, &person, NEW, 2).await;
        assert_problem(person.login(&node, &person.password, true).await, Code::LoginFailed).await;
        let login: LoggedIn = body(person.login(&node, NEW, true).await, StatusCode::OK).await;
        let ark = login.account.wraps.iter().find(|wrap| wrap.name == "ark/password").unwrap();
        assert_eq!((ark.generation, ark.bytes.0[0]), (2, 2));
        assert_problem(other.get(&node, "/v1/account").await, Code::Revoked).await;
        assert_problem(other.refresh(&node, &other.tokens.refresh_token).await, Code::Revoked).await;
        let twice = change_password(
            &node,
            &Person { tokens: login.tokens.unwrap(), ..changed },
            "a third horse here",
            3,
        )
        .await;
        assert_problem(person.login(&node, NEW, true).await, Code::LoginFailed).await;
        assert_eq!(twice.login(&node, &twice.password, true).await.status(), StatusCode::OK);
    }
}

async fn the_session_that_changes_the_password_goes_on(mode: Mode) {
    let node = Node::start(mode).await;
    let person = change_password(&node, &Person::register(&node).await, NEW, 2).await;
    assert_eq!(person.get(&node, "/v1/account").await.status(), StatusCode::OK);
    assert_eq!(person.refresh(&node, &person.tokens.refresh_token).await.status(), StatusCode::OK);
}

async fn a_change_needs_a_fresh_proof_the_next_generation_and_its_own_session(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    let finish = new_password(&node, &person, NEW, 2).await;
    let stolen = other.post(&node, "/v1/account/password/finish", &finish).await;
    assert_problem(stolen, Code::AttemptExpired).await;
    for generation in [0, 3, 9] {
        let wrong = new_password(&node, &person, NEW, generation).await;
        let answer = person.post(&node, "/v1/account/password/finish", &wrong).await;
        assert_problem(answer, Code::InvalidField).await;
    }
    node.clock.pass(301);
    let renewed = body(person.refresh(&node, &person.tokens.refresh_token).await, StatusCode::OK).await;
    let stale = Person { tokens: renewed, ..person.clone() };
    let answer = stale.post(&node, "/v1/account/password/finish", &finish).await;
    assert_problem(answer, Code::StepUpRequired).await;
    assert_eq!(person.login(&node, &person.password, true).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_sent_twice_is_one_change_and_of_two_at_once_one_is_refused() {
    for mode in WITH_NODES {
        let node = Node::start(mode).await;
        let person = fresh(&node, &Person::register(&node).await).await;
        let (one, two) = (
            new_password(&node, &person, NEW, 2).await,
            new_password(&node, &person, "a second horse now", 2).await,
        );
        let send = |finish| person.post(&node, "/v1/account/password/finish", finish);
        let (first, second) = tokio::join!(send(&one), send(&two));
        let right =
            [&first, &second].iter().filter(|answer| answer.status() == StatusCode::NO_CONTENT).count();
        assert_eq!(right, 1, "{} {}", first.status(), second.status());
        let (winner, loser) =
            if first.status() == StatusCode::NO_CONTENT { (&one, &two) } else { (&two, &one) };
        assert_eq!(send(winner).await.status(), StatusCode::NO_CONTENT, "a retry");
        assert_problem(send(loser).await, Code::PreconditionFailed).await;
    }
}

async fn a_login_begun_with_the_old_password_does_not_end_in_a_session_after_the_change(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let begun = crate::ways::begin_login(&node, &person, &person.password).await;
    change_password(&node, &person, NEW, 2).await;
    let answer = node.post("/v1/sessions/finish", &begun).send().await.unwrap();
    assert_problem(answer, Code::LoginFailed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_cut_off_before_its_event_changes_nothing() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let server = &node.running().server;
        let account = person.account;
        let password = PasswordRecord { account, setup: 1, suite: 1, record: vec![7; 192] };
        let wraps = vec![Wrapped { name: "ark/password".to_owned(), generation: 2, bytes: vec![9] }];
        let replacement = Replacement { password: Some((password, 2)), wraps, ..Replacement::default() };
        let staged_at = lockstep_events::Clock::now(&*node.clock);
        let staged = Staged { account, attempt: Uuid::new_v4(), replacement, staged_at };
        assert!(server.credentials.stage(&staged).await.unwrap());
        // Nobody else may begin while it could still come to its event; afterwards it is dropped.
        assert_eq!(person.login(&node, &person.password, true).await.status(), StatusCode::OK);
        assert!(server.credentials.staged(account).await.unwrap().is_some());
        node.clock.pass(120);
        assert_eq!(person.login(&node, &person.password, true).await.status(), StatusCode::OK);
        assert!(server.credentials.staged(account).await.unwrap().is_none());
        let back = body::<LoggedIn>(person.login(&node, &person.password, true).await, StatusCode::OK).await;
        change_password(&node, &Person { tokens: back.tokens.unwrap(), ..person }, NEW, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_sets_a_new_password_ends_every_session_and_works_once() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
        let back = recover(&node, &person, [7; 32], NEW, 2).await;
        assert_eq!(back.get(&node, "/v1/account").await.status(), StatusCode::OK);
        assert_problem(person.get(&node, "/v1/account").await, Code::Revoked).await;
        assert_problem(person.refresh(&node, &person.tokens.refresh_token).await, Code::Revoked).await;
        assert_problem(person.login(&node, &person.password, true).await, Code::LoginFailed).await;
        assert_eq!(person.login(&node, NEW, true).await.status(), StatusCode::OK);
        let again = start_recovery(&node, &person.name, [7; 32], &NewPassword::start(NEW)).await;
        assert_problem(again, Code::LoginFailed).await;
        assert!(back.look(&node).await.wraps.iter().all(|wrap| wrap.name != "ark/recovery"));
        assert_eq!(set_recovery(&node, &back, [8; 32], 2).await.status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_is_sent_twice_is_one_and_of_two_that_were_begun_with_one_code_one_ends_well() {
    for mode in WITH_NODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
        let (_, finish) = begin_recovery(&node, &person, [7; 32], NEW, 2).await;
        let (thief, stolen) = begin_recovery(&node, &person, [7; 32], "a horse of somebody else", 3).await;
        let send = async |finish| node.post("/v1/recovery/finish", finish).send().await.unwrap();
        let first: Tokens = body(send(&finish).await, StatusCode::CREATED).await;
        let again: Tokens = body(send(&finish).await, StatusCode::CREATED).await;
        assert_eq!(first.session, again.session);
        assert_problem(send(&stolen).await, Code::AttemptExpired).await;
        // Not with the statement that follows by now either.
        let account = Person { tokens: again, ..person.clone() }.look(&node).await;
        let added = Claim::DeviceAdded { device: thief.device, public_key: public_key(&thief.device_key) };
        let stolen = RecoveryFinish { statement: thief.state(&account, added), ..stolen.clone() };
        assert_problem(send(&stolen).await, Code::AttemptExpired).await;
        assert_eq!(person.login(&node, NEW, false).await.status(), StatusCode::OK);
    }
}

/// The answer was lost, or the client is impatient.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_is_sent_many_times_at_once_is_one_and_is_answered_alike() {
    for mode in WITH_NODES {
        let node = Node::start(mode).await;
        for _ in 0..3 {
            let person = Person::register(&node).await;
            assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
            let (_, finish) = begin_recovery(&node, &person, [7; 32], NEW, 2).await;
            let send = async || node.post("/v1/recovery/finish", &finish).send().await.unwrap();
            let all = futures_util::future::join_all((0..8).map(|_| send())).await;
            let mut sessions = Vec::new();
            for answer in all {
                sessions.push(body::<Tokens>(answer, StatusCode::CREATED).await.session);
            }
            sessions.dedup();
            assert_eq!(sessions.len(), 1);
            assert_eq!(person.login(&node, NEW, false).await.status(), StatusCode::OK);
        }
    }
}

async fn an_account_that_is_disabled_is_not_recovered(mode: Mode) {
    let node = Node::start(mode).await;
    let (admin, person) = (Person::register(&node).await, Person::register(&node).await);
    assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
    let (_, finish) = begin_recovery(&node, &person, [7; 32], NEW, 2).await;
    let token = node.running().bootstrap.as_ref().unwrap().token.clone();
    let named = admin.post(&node, "/v1/admin/bootstrap", &serde_json::json!({ "token": token })).await;
    assert_eq!(named.status(), StatusCode::OK);
    let path = format!("/v1/admin/accounts/{}/disable", person.account);
    let disabled = admin.post(&node, &path, &serde_json::json!({ "reason": "ticket 12" })).await;
    assert_eq!(disabled.status(), StatusCode::OK);
    let begun = node.post("/v1/recovery/finish", &finish).send().await.unwrap();
    assert_problem(begun, Code::AccountDisabled).await;
    let again = start_recovery(&node, &person.name, [7; 32], &NewPassword::start(NEW)).await;
    assert_problem(again, Code::AccountDisabled).await;
    let guessed = start_recovery(&node, &person.name, [9; 32], &NewPassword::start(NEW)).await;
    assert_problem(guessed, Code::LoginFailed).await;
}

async fn a_wrong_code_an_account_without_one_and_an_unknown_name_are_answered_alike(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, without) = (Person::register(&node).await, Person::register(&node).await);
    assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
    for name in [&person.name, &without.name, "nobody@example.org"] {
        let answer = start_recovery(&node, name, [9; 32], &NewPassword::start(NEW)).await;
        assert_problem(answer, Code::LoginFailed).await;
    }
}

async fn nobody_keeps_the_right_recovery_code_out_by_wrong_ones(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
    for _ in 0..60 {
        let answer = start_recovery(&node, &person.name, [9; 32], &NewPassword::start(NEW)).await;
        assert_problem(answer, Code::LoginFailed).await;
    }
    recover(&node, &person, [7; 32], NEW, 2).await;
}

async fn a_recovery_slot_that_the_account_did_not_sign_is_refused(mode: Mode) {
    let node = Node::start(mode).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    let verifier = lockstep_events::Hash32(sha256(&[7; 32]));
    let claim = lockstep_events::roster::Claim::RecoverySlotSet { slot: 0, commitment: verifier };
    let statement = person.state(&person.look(&node).await, claim);
    let set = lockstep_api::recovery::RecoverySet { statement, verifier, wrap: wrap("ark/recovery", 1) };
    let request = node.request("PUT", "/v1/account/recovery").json(&set);
    let answer = request.bearer_auth(&person.tokens.access_token).send().await.unwrap();
    assert_problem(answer, Code::InvalidField).await;
}
