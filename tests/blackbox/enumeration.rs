//! Who has an account cannot be told from how the server answers, nor from how long it takes.

mod line;
mod measure;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use lockstep_api::{
    Code,
    account::{LoginFinish, LoginStart, LoginStarted, RegisterStart},
    approval::AskApproval,
    opaque::ServerSuite,
    recovery::RecoveryStart,
};
use lockstep_events::{DeviceId, header::public_key};
use opaque_ke::{ClientLogin, ClientRegistration};
use rand::rngs::OsRng;
use serde_json::Value;
use tower::ServiceExt;

use self::{line::Line, measure::Comparison};
use crate::support::{Mode, Node, Person, node::TestClock, person::random_key};

/// What can be seen of an answer, values that are random by design left out.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    length: usize,
    fields: Vec<(String, usize)>,
}

/// The server without a network between, and where it listens; names that somebody has, each beside one that nobody has.
struct Inside {
    router: axum::Router,
    address: String,
    clock: Arc<TestClock>,
    names: Vec<[String; 2]>,
}

impl Inside {
    async fn ask(&self, path: &str, body: &Value) -> (Seen, Vec<u8>) {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let random = ["x-request-id", "ratelimit-remaining", "ratelimit-reset"];
        let shown = |name: &str, value: &str| {
            if random.contains(&name) { "…".to_owned() } else { value.to_owned() }
        };
        let headers = answer.headers().iter();
        let headers = headers.map(|(n, v)| (n.to_string(), shown(n.as_str(), v.to_str().unwrap()))).collect();
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let fields =
            json.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.to_string().len()));
        (Seen { status, headers, length: bytes.len(), fields: fields.collect() }, bytes.to_vec())
    }
}

fn login_start(name: &str) -> Value {
    let message = ClientLogin::<ServerSuite>::start(&mut OsRng, b"guess").unwrap().message;
    let body =
        LoginStart { name: name.to_owned(), request: message.serialize().to_vec().into(), device: None };
    serde_json::to_value(body).unwrap()
}

fn register_start(name: &str) -> Value {
    let message = ClientRegistration::<ServerSuite>::start(&mut OsRng, b"guess").unwrap().message;
    serde_json::to_value(RegisterStart {
        name: name.to_owned(),
        request: message.serialize().to_vec().into(),
    })
    .unwrap()
}

/// A wrong code, and a new password that will not be set.
fn recovery_start(name: &str) -> Value {
    let message = ClientRegistration::<ServerSuite>::start(&mut OsRng, b"guess").unwrap().message;
    let request = message.serialize().to_vec().into();
    serde_json::to_value(RecoveryStart { name: name.to_owned(), secret: vec![9; 32].into(), request })
        .unwrap()
}

fn approval(name: &str) -> Value {
    let (device, public_key) = (DeviceId(uuid::Uuid::new_v4()), public_key(&random_key()));
    let ask = AskApproval { name: name.to_owned(), device, public_key, kem_key: vec![5; 32].into() };
    serde_json::to_value(ask).unwrap()
}

/// The end of a login with a proof that is wrong.
async fn wrong_end(inside: &Inside, name: &str) -> Value {
    let (_, bytes) = inside.ask("/v1/sessions/start", &login_start(name)).await;
    let started: LoginStarted = serde_json::from_slice(&bytes).unwrap();
    let body = LoginFinish { attempt: started.attempt, finalization: vec![9; 64].into(), device: None };
    serde_json::to_value(body).unwrap()
}

/// Pairs that are timed on each route, a question with a known name beside one with an unknown name: 5,000 samples.
const PAIRS: usize = 2_500;
/// Bodies of so many pairs are made at once.
const ROUND: usize = 250;
/// The first pairs of a round find a connection that is new.
const WARM_UP: usize = 5;

/// What the routes are asked with; the end of a login needs a beginning of its own each time.
#[derive(Debug, Clone, Copy)]
enum Route {
    Register,
    Login,
    LoginEnd,
    Link,
    Recovery,
    Approval,
}

