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

/// A known name may take so much longer or shorter than an unknown one, in milliseconds, by the median.
const BAR: f64 = 0.2;
/// What it takes a program that is not optimised to read two rows from Postgres that are there, on a busy machine.
const TWO_ROWS: f64 = if cfg!(debug_assertions) { 0.1 } else { 0.0 };
/// Pairs that are taken at once, and of all together at least and at most so many. Each pair is a question with a known
/// name beside one with an unknown name, so what slows the machine slows both. The standard error says when they are
/// enough, fewer than five thousand: at a tenth of the bar, what is as long as the bar stands ten errors apart from
/// nothing.
const ROUND: usize = 250;
const FEWEST: usize = 750;
const MOST: usize = 2_500;
const ENOUGH: f64 = BAR / 10.0;

/// How much longer known names took, in milliseconds.
///
/// There is no bound for how many errors that is: it grows with the number of pairs, and without a network between, what
/// a program that is not optimised takes to read a row that is there is seen long before it is as long as the bar.
#[derive(Debug)]
struct Comparison {
    pairs: usize,
    median: f64,
    /// The standard error of the median. What another program had its part in lies far out, and has no part in this.
    error: f64,
}

impl Comparison {
    fn of(mut differences: Vec<f64>) -> Self {
        differences.sort_by(f64::total_cmp);
        let pairs = differences.len();
        // The place of the median among so many is right to within half their root.
        let (middle, off) = (pairs / 2, pairs.isqrt() / 2);
        let error = (differences[middle + off] - differences[middle - off]) / 2.0;
        Self { pairs, median: differences[middle], error }
    }

    fn is_enough(&self) -> bool {
        self.pairs >= MOST || self.pairs >= FEWEST && self.error <= ENOUGH
    }

    /// Not beyond the bar by more than noise ever makes it.
    fn is_alike(&self, mode: Mode) -> bool {
        let bar = if mode == Mode::Distributed { BAR + TWO_ROWS } else { BAR };
        self.median.abs() < bar + 3.0 * self.error
    }
}

/// Asks with bodies for a known and an unknown name in turn; how much longer the known one took each time. `planted` is
/// added to the work for a known name.
async fn timed(
    inside: &Inside,
    route: Route,
    bodies: Vec<[Value; 2]>,
    planted: Duration,
    differences: &mut Vec<f64>,
) {
    for [known, unknown] in bodies {
        let mut took = [0.0; 2];
        let known_first = differences.len().is_multiple_of(2);
        for is_known in [known_first, !known_first] {
            let began = Instant::now();
            inside.ask(route.path(), if is_known { &known } else { &unknown }).await;
            if is_known {
                work(planted);
            }
            took[usize::from(is_known)] = began.elapsed().as_secs_f64() * 1000.0;
        }
        differences.push(took[1] - took[0]);
        inside.clock.pass(route.pause());
    }
}

/// Keeps the processor busy for a time.
fn work(time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time {
        std::hint::spin_loop();
    }
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

    /// Compares the times for a known and an unknown name, by as many pairs as it takes. All count.
    async fn compared(self, inside: &Inside, known: &str, planted: Duration) -> Comparison {
        let mut differences = Vec::new();
        let unknown = unknown();
        loop {
            let mut bodies = Vec::new();
            for _ in 0..ROUND {
                bodies.push([self.body(inside, known).await, self.body(inside, &unknown).await]);
            }
            timed(inside, self, bodies, planted, &mut differences).await;
            let comparison = Comparison::of(differences.clone());
            if comparison.is_enough() {
                eprintln!("{self:?}: {comparison:?}");
                return comparison;
            }
        }
    }
}

/// A name of the same length as those of people: a name is not among what is hidden from the one who sends it.
fn unknown() -> String {
    format!("{}@example.org", uuid::Uuid::new_v4())
}

const ROUTES: [Route; 6] =
    [Route::Register, Route::Login, Route::LoginEnd, Route::Link, Route::Approval, Route::Recovery];

async fn inside(mode: Mode) -> (Node, Inside, String) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let set = crate::ways::set_recovery(&node, &person, [7; 32], 1).await;
    assert!(set.status().is_success());
    let router = lockstepd::http::router(Arc::clone(&node.running().server));
    let clock = Arc::clone(&node.clock);
    (node, Inside { router, clock }, person.name)
}

in_both_modes! {
    a_known_name_is_answered_like_an_unknown_one,
    enumeration_by_time,
    a_difference_of_half_a_millisecond_is_never_taken_for_none,
    only_the_end_of_a_registration_tells_that_a_name_is_taken,
}

async fn a_known_name_is_answered_like_an_unknown_one(mode: Mode) {
    let (_node, inside, known) = inside(mode).await;
    let unknown = unknown();
    for route in ROUTES {
        let for_known = inside.ask(route.path(), &route.body(&inside, &known).await).await.0;
        let for_unknown = inside.ask(route.path(), &route.body(&inside, &unknown).await).await.0;
        assert_eq!(for_known, for_unknown, "{route:?}");
    }
}

async fn enumeration_by_time(mode: Mode) {
    let (_node, inside, known) = inside(mode).await;
    for route in ROUTES {
        let comparison = route.compared(&inside, &known, Duration::ZERO).await;
        assert!(comparison.is_alike(mode), "{route:?} takes another time for known names: {comparison:?}");
    }
}

/// The same decision sees what is planted. A machine that is busy beyond measure gets another try; where the error was
/// as small as it shall be there is none.
async fn a_difference_of_half_a_millisecond_is_never_taken_for_none(mode: Mode) {
    let (_node, inside, known) = inside(mode).await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let comparison = Route::Login.compared(&inside, &known, Duration::from_micros(500)).await;
        if !comparison.is_alike(mode) {
            return;
        }
        // Only where it could not be measured is it not seen.
        assert!(comparison.error > ENOUGH, "{comparison:?}");
        seen.push(comparison);
    }
    panic!("never seen: {seen:?}");
}

/// A name that is taken is told to whoever proves to want it: at the end of a registration, and there only.
async fn only_the_end_of_a_registration_tells_that_a_name_is_taken(mode: Mode) {
    let (node, _inside, known) = inside(mode).await;
    let registration = Person::start(&node, &known).await;
    let refused = node.post("/v1/accounts/finish", &registration.finish).send().await.unwrap();
    crate::support::assert_problem(refused, Code::NameTaken).await;
}
