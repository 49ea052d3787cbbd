//! Bad input at every route that the API document names, so that a new route is tested from its first day: each kind
//! of it has its own problem code, and nothing changes.

use lockstep_api::{Code, MAX_JSON_BYTES, MAX_PUSH_BYTES, account::LoggedIn};
use lockstep_events::{
    EventId, Position, StreamKind,
    log::{Contents, Filter},
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::bola::office::Office;
use crate::support::{Mode, Node, Person, assert_problem, body, problem};

in_both_modes! {
    many threads:
    every_route_that_takes_json_refuses_what_is_not_its_own_and_changes_nothing,
    every_route_that_takes_bytes_refuses_other_types_and_lengths_and_changes_nothing,
    every_route_with_a_lock_on_it_refuses_missing_foreign_altered_revoked_and_expired_tokens,
    every_parameter_that_is_not_what_it_should_be_is_refused_by_its_place,
    every_route_of_a_vault_or_stream_answers_for_a_foreign_one_as_for_one_that_does_not_exist,
}

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
/// Its body is looked at only if the biller's signature over it holds: `tests/admin/billing.rs` tries that.
const BILLER: &str = "/v1/billing/events";
const OCTETS: &str = "application/octet-stream";
const JSON: &str = "application/json";
/// A pack of blobs.
const MAX_PACK_BYTES: usize = 4 * 1024 * 1024;

/// One operation of the document.
struct Route {
    method: String,
    path: String,
    secured: bool,
    /// The content type of its body.
    takes: Option<&'static str>,
    /// The schema of its body, if that is JSON.
    schema: Value,
    /// Names of its parameters, and whether it cannot be without.
    query: Vec<(String, bool)>,
    headers: Vec<(String, bool)>,
}

fn routes() -> Vec<Route> {
    let document = serde_json::to_value(lockstepd::http::document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let content = &operation["requestBody"]["content"];
            let takes = [JSON, OCTETS].into_iter().find(|kind| content.get(kind).is_some());
            let reference = content[JSON]["schema"]["$ref"].as_str().unwrap_or_default();
            let schema =
                document.pointer(reference.trim_start_matches('#')).filter(|_| !reference.is_empty());
            let parameters = |place: &str| {
                let all = operation["parameters"].as_array().into_iter().flatten();
                let here = all.filter(|parameter| parameter["in"] == place);
                let named = |p: &Value| (p["name"].as_str().unwrap().to_owned(), p["required"] == true);
                here.map(named).collect()
            };
            all.push(Route {
                method: method.to_uppercase(),
                path: path.clone(),
                secured: !operation["security"].is_null(),
                takes,
                schema: schema.cloned().unwrap_or_default(),
                query: parameters("query"),
                headers: parameters("header"),
            });
        }
    }
    all
}

/// A server, a person, and tokens for whatever route.
struct Ground {
    node: Node,
    person: Person,
    office: Office,
    enrol: String,
}

impl Ground {
    async fn new(mode: Mode) -> Self {
        let mut node = Node::start(mode).await;
        let office = Office::open(&mut node).await;
        let person = Person::register(&node).await;
        let login: LoggedIn = body(person.login(&node, &person.password, false).await, StatusCode::OK).await;
        Self { node, person, office, enrol: login.enrol_token.unwrap() }
    }

    /// Of whoever may ask there.
    fn token(&self, route: &Route) -> &str {
        let person = match (route.method.as_str(), route.path.as_str()) {
            ("POST", "/v1/devices") => return &self.enrol,
            (_, "/v1/admin/bootstrap") => &self.person,
            (_, path) if path.starts_with("/v1/admin/") => &self.office.admin,
            (_, path) if path.starts_with("/v1/audit/") => &self.office.auditor,
            _ => &self.person,
        };
        &person.tokens.access_token
    }

