//! The access log: who asked for what, how it was answered, and how many bytes went in and out.

use std::time::Duration;

use lockstep_events::StreamId;
use lockstepd::http::file::file_entry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::outside::{
    device::{Device, entry},
    told::Told,
    wire::{Reply, Wire, request, tls},
};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A field of a line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let fields = line.split_whitespace().filter_map(|word| word.split_once('='));
    fields.into_iter().find(|(one, _)| *one == name).unwrap_or_else(|| panic!("no {name}: {line}")).1
}

/// The line of an answer.
async fn line(told: &Told, reply: &Reply) -> String {
    told.says(&format!("request={}", reply.header("x-request-id").unwrap())).await
}

/// The bytes of both bodies, by the line of an answer.
async fn bytes(told: &Told, reply: &Reply) -> (usize, usize) {
    let line = line(told, reply).await;
    let [received, sent] = ["received", "sent"].map(|name| field(&line, name).parse().unwrap());
    (received, sent)
}

fn changes(device: &Device) -> String {
    format!("/v1/streams/{}/changes", StreamId::from(device.vault))
}

/// Begins a request of a device on a connection of its own.
async fn begin(device: &Device, path: &str, accept: &str) -> TlsStream<TcpStream> {
    let bearer = format!("Bearer {}", device.token);
    let headers = [("authorization", bearer.as_str()), ("accept", accept)];
    let mut stream = tls(device.addr).await.unwrap();
    stream.write_all(&request("GET", path, &headers, b"")).await.unwrap();
    stream
}

#[tokio::test]
async fn a_line_has_the_bytes_of_both_bodies() {
    let told = Told::start(&[]);
    let device = Device::register(told.server.addr).await;
    for length in [1, 10_000] {
        let body =
            serde_json::to_vec(&device.batch(vec![device.edit(entry(), &[], &vec![7; length])])).unwrap();
        let pushed = device.send("POST", &device.push_path(), &JSON, &body).await;
        assert_eq!(pushed.status, 200);
        assert_eq!(bytes(&told, &pushed).await, (body.len(), pushed.body.len()));
    }
    let path = format!("/v1/vaults/{}/snapshot", device.vault);
    let snapshot = device.get(&path).await;
    assert!(snapshot.body.len() > 10_000);
    assert_eq!(bytes(&told, &snapshot).await, (0, snapshot.body.len()));
    let blob = vec![7; 300_000];
    let hash = hex::encode(lockstep_events::canonical::sha256(&blob));
    let path = format!("/v1/vaults/{}/blobs/{hash}?size={}", device.vault, blob.len());
    let put = device.send("PUT", &path, &[("content-type", "application/octet-stream")], &blob).await;
    assert_eq!((put.status, bytes(&told, &put).await), (204, (blob.len(), 0)));
}

#[tokio::test]
async fn a_refused_body_counts_as_far_as_it_was_read_and_a_head_alone_sends_nothing() {
    let told = Told::start(&[]);
    let device = Device::register(told.server.addr).await;
    let stranger = Device { token: "no token".to_owned(), ..device.clone() };
    let refused = stranger.send("POST", &device.push_path(), &JSON, &[b' '; 5_000]).await;
    assert_eq!((refused.status, bytes(&told, &refused).await), (401, (5_000, refused.body.len())));
    let mut stream = tls(device.addr).await.unwrap();
    stream.write_all(b"HEAD /.well-known/jwks.json HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let line = told.says("method=HEAD").await;
    assert_eq!((field(&line, "status"), field(&line, "sent")), ("200", "0"), "{line}");
}

/// Balancers ask every few seconds.
#[tokio::test]
async fn that_a_node_lives_and_serves_fills_no_log() {
    let told = Told::start(&[]);
    let mut wire = Wire::connect(told.server.addr).await.unwrap();
    for path in ["/health/live", "/health/ready", "/health/ready"] {
        let reply = wire.exchange(&request("GET", path, &[], b"")).await.unwrap();
        assert_eq!(reply.status, 200, "{path}");
    }
    let refused = wire.exchange(&request("POST", "/health/ready", &[], b"")).await.unwrap();
    assert_eq!(refused.status, 405);
    told.says("status=405").await;
    assert_eq!(told.lines("/health/").len(), 1, "what is refused there is a line as elsewhere");
}

#[tokio::test]
async fn a_stream_of_events_is_one_line_at_its_end_with_all_that_went() {
    let told = Told::start(&[]);
    let device = Device::register(told.server.addr).await;
    // After what a new vault begins with: one frame comes, that of the push.
    let path = format!("{}?after={}.1", changes(&device), device.epoch);
    let mut stream = begin(&device, &path, "text/event-stream").await;
    device.push(vec![device.edit(entry(), &[], b"one event")]).await;
    let mut heard = Vec::new();
    let whole = |heard: &[u8]| {
        let text = String::from_utf8_lossy(heard);
        text.contains("event: ev\n") && text.ends_with("\n\n\r\n")
    };
    while !whole(&heard) {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "it ended");
    }
    assert_eq!(told.lines("/changes").len(), 0, "it goes on");
    drop(stream);
    let line = told.says("/changes").await;
    let sent: usize = field(&line, "sent").parse().unwrap();
    assert_eq!(sent, chunks(&heard), "{line}");
    assert_eq!((field(&line, "status"), told.lines("/changes").len()), ("200", 1));
}

