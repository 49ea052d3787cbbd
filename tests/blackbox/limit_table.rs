//! Every limit of the table from outside, at the limit and one beyond it, while no time passes: that each route is counted
//! as what it is, and whoever asks by what it is.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::Stdio,
};

use lockstep_api::{
    Code,
    account::{DeviceProof, LoggedIn, LoginFinish, LoginStart, Refresh, proof_message},
};
use lockstep_events::event::Role;
use lockstepd::{
    config::Layer,
    limits::{Action, Quota, TABLE},
};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::json;

use crate::{
    mode::Mode,
    people::until,
    support::{self, Node, Person, assert_problem, body},
    ways::{begin_step_up, step_up_request},
};

in_both_modes! {
    every_route_lets_an_address_ask_as_often_as_the_table_says,
    a_session_a_device_an_account_and_a_name_ask_as_often_as_the_table_says_from_wherever,
    a_device_guesses_at_the_password_a_hundred_times_a_day_and_what_is_right_is_no_guess,
    an_administrator_logs_in_three_times_and_then_once_in_five_minutes,
    an_administrator_who_proves_the_password_again_is_counted_as_one_who_logs_in,
    a_limit_of_all_together_refuses_a_stranger_and_is_counted_apart,
    an_account_changes_only_so_much_in_a_day,
    a_limit_of_all_that_is_used_up_is_one_warning_however_many_are_refused,
}

/// A server with the real limits, behind a proxy that says who asks, whose clock stands still.
async fn limited(mode: support::Mode) -> Node {
    let changed = Layer {
        trusted_proxies: Some("127.0.0.1".to_owned()),
        rate_limit_factor: Some(1),
        ..Layer::default()
    };
    let node = Node::start_with(mode, changed).await;
    node.clock.stop();
    node
}

fn from(request: RequestBuilder, address: &str) -> RequestBuilder {
    request.header("x-forwarded-for", address)
}

/// An address that nobody else has.
fn address(n: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()
}

fn limit(answer: &Response) -> i64 {
    answer.headers()["ratelimit-limit"].to_str().unwrap().parse().unwrap()
}

/// Each write is a change, and what an account has changed today is counted whichever device asks.
async fn an_account_changes_only_so_much_in_a_day(mode: support::Mode) {
    let node = limited(mode).await;
    let (person, other) = (Person::register(&node).await, Person::register(&node).await);
    let quota = Action::Change.rules().subject.unwrap();
    let most = usize::try_from(quota.burst).unwrap();
    let server = &node.running().server;
    server.limits.changes(person.account, most - 1, server.clock.now()).unwrap();
    let write = async |person: &Person| person.post(&node, "/v1/live/ticket", &json!({})).await;
    assert_eq!(write(&person).await.status(), StatusCode::OK);
    let refused = write(&person).await;
    assert_eq!(limit(&refused), quota.burst);
    assert_problem(refused, Code::TooManyRequests).await;
    assert_eq!(write(&other).await.status(), StatusCode::OK);
    assert_eq!(person.get(&node, "/v1/account").await.status(), StatusCode::OK, "what is there is read");
}

/// As often as it may, and once more.
async fn holds(what: &str, quota: Quota, ask: impl AsyncFn(u32) -> Response) {
    for n in 0..u32::try_from(quota.burst).unwrap() {
        let answer = ask(n).await;
        assert_ne!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{what}: request {n}");
    }
    let refused = ask(u32::try_from(quota.burst).unwrap()).await;
    assert_eq!(limit(&refused), quota.burst, "{what}");
    assert!(refused.headers().contains_key("retry-after"), "{what}");
    assert_problem(refused, Code::TooManyRequests).await;
}

/// A route of each action, at which an address is counted whatever it brings.
fn route(action: Action) -> Option<(&'static str, &'static str)> {
    Some(match action {
        Action::Register => ("POST", "/v1/accounts/start"),
        Action::Login => ("POST", "/v1/sessions/start"),
        Action::Finish => ("POST", "/v1/sessions/finish"),
        Action::Refresh => ("POST", "/v1/sessions/refresh"),
        Action::Mail => ("POST", "/v1/sign-in/start"),
        Action::Verify => ("POST", "/v1/recovery/start"),
        Action::Pair => ("POST", "/v1/approvals"),
        Action::Read => ("GET", "/v1/account"),
        Action::Write => ("POST", "/v1/live/ticket"),
        Action::Leave => ("GET", "/v1/me/export"),
        Action::Connect => ("GET", "/v1/live"),
        // Counted by what they are about, where it is known.
        Action::KnownLogin | Action::AdminLogin | Action::Renew | Action::Refusal | Action::Change => {
            return None;
        }
    })
}

