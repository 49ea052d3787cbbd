//! The ways in over three servers: what begins at one ends at another, and what comes to two at once counts at one. Each
//! request goes to the next server. What else is proven of one server is proven of three beside it, by the same words.

use std::collections::HashSet;

use futures_util::future::join_all;
use lockstep_api::{
    Code,
    account::{Devices, LoggedIn, PasswordStart, Sessions, SteppedUp, Tokens},
    approval::Collected,
    ways::Identified,
};
use lockstep_events::roster::Claim;
use lockstepd::config::Layer;
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    approvals::{approve_with, asked, collect, new_device},
    support::{Mode, Node, Person, assert_problem, body, problem},
    ways::{NewPassword, begin_login, begin_recovery, begin_step_up, fresh, set_recovery, start_recovery},
};

/// Races are run so often: one alone may miss.
const ROUNDS: usize = 8;

async fn three_nodes() -> Node {
    Node::start(Mode::ThreeNodes).await
}

/// Of two answers, one is right and the other is this problem; the right one.
async fn one_of_two(answers: (Response, Response), code: Code) -> Response {
    let (right, wrong): (Vec<_>, Vec<_>) =
        [answers.0, answers.1].into_iter().partition(|answer| answer.status().is_success());
    assert_eq!((right.len(), wrong.len()), (1, 1));
    for wrong in wrong {
        assert_problem(wrong, code).await;
    }
    right.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_goes_to_the_next_of_three_servers() {
    let node = three_nodes().await;
    let asked: Vec<&str> = (0..6).map(|_| node.url()).collect();
    assert_eq!(asked[..3].iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(asked[..3], asked[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_ends_at_two_servers_at_once_is_one_account() {
    let node = three_nodes().await;
    for _ in 0..ROUNDS {
        let begun = Person::start(&node, &format!("{}@example.org", Uuid::new_v4())).await;
        let end = async || node.post("/v1/accounts/finish", &begun.finish).send().await.unwrap();
        let (one, two) = tokio::join!(end(), end());
        let one: Tokens = body(one, StatusCode::CREATED).await;
        let two: Tokens = body(two, StatusCode::CREATED).await;
        assert_eq!((one.session, &one.refresh_token), (two.session, &two.refresh_token));
        let person = Person { tokens: two, ..begun.person };
        let sessions: Sessions = body(person.get(&node, "/v1/sessions").await, StatusCode::OK).await;
        assert_eq!(sessions.sessions.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_ends_at_two_servers_at_once_is_ended_by_one_of_them() {
    let node = three_nodes().await;
    let person = Person::register(&node).await;
    for _ in 0..ROUNDS {
        let begun = begin_login(&node, &person, &person.password).await;
        let end = async || node.post("/v1/sessions/finish", &begun).send().await.unwrap();
        let right = one_of_two(tokio::join!(end(), end()), Code::AttemptExpired).await;
        let opened: LoggedIn = body(right, StatusCode::OK).await;
        let person = Person { tokens: opened.tokens.unwrap(), ..person.clone() };
        let sessions: Sessions = body(person.get(&node, "/v1/sessions").await, StatusCode::OK).await;
        assert_eq!(sessions.sessions.iter().filter(|session| !session.ended).count(), 1);
    }
    let late = begin_login(&node, &person, &person.password).await;
    node.clock.pass(61);
    for _ in 0..3 {
        let answer = node.post("/v1/sessions/finish", &late).send().await.unwrap();
        assert_problem(answer, Code::AttemptExpired).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_the_password_is_taken_once_and_what_it_gives_counts_everywhere_for_five_minutes() {
    // The tokens outlive all of it: what is refused here is the age of the proof.
    let lasting = Layer { access_token_s: Some(1200), ..Layer::default() };
    let node = Node::start_with(Mode::ThreeNodes, lasting).await;
    let mut person = Person::register(&node).await;
    node.clock.pass(290);
    person.tokens = body(person.refresh(&node, &person.tokens.refresh_token).await, StatusCode::OK).await;
    node.clock.pass(20);
    let change = || PasswordStart { request: NewPassword::start("another horse entirely").request().into() };
    let begin = async |person: &Person| person.post(&node, "/v1/account/password/start", &change()).await;
    for _ in 0..3 {
        assert_problem(begin(&person).await, Code::StepUpRequired).await;
    }
    let mut proven = person.clone();
    for _ in 0..ROUNDS {
        let begun = begin_step_up(&node, &person, &person.password).await;
        let end = async || person.post(&node, "/v1/sessions/step-up/finish", &begun).await;
        let right = one_of_two(tokio::join!(end(), end()), Code::AttemptExpired).await;
        proven.tokens.access_token = body::<SteppedUp>(right, StatusCode::OK).await.access_token;
        for _ in 0..3 {
            assert_eq!(begin(&proven).await.status(), StatusCode::OK);
        }
    }
    let late = begin_step_up(&node, &proven, &person.password).await;
    node.clock.pass(61);
    let answer = proven.post(&node, "/v1/sessions/step-up/finish", &late).await;
    assert_problem(answer, Code::AttemptExpired).await;
    node.clock.pass(240);
    for _ in 0..3 {
        assert_problem(begin(&proven).await, Code::StepUpRequired).await;
    }
}

/// Asked for at one server, pressed at the next, collected at the third; then the vault is opened at all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_by_a_mailed_link_that_is_shown_sixty_four_times_at_once_opens_one_session() {
    let node = three_nodes().await;
    let person = Person::register(&node).await;
    let email = format!("{}@example.org", Uuid::new_v4());
    person.with_email(&node, &email).await;
    let proof: Identified = person.proof_by_link(&node, &email).await;
    let answers = join_all((0..64).map(|_| person.open_vault(&node, &proof))).await;
    let mut opened = Vec::new();
    for answer in answers {
        opened.push(body::<Tokens>(answer, StatusCode::OK).await);
    }
    let sessions: HashSet<_> = opened.iter().map(|tokens| tokens.session).collect();
    let refreshing: HashSet<_> = opened.iter().map(|tokens| &tokens.refresh_token).collect();
    assert_eq!((sessions.len(), refreshing.len()), (1, 1));
    let person = Person { tokens: opened.pop().unwrap(), ..person };
    let all: Sessions = body(person.get(&node, "/v1/sessions").await, StatusCode::OK).await;
    let live: Vec<_> = all.sessions.iter().filter(|session| !session.ended).collect();
    assert_eq!((live.len(), live[0].session), (1, person.tokens.session));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_devices_that_approve_a_new_one_at_once_one_has_sealed_what_it_opens() {
    let node = three_nodes().await;
    for _ in 0..ROUNDS {
        let one = fresh(&node, &Person::register(&node).await).await;
        let two = fresh(&node, &one.enrol(&node).await).await;
        let new = new_device(&one);
        let approval = asked(&node, &new).await;
        let (first, second) = tokio::join!(
            approve_with(&node, &one, approval, &new, vec![1; 80]),
            approve_with(&node, &two, approval, &new, vec![2; 80])
        );
        assert_eq!((first.status(), second.status()), (StatusCode::NO_CONTENT, StatusCode::NO_CONTENT));
        let mut collected = Vec::new();
        for _ in 0..3 {
            let answer: Collected = body(collect(&node, approval, &new).await, StatusCode::OK).await;
            collected.push(answer.approved.unwrap());
        }
        let sealed = &collected[0].sealed.0;
        assert!([vec![1; 80], vec![2; 80]].contains(sealed));
        let same = |of: &&lockstep_api::approval::Approved| {
            of.sealed.0 == *sealed && of.tokens.session == collected[0].tokens.session
        };
        assert_eq!(collected.iter().filter(same).count(), 3);
        let new = Person { tokens: collected.pop().unwrap().tokens, ..new };
        let devices: Devices = body(new.get(&node, "/v1/devices").await, StatusCode::OK).await;
        assert_eq!(devices.devices.len(), 3);
        let added =
            |claim: &Claim| matches!(claim, Claim::DeviceAdded { device, .. } if *device == new.device);
        let roster = new.look(&node).await.roster;
        assert_eq!(roster.iter().filter(|statement| added(&statement.claim)).count(), 1);
    }
}

/// Each of them has a password of their own in mind, and a device.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_end_a_recovery_with_one_code_at_two_servers_at_once_one_has_the_account() {
    let node = three_nodes().await;
    for _ in 0..ROUNDS {
        let person = Person::register(&node).await;
        assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
        let begun = [
            begin_recovery(&node, &person, [7; 32], "a horse of one of them", 2).await,
            begin_recovery(&node, &person, [7; 32], "and one of the other", 2).await,
        ];
        let end = async |n: usize| node.post("/v1/recovery/finish", &begun[n].1).send().await.unwrap();
        let (one, two) = tokio::join!(end(0), end(1));
        let won = usize::from(one.status() != StatusCode::CREATED);
        let (right, wrong) = if won == 0 { (one, two) } else { (two, one) };
        let tokens: Tokens = body(right, StatusCode::CREATED).await;
        let refused = problem(wrong).await;
        assert!((400..500).contains(&refused.status), "{refused:?}");
        let (winner, loser) = (&begun[won].0, &begun[1 - won].0);
        let back = Person { tokens, ..winner.clone() };
        let added: Vec<_> = back.look(&node).await.roster.into_iter().map(|stated| stated.claim).collect();
        let is_in = |who: &Person| {
            added
                .iter()
                .any(|claim| matches!(claim, Claim::DeviceAdded { device, .. } if *device == who.device))
        };
        assert!(is_in(winner) && !is_in(loser));
        assert_eq!(winner.login(&node, &winner.password, true).await.status(), StatusCode::OK);
        for password in [&loser.password, &person.password] {
            assert_problem(person.login(&node, password, true).await, Code::LoginFailed).await;
        }
        for _ in 0..3 {
            let again = start_recovery(&node, &person.name, [7; 32], &NewPassword::start("a third")).await;
            assert_problem(again, Code::LoginFailed).await;
        }
    }
}
