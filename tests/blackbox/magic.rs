//! Sign-in links: harmless to whoever merely opens them, given to the client that asked, used once, and opening nothing
//! without the key of a device.

use std::collections::BTreeSet;

use lockstep_api::{Code, account::Tokens, admin::Reason, ways::SignInStart};
use lockstep_events::Clock;
use lockstepd::{config::Layer, mail::outbox::Task};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    bola::office::Office,
    support::{
        Mode, Node, Person, assert_problem, body,
        person::random_key,
        ways::{Initiator, press},
    },
};

in_both_modes! {
    magic_wrong_initiator,
    at_most_three_links_are_outstanding_and_each_of_them_works,
    a_link_that_ran_out_does_not_begin_anew_when_its_letter_is_tried_again,
    a_link_runs_out_after_ten_minutes_and_a_proof_after_fifteen,
    the_answers_are_the_same_for_names_that_nobody_has,
    a_disabled_account_is_not_entered_by_a_link,
}

over_three_nodes! {
    magic_scanner_get_harmless,
    magic_wrong_initiator,
    magic_double_use_race,
    a_link_runs_out_after_ten_minutes_and_a_proof_after_fifteen,
    proof_and_device_key,
    mail_is_limited,
}

fn address() -> String {
    format!("{}@example.org", Uuid::new_v4())
}

/// Somebody with a confirmed address.
async fn somebody(node: &Node) -> (Person, String) {
    let (person, email) = (Person::register(node).await, address());
    person.with_email(node, &email).await;
    (person, email)
}

async fn waits(response: Response) {
    assert_eq!(response.status(), StatusCode::ACCEPTED, "{}", response.text().await.unwrap());
}

/// Mail scanners follow every link in a letter, by GET and by HEAD: nothing comes of it.
async fn magic_scanner_get_harmless(mode: Mode) {
    let node = Node::start(mode).await;
    let (_, email) = somebody(&node).await;
    let client = Initiator::new();
    client.ask(&node, &email).await;
    let link = node.letter(&email, "sign-in", 1).await.link();
    for method in ["GET", "HEAD", "OPTIONS", "GET"] {
        node.request(method, &link).send().await.unwrap();
        waits(client.poll(&node).await).await;
    }
    let page = node.get(&link).send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    let page = page.text().await.unwrap();
    assert!(page.contains(&client.words()) && page.contains("method=\"post\""), "{page}");
    assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
    client.proof(&node).await;
}

#[tokio::test]
async fn magic_scanner_get_harmless_embedded() {
    magic_scanner_get_harmless(Mode::Embedded).await;
}

#[tokio::test]
async fn magic_scanner_get_harmless_distributed() {
    magic_scanner_get_harmless(Mode::Distributed).await;
}

/// The result goes to the client that asked, not to the browser that pressed and not to anybody else.
async fn magic_wrong_initiator(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, email) = somebody(&node).await;
    let (client, thief) = (Initiator::new(), Initiator::new());
    client.ask(&node, &email).await;
    let letter = node.letter(&email, "sign-in", 1).await;
    assert!(letter.text.contains(&client.words()), "{}", letter.text);
    let pressed = press(&node, &letter.link()).await;
    assert!(pressed.headers().get("set-cookie").is_none() && pressed.headers().get("location").is_none());
    let page = pressed.text().await.unwrap();
    assert!(!page.contains("identity_token") && !page.contains(&person.account.to_string()), "{page}");
    waits(thief.poll(&node).await).await;
    let proof = client.proof(&node).await;
    assert_eq!(proof.account, person.account);
    // Given once.
    waits(client.poll(&node).await).await;
}

/// Of sixty-four who press the same link at the same time one succeeds, and of sixty-four who ask for the result.
async fn magic_double_use_race(mode: Mode) {
    let node = Node::start(mode).await;
    let (_, email) = somebody(&node).await;
    let client = Initiator::new();
    client.ask(&node, &email).await;
    let link = node.letter(&email, "sign-in", 1).await.link();
    let presses = futures_util::future::join_all((0..64).map(|_| press(&node, &link))).await;
    let statuses: Vec<u16> = presses.iter().map(|response| response.status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 410].contains(status)), "{statuses:?}");
    let polls = futures_util::future::join_all((0..64).map(|_| client.poll(&node))).await;
    assert_eq!(polls.iter().filter(|response| response.status() == StatusCode::OK).count(), 1);
}

#[tokio::test]
async fn magic_double_use_race_embedded() {
    magic_double_use_race(Mode::Embedded).await;
}