async fn every_route_lets_an_address_ask_as_often_as_the_table_says(mode: support::Mode) {
    let node = limited(mode).await;
    for rules in &TABLE {
        let Some((method, path)) = route(rules.action) else { continue };
        let ask = async |_| {
            let request = node.request(method, path).json(&json!({}));
            from(request, "203.0.113.7").send().await.unwrap()
        };
        holds(rules.name, rules.address.unwrap(), ask).await;
        // Another address is not concerned.
        let other = from(node.request(method, path).json(&json!({})), "203.0.113.8").send().await.unwrap();
        assert_ne!(other.status(), StatusCode::TOO_MANY_REQUESTS, "{}", rules.name);
    }
}

async fn a_session_a_device_an_account_and_a_name_ask_as_often_as_the_table_says_from_wherever(
    mode: support::Mode,
) {
    let node = limited(mode).await;
    let person = Person::register(&node).await;
    let token = &person.tokens.access_token;
    let of = |action: Action| action.rules().subject.unwrap();
    let ask = async |method: &str, path: &str, n: u32| {
        // A few from each address, so that it is never the address that is refused.
        let request = node.request(method, path).bearer_auth(token).json(&json!({"unknown": 1}));
        from(request, &address(n / 2)).send().await.unwrap()
    };
    let read = async |n| ask("GET", "/v1/devices", n).await;
    holds("what a session reads", of(Action::Read), read).await;
    let write = async |n| ask("POST", "/v1/live/ticket", n).await;
    holds("what a device writes", of(Action::Write), write).await;
    // Exports and deletions together.
    let leave = async |n| match n {
        1 => ask("POST", "/v1/me/erasure", n).await,
        _ => ask("GET", "/v1/me/export", n).await,
    };
    holds("how often an account leaves", of(Action::Leave), leave).await;
    let refresh_token = person.tokens.refresh_token.clone();
    let sent = Refresh { signature: person.sign(&proof_message(refresh_token.as_bytes())), refresh_token };
    let refresh = async |n| {
        let answer = from(node.post("/v1/sessions/refresh", &sent), &address(n)).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 200 | 429), "{}", answer.status());
        answer
    };
    holds("how often a session is refreshed", of(Action::Refresh), refresh).await;
}

/// The beginning of a login by an enrolled device that proves its key.
async fn known_login(node: &Node, person: &Person, address: &str) -> Response {
    let request = step_up_request(&person.password).request;
    let signature = person.sign(&proof_message(&request.0));
    let device = Some(DeviceProof { device: person.device, signature });
    let start = LoginStart { name: person.name.clone(), request, device };
    from(node.post("/v1/sessions/start", &start), address).send().await.unwrap()
}

async fn a_device_guesses_at_the_password_a_hundred_times_a_day_and_what_is_right_is_no_guess(
    mode: support::Mode,
) {
    let node = limited(mode).await;
    let mut person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    let daily = Action::KnownLogin.rules().daily.unwrap();
    let mut asked = 0;
    let refused = loop {
        asked += 1;
        assert!(asked <= 2 * daily.burst, "no end of guesses");
        node.clock.pass(60);
        if asked % 3 == 0 {
            let renewed = person.refresh(&node, &person.tokens.refresh_token).await;
            person.tokens = body(renewed, StatusCode::OK).await;
        }
        if asked % 3 == 0 && asked < 90 {
            // A right one in between takes nothing.
            let finish = begin_step_up(&node, &person, &person.password).await;
            let right = person.post(&node, "/v1/sessions/step-up/finish", &finish).await;
            assert_eq!(right.status(), StatusCode::OK);
            node.clock.pass(60);
        }
        let guess = node.post("/v1/sessions/step-up/start", &step_up_request("wrong horse"));
        let guess = guess.bearer_auth(&person.tokens.access_token);
        let answer = from(guess, &address(u32::try_from(asked).unwrap())).send().await.unwrap();
        if answer.status() != StatusCode::OK {
            break answer;
        }
    };
    assert_eq!(limit(&refused), daily.burst);
    assert_problem(refused, Code::TooManyRequests).await;
    // Over so long a time a few are there again.
    assert!((daily.burst..daily.burst + 15).contains(&asked), "{asked}");
    // It is the device that is refused, by whichever way: not the name, and not another device.
    let refused = known_login(&node, &person, "203.0.113.4").await;
    assert_eq!(limit(&refused), daily.burst);
    assert_problem(refused, Code::TooManyRequests).await;
    assert_eq!(known_login(&node, &other, "203.0.113.4").await.status(), StatusCode::OK);
    assert_eq!(login(&node, &person, "203.0.113.5").await.status(), StatusCode::OK);
    node.clock.pass(24 * 3600);
    assert_eq!(known_login(&node, &person, "203.0.113.4").await.status(), StatusCode::OK);
}

