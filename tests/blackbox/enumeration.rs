//! Who has an account cannot be told from how the server answers, nor from how long it takes.

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

use crate::support::{Mode, Node, Person, node::TestClock, person::random_key};

/// What can be seen of an answer, values that are random by design left out.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    length: usize,
    fields: Vec<(String, usize)>,
}

/// The server without a network between.
struct Inside {
    router: axum::Router,
    clock: Arc<TestClock>,
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

/// How long two ways took, taken in turn, in milliseconds.
#[derive(Debug)]
struct Comparison {
    delta_of_medians: f64,
    t: f64,
}

impl Comparison {
    fn is_alike(&self) -> bool {
        self.delta_of_medians.abs() < 0.2 && self.t.abs() < 4.5
    }
}

/// The faster four fifths: what another program on the machine does to the rest says nothing about this one.
fn trimmed(mut samples: Vec<f64>) -> Vec<f64> {
    samples.sort_by(f64::total_cmp);
    samples.truncate(samples.len() * 4 / 5);
    samples
}

fn mean_and_variance(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    (mean, samples.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0))
}

fn compared(one: Vec<f64>, other: Vec<f64>) -> Comparison {
    let (one, other) = (trimmed(one), trimmed(other));
    let ((mean_one, spread_one), (mean_other, spread_other)) =
        (mean_and_variance(&one), mean_and_variance(&other));
    let error = (spread_one / one.len() as f64 + spread_other / other.len() as f64).sqrt();
    let median = |samples: &[f64]| samples[samples.len() / 2];
    Comparison {
        delta_of_medians: median(&one) - median(&other),
        t: (mean_one - mean_other) / error.max(f64::EPSILON),
    }
}

/// Rounds until one finds both alike: noise passes, a difference stays.
const ROUNDS: usize = 8;
const SAMPLES: usize = 250;

/// Asks with bodies for a known and an unknown name in turn. `planted` is added to whatever takes a known name.
async fn timed(
    inside: &Inside,
    route: Route,
    known: &[Value],
    unknown: &[Value],
    planted: Duration,
) -> Comparison {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for (n, (known, unknown)) in known.iter().zip(unknown).enumerate() {
        for is_known in [n % 2 == 0, n % 2 != 0] {
            let began = Instant::now();
            inside.ask(route.path(), if is_known { known } else { unknown }).await;
            let took = began.elapsed() + if is_known { planted } else { Duration::ZERO };
            let samples = if is_known { &mut one } else { &mut other };
            samples.push(took.as_secs_f64() * 1000.0);
        }
        inside.clock.pass(route.pause());
    }
    compared(one, other)
}

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

    /// Seconds until one more may be asked: guesses at codes are few, whatever the factor.
    const fn pause(self) -> i64 {
        if matches!(self, Self::Recovery) { 4_400 } else { 0 }
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

    async fn round(self, inside: &Inside, known: &str, planted: Duration) -> Comparison {
        let (mut for_known, mut for_unknown) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            for_known.push(self.body(inside, known).await);
            for_unknown.push(self.body(inside, "nobody-of-that-name@example.org").await);
        }
        timed(inside, self, &for_known, &for_unknown, planted).await
    }
}

const ROUTES: [Route; 6] =
    [Route::Register, Route::Login, Route::LoginEnd, Route::Link, Route::Approval, Route::Recovery];

async fn inside() -> (Node, Inside, String) {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let set = crate::ways::set_recovery(&node, &person, [7; 32], 1).await;
    assert!(set.status().is_success());
    let router = lockstepd::http::router(Arc::clone(&node.running().server));
    let clock = Arc::clone(&node.clock);
    (node, Inside { router, clock }, person.name)
}

#[tokio::test]
async fn a_known_name_is_answered_like_an_unknown_one() {
    let (_node, inside, known) = inside().await;
    // Of the same length: a name is not among what is hidden from the one who sends it.
    let unknown = format!("{}@example.org", uuid::Uuid::new_v4());
    for route in ROUTES {
        let for_known = inside.ask(route.path(), &route.body(&inside, &known).await).await.0;
        let for_unknown = inside.ask(route.path(), &route.body(&inside, &unknown).await).await.0;
        assert_eq!(for_known, for_unknown, "{route:?}");
    }
}

#[tokio::test]
async fn enumeration_by_time() {
    let (_node, inside, known) = inside().await;
    for route in ROUTES {
        let mut seen = Vec::new();
        loop {
            let comparison = route.round(&inside, &known, Duration::ZERO).await;
            let is_alike = comparison.is_alike();
            seen.push(comparison);
            if is_alike {
                println!("{route:?}: {:?} in round {}", seen.last().unwrap(), seen.len());
                break;
            }
            assert!(seen.len() < ROUNDS, "{route:?} takes another time for known names: {seen:?}");
        }
    }
}

/// The measurement sees a millisecond, in every round.
#[tokio::test]
async fn a_difference_of_a_millisecond_is_never_taken_for_none() {
    let (_node, inside, known) = inside().await;
    for _ in 0..3 {
        let comparison = Route::Login.round(&inside, &known, Duration::from_millis(1)).await;
        assert!(!comparison.is_alike(), "{comparison:?}");
    }
}

/// A name that is taken is told to whoever proves to want it: at the end of a registration, and there only.
#[tokio::test]
async fn only_the_end_of_a_registration_tells_that_a_name_is_taken() {
    let (node, _inside, known) = inside().await;
    let registration = Person::start(&node, &known).await;
    let refused = node.post("/v1/accounts/finish", &registration.finish).send().await.unwrap();
    crate::support::assert_problem(refused, Code::NameTaken).await;
}
