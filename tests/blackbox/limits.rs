//! Rate limits from outside: exact over several nodes where credentials are concerned, told in headers, never more
//! permissive when something fails.

use std::time::{Duration, Instant};

use lockstep_api::{
    Code,
    account::{DeviceProof, LoginStart, RegisterStart, proof_message},
    opaque::ServerSuite,
};
use lockstepd::{
    config::Layer,
    limits::{Action, Quota},
};
use opaque_ke::{ClientLogin, ClientRegistration};
use rand::rngs::OsRng;
use reqwest::Response;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::{
    nats_process::NatsProcess,
    support::{Mode, Node, Person, assert_problem, problem},
};

in_both_modes! {
    many threads:
    rl_xff_spoof,
    every_answer_tells_what_is_left_and_a_refusal_when_to_come_back,
    a_name_is_registered_once_in_ten_minutes_whoever_asks,
    failures_are_counted_before_the_check_for_a_day_and_outlive_a_restart,
    wrong_recovery_codes_are_counted_for_the_address_that_sends_them_and_not_for_the_name,
    a_login_that_succeeds_is_no_failure,
    a_device_writes_two_hundred_at_once_and_then_two_a_second,
    who_guesses_at_a_name_cannot_keep_out_the_devices_that_are_enrolled,
}

over_three_nodes! {
    a_name_is_registered_once_in_ten_minutes_whoever_asks,
    failures_are_counted_before_the_check_for_a_day_and_outlive_a_restart,
    who_guesses_at_a_name_cannot_keep_out_the_devices_that_are_enrolled,
}

fn limited(factor: u32) -> Layer {
    Layer { rate_limit_factor: Some(factor), ..Layer::default() }
}

/// What was answered how often.
#[derive(Debug, Default)]
struct Count {
    let_through: usize,
    refused: usize,
    unavailable: usize,
}

impl Count {
    fn add(&mut self, status: u16) {
        match status {
            200 => self.let_through += 1,
            429 => self.refused += 1,
            503 => self.unavailable += 1,
            other => panic!("{other}"),
        }
    }
}

/// The most that a quota lets through in a time that has begun then.
fn most(quota: Quota, began: Instant) -> f64 {
    let burst = i32::try_from(quota.burst).unwrap();
    f64::from(burst) * 1.02 + began.elapsed().as_secs_f64() * 1e6 / quota.step as f64
}

/// The first message of a registration; one is as good as another.
fn registration() -> Vec<u8> {
    ClientRegistration::<ServerSuite>::start(&mut OsRng, b"password").unwrap().message.serialize().to_vec()
}

/// The beginning of a registration of somebody new.
fn newcomer(node: &Node, message: &[u8]) -> reqwest::RequestBuilder {
    let name = format!("{}@example.org", Uuid::new_v4());
    node.post("/v1/accounts/start", &RegisterStart { name, request: message.to_vec().into() })
}

/// So many newcomers at once, in turn at each node.
async fn flood(nodes: &[&Node], number: usize) -> Count {
    let message = registration();
    let answers = (0..number).map(|n| tokio::spawn(newcomer(nodes[n % nodes.len()], &message).send()));
    let mut count = Count::default();
    for answer in answers.collect::<Vec<_>>() {
        count.add(answer.await.unwrap().unwrap().status().as_u16());
    }
    count
}

fn registrations(factor: u32) -> Quota {
    Action::Register.rules().address.unwrap().times(factor)
}