/// The end of a login with the right password, from an address.
async fn login(node: &Node, person: &Person, address: &str) -> Response {
    let (attempt, finalization) = person.begin_login(node, &person.password).await;
    let (finalization, device) = (finalization.unwrap().into(), Some(person.attempt_proof(attempt)));
    let finish = LoginFinish { attempt, finalization, device };
    from(node.post("/v1/sessions/finish", &finish), address).send().await.unwrap()
}

/// The first administrator, with tokens of a login; and another one.
async fn administrators(node: &Node) -> (Person, Person) {
    let (admin, other) = (Person::register(node).await, Person::register(node).await);
    let token = node.running().bootstrap.as_ref().unwrap().token.clone();
    let named = admin.post(node, "/v1/admin/bootstrap", &json!({ "token": token })).await;
    assert_eq!(named.status(), StatusCode::OK);
    let path = format!("/v1/admin/accounts/{}/role", other.account);
    let tokens = body::<LoggedIn>(login(node, &admin, "203.0.113.1").await, StatusCode::OK).await.tokens;
    let acting = Person { tokens: tokens.unwrap(), ..admin.clone() };
    let granted = acting.post(node, &path, &json!({"role": "admin", "reason": "ticket 12"})).await;
    assert_eq!(granted.status(), StatusCode::OK, "{}", granted.text().await.unwrap());
    (admin, other)
}

async fn an_administrator_logs_in_three_times_and_then_once_in_five_minutes(mode: support::Mode) {
    let node = limited(mode).await;
    let second = if mode == support::Mode::Distributed { Some(node.second().await) } else { None };
    let elsewhere = second.as_ref().unwrap_or(&node);
    let (admin, other) = administrators(&node).await;
    let person = Person::register(&node).await;
    until("the other node knows the roll", || async {
        let roll = &elsewhere.running().server.feed.administrators;
        [&admin, &other].map(|one| roll.role(one.account)) == [Role::Admin; 2]
    })
    .await;
    // One is used up by granting the role; two more, by whichever node and from wherever.
    assert_eq!(login(elsewhere, &admin, "203.0.113.2").await.status(), StatusCode::OK);
    assert_eq!(login(&node, &admin, "203.0.113.3").await.status(), StatusCode::OK);
    let refused = login(elsewhere, &admin, "203.0.113.4").await;
    assert_eq!(limit(&refused), 3);
    assert_problem(refused, Code::TooManyRequests).await;
    let metrics = elsewhere.running().server.metrics.text(&[]);
    assert!(metrics.contains("lockstep_rate_limited_total{action=\"admin_login\"} 1"), "{metrics}");
    // A wrong password is told as everybody's is: nobody learns from it who is on the roll.
    assert_problem(admin.login(&node, "wrong horse", true).await, Code::LoginFailed).await;
    for n in 0..4 {
        let answer = login(&node, &person, "203.0.113.5").await;
        assert_eq!(answer.status(), StatusCode::OK, "login {n} of somebody else");
    }
    node.clock.pass(300);
    assert_eq!(login(elsewhere, &admin, "203.0.113.5").await.status(), StatusCode::OK);
    assert_problem(login(&node, &admin, "203.0.113.6").await, Code::TooManyRequests).await;
    // An address has as many for all administrators together.
    node.clock.pass(3_600);
    for who in [&admin, &other, &admin] {
        assert_eq!(login(&node, who, "203.0.113.9").await.status(), StatusCode::OK);
    }
    assert_problem(login(elsewhere, &other, "203.0.113.9").await, Code::TooManyRequests).await;
    assert_eq!(login(&node, &other, "203.0.113.10").await.status(), StatusCode::OK);
}

/// The end of a step-up with this password, from an address.
async fn proves(node: &Node, person: &Person, password: &str, address: &str) -> Response {
    let finish = begin_step_up(node, person, password).await;
    let finish = node.post("/v1/sessions/step-up/finish", &finish).bearer_auth(&person.tokens.access_token);
    from(finish, address).send().await.unwrap()
}