    fn path(&self, route: &Route) -> String {
        let person = &self.person;
        let path = route.path.replace("{vault}", &person.vault.to_string());
        let path = path.replace("{stream}", &person.vault.to_string());
        let path = path.replace("{device}", &person.device.to_string());
        let path = path.replace("{session}", &person.tokens.session.to_string());
        let path = path.replace("{account}", NOBODY).replace("{proposal}", NOBODY);
        let path = path.replace("{invitation}", NOBODY).replace("{identity}", NOBODY);
        let path = path.replace("{provider}", "idp").replace("{secret}", "nothing");
        let path = path.replace("{approval}", NOBODY).replace("{factor}", NOBODY);
        let path = path.replace("{entry}", NOBODY).replace("{hash}", &"0".repeat(64));
        assert!(!path.contains('{'), "{path}: say what stands for this");
        path
    }

    /// A request in which everything but its body is right.
    fn request(&self, route: &Route) -> RequestBuilder {
        self.to(route, &self.path(route))
    }

    fn to(&self, route: &Route, path: &str) -> RequestBuilder {
        let needed = route.query.iter().filter(|(_, required)| *required);
        let query: Vec<_> = needed.map(|(name, _)| format!("{name}=1")).collect();
        self.asking(route, &format!("{path}?{}", query.join("&")))
    }

    /// With exactly this path and query.
    fn asking(&self, route: &Route, path: &str) -> RequestBuilder {
        let mut request = self.node.request(&route.method, path);
        for (name, _) in route.headers.iter().filter(|(_, required)| *required) {
            request = request.header(name, "1");
        }
        if route.secured { request.bearer_auth(self.token(route)) } else { request }
    }

    /// Every event of accounts and vaults. The system's own come whenever they are due.
    async fn events(&self) -> Vec<EventId> {
        let log = &self.node.running().server.log;
        let all = log.read_all(Position::ZERO, 10_000, &Filter::default(), Contents::No).await.unwrap();
        let ours = all.iter().filter(|event| event.stream_kind != StreamKind::System);
        ours.map(|event| event.event_id).collect()
    }
}

fn limit(route: &Route) -> usize {
    match (route.takes, route.path.as_str()) {
        (Some(OCTETS), _) => MAX_PACK_BYTES,
        (_, "/v1/file" | "/v1/vaults/{vault}/versions" | "/v1/vaults/{vault}/reconcile") => MAX_PUSH_BYTES,
        _ => MAX_JSON_BYTES,
    }
}

/// The code for bytes that are one more than the route takes, as they are announced: nothing of them is read.
async fn too_long(ground: &Ground, route: &Route) -> String {
    let promised = if route.query.is_empty() { String::new() } else { format!("?size={}", u64::MAX) };
    let head = format!(
        "{} {}{promised} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {OCTETS}\r\n\
         authorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        route.method,
        ground.path(route),
        ground.token(route),
        limit(route) + 1
    );
    let mut socket = TcpStream::connect(ground.node.running().addr).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let text = String::from_utf8(answer).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str::<Value>(body).unwrap()["code"].as_str().unwrap().to_owned()
}

/// An object with what the schema needs to be told from its siblings, and a field too many.
fn surprise(schema: &Value) -> Value {
    let mut object = Map::new();
    let variant = schema["oneOf"][0]["properties"].as_object().into_iter().flatten();
    for (name, property) in variant.filter(|(_, property)| property["enum"].is_array()) {
        object.insert(name.clone(), property["enum"][0].clone());
    }
    object.insert("surprise".to_owned(), json!(1));
    Value::Object(object)
}

