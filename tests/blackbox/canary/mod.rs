//! Nothing that a caller sends comes out again in what the server writes: every input of every operation carries
//! something unmistakable, and everything that was written is searched for all of it.

mod fields;
mod panics;
mod planted;

use std::{fs::File, process::Stdio};

use lockstep_events::canonical::sha256;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::outside::{
    child::Lockstepd,
    device::{Device, entry},
    mode::Mode,
    wire::{Reply, Wire, request},
};
use fields::{Operation, operations};
use planted::Planted;

/// A server that writes as much as it ever does, into files.
struct Talkative {
    server: Lockstepd,
    folder: tempfile::TempDir,
}

impl Talkative {
    async fn start(mode: Mode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = mode.options().await;
        options.push(("LOCKSTEP_LOG_FILTER".to_owned(), "trace".to_owned()));
        let errors = Stdio::from(File::create(folder.path().join("stderr")).unwrap());
        let program = env!("CARGO_BIN_EXE_lockstepd");
        let server =
            Lockstepd::start_writing(program, &folder.path().join("data"), "127.0.0.1:0", &options, errors);
        Self { server, folder }
    }

    /// Everything that it has written.
    fn written(&self) -> String {
        let errors = std::fs::read(self.folder.path().join("stderr")).unwrap();
        format!("{}{}", self.server.said(), String::from_utf8_lossy(&errors))
    }

    async fn exchange(&self, bytes: &[u8]) -> Option<Reply> {
        let mut wire = Wire::connect(self.server.addr).await.unwrap();
        // A request that is no HTTP may be answered by an end of the connection.
        wire.exchange(bytes).await.ok()
    }
}

/// The ways in which an operation is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it should be, by somebody with a token.
    Right,
    /// Without a token of ours.
    Stranger,
    /// With values of the wrong type.
    WrongTypes,
    /// With a body that breaks off.
    Broken,
    /// With another kind of content.
    WrongKind,
}

const WAYS: [Way; 5] = [Way::Right, Way::Stranger, Way::WrongTypes, Way::Broken, Way::WrongKind];

/// Headers that a client or a proxy may send to any operation.
const ANY_HEADERS: [&str; 18] = [
    "accept-language",
    "cookie",
    "dpop",
    "forwarded",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "origin",
    "proxy-authorization",
    "referer",
    "traceparent",
    "upload-offset",
    "user-agent",
    "x-api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-request-id",
];

/// The request, and what was planted in it.
fn asked(operation: &Operation, way: Way, token: &str, planted: &mut Planted) -> Vec<u8> {
    let place = |what: &str| format!("{what} of {} {} ({way:?})", operation.method, operation.path);
    let right = way == Way::Right;
    let path = operation.filled(right, &mut |what| planted.text(&place(what)), &mut planted_id);
    let mut headers: Vec<(String, String)> = Vec::new();
    for name in ANY_HEADERS {
        headers.push((name.to_owned(), planted.text(&place(name))));
    }
    let bearer = if way == Way::Stranger { planted.text(&place("authorization")) } else { token.to_owned() };
    headers.push(("authorization".to_owned(), format!("Bearer {bearer}")));
    let kind = operation.kind.clone().unwrap_or_else(|| "application/json".to_owned());
    let kind =
        if way == Way::WrongKind { format!("text/{}", planted.text(&place("content-type"))) } else { kind };
    headers.push(("content-type".to_owned(), kind));
    let body = match way {
        Way::Broken => format!("{{\"{}", planted.text(&place("broken body"))).into_bytes(),
        Way::WrongTypes => operation.body(&mut |what, _| {
            let text = planted.text(&place(what));
            serde_json::json!({ text.clone(): [text] })
        }),
        _ => operation.body(&mut |what, schema| planted.value(&place(what), schema)),
    };
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    request(&operation.method, &path, &headers, &body)
}

