//! Registering, logging in, enrolling and revoking.

use lockstep_api::{
    Code,
    account::{Devices, LoggedIn, Sessions, Tokens},
    sync::Streams,
};
use lockstep_events::StreamKind;
use reqwest::StatusCode;

use crate::support::{Mode, Node, Person, assert_problem, body};

in_both_modes! {
    many threads:
    a_wrong_password_and_an_unknown_name_are_answered_alike,
    a_registration_sent_twice_gives_the_same_account_session_and_token,
    a_name_belongs_to_one_account_however_it_is_written,
    an_attempt_expires_after_a_minute_and_a_login_attempt_is_used_once,
    two_devices_that_join_at_the_same_time_do_not_both_take_the_same_place,
    another_account_cannot_end_a_session_or_revoke_a_device,
}

over_three_nodes! {
    a_registration_sent_twice_gives_the_same_account_session_and_token,
    an_attempt_expires_after_a_minute_and_a_login_attempt_is_used_once,
    two_devices_that_join_at_the_same_time_do_not_both_take_the_same_place,
}

async fn the_story_of_an_account(mode: Mode) {
    let node = Node::start(mode).await;
    let first = Person::register(&node).await;
    let account = first.look(&node).await;
    assert_eq!((account.roster.len(), account.wraps.len(), account.suite), (3, 3, 1));
    assert_eq!(account.vaults, [first.vault]);
    let second = first.enrol(&node).await;
    let devices: Devices = body(second.get(&node, "/v1/devices").await, StatusCode::OK).await;
    assert_eq!(devices.devices.iter().map(|d| d.current).collect::<Vec<_>>(), [false, true]);
    let streams: Streams = body(second.get(&node, "/v1/streams").await, StatusCode::OK).await;
    assert_eq!(
        streams.streams.iter().map(|s| s.kind).collect::<Vec<_>>(),
        [StreamKind::Account, StreamKind::Vault]
    );
    let again: LoggedIn = body(first.login(&node, &first.password, true).await, StatusCode::OK).await;
    assert!(again.enrol_token.is_none());
    // The new session took the old one's place: its token is refused at once.
    assert_problem(first.get(&node, "/v1/account").await, Code::Revoked).await;
    let first = Person { tokens: again.tokens.unwrap(), ..first };
    let revoked = first.revoke(&node, second.device).await;
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    assert_problem(second.get(&node, "/v1/account").await, Code::Revoked).await;
    assert_problem(second.refresh(&node, &second.tokens.refresh_token).await, Code::Revoked).await;
    // The password is right: its person is told what became of the device.
    assert_problem(second.login(&node, &second.password, true).await, Code::Revoked).await;
    let sessions: Sessions = body(first.get(&node, "/v1/sessions").await, StatusCode::OK).await;
    assert_eq!(sessions.sessions.iter().filter(|s| !s.ended).count(), 1);
    let end = format!("/v1/sessions/{}", first.tokens.session);
    let end = node.request("DELETE", &end).bearer_auth(&first.tokens.access_token).send().await.unwrap();
    assert_eq!(end.status(), StatusCode::NO_CONTENT);
    assert_problem(first.get(&node, "/v1/account").await, Code::Revoked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_lives_from_registration_to_log_out_embedded() {
    the_story_of_an_account(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_lives_from_registration_to_log_out_distributed() {
    the_story_of_an_account(Mode::Distributed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_revokes_the_other_refuses_within_two_seconds() {
    let node = Node::start(Mode::Distributed).await;
    let other = node.second().await;
    let first = Person::register(&node).await;
    let second = first.enrol(&other).await;
    assert_eq!(second.get(&other, "/v1/streams").await.status(), StatusCode::OK);
    assert_eq!(first.revoke(&node, second.device).await.status(), StatusCode::NO_CONTENT);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(2);
    while second.get(&other, "/v1/streams").await.status() == StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline, "a revoked device was served for two seconds");
    }
    assert_problem(second.get(&other, "/v1/streams").await, Code::Revoked).await;
}

async fn a_wrong_password_and_an_unknown_name_are_answered_alike(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let nobody = Person { name: "nobody@example.org".to_owned(), ..person.clone() };
    for proven in [true, false] {
        let (wrong, unknown) = (
            person.login(&node, "wrong horse", proven).await,
            nobody.login(&node, "wrong horse", proven).await,
        );
        assert_eq!(wrong.content_length(), unknown.content_length());
        let names = |r: &reqwest::Response| r.headers().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&wrong), names(&unknown));
        assert_problem(wrong, Code::LoginFailed).await;
        assert_problem(unknown, Code::LoginFailed).await;
    }
    assert_problem(nobody.login(&node, &person.password, false).await, Code::LoginFailed).await;
    assert_eq!(person.login(&node, &person.password, true).await.status(), StatusCode::OK);
}

async fn a_registration_sent_twice_gives_the_same_account_session_and_token(mode: Mode) {
    let node = Node::start(mode).await;
    let registration = Person::start(&node, "twice@example.org").await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = node.post("/v1/accounts/finish", &registration.finish).send().await.unwrap();
        tokens.push(body::<Tokens>(answer, StatusCode::CREATED).await);
    }
    assert_eq!(tokens[0].session, tokens[1].session);
    assert_eq!(tokens[0].refresh_token, tokens[1].refresh_token);
    let mut other = registration.finish.clone();
    other.vault = lockstep_events::VaultId(uuid::Uuid::new_v4());
    assert_problem(node.post("/v1/accounts/finish", &other).send().await.unwrap(), Code::InvalidField).await;
}

async fn a_name_belongs_to_one_account_however_it_is_written(mode: Mode) {
    let node = Node::start(mode).await;
    Person::start(&node, "Zoë@example.org").await.send(&node).await;
    let second = Person::start(&node, " ZOË@EXAMPLE.ORG").await;
    let answer = node.post("/v1/accounts/finish", &second.finish).send().await.unwrap();
    assert_problem(answer, Code::NameTaken).await;
}

async fn an_attempt_expires_after_a_minute_and_a_login_attempt_is_used_once(mode: Mode) {
    let node = Node::start(mode).await;
    let late = Person::start(&node, "late@example.org").await;
    node.clock.pass(61);
    let answer = node.post("/v1/accounts/finish", &late.finish).send().await.unwrap();
    assert_problem(answer, Code::AttemptExpired).await;
    let replay = lockstep_api::account::LoginFinish {
        attempt: late.finish.attempt,
        finalization: vec![1; 64].into(),
        device: None,
    };
    let answer = node.post("/v1/sessions/finish", &replay).send().await.unwrap();
    assert_problem(answer, Code::AttemptExpired).await;
}

async fn two_devices_that_join_at_the_same_time_do_not_both_take_the_same_place(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let login: LoggedIn = body(person.login(&node, &person.password, false).await, StatusCode::OK).await;
        let claim = lockstep_events::roster::Claim::DeviceAdded {
            device: lockstep_events::DeviceId(uuid::Uuid::new_v4()),
            public_key: lockstep_events::header::public_key(&crate::support::person::random_key()),
        };
        let statement = person.state(&login.account, claim);
        waiting.push((lockstep_api::account::EnrolDevice { statement }, login.enrol_token.unwrap()));
    }
    let join = async |(enrol, token): &(_, String)| {
        node.post("/v1/devices", enrol).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let (one, two) = tokio::join!(join(&waiting[0]), join(&waiting[1]));
    let mut statuses = [one, two];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

async fn another_account_cannot_end_a_session_or_revoke_a_device(mode: Mode) {
    let node = Node::start(mode).await;
    let (mine, theirs) = (Person::register(&node).await, Person::register(&node).await);
    let end = format!("/v1/sessions/{}", theirs.tokens.session);
    let answer = node.request("DELETE", &end).bearer_auth(&mine.tokens.access_token).send().await.unwrap();
    assert_problem(answer, Code::NotFound).await;
    assert_problem(mine.revoke(&node, theirs.device).await, Code::NotFound).await;
    assert_eq!(theirs.get(&node, "/v1/account").await.status(), StatusCode::OK);
}