async fn every_route_that_takes_json_refuses_what_is_not_its_own_and_changes_nothing(mode: Mode) {
    let ground = Ground::new(mode).await;
    let before = ground.events().await;
    let mut asked = 0;
    for route in routes().iter().filter(|route| route.takes == Some(JSON) && route.path != BILLER) {
        let send = async |kind: Option<&str>, bytes: Vec<u8>| {
            let request =
                kind.into_iter().fold(ground.request(route), |r, kind| r.header("content-type", kind));
            request.body(bytes).send().await.unwrap()
        };
        let place = format!("{} {}", route.method, route.path);
        let unknown = problem(send(Some(JSON), surprise(&route.schema).to_string().into_bytes()).await).await;
        assert_eq!(unknown.code, Code::InvalidField, "{place}");
        assert!(unknown.detail.unwrap().contains("unknown field"), "{place}");
        let missing = problem(send(Some(JSON), b"{}".to_vec()).await).await;
        assert_eq!(missing.code, Code::InvalidField, "{place}");
        assert!(missing.detail.unwrap().contains("missing field"), "{place}");
        for wrong in [json!([]), json!("text"), json!(7), Value::Null] {
            assert_problem(send(Some(JSON), wrong.to_string().into_bytes()).await, Code::InvalidField).await;
        }
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40)).into_bytes();
        for broken in [Vec::new(), b"{".to_vec(), vec![b'{', 0xff, b'}'], deep] {
            assert_problem(send(Some(JSON), broken).await, Code::InvalidJson).await;
        }
        for kind in [None, Some("text/plain"), Some(OCTETS), Some("application/json; charset=utf-16")] {
            assert_problem(send(kind, b"{}".to_vec()).await, Code::UnsupportedMediaType).await;
        }
        let mut padded = b"{}".to_vec();
        padded.resize(limit(route) + 1, b' ');
        assert_problem(send(Some(JSON), padded.clone()).await, Code::BodyTooLarge).await;
        padded.pop();
        assert_problem(send(Some(JSON), padded).await, Code::InvalidField).await;
        asked += 1;
    }
    assert!(asked >= 12, "{asked}");
    assert_eq!(ground.events().await, before, "something was appended");
}

async fn every_route_that_takes_bytes_refuses_other_types_and_lengths_and_changes_nothing(mode: Mode) {
    let ground = Ground::new(mode).await;
    let before = ground.events().await;
    let mut asked = 0;
    for route in routes().iter().filter(|route| route.takes == Some(OCTETS)) {
        for kind in [None, Some(JSON), Some("text/plain")] {
            let request =
                kind.into_iter().fold(ground.request(route), |r, kind| r.header("content-type", kind));
            assert_problem(request.body("x").send().await.unwrap(), Code::UnsupportedMediaType).await;
        }
        assert_eq!(too_long(&ground, route).await, Code::BodyTooLarge.as_str());
        let request = ground.request(route).header("content-type", OCTETS);
        let refused = problem(request.body("x").send().await.unwrap()).await;
        assert!(matches!(refused.code, Code::InvalidField | Code::HashMismatch), "{refused:?}");
        asked += 1;
    }
    assert!(asked >= 2, "{asked}");
    assert_eq!(ground.events().await, before, "something was appended");
}

async fn every_route_with_a_lock_on_it_refuses_missing_foreign_altered_revoked_and_expired_tokens(
    mode: Mode,
) {
    let ground = Ground::new(mode).await;
    let (node, elsewhere) = (&ground.node, Node::start(mode).await);
    let foreign = Person::register(&elsewhere).await.tokens.access_token;
    let own = ground.person.tokens.access_token.clone();
    let revoked = ground.person.enrol(node).await;
    assert!(ground.person.revoke(node, revoked.device).await.status().is_success());
    let before = ground.events().await;
    let secured: Vec<_> = routes().into_iter().filter(|route| route.secured).collect();
    let send = async |route: &Route, token: Option<&str>| {
        let request = node.request(&route.method, &ground.path(route));
        token.into_iter().fold(request, |request, token| request.bearer_auth(token)).send().await.unwrap()
    };
    for route in &secured {
        for token in [None, Some(""), Some(foreign.as_str()), Some(&own[1..]), Some(&own[..own.len() - 4])] {
            assert_problem(send(route, token).await, Code::Unauthenticated).await;
        }
        assert_problem(send(route, Some(&revoked.tokens.access_token)).await, Code::Revoked).await;
        let enrolling = ground.token(route) == ground.enrol;
        let (other, code) = match route.path.as_str() {
            // This one opens to both: only then is it seen that there is no body.
            "/v1/roster" => (&ground.enrol, Code::UnsupportedMediaType),
            _ if enrolling => (&own, Code::Forbidden),
            _ => (&ground.enrol, Code::VaultProofRequired),
        };
        assert_problem(send(route, Some(other)).await, code).await;
    }
    node.clock.pass(400);
    for route in &secured {
        assert_problem(send(route, Some(ground.token(route))).await, Code::TokenExpired).await;
    }
    assert!(secured.len() >= 18, "{}", secured.len());
    assert_eq!(ground.events().await, before, "something was appended");
}

