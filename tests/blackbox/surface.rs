//! The HTTP surface: headers of every kind of answer, limits of size at one less, at, and one more, pages of other
//! origins, the listener for operators.

use std::time::Duration;

use lockstep_api::{Code, MAX_JSON_BYTES, MAX_PUSH_BYTES};
use lockstep_events::{
    BlobHash, Epoch, Outcome, StreamKind, Unit,
    canonical::sha256,
    log::{StreamClaim, StreamExpect},
};
use lockstep_projections::Family;
use lockstepd::config::Layer;
use reqwest::{Response, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::support::{Mode, Node, Person, assert_problem, problem};

in_both_modes! {
    many threads:
    http_abuse,
    metrics_say_how_far_behind_read_models_are_and_that_they_stand_still,
    a_range_behind_the_last_byte_is_told_how_many_there_are,
}

const HEADERS: [(&str, &str); 8] = [
    ("strict-transport-security", "max-age=31536000"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "()"),
];

fn assert_headers(headers: &HeaderMap, what: &str) {
    for (name, value) in HEADERS {
        assert_eq!(headers.get(name).map(|v| v.to_str().unwrap()), Some(value), "{name} of {what}");
    }
    for absent in ["server", "x-powered-by", "set-cookie", "access-control-allow-origin"] {
        assert!(headers.get(absent).is_none(), "{absent} in {what}");
    }
    assert!(headers.get("x-request-id").is_some(), "{what}");
}

/// A request of exactly these bytes, on a connection of its own; the answer as text.
async fn raw(node: &Node, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(node.running().addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_answer_carries_the_security_headers() {
    let node =
        Node::start_with(Mode::Embedded, Layer { request_timeout_s: Some(5), ..Layer::default() }).await;
    let person = Person::register(&node).await;
    let long = "x".repeat(5000);
    let kinds = [
        (200, node.get("/health/live")),
        (200, node.request("HEAD", "/health/live")),
        (404, node.get("/nothing")),
        (404, node.request("HEAD", "/nothing")),
        (405, node.request("PUT", "/v1/account")),
        (405, node.request("OPTIONS", "/v1/account")),
        (401, node.get("/v1/account")),
        (401, node.get("/v1/account").bearer_auth("x.y.z")),
        (400, node.get("/v1/live")),
        (400, node.get("/v1/live").header("connection", "upgrade").header("upgrade", "websocket")),
        (415, node.request("POST", "/v1/accounts/start").body("{}")),
        (422, node.post("/v1/accounts/start", &json!({}))),
        (413, node.post("/v1/accounts/start", &json!({ "name": "x".repeat(MAX_JSON_BYTES) }))),
        (414, node.get(&format!("/{long}"))),
        (431, node.get("/health/live").header("x-long", "y".repeat(17_000))),
        (400, node.request("DELETE", "/v1/sessions/x").bearer_auth(&person.tokens.access_token)),
        (
            204,
            node.request("DELETE", &format!("/v1/sessions/{}", person.tokens.session))
                .bearer_auth(&person.tokens.access_token),
        ),
    ];
    for (expected, request) in kinds {
        let answer = request.send().await.unwrap();
        let what = format!("{expected} of {}", answer.url().path().get(..20).unwrap_or(answer.url().path()));
        assert_eq!(answer.status().as_u16(), expected, "{what}");
        assert_headers(answer.headers(), &what);
    }
    let slow = "POST /v1/accounts/start HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    let late = raw(&node, slow.as_bytes()).await;
    assert!((400..600).contains(&status(&late)), "{late}");
    for (name, value) in HEADERS {
        assert!(late.contains(&format!("{name}: {value}\r\n")), "{name} in {late}");
    }
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = format!(
        "GET /v1/live HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\nsec-websocket-protocol: lockstep.v1\r\n\r\n"
    );
    let switched = raw(&node, upgrade.as_bytes()).await;
    assert_eq!(status(&switched), 101, "{switched}");
    for (name, value) in HEADERS {
        assert!(switched.contains(&format!("{name}: {value}\r\n")), "{name} in {switched}");
    }
}

async fn url_of(node: &Node, length: usize) -> Response {
    let path = format!("/nothing?{}", "q".repeat(length - "/nothing?".len()));
    node.get(&path).send().await.unwrap()
}

async fn head_of(node: &Node, length: usize) -> u16 {
    // Every line counts with its separators.
    let fixed =
        "GET/nothing".len() + "host: x\r\n".len() + "connection: close\r\n".len() + "x-filler: \r\n".len();
    let filler = "f".repeat(length - fixed);
    let request =
        format!("GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-filler: {filler}\r\n\r\n");
    status(&raw(node, request.as_bytes()).await)
}

fn padded(body: &Value, length: usize) -> Vec<u8> {
    let mut text = body.to_string().into_bytes();
    assert!(text.len() <= length);
    text.resize(length, b' ');
    text
}

async fn sent(node: &Node, person: &Person, method: &str, path: &str, body: Vec<u8>, kind: &str) -> u16 {
    let request = node.request(method, path).bearer_auth(&person.tokens.access_token);
    // A connection that an earlier refusal is closing is not used for this.
    let request = request.header("content-type", kind).header("connection", "close");
    request.body(body).send().await.unwrap().status().as_u16()
}

/// A pack of blobs has at most so many bytes.
const MAX_PACK: usize = 4 << 20;

/// The answer to a request whose body is announced and not sent: what is too large is refused for that alone. Sent in
/// full it would race the end of the connection, which comes once a bounded part of it was read.
async fn announced(node: &Node, person: &Person, path: &str, length: usize, kind: &str) -> u16 {
    let token = &person.tokens.access_token;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    status(&raw(node, head.as_bytes()).await)
}

async fn http_abuse(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let streams = [person.account.into(), person.vault.into()];
    let before = node.running().server.log.stream_heads(&streams).await.unwrap();
    for (length, expected) in [(4095, 404), (4096, 404), (4097, 414)] {
        assert_eq!(url_of(&node, length).await.status(), expected, "a URL of {length}");
    }
    for (length, expected) in [(16_383, 404), (16_384, 404), (16_385, 431)] {
        assert_eq!(head_of(&node, length).await, expected, "a head of {length}");
    }
    let (json, octets) = ("application/json", "application/octet-stream");
    let start = json!({"name": "a", "request": ""});
    for (length, expected) in [(MAX_JSON_BYTES - 1, 422), (MAX_JSON_BYTES, 422), (MAX_JSON_BYTES + 1, 413)] {
        let answer = sent(&node, &person, "POST", "/v1/accounts/start", padded(&start, length), json).await;
        assert_eq!(answer, expected, "JSON of {length}");
    }
    let versions = format!("/v1/vaults/{}/versions", person.vault);
    let empty = json!({"epoch": "0".repeat(32), "batch_id": Uuid::nil(), "items": []});
    for length in [MAX_PUSH_BYTES - 1, MAX_PUSH_BYTES] {
        let answer = sent(&node, &person, "POST", &versions, padded(&empty, length), json).await;
        assert_eq!(answer, 422, "a push of {length}");
    }
    assert_eq!(announced(&node, &person, &versions, MAX_PUSH_BYTES + 1, json).await, 413, "a larger push");
    let item = serde_json::to_value(person.entry(b"x")).unwrap();
    for (items, expected) in [(255, 409), (256, 409), (257, 422)] {
        // Another life of the stream: a push of the right size is refused for that only.
        let mut push = empty.clone();
        push["items"] = (0..items).map(|_| item.clone()).collect();
        assert_eq!(person.post(&node, &versions, &push).await.status(), expected, "{items} items");
    }
    for (depth, expected) in [(31, 422), (32, 422), (33, 400)] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
        let answer = sent(&node, &person, "POST", "/v1/accounts/start", nested, json).await;
        assert_eq!(answer, expected, "{depth} deep");
    }
    let pack = format!("/v1/vaults/{}/blobs", person.vault);
    // Zeros are no blob of any hash.
    assert_eq!(sent(&node, &person, "POST", &pack, vec![0; MAX_PACK], octets).await, 422, "a full pack");
    assert_eq!(announced(&node, &person, &pack, MAX_PACK + 1, octets).await, 413, "a larger pack");
    for (size, expected) in [(10_485_759, 422), (10_485_760, 422), (10_485_761, 413)] {
        // Announced, and not sent in full: too large is refused for its announcement alone.
        let blob = format!("{pack}/{}?size={size}", "0".repeat(64));
        let body = vec![0; if expected == 413 { 1 } else { size }];
        assert_eq!(sent(&node, &person, "PUT", &blob, body, octets).await, expected, "a blob of {size}");
    }
    assert_eq!(
        node.running().server.log.stream_heads(&streams).await.unwrap(),
        before,
        "nothing was appended"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_and_unknown_and_ambiguous_requests_are_refused() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let packed = node.post("/v1/accounts/start", &json!({})).header("content-encoding", "gzip");
    assert_problem(packed.send().await.unwrap(), Code::UnsupportedMediaType).await;
    let query = person.get(&node, &format!("/v1/streams/{}/changes?surprise=1", person.vault)).await;
    assert_problem(query, Code::InvalidParameter).await;
    let two = node.get("/v1/account").header("authorization", "Bearer a").header("authorization", "Bearer b");
    assert_problem(two.send().await.unwrap(), Code::Unauthenticated).await;
    for ambiguous in [
        "POST /v1/accounts/start HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\
         content-length: 3\r\n\r\n{}",
        "GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: a\nb\0c: d\r\n\r\n",
        "GET /health/live HTTP/9.9\r\nhost: x\r\n\r\n",
    ] {
        let answer = raw(&node, ambiguous.as_bytes()).await;
        assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_web_page_may_call_unless_its_origin_is_written_out() {
    let node = Node::start(Mode::Embedded).await;
    let preflight = |node: &Node, origin: &str| {
        node.request("OPTIONS", "/v1/account")
            .header("origin", origin)
            .header("access-control-request-method", "GET")
    };
    let closed = preflight(&node, "https://app.example").send().await.unwrap();
    assert_eq!(closed.status(), 405);
    assert_headers(closed.headers(), "a preflight where no page may call");

    let open = Layer { cors_origins: Some("https://app.example".to_owned()), ..Layer::default() };
    let node = Node::start_with(Mode::Embedded, open).await;
    let allowed = preflight(&node, "https://app.example").send().await.unwrap();
    assert_eq!(allowed.status(), 204);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example");
    assert!(allowed.headers().get("access-control-allow-credentials").is_none());
    let read = node.get("/health/live").header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(read.headers()["access-control-allow-origin"], "https://app.example");
    assert_eq!(read.headers()["vary"], "origin");
    for origin in ["https://evil.example", "https://app.example.evil", "null", "*"] {
        let refused = preflight(&node, origin).send().await.unwrap();
        assert_eq!(refused.status(), 405, "{origin}");
        assert!(refused.headers().get("access-control-allow-origin").is_none());
        let read = node.get("/health/live").header("origin", origin).send().await.unwrap();
        assert!(read.headers().get("access-control-allow-origin").is_none());
    }
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let socket =
        node.get("/v1/live").header("origin", "https://evil.example").header("connection", "upgrade");
    let socket = socket.header("upgrade", "websocket").header("sec-websocket-version", "13");
    let socket = socket.header("sec-websocket-key", key).header("sec-websocket-protocol", "lockstep.v1");
    assert_problem(socket.send().await.unwrap(), Code::Forbidden).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_told_to_operators_only_and_name_nobody() {
    let options = Layer { admin_listen: Some("127.0.0.1:0".to_owned()), ..Layer::default() };
    let node = Node::start_with(Mode::Embedded, options).await;
    let person = Person::register(&node).await;
    assert_eq!(person.get(&node, &format!("/v1/vaults/{}/snapshot", person.vault)).await.status(), 200);
    assert_problem(node.get("/metrics").send().await.unwrap(), Code::NotFound).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = node.running().admin_url.clone().unwrap();
    let told = http.get(format!("{url}/metrics")).send().await.unwrap();
    assert_headers(told.headers(), "metrics");
    let text = told.text().await.unwrap();
    let line = "lockstep_request_seconds_count{route=\"/v1/vaults/{vault}/snapshot\",method=\"GET\",status=\"200\"} 1";
    assert!(text.contains(line), "{text}");
    for id in [person.account.to_string(), person.vault.to_string(), person.name] {
        assert!(!text.contains(&id));
    }
    assert_eq!(http.get(format!("{url}/health/ready")).send().await.unwrap().status(), 200);
    let clients = http.get(format!("{url}/v1/account")).send().await.unwrap();
    assert_eq!(problem(clients).await.code, Code::NotFound, "clients are served elsewhere");
}

/// Writes what no program of this version does, twice: the read models of vaults stop there.
pub async fn stop_vaults(node: &Node, person: &Person) {
    for n in 1..=2 {
        let (stream, expect) = (person.vault.into(), StreamExpect::Exists);
        let claim = StreamClaim { stream, kind: StreamKind::Vault, expect, epoch_if_new: Epoch::ZERO };
        let events = vec![lockstep_events::testing::build::event(n, stream)];
        let unit = Unit { streams: vec![claim], events, ..Unit::default() };
        assert!(matches!(node.running().server.batcher.append(unit).await.unwrap(), Outcome::Appended(_)));
    }
}

async fn metrics_say_how_far_behind_read_models_are_and_that_they_stand_still(mode: Mode) {
    let options = Layer { admin_listen: Some("127.0.0.1:0".to_owned()), ..Layer::default() };
    let node = Node::start_with(mode, options).await;
    let person = Person::register(&node).await;
    let server = &node.running().server;
    let url = format!("{}/metrics", node.running().admin_url.clone().unwrap());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let told = async |lines: &[&str]| {
        // The node writes something of its own now and then: it is asked again, where that was just then.
        let text = loop {
            let end = server.log.tail().await.unwrap().position;
            server.feed.position().wait_for(|known| *known >= end).await.unwrap();
            server.progress.wait_for_family(Family::Account, end, Duration::from_secs(30)).await.unwrap();
            let _ = server.progress.wait_for_family(Family::Vault, end, Duration::from_secs(30)).await;
            let text = http.get(&url).send().await.unwrap().text().await.unwrap();
            if server.log.tail().await.unwrap().position == end {
                break text;
            }
        };
        for line in lines {
            assert!(text.contains(&format!("lockstep_projection_{line}\n")), "{line} is not in\n{text}");
        }
        text
    };
    let account = ["lag_positions{family=\"account\"} 0", "stopped{family=\"account\"} 0"];
    let [lag, stopped] = account;
    told(&[lag, stopped, "lag_positions{family=\"vault\"} 0", "stopped{family=\"vault\"} 0"]).await;
    let before = server.log.tail().await.unwrap().position;
    stop_vaults(&node, &person).await;
    let text = told(&[lag, stopped, "stopped{family=\"vault\"} 1"]).await;
    let behind = "lockstep_projection_lag_positions{family=\"vault\"} ";
    let behind = text.lines().find_map(|line| line.strip_prefix(behind)).unwrap().parse().unwrap();
    let all = server.log.tail().await.unwrap().position.0 - before.0;
    assert!((2..=all).contains(&behind), "{behind} of {all}");
}

async fn a_range_behind_the_last_byte_is_told_how_many_there_are(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let bytes = vec![7; 20_000];
    let path = format!("/v1/vaults/{}/blobs/{}", person.vault, BlobHash(sha256(&bytes)));
    let put = node.request("PUT", &format!("{path}?size=20000")).bearer_auth(&person.tokens.access_token);
    let put = put.header("content-type", "application/octet-stream").body(bytes).send().await.unwrap();
    assert_eq!(put.status(), 204);
    for (from, status, range) in [(19_999, 206, "bytes 19999-19999/20000"), (20_000, 416, "bytes */20000")] {
        let get = node.get(&path).bearer_auth(&person.tokens.access_token);
        let answer = get.header("range", format!("bytes={from}-")).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-range"].to_str().unwrap()),
            (status, range)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_two_content_types_is_of_none() {
    let node = Node::start(Mode::Embedded).await;
    let twice = node.request("POST", "/v1/sessions/start").header("content-type", "application/json");
    let twice = twice.header("content-type", "text/plain").body("{}");
    assert_problem(twice.send().await.unwrap(), Code::UnsupportedMediaType).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_does_not_fit_is_named_and_nothing_of_its_value() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let (vault, hash) = (person.vault, "0".repeat(64));
    let stream = format!("/v1/streams/{vault}/changes");
    let cases = [
        ("/v1/vaults/canary/snapshot".to_owned(), "vault, in the path"),
        (format!("/v1/vaults/{vault}/blobs/canary"), "hash, in the path"),
        (format!("/v1/vaults/canary/blobs/{hash}"), "vault, in the path"),
        (format!("{stream}?limit=canary"), "limit, in the query, has"),
        (format!("{stream}?after=canary"), "after, in the query, has"),
        (format!("{stream}?limit=1&limit=2"), "limit, in the query, stands there twice"),
        (format!("{stream}?canary=1"), "a parameter of the query is not known"),
    ];
    for (path, expected) in cases {
        let problem = problem(person.get(&node, &path).await).await;
        let detail = problem.detail.unwrap_or_default();
        assert_eq!(problem.code, Code::InvalidParameter, "{path}");
        assert!(detail.starts_with(expected) && !detail.contains("canary"), "{path}: {detail}");
    }
}