#[tokio::test(flavor = "multi_thread")]
async fn rl_exact_over_nodes() {
    let node = Node::start_with(Mode::Distributed, limited(30)).await;
    let (second, third) = (node.second().await, node.second().await);
    let began = Instant::now();
    let count = flood(&[&node, &second, &third], 1000).await;
    let quota = registrations(30);
    assert!(count.let_through as f64 <= most(quota, began), "{count:?}");
    assert!(count.let_through as i64 >= quota.burst || count.unavailable > 0, "{count:?}");
    println!("three nodes, 1000 at once: {count:?} of {} in {:?}", quota.burst, began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn rl_nats_down() {
    let mut nats = NatsProcess::reserve();
    nats.start().await;
    let node =
        Node::start_with(Mode::Distributed, Layer { bus: Some(nats.url().as_str().into()), ..limited(10) })
            .await;
    let second = node.second().await;
    nats.stop();
    let began = Instant::now();
    let count = flood(&[&node, &second], 200).await;
    assert!(count.let_through as f64 <= most(registrations(10), began), "{count:?}");
    assert!(count.let_through > 0, "without the bus people still register: {count:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rl_pg_slow() {
    let node = Node::start_with(Mode::Distributed, limited(2)).await;
    let began = Instant::now();
    let person = Person::register(&node).await;
    let mut slow = PgConnection::connect(node.running().server.config.credentials.expose()).await.unwrap();
    let mut held = slow.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE rl IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let message = registration();
    for _ in 0..2 {
        let answer = newcomer(&node, &message).send().await.unwrap();
        assert_problem(answer, Code::CredentialsUnavailable).await;
    }
    assert_eq!(person.get(&node, "/v1/account").await.status(), 200, "who is in stays in");
    held.rollback().await.unwrap();
    let mut count = flood(&[&node], 50).await;
    count.let_through += 1;
    assert!(count.let_through as f64 <= most(registrations(2), began), "{count:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_of_limits_nothing_that_needs_it_is_let_through() {
    let node = Node::start_with(Mode::Distributed, limited(10)).await;
    let person = Person::register(&node).await;
    let database = node.running().server.config.credentials.expose().to_owned();
    let mut admin = PgConnection::connect(&database).await.unwrap();
    sqlx::raw_sql("DROP TABLE rl CASCADE").execute(&mut admin).await.unwrap();
    assert_problem(newcomer(&node, &registration()).send().await.unwrap(), Code::Internal).await;
    assert!(person.refresh(&node, &person.tokens.refresh_token).await.status().is_server_error());
    assert_eq!(person.get(&node, "/v1/account").await.status(), 200);
}

async fn rl_xff_spoof(mode: Mode) {
    let node = Node::start_with(mode, limited(1)).await;
    let message = registration();
    let from = |node: &Node, forwarded: String| newcomer(node, &message).header("x-forwarded-for", forwarded);
    for n in 0..3 {
        assert_eq!(from(&node, format!("203.0.113.{n}")).send().await.unwrap().status(), 200);
    }
    let spoofed = from(&node, "203.0.113.99".to_owned()).send().await.unwrap();
    assert_problem(spoofed, Code::TooManyRequests).await;

    let proxied = Layer { trusted_proxies: Some("127.0.0.0/8".to_owned()), ..limited(1) };
    let node = Node::start_with(mode, proxied).await;
    for n in 0..3 {
        let written = format!("192.0.2.{n}, 203.0.113.1");
        assert_eq!(from(&node, written).send().await.unwrap().status(), 200);
    }
    let fourth = from(&node, "192.0.2.77, 203.0.113.1".to_owned()).send().await.unwrap();
    assert_problem(fourth, Code::TooManyRequests).await;
    assert_eq!(from(&node, "203.0.113.2".to_owned()).send().await.unwrap().status(), 200);
    for n in 0..3 {
        let same_network = format!("2001:db8:1:2::{n}");
        assert_eq!(from(&node, same_network).send().await.unwrap().status(), 200);
    }
    let fourth = from(&node, "2001:db8:1:2:ffff::9".to_owned()).send().await.unwrap();
    assert_problem(fourth, Code::TooManyRequests).await;
}

fn told(answer: &Response) -> (i64, i64, i64) {
    let number = |name: &str| answer.headers()[name].to_str().unwrap().parse().unwrap();
    (number("ratelimit-limit"), number("ratelimit-remaining"), number("ratelimit-reset"))
}

async fn every_answer_tells_what_is_left_and_a_refusal_when_to_come_back(mode: Mode) {
    let node = Node::start_with(mode, limited(1)).await;
    let message = registration();
    for left in [2, 1, 0] {
        let answer = newcomer(&node, &message).send().await.unwrap();
        let (limit, remaining, reset) = told(&answer);
        assert_eq!((limit, remaining), (3, left));
        assert!((1..=3600).contains(&reset));
    }
    let refused = newcomer(&node, &message).send().await.unwrap();
    let wait: i64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    // One is there after `wait`, all three when two steps more have passed.
    assert_eq!(told(&refused), (3, 0, wait + 2 * 1200));
    assert!((1100..=1200).contains(&wait), "{wait}");
    assert_eq!(problem(refused).await.code, Code::TooManyRequests);
    node.clock.pass(wait);
    assert_eq!(newcomer(&node, &message).send().await.unwrap().status(), 200);
    let (limit, remaining, _) = told(&node.get("/health/live").send().await.unwrap());
    assert_eq!(limit, 600);
    assert!(remaining < 600);
}

async fn a_name_is_registered_once_in_ten_minutes_whoever_asks(mode: Mode) {
    let proxied = Layer { trusted_proxies: Some("127.0.0.1".to_owned()), ..limited(1) };
    let node = Node::start_with(mode, proxied).await;
    let body = RegisterStart { name: "ada@example.org".to_owned(), request: registration().into() };
    let from =
        |n: u8| node.post("/v1/accounts/start", &body).header("x-forwarded-for", format!("203.0.113.{n}"));
    assert_eq!(from(1).send().await.unwrap().status(), 200);
    let again = from(2).send().await.unwrap();
    assert_eq!(told(&again).0, 1);
    assert_problem(again, Code::TooManyRequests).await;
    node.clock.pass(600);
    assert_eq!(from(3).send().await.unwrap().status(), 200);
}

fn guess(name: &str) -> LoginStart {
    let message = ClientLogin::<ServerSuite>::start(&mut OsRng, b"guess").unwrap().message;
    LoginStart { name: name.to_owned(), request: message.serialize().to_vec().into(), device: None }
}

/// Guesses, one a minute and each from another address, until they are refused; how many there were.
async fn guesses_of_a_day(node: &Node, name: &str) -> u32 {
    let body = guess(name);
    for n in 0..300 {
        let address = format!("203.0.{}.{}", n / 250, n % 250);
        let request = node.post("/v1/sessions/start", &body).header("x-forwarded-for", address);
        let answer = request.send().await.unwrap();
        if answer.status() == 429 {
            return n;
        }
        assert_eq!(answer.status(), 200);
        node.clock.pass(60);
    }
    panic!("a guesser is never refused");
}

async fn failures_are_counted_before_the_check_for_a_day_and_outlive_a_restart(mode: Mode) {
    let proxied = Layer { trusted_proxies: Some("127.0.0.1".to_owned()), ..limited(1) };
    let mut node = Node::start_with(mode, proxied).await;
    let person = Person::register(&node).await;
    let (known, unknown) = (person.name.clone(), "nobody@example.org".to_owned());
    let guesses = guesses_of_a_day(&node, &known).await;
    assert!((100..=108).contains(&guesses), "{guesses}");
    node.restart().await;
    assert_eq!(guesses_of_a_day(&node, &known).await, 0, "a restart forgets nothing");
    let others = guesses_of_a_day(&node, &unknown).await;
    assert_eq!(others, guesses, "a name that does not exist is no different");
    node.clock.pass(24 * 3600);
    assert!(guesses_of_a_day(&node, &known).await >= 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thirty_guesses_at_a_name_that_come_to_three_nodes_at_once_ten_are_looked_at() {
    let proxied = Layer { trusted_proxies: Some("127.0.0.1".to_owned()), ..limited(1) };
    let node = Node::start_with(Mode::ThreeNodes, proxied).await;
    let person = Person::register(&node).await;
    node.clock.stop();
    let body = guess(&person.name);
    let guesses = (0..30).map(|n| {
        node.post("/v1/sessions/start", &body).header("x-forwarded-for", format!("203.0.113.{n}")).send()
    });
    let mut count = Count::default();
    for answer in futures_util::future::join_all(guesses).await {
        count.add(answer.unwrap().status().as_u16());
    }
    assert_eq!((count.let_through, count.refused), (10, 20), "{count:?}");
}

/// A recovery code is too long to be guessed: what is counted is who asks, not whom it concerns.
async fn wrong_recovery_codes_are_counted_for_the_address_that_sends_them_and_not_for_the_name(mode: Mode) {
    let proxied = Layer { trusted_proxies: Some("127.0.0.1".to_owned()), ..limited(1) };
    let node = Node::start_with(mode, proxied).await;
    let body = lockstep_api::recovery::RecoveryStart {
        name: "ada@example.org".to_owned(),
        secret: vec![9; 32].into(),
        request: registration().into(),
    };
    let from =
        |n: u8| node.post("/v1/recovery/start", &body).header("x-forwarded-for", format!("203.0.113.{n}"));
    for address in 1..=5 {
        for _ in 0..10 {
            assert_problem(from(address).send().await.unwrap(), Code::LoginFailed).await;
        }
        assert_problem(from(address).send().await.unwrap(), Code::TooManyRequests).await;
    }
}

async fn a_login_that_succeeds_is_no_failure(mode: Mode) {
    let node = Node::start_with(mode, limited(1)).await;
    let person = Person::register(&node).await;
    for _ in 0..110 {
        assert_eq!(person.login(&node, &person.password, true).await.status(), 200);
        node.clock.pass(60);
    }
}

async fn a_device_writes_two_hundred_at_once_and_then_two_a_second(mode: Mode) {
    let node = Node::start_with(mode, limited(1)).await;
    let person = Person::register(&node).await;
    let path = format!("/v1/vaults/{}/versions", person.vault);
    let empty = serde_json::json!({"epoch": "0".repeat(32), "batch_id": Uuid::nil(), "items": []});
    let began = Instant::now();
    let mut written = 0;
    let refused = loop {
        let answer = person.post(&node, &path, &empty).await;
        if answer.status() == 429 {
            break answer;
        }
        assert_eq!(answer.status(), 422, "{}", answer.text().await.unwrap());
        written += 1;
        assert!(written < 1000);
    };
    assert!(written >= 200 && f64::from(written) <= 201.0 + 2.0 * began.elapsed().as_secs_f64(), "{written}");
    assert_eq!(told(&refused).0, 200);
    assert_problem(refused, Code::TooManyRequests).await;
    assert_eq!(person.get(&node, "/v1/account").await.status(), 200, "reading is another limit");
    node.clock.pass(2);
    assert_eq!(person.post(&node, &path, &empty).await.status(), 422);
    assert!(began.elapsed() < Duration::from_secs(100), "a slow machine proves nothing here");
}

async fn who_guesses_at_a_name_cannot_keep_out_the_devices_that_are_enrolled(mode: Mode) {
    let proxied = Layer { trusted_proxies: Some("127.0.0.1".to_owned()), ..limited(1) };
    let node = Node::start_with(mode, proxied).await;
    let (person, stranger) = (Person::register(&node).await, Person::register(&node).await);
    let start = |body: LoginStart, n: u8| {
        node.post("/v1/sessions/start", &body).header("x-forwarded-for", format!("203.0.113.{n}")).send()
    };
    for n in 0..10 {
        assert_eq!(start(guess(&person.name), n).await.unwrap().status(), 200);
    }
    assert_eq!(start(guess(&person.name), 11).await.unwrap().status(), 429);
    let by_a_device_of = |who: &Person, signer: &Person| {
        let mut body = guess(&person.name);
        let signature = signer.sign(&proof_message(&body.request.0));
        body.device = Some(DeviceProof { device: who.device, signature });
        body
    };
    for (who, signer) in [(&stranger, &stranger), (&person, &stranger)] {
        let refused = start(by_a_device_of(who, signer), 12).await.unwrap();
        assert_eq!(refused.status(), 429, "not with a device of one's own, nor with a false signature");
    }
    for n in 0..20 {
        assert_eq!(start(by_a_device_of(&person, &person), 20 + n).await.unwrap().status(), 200);
    }
    assert_eq!(start(by_a_device_of(&person, &person), 50).await.unwrap().status(), 429);
}
