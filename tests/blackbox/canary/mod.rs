//! Nothing that a caller sends comes out again in what the server writes: every input of every operation carries
//! something unmistakable, and everything that was written is searched for all of it.

mod fields;
mod panics;
mod people;
mod planted;

use std::{collections::BTreeSet, fs::File, net::SocketAddr, process::Stdio, time::Duration};

use lockstep_api::Code;
use lockstep_events::canonical::sha256;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    outside::{
        child::Lockstepd,
        device::{Device, entry},
        mode::Mode,
        wire::{Reply, Wire, request},
    },
    support::{
        idp::{CLIENT, Idp, Tricks},
        letters::{Manner, Sink},
    },
};
use fields::{Operation, operations};
use planted::Planted;

in_both_modes! { many threads: ssrf_none }

/// A secret of ours at the identity provider.
const CLIENT_SECRET: &str = "what the provider knows us by";

/// A server that writes as much as it ever does, into files, with its identity provider and its mail server.
struct Talkative {
    server: Lockstepd,
    folder: tempfile::TempDir,
    idp: Idp,
    mail: Sink,
}

impl Talkative {
    async fn start(mode: Mode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let idp = Idp::start(Tricks::default()).await;
        let mut options = mode.options().await;
        let provider = format!(
            "idp = {{ issuer = \"{}\", client_id = \"{CLIENT}\", client_secret = \"{CLIENT_SECRET}\" }}",
            idp.url()
        );
        let mail = Sink::start(Manner::Plain);
        for (name, value) in [
            ("LOG_FILTER", "trace"),
            ("ADMIN_LISTEN", "127.0.0.1:0"),
            ("OIDC", provider.as_str()),
            ("MAIL", mail.url("smtp+plain", "").as_str()),
            ("MAIL_FROM", "vault@example.org"),
            ("PUBLIC_URL", "https://vault.example.org"),
        ] {
            options.push((format!("LOCKSTEP_{name}"), value.to_owned()));
        }
        let errors = Stdio::from(File::create(folder.path().join("stderr")).unwrap());
        let program = env!("CARGO_BIN_EXE_lockstepd");
        let server =
            Lockstepd::start_writing(program, &folder.path().join("data"), "127.0.0.1:0", &options, errors);
        Self { server, folder, idp, mail }
    }

    /// Everything that it has written.
    fn written(&self) -> String {
        let errors = std::fs::read(self.folder.path().join("stderr")).unwrap();
        format!("{}{}", self.server.said(), String::from_utf8_lossy(&errors))
    }