async fn every_parameter_that_is_not_what_it_should_be_is_refused_by_its_place(mode: Mode) {
    let ground = Ground::new(mode).await;
    let before = ground.events().await;
    let (mut in_path, mut in_query, mut in_header) = (0, 0, 0);
    for route in &routes() {
        let content = |request: RequestBuilder| match route.takes {
            Some(kind) => request.header("content-type", kind).body("{}"),
            None => request,
        };
        let pieces: Vec<&str> = route.path.split('/').collect();
        for (index, _) in pieces.iter().enumerate().filter(|(_, piece)| piece.starts_with('{')) {
            let right = ground.path(route);
            let mut wrong: Vec<&str> = right.split('/').collect();
            wrong[index] = "not-what-it-should-be";
            let request = content(ground.to(route, &wrong.join("/")));
            let answer = request.send().await.unwrap();
            match pieces[index] {
                // Any text may be one of these: there is nothing by that name.
                "{provider}" => assert!([404, 422].contains(&answer.status().as_u16()), "{}", route.path),
                "{secret}" => assert_eq!(answer.status(), StatusCode::GONE),
                _ => assert_problem(answer, Code::InvalidParameter).await,
            }
            in_path += 1;
        }
        // What is outside /v1 is for browsers and probes, and an identity provider adds what it wants.
        if route.path.starts_with("/v1/") && route.path != "/v1/oidc/callback" {
            let needed = route.query.iter().filter(|(_, required)| *required);
            let query: String = needed.map(|(name, _)| format!("{name}=1&")).collect();
            let unknown = ground.asking(route, &format!("{}?{query}surprise=1", ground.path(route)));
            assert_problem(content(unknown).send().await.unwrap(), Code::InvalidParameter).await;
        }
        for (name, required) in &route.query {
            let path = ground.path(route);
            let wrong = ground.asking(route, &format!("{path}?{name}=x%20y"));
            assert_problem(content(wrong).send().await.unwrap(), Code::InvalidParameter).await;
            if *required {
                let without = ground.asking(route, &path);
                assert_problem(content(without).send().await.unwrap(), Code::InvalidParameter).await;
            }
            in_query += 1;
        }
        // What each needs, it does not do without. A socket is asked for elsewhere, and so is the biller, whom this
        // server does not have.
        let elsewhere = ["/v1/live", BILLER].contains(&route.path.as_str());
        let needed = route.headers.iter().filter(|(_, required)| *required);
        for _ in needed.filter(|_| !elsewhere) {
            let bare =
                ground.node.request(&route.method, &ground.path(route)).bearer_auth(ground.token(route));
            let right = match route.path.as_str() {
                "/v1/me/erasure" => json!({ "account": ground.person.account }),
                _ => json!({ "expect_heads": ["0".repeat(64)] }),
            };
            let without = bare.header("content-type", JSON).body(right.to_string());
            assert_problem(without.send().await.unwrap(), Code::InvalidHeader).await;
            in_header += 1;
        }
        let other = ground.node.request("PATCH", &ground.path(route)).bearer_auth(ground.token(route));
        assert_problem(other.send().await.unwrap(), Code::MethodNotAllowed).await;
    }
    assert!(in_path >= 12 && in_query >= 9 && in_header >= 1, "{in_path} {in_query} {in_header}");
    assert_eq!(ground.events().await, before, "something was appended");
}