fn planted_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Asks every operation in every way; no problem repeats what it was sent. How many requests there were.
async fn ask_everything(talkative: &Talkative, token: &str, planted: &mut Planted) -> usize {
    let mut asks = 0;
    for operation in operations() {
        for way in WAYS {
            let mut mine = planted.like();
            let bytes = asked(&operation, way, token, &mut mine);
            if let Some(reply) = talkative.exchange(&bytes).await
                && reply.status >= 400
            {
                let said = format!("{}{}", reply.head, String::from_utf8_lossy(&reply.body));
                assert_eq!(
                    mine.found_in(&said),
                    Vec::<String>::new(),
                    "{} {}",
                    operation.method,
                    operation.path
                );
            }
            planted.extend(mine);
            asks += 1;
        }
    }
    asks
}

/// A person does what people do; all that is theirs must not be written either.
async fn live(talkative: &Talkative, planted: &mut Planted) -> Device {
    let device = Device::register(talkative.server.addr).await;
    let second = device.another().await;
    let ciphertext = planted.text("a ciphertext").into_bytes();
    let item = device.edit(entry(), &[], &ciphertext);
    planted.bytes("a blob's hash", &sha256(&ciphertext));
    planted.bytes("a signature", &item.signature.0);
    device.push(vec![item]).await;
    let blob = vec![7; 20_000];
    let hash = hex::encode(sha256(&blob));
    planted.plant("the hash of a long blob", hash.clone());
    let path = format!("/v1/vaults/{}/blobs/{hash}?size={}", device.vault, blob.len());
    let octets = [("content-type", "application/octet-stream")];
    assert_eq!(device.send("PUT", &path, &octets, &blob).await.status, 204);
    assert_eq!(device.get(&format!("/v1/vaults/{}/snapshot", device.vault)).await.status, 200);
    planted.plant("a name", device.name.clone());
    for device in [&device, &second] {
        planted.plant("a token", device.token.rsplit('.').next().unwrap().to_owned());
        for (what, id) in
            [("account", device.account.0), ("device", device.device.0), ("vault", device.vault.0)]
        {
            planted.plant(what, id.to_string());
        }
    }
    device
}

async fn log_canary(mode: Mode) {
    let talkative = Talkative::start(mode).await;
    let mut planted = Planted::default();
    let device = live(&talkative, &mut planted).await;
    let asks = ask_everything(&talkative, &device.token, &mut planted).await;
    // The last request is in the log as soon as it is answered: its id is what must be found.
    let control = device.get("/health/live").await.header("x-request-id").unwrap().to_owned();
    let mut found_at_all = Planted::default();
    found_at_all.plant("the id of a request", control);
    let written = talkative.written();
    assert_eq!(found_at_all.found_in(&written).len(), 1, "the search finds what is there");
    assert!(written.lines().filter(|line| line.contains("request=")).count() >= asks);
    assert_eq!(planted.found_in(&written), Vec::<String>::new());
    eprintln!("{asks} requests with {} canaries, {} bytes written, none found", planted.len(), written.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_canary_embedded() {
    log_canary(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_canary_distributed() {
    log_canary(Mode::Distributed).await;
}

/// Wherever an address is sent, the server does not go there.
#[tokio::test(flavor = "multi_thread")]
async fn ssrf_none() {
    let talkative = Talkative::start(Mode::Embedded).await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap();
    let caught = tokio::spawn(async move { trap.accept().await.map(|(_, from)| from) });
    let mut planted = Planted::of_form(format!("http://{address}/"));
    let device = live(&talkative, &mut planted).await;
    let asks = ask_everything(&talkative, &device.token, &mut planted).await;
    assert!(asks > 100);
    assert!(!caught.is_finished(), "the server went to an address that it was sent");
    // The trap does catch.
    tokio::net::TcpStream::connect(address).await.unwrap();
    caught.await.unwrap().unwrap();
}

/// What the document calls by a name.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        Some(name) => resolved(document, &document["components"]["schemas"][name]),
        None => schema,
    }
}