#[tokio::test]
async fn magic_double_use_race_distributed() {
    magic_double_use_race(Mode::Distributed).await;
}

/// A newer link does not end an older one silently, and a fourth is not sent while three are outstanding.
async fn at_most_three_links_are_outstanding_and_each_of_them_works(mode: Mode) {
    let node = Node::start(mode).await;
    let (_, email) = somebody(&node).await;
    let clients: Vec<Initiator> = (0..4).map(|_| Initiator::new()).collect();
    for (sent, client) in clients.iter().enumerate() {
        waits(client.ask(&node, &email).await).await;
        node.letter(&email, "sign-in", (sent + 1).min(3)).await;
    }
    // Two letters to somebody else, one after the other: by the second the fourth request was worked on.
    let (_, other) = somebody(&node).await;
    for sent in 1..=2 {
        Initiator::new().ask(&node, &other).await;
        node.letter(&other, "sign-in", sent).await;
    }
    let fits = |letter: &crate::support::letters::Letter| {
        letter.subject().contains("sign-in") && letter.to() == email
    };
    let found = crate::support::letters::awaited(&node.mail_folder(), 3, fits).await;
    assert_eq!(found.len(), 3);
    for letter in &found {
        assert_eq!(press(&node, &letter.link()).await.status(), StatusCode::OK);
    }
    for client in &clients[..3] {
        client.proof(&node).await;
    }
    waits(clients[3].poll(&node).await).await;
}

async fn a_link_runs_out_after_ten_minutes_and_a_proof_after_fifteen(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, email) = somebody(&node).await;
    let client = Initiator::new();
    client.ask(&node, &email).await;
    let link = node.letter(&email, "sign-in", 1).await.link();
    node.clock.pass(570);
    assert_eq!(node.get(&link).send().await.unwrap().status(), StatusCode::OK);
    node.clock.pass(31);
    assert_eq!(press(&node, &link).await.status(), StatusCode::GONE);
    waits(client.poll(&node).await).await;
    let again = Initiator::new();
    again.ask(&node, &email).await;
    let link = node.letter(&email, "sign-in", 2).await.link();
    assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
    let proof = again.proof(&node).await;
    assert_eq!(proof.expires_in, 900);
    node.clock.pass(910);
    assert_problem(person.open_vault(&node, &proof).await, Code::TokenExpired).await;
}

/// A task that was done and not noted as done is done again: its link is the same, and was used or has run out.
async fn a_link_that_ran_out_does_not_begin_anew_when_its_letter_is_tried_again(mode: Mode) {
    let mut node = Node::start(mode).await;
    let (_, email) = somebody(&node).await;
    let client = Initiator::new();
    client.ask(&node, &email).await;
    let letter = node.letter(&email, "sign-in", 1).await;
    assert_eq!(press(&node, &letter.link()).await.status(), StatusCode::OK);
    client.proof(&node).await;
    node.clock.pass(1_200);
    // The first look of a server sweeps, before it sends.
    node.restart().await;
    Initiator::new().ask(&node, &email).await;
    node.letter(&email, "sign-in", 2).await;

    std::fs::remove_dir_all(node.mail_folder()).unwrap();
    std::fs::create_dir(node.mail_folder()).unwrap();
    let (server, now) = (&node.running().server, node.clock.now());
    let id = letter.header("Message-ID").trim_start_matches('<').split('@').next().unwrap().parse().unwrap();
    let task = Task::SignIn { name: server.keys.name_index(&email).0, initiator: client.hash().0 };
    server.ways.sweep_tasks(now.plus_seconds(60)).await.unwrap();
    server.ways.put_task(id, None, &task.to_bytes(), now).await.unwrap();
    node.clock.pass(1);
    // What is asked later is sent later.
    Initiator::new().ask(&node, &email).await;
    let sent = node.letter(&email, "sign-in", 1).await;
    assert_ne!(sent.link(), letter.link(), "nobody is sent what was used");
    assert_eq!(press(&node, &letter.link()).await.status(), StatusCode::GONE);
    waits(client.poll(&node).await).await;
}