async fn an_administrator_who_proves_the_password_again_is_counted_as_one_who_logs_in(mode: support::Mode) {
    let node = limited(mode).await;
    let (admin, other) = administrators(&node).await;
    let logged_in = async |person: &Person, address: &str| {
        let tokens = body::<LoggedIn>(login(&node, person, address).await, StatusCode::OK).await.tokens;
        Person { tokens: tokens.unwrap(), ..person.clone() }
    };
    let (admin, other) = (logged_in(&admin, "203.0.113.2").await, logged_in(&other, "203.0.113.3").await);
    // Two logins of three are used up. A wrong password is no proof, and tells nobody who is on the roll.
    let wrong = proves(&node, &admin, "wrong horse", "203.0.113.9").await;
    assert_problem(wrong, Code::LoginFailed).await;
    let proven = proves(&node, &admin, &admin.password, "203.0.113.9").await;
    assert_eq!(proven.status(), StatusCode::OK);
    let refused = proves(&node, &admin, &admin.password, "203.0.113.9").await;
    assert_eq!(limit(&refused), 3);
    assert_problem(refused, Code::TooManyRequests).await;
    assert_problem(login(&node, &admin, "203.0.113.6").await, Code::TooManyRequests).await;
    // An address has as many for all administrators together.
    let proven = proves(&node, &other, &other.password, "203.0.113.9").await;
    assert_eq!(proven.status(), StatusCode::OK);
    assert_problem(proves(&node, &other, &other.password, "203.0.113.9").await, Code::TooManyRequests).await;
    let proven = proves(&node, &other, &other.password, "203.0.113.8").await;
    assert_eq!(proven.status(), StatusCode::OK);
    let metrics = node.running().server.metrics.text(&[]);
    assert!(metrics.contains("lockstep_rate_limited_total{action=\"admin_login\"} 3"), "{metrics}");
    let person = Person::register(&node).await;
    // All of this began at one address, which may begin again.
    node.clock.pass(120);
    for n in 0..4 {
        let proven = proves(&node, &person, &person.password, "203.0.113.7").await;
        assert_eq!(proven.status(), StatusCode::OK, "proof {n} of somebody else");
    }
}

async fn a_limit_of_all_together_refuses_a_stranger_and_is_counted_apart(mode: support::Mode) {
    let node = limited(mode).await;
    let all = Action::Register.rules().all.unwrap();
    let ask = async |n| from(node.post("/v1/accounts/start", &json!({})), &address(n)).send().await.unwrap();
    holds("registrations of all", all, ask).await;
    let metrics = node.running().server.metrics.text(&[]);
    assert!(metrics.contains("lockstep_rate_limited_all_total{action=\"register\"} 1"), "{metrics}");
    assert!(metrics.contains("lockstep_rate_limited_all_total{action=\"verify\"} 0"), "{metrics}");
}

/// A server in a process of its own, over plain HTTP.
struct Apart {
    child: std::process::Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Apart {
    async fn start(mode: Mode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = crate::process::command(&folder.path().join("data"));
        command.envs(mode.options().await);
        command.env("LOCKSTEP_PLAIN_HTTP", "true").env("LOCKSTEP_TRUSTED_PROXIES", "127.0.0.1");
        command.stdout(Stdio::piped()).stderr(File::create(folder.path().join("log")).unwrap());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let url = said.next().unwrap().trim().rsplit(' ').next().unwrap().to_owned();
        assert!(said.any(|line| line.starts_with("Next: ")), "it says nothing after that");
        Self { child, url, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn a_limit_of_all_that_is_used_up_is_one_warning_however_many_are_refused(mode: Mode) {
    let server = Apart::start(mode).await;
    // Refused only where another test of this process has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut refused = 0;
    for n in 0..2_000 {
        let asked = http.post(format!("{}/v1/accounts/start", server.url)).json(&json!({}));
        let answer = from(asked, &address(n)).send().await.unwrap();
        refused += u32::from(answer.status() == StatusCode::TOO_MANY_REQUESTS);
        assert!(refused == 0 || n >= 300);
        if refused == 10 {
            break;
        }
    }
    let log = server.log();
    assert_eq!(refused, 10, "{log}");
    let told = log.lines().filter(|line| line.contains("the limit of all together is used up"));
    let told: Vec<&str> = told.collect();
    assert!(told.len() == 1 && told[0].contains("WARN") && told[0].contains("action=\"register\""), "{log}");
}