impl Route {
    const fn path(self) -> &'static str {
        match self {
            Self::Register => "/v1/accounts/start",
            Self::Login => "/v1/sessions/start",
            Self::LoginEnd => "/v1/sessions/finish",
            Self::Link => "/v1/sign-in/start",
            Self::Recovery => "/v1/recovery/start",
            Self::Approval => "/v1/approvals",
        }
    }

    /// Seconds until one more may be asked: guesses at codes are few, whatever the factor, and of requests for approval
    /// no more are kept than people make.
    const fn pause(self) -> i64 {
        match self {
            Self::Recovery => 4_400,
            Self::Approval => 720,
            _ => 0,
        }
    }

    async fn body(self, inside: &Inside, name: &str) -> Value {
        match self {
            Self::Register => register_start(name),
            Self::Login => login_start(name),
            Self::LoginEnd => wrong_end(inside, name).await,
            Self::Link => serde_json::json!({ "name": name, "initiator": "0".repeat(64) }),
            Self::Recovery => recovery_start(name),
            Self::Approval => approval(name),
        }
    }

    /// The decision: a difference that is there is there once more. What another program did to one measurement is not.
    async fn decided(self, inside: &Inside, planted: Duration) -> Comparison {
        match self.compared(inside, planted).await {
            alike if alike.is_alike() => alike,
            _ => self.compared(inside, planted).await,
        }
    }

    /// Compares the times for known and unknown names by some pairs; `planted` is added to the work for known ones.
    async fn compared(self, inside: &Inside, planted: Duration) -> Comparison {
        let mut pairs = Vec::new();
        while pairs.len() < PAIRS {
            let mut questions = Vec::new();
            for (at, names) in inside.names.iter().cycle().take(WARM_UP + ROUND).enumerate() {
                let mut pair = [Vec::new(), Vec::new()];
                // In the order of asking: what was made last is nearest to the processor.
                for kind in order(at) {
                    let body = self.body(inside, &names[kind]).await;
                    pair[kind] = line::question(&inside.address, self.path(), &body);
                }
                questions.push(pair);
            }
            let timed = tokio::task::block_in_place(|| self.timed(inside, &questions, planted));
            pairs.extend_from_slice(&timed[WARM_UP..]);
        }
        let comparison = Comparison::of(&pairs);
        eprintln!("{self:?}: {comparison:?}");
        comparison
    }

    /// Asks for a known and an unknown name by turns, one of them first and then the other: how long each took.
    fn timed(self, inside: &Inside, questions: &[[Vec<u8>; 2]], planted: Duration) -> Vec<[f64; 2]> {
        let mut line = Line::open(&inside.address);
        let mut pairs = Vec::new();
        for (at, pair) in questions.iter().enumerate() {
            let mut took = [0.0; 2];
            for kind in order(at) {
                let began = Instant::now();
                line.ask(&pair[kind]);
                if kind == KNOWN {
                    work(planted);
                }
                took[kind] = began.elapsed().as_secs_f64() * 1000.0;
            }
            pairs.push(took);
            inside.clock.pass(self.pause());
        }
        pairs
    }
}

/// A name that nobody has, of the same letters as one that somebody has: a name is not among what is hidden from the one
/// who sends it, and reading it costs the same.
fn unknown(known: &str) -> String {
    let (local, domain) = known.split_once('@').unwrap();
    format!("{}@{domain}", local.chars().rev().collect::<String>())
}

const ROUTES: [Route; 6] =
    [Route::Register, Route::Login, Route::LoginEnd, Route::Link, Route::Approval, Route::Recovery];

/// How many people are asked about: what lies where in a table is not the same for any two of them. An odd number, so that
/// each of them is asked about first and second.
const PEOPLE: usize = 7;
/// Which of two names is somebody's.
const KNOWN: usize = 0;

async fn inside(mode: Mode) -> (Node, Inside) {
    let node = Node::start(mode).await;
    let mut names = Vec::new();
    for _ in 0..PEOPLE {
        let person = Person::register(&node).await;
        let set = crate::ways::set_recovery(&node, &person, [7; 32], 1).await;
        assert!(set.status().is_success());
        names.push([person.name.clone(), unknown(&person.name)]);
    }
    let router = lockstepd::http::router(Arc::clone(&node.running().server));
    let address = node.url().trim_start_matches("http://").to_owned();
    let clock = Arc::clone(&node.clock);
    (node, Inside { router, address, clock, names })
}

in_both_modes! {
    many threads:
    a_known_name_is_answered_like_an_unknown_one,
    enumeration_by_time,
    a_difference_of_fifty_microseconds_or_half_a_millisecond_is_never_taken_for_none,
    only_the_end_of_a_registration_tells_that_a_name_is_taken,
}

async fn a_known_name_is_answered_like_an_unknown_one(mode: Mode) {
    let (_node, inside) = inside(mode).await;
    let [known, unknown] = &inside.names[0];
    for route in ROUTES {
        let for_known = inside.ask(route.path(), &route.body(&inside, known).await).await.0;
        let for_unknown = inside.ask(route.path(), &route.body(&inside, unknown).await).await.0;
        assert_eq!(for_known, for_unknown, "{route:?}");
    }
}

async fn enumeration_by_time(mode: Mode) {
    let (_node, inside) = inside(mode).await;
    for route in ROUTES {
        let comparison = route.decided(&inside, Duration::ZERO).await;
        assert!(comparison.is_alike(), "{route:?} takes another time for known names: {comparison:?}");
    }
}

/// The same decision sees what is planted. On a machine that is busy beyond measure it may not see it, and is asked again;
/// where the error was small there is no excuse.
async fn a_difference_of_fifty_microseconds_or_half_a_millisecond_is_never_taken_for_none(mode: Mode) {
    let (_node, inside) = inside(mode).await;
    for planted in [0.05, 0.5] {
        let mut unseen = Vec::new();
        loop {
            let time = Duration::from_secs_f64(planted / 1000.0);
            let comparison = Route::Register.decided(&inside, time).await;
            if !comparison.is_alike() {
                break;
            }
            assert!(!comparison.would_see(planted), "{planted} ms are not seen: {comparison:?}");
            unseen.push(comparison);
            assert!(unseen.len() < 4, "{planted} ms are never seen: {unseen:?}");
        }
    }
}

/// A name that is taken is told to whoever proves to want it: at the end of a registration, and there only.
async fn only_the_end_of_a_registration_tells_that_a_name_is_taken(mode: Mode) {
    let (node, inside) = inside(mode).await;
    let registration = Person::start(&node, &inside.names[0][KNOWN]).await;
    let refused = node.post("/v1/accounts/finish", &registration.finish).send().await.unwrap();
    crate::support::assert_problem(refused, Code::NameTaken).await;
}

/// Which of a pair comes first, and which then: they take turns.
const fn order(pair: usize) -> [usize; 2] {
    [pair % 2, 1 - pair % 2]
}

/// Keeps the processor busy for a time.
fn work(time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time {
        std::hint::spin_loop();
    }
}