    /// What it says of itself after its address, up to where this ends.
    async fn told(&self, before: &str, after: &str) -> String {
        loop {
            let said = self.server.said();
            if let Some((told, _)) = said.split_once(before).and_then(|(_, rest)| rest.split_once(after)) {
                return told.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it tells those who measure it.
    async fn metrics(&self) -> String {
        let at: SocketAddr = self.told("Metrics: http://", "/metrics").await.parse().unwrap();
        let mut wire = Wire::plain(at).await.unwrap();
        let reply = wire.exchange(&request("GET", "/metrics", &[], b"")).await.unwrap();
        String::from_utf8(reply.body).unwrap()
    }

    /// Waits until it has written a line of this kind.
    async fn writes(&self, line: &str) {
        while !self.written().contains(line) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn exchange(&self, bytes: &[u8]) -> Option<Reply> {
        let mut wire = Wire::connect(self.server.addr).await.unwrap();
        wire.exchange(bytes).await.ok()
    }
}

/// The ways in which an operation is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it should be, by somebody with a token.
    Right,
    /// The same without any header that it does without: none of them is why it ends.
    Bare,
    /// Without a token of ours.
    Stranger,
    /// With values of the wrong type.
    WrongTypes,
    /// With a body that breaks off.
    Broken,
    /// With another kind of content.
    WrongKind,
}

const WAYS: [Way; 6] = [Way::Right, Way::Bare, Way::Stranger, Way::WrongTypes, Way::Broken, Way::WrongKind];

/// What somebody is told who does not come in.
const AT_THE_DOOR: [Code; 6] = [
    Code::Unauthenticated,
    Code::Forbidden,
    Code::VaultProofRequired,
    Code::StepUpRequired,
    Code::Revoked,
    Code::TokenExpired,
];

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

/// Who asks: with each of these tokens, and for this vault.
struct Askers {
    tokens: Vec<String>,
    vault: String,
}

/// The requests, and what was planted in them.
fn asked(
    operation: &Operation,
    way: Way,
    (token, vault): (&str, &str),
    planted: &mut Planted,
) -> Vec<Vec<u8>> {
    let place = |what: &str| format!("{what} of {} ({way:?})", operation.name());
    let right = matches!(way, Way::Right | Way::Bare);
    let path = operation.filled(right.then_some(vault), &mut |what| planted.text(&place(what)));
    let mut headers = operation.headers.clone();
    headers.retain(|(_, optional)| way != Way::Bare || !optional);
    let any =
        ANY_HEADERS.iter().filter(|name| way != Way::Bare && headers.iter().all(|(one, _)| one != *name));
    let names: Vec<&str> = any.copied().chain(headers.iter().map(|(name, _)| name.as_str())).collect();
    let mut headers: Vec<(&str, String)> =
        names.into_iter().map(|name| (name, planted.text(&place(name)))).collect();
    let bearer = if way == Way::Stranger { planted.text(&place("authorization")) } else { token.to_owned() };
    headers.push(("authorization", format!("Bearer {bearer}")));
    let kind = operation.kind.clone().unwrap_or_else(|| "application/json".to_owned());
    let kind =
        if way == Way::WrongKind { format!("text/{}", planted.text(&place("content-type"))) } else { kind };
    headers.push(("content-type", kind));
    let bodies = match way {
        Way::Broken => vec![format!("{{\"{}", planted.text(&place("broken body"))).into_bytes()],
        Way::WrongTypes => operation.bodies(&mut |what, _| {
            let text = planted.text(&place(what));
            serde_json::json!({ text.clone(): [text] })
        }),
        _ => operation.bodies(&mut |what, schema| planted.value(&place(what), schema)),
    };
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    bodies.iter().map(|body| request(&operation.method, &path, &headers, body)).collect()
}

/// Asks every operation in every way and with every token; no problem repeats what it was sent. How many requests
/// there were, and what nobody came in to.
async fn ask_everything(
    talkative: &Talkative,
    askers: &Askers,
    planted: &mut Planted,
) -> (usize, BTreeSet<String>) {
    let (mut asks, mut closed) = (0, BTreeSet::new());
    for operation in operations() {
        let mut came_in = false;
        let ways = WAYS.into_iter().flat_map(|way| {
            // A stranger has none of them.
            let tokens = if way == Way::Stranger { &askers.tokens[..1] } else { &askers.tokens };
            tokens.iter().map(move |token| (way, token))
        });
        for (way, token) in ways {
            let mut mine = planted.like();
            let requests = asked(&operation, way, (token, &askers.vault), &mut mine);
            for bytes in &requests {
                // A request that is no HTTP may be answered by an end of the connection.
                let Some(reply) = talkative.exchange(bytes).await else { continue };
                came_in |= way == Way::Bare && AT_THE_DOOR.iter().all(|code| reply.code() != code.as_str());
                let said = format!("{}{}", reply.head, String::from_utf8_lossy(&reply.body));
                let repeated = if reply.status >= 400 { mine.found_in(&said) } else { Vec::new() };
                assert_eq!(repeated, Vec::<String>::new(), "{} {}", operation.name(), reply.status);
            }
            asks += requests.len();
            planted.extend(mine);
        }
        if !came_in {
            closed.insert(operation.name());
        }
    }
    (asks, closed)
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
    planted.plant("a secret of a client", CLIENT_SECRET.to_owned());
    let device = live(&talkative, &mut planted).await;
    people::socket(&device, &mut planted).await;
    people::authenticator(&talkative, &mut planted).await;
    people::recovery(&talkative, &mut planted).await;
    people::elsewhere(&talkative, &mut planted).await;
    let tokens = people::tokens(&talkative, &device, &mut planted).await.to_vec();
    let askers = Askers { tokens, vault: device.vault.to_string() };
    let (asks, closed) = ask_everything(&talkative, &askers, &mut planted).await;
    assert_eq!(closed, BTreeSet::new(), "somebody has a token for everything");
    // The last request is in the log as soon as it is answered: its id is what must be found.
    let control = device.get("/v1/account").await;
    assert_eq!(control.status, 200, "the tokens were good until the end");
    let mut found_at_all = Planted::default();
    found_at_all.plant("the id of a request", control.header("x-request-id").unwrap().to_owned());
    let (written, metrics) = (talkative.written(), talkative.metrics().await);
    assert_eq!(found_at_all.found_in(&written).len(), 1, "the search finds what is there");
    assert!(written.lines().filter(|line| line.contains("request=")).count() >= asks);
    assert!(metrics.contains("lockstep_connected"), "{metrics}");
    assert_eq!(planted.found_in(&metrics), Vec::<String>::new());
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

/// Wherever an address is sent, and by whomever, the server does not go there.
async fn ssrf_none(mode: Mode) {
    let talkative = Talkative::start(mode).await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = trap.local_addr().unwrap();
    let caught = tokio::spawn(async move { trap.accept().await.map(|(_, from)| from) });
    let mut planted = Planted::of_form(format!("http://{address}/"));
    let device = live(&talkative, &mut planted).await;
    let tokens = people::tokens(&talkative, &device, &mut Planted::default()).await.to_vec();
    let askers = Askers { tokens, vault: device.vault.to_string() };
    let (asks, closed) = ask_everything(&talkative, &askers, &mut planted).await;
    assert!(asks > 100);
    assert_eq!(closed, BTreeSet::new(), "somebody has a token for everything");
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