/// The bytes in the chunks of an answer so far.
fn chunks(answer: &[u8]) -> usize {
    let start = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let (mut rest, mut sum) = (&answer[start..], 0);
    while !rest.is_empty() {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        sum += length;
        rest = &rest[end + 2 + length + 2..];
    }
    sum
}

#[tokio::test]
async fn a_request_whose_client_leaves_before_it_is_answered_has_a_line_too() {
    let told = Told::start(&[]);
    let device = Device::register(told.server.addr).await;
    let known = device.get("/v1/account").await;
    let page: lockstep_api::sync::Changes = device.get(&changes(&device)).await.json();
    let path = format!("{}?wait=25&after={}.{}", changes(&device), page.epoch, page.to);
    let stream = begin(&device, &path, "application/json").await;
    while !told.metrics().await.contains("lockstep_connected 1\n") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let left = told.says("status=499").await;
    let line = line(&told, &known).await;
    for name in ["account", "session"] {
        assert_ne!(field(&line, name), "-");
        assert_eq!(field(&left, name), field(&line, name), "{left}");
    }
    assert_eq!(field(&left, "sent"), "0");
}

#[tokio::test]
async fn the_one_file_is_read_and_saved_under_the_name_of_its_owner_and_by_no_other_line() {
    let told = Told::start(&[]);
    let device = Device::register(told.server.addr).await;
    let known = line(&told, &device.get("/v1/account").await).await;
    let item = device.edit(file_entry(device.account), &[], b"the file");
    let body = serde_json::to_vec(&device.batch(vec![item])).unwrap();
    let saved = device.send("PUT", "/v1/file", &JSON, &body).await;
    let read = device.get("/v1/file").await;
    let tag = [("content-type", "application/json"), ("if-match", "\"another\"")];
    let other = device.batch(vec![device.edit(file_entry(device.account), &[], b"another")]);
    let other = serde_json::to_vec(&other).unwrap();
    let refused = device.send("PUT", "/v1/file", &tag, &other).await;
    for (reply, method, status) in [(&saved, "PUT", "200"), (&read, "GET", "200"), (&refused, "PUT", "412")] {
        let line = line(&told, reply).await;
        let [route, by, how] = ["route", "method", "status"].map(|name| field(&line, name).trim_matches('"'));
        assert_eq!((route, by, how), ("/v1/file", method, status), "{line}");
        for name in ["account", "session"] {
            assert_eq!(field(&line, name), field(&known, name), "{line}");
        }
    }
    assert_eq!(told.lines("file").len(), 3, "what is logged of it says whose it is");
}

/// Anybody makes up a method, and one as long as a head may be.
#[tokio::test]
async fn a_method_that_no_route_has_is_one_word_in_the_log_and_counts_for_the_length_of_the_head() {
    let told = Told::start(&[]);
    for (letters, status) in [(10, 405), (17_000, 431), (60_000, 431)] {
        let method = "ODDITY".repeat(letters / 6 + 1);
        let mut stream = tls(told.server.addr).await.unwrap();
        let head = format!("{method} /v1/account HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // It may close without a word of farewell once it has answered.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{letters}: {answer}");
        let line = told.says(&format!("status={status}")).await;
        assert_eq!(field(&line, "method"), "other", "{line}");
    }
    assert_eq!(told.lines("ODDITY"), [] as [String; 0]);
}