/// The right body for a route of a vault.
fn right_body(ground: &Ground, path: &str) -> Option<Value> {
    let epoch = "0".repeat(32);
    let zeros = "0".repeat(64);
    match path {
        "/v1/vaults/{vault}/versions" => Some(json!({"epoch": epoch, "batch_id": NOBODY,
            "items": [a_version(ground)]})),
        "/v1/vaults/{vault}/versions/get" => Some(json!({ "versions": [zeros] })),
        "/v1/vaults/{vault}/blobs/get" => Some(json!({ "hashes": [zeros] })),
        "/v1/vaults/{vault}/blobs/{hash}/complete" => {
            Some(json!({ "size": 9 << 20, "upload": format!("{NOBODY}.upload"), "tags": ["one", "two"] }))
        }
        "/v1/vaults/{vault}/blobs/prepare" => Some(json!({ "blobs": [{ "hash": zeros, "size": 20_000 }] })),
        "/v1/vaults/{vault}/entries/{entry}/purge" => Some(json!({ "expect_heads": [zeros] })),
        "/v1/vaults/{vault}/key" => Some(json!({
            "statement": {"account": ground.person.account, "epoch": 3, "previous": zeros, "signature": "0".repeat(128),
                "claim": {"says": "vault_key_gen", "vault": NOBODY, "generation": 2}},
            "wrap": {"name": format!("vault/{NOBODY}/2"), "generation": 2, "bytes": "AA=="} })),
        "/v1/vaults/{vault}/reconcile" => Some(json!({ "by": "ids", "buckets": [1], "ids": [] })),
        _ => None,
    }
}

fn a_version(ground: &Ground) -> Value {
    let person = &ground.person;
    json!({
        "header": {"format": 1, "account": person.account, "vault": person.vault, "entry": NOBODY, "kind": "edit",
            "parents": [], "key_id": NOBODY, "content_hash": "0".repeat(64), "content_len": 1,
            "author_device": person.device, "observed_seq": 0, "observed_chain": "0".repeat(64), "client_time": 1},
        "signer": person.device, "signature": "0".repeat(128), "wrapped_key": format!("00000001{}", "00".repeat(104)), "inline": "AA==",
    })
}

async fn every_route_of_a_vault_or_stream_answers_for_a_foreign_one_as_for_one_that_does_not_exist(
    mode: Mode,
) {
    let ground = Ground::new(mode).await;
    let owner = Person::register(&ground.node).await;
    let before = ground.events().await;
    let mut asked = 0;
    let of_somebody = |route: &&Route| route.path.contains("{vault}") || route.path.contains("{stream}");
    for route in routes().iter().filter(of_somebody) {
        let body = match route.takes {
            Some(JSON) => {
                let right = right_body(&ground, &route.path);
                right.unwrap_or_else(|| panic!("{}: say what its body is", route.path)).to_string()
            }
            Some(_) => "x".to_owned(),
            None => String::new(),
        };
        let mut answers = Vec::new();
        for vault in [owner.vault.to_string(), NOBODY.to_owned()] {
            let path = route.path.replace("{vault}", &vault).replace("{stream}", &vault);
            let path = path.replace("{entry}", NOBODY).replace("{hash}", &"0".repeat(64));
            let request = ground.to(route, &path);
            let request = match route.takes {
                Some(kind) => request.header("content-type", kind).body(body.clone()),
                None => request,
            };
            let mut refused = problem(request.send().await.unwrap()).await;
            refused.request = None;
            assert_eq!(refused.code, Code::NotFound, "{} {}: {refused:?}", route.method, route.path);
            answers.push(refused);
        }
        assert_eq!(answers[0], answers[1]);
        asked += 1;
    }
    assert!(asked >= 10, "{asked}");
    assert_eq!(ground.events().await, before, "something was appended");
}