/// Nobody learns from the answers who has an account: not from status, headers or length, and not by waiting.
async fn the_answers_are_the_same_for_names_that_nobody_has(mode: Mode) {
    let node = Node::start(mode).await;
    let (_, email) = somebody(&node).await;
    let unconfirmed = Person::register(&node).await;
    let mut seen = BTreeSet::new();
    for name in [email.as_str(), &unconfirmed.name, &address(), "a user name"] {
        let client = Initiator::new();
        for response in [client.ask(&node, name).await, client.poll(&node).await] {
            let names: Vec<String> = response.headers().keys().map(ToString::to_string).collect();
            let status = response.status();
            seen.insert((status.as_u16(), names, response.text().await.unwrap()));
        }
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    node.letter(&email, "sign-in", 1).await;
    let all = crate::support::letters::letters(&node.mail_folder());
    assert!(all.iter().all(|letter| letter.to() != unconfirmed.name), "an address that was never confirmed");
}

/// A proof of who one is and the key of an enrolled device make a session; without such a key it opens nothing.
async fn proof_and_device_key(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, email) = somebody(&node).await;
    let proof = person.proof_by_link(&node, &email).await;
    let stranger = Person { device_key: random_key(), ..person.clone() };
    assert_problem(stranger.open_vault(&node, &proof).await, Code::LoginFailed).await;
    let unknown = Person { device: lockstep_events::DeviceId(Uuid::new_v4()), ..person.clone() };
    assert_problem(unknown.open_vault(&node, &proof).await, Code::LoginFailed).await;
    let tokens: Tokens = body(person.open_vault(&node, &proof).await, StatusCode::OK).await;
    let entered = Person { tokens, ..person.clone() };
    assert_eq!(entered.look(&node).await.account, person.account);
    // The session is no proof of the password: what needs one is refused.
    assert_problem(entered.name_email(&node, &address()).await, Code::StepUpRequired).await;
    // A token of a vault is no proof of who one is.
    let reversed = lockstep_api::ways::Identified {
        identity_token: entered.tokens.access_token.clone(),
        session: entered.tokens.session,
        ..proof
    };
    assert_problem(entered.open_vault(&node, &reversed).await, Code::Forbidden).await;
}

#[tokio::test]
async fn a_proof_and_a_device_key_make_a_session_embedded() {
    proof_and_device_key(Mode::Embedded).await;
}

#[tokio::test]
async fn a_proof_and_a_device_key_make_a_session_distributed() {
    proof_and_device_key(Mode::Distributed).await;
}

/// Three letters to a name, then one in twenty minutes, wherever they are asked for from, and whether or not the name
/// is anybody's.
async fn mail_is_limited(mode: Mode) {
    let (real, proxies) = (Some(1), Some("127.0.0.1".to_owned()));
    let changed = Layer { rate_limit_factor: real, trusted_proxies: proxies, ..Layer::default() };
    let node = Node::start_with(mode, changed).await;
    let person = Person::register(&node).await;
    let mut from = 0;
    let mut ask = async |name: &str| {
        from += 1;
        let body = SignInStart { name: name.to_owned(), initiator: Initiator::new().hash() };
        let request =
            node.post("/v1/sign-in/start", &body).header("x-forwarded-for", format!("192.0.2.{from}"));
        request.send().await.unwrap()
    };
    for name in [person.name.clone(), address()] {
        for _ in 0..3 {
            waits(ask(&name).await).await;
        }
        assert_problem(ask(&name).await, Code::TooManyRequests).await;
        node.clock.pass(20 * 60 + 1);
        waits(ask(&name).await).await;
        assert_problem(ask(&name).await, Code::TooManyRequests).await;
    }
}

#[tokio::test]
async fn nobodys_mailbox_is_filled_embedded() {
    mail_is_limited(Mode::Embedded).await;
}

#[tokio::test]
async fn nobodys_mailbox_is_filled_distributed() {
    mail_is_limited(Mode::Distributed).await;
}

async fn a_disabled_account_is_not_entered_by_a_link(mode: Mode) {
    let mut node = Node::start(mode).await;
    let office = Office::open(&mut node).await;
    let (person, email) = somebody(&node).await;
    let proof = person.proof_by_link(&node, &email).await;
    let client = Initiator::new();
    client.ask(&node, &email).await;
    let link = node.letter(&email, "sign-in", 2).await.link();
    let path = format!("/v1/admin/accounts/{}/disable", person.account);
    let disabled = office.admin.post(&node, &path, &Reason { reason: "ticket 12".into() }).await;
    assert_eq!(disabled.status(), StatusCode::OK, "{}", disabled.text().await.unwrap());
    assert_problem(person.open_vault(&node, &proof).await, Code::Revoked).await;
    assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
    assert_problem(client.poll(&node).await, Code::AccountDisabled).await;
}
