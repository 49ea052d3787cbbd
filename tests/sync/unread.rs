//! Bodies that nobody takes: of a request that needs none, and of one that is refused.

use std::time::Duration;

use lockstep_api::MAX_PUSH_BYTES;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::{
    Ground, in_both_modes,
    support::{
        device::Device,
        mode::Mode,
        wire::{Wire, request, tls},
    },
};

in_both_modes! {
    a_body_where_none_is_taken_costs_nothing_of_what_comes_next_on_its_connection;
    a_refusal_is_heard_by_who_sends_steadily_and_slowly_and_their_connection_goes_on;
    whoever_says_nothing_more_after_a_refusal_keeps_no_connection;
}

const SOON: Duration = Duration::from_secs(60);
/// More than any buffer on the way has room for.
const LONG: usize = 12 << 20;

/// The head of a push that is too long, as it says itself.
fn too_long(device: &Device) -> String {
    format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\n\
         content-length: {}\r\n\r\n",
        device.push_path(),
        device.token,
        2 * MAX_PUSH_BYTES
    )
}

async fn a_body_where_none_is_taken_costs_nothing_of_what_comes_next_on_its_connection(mode: Mode) {
    let ground = Ground::new(mode).await;
    let bearer = format!("Bearer {}", ground.device.token);
    let headers = [("authorization", bearer.as_str())];
    let mut wire = Wire::connect(ground.device.addr).await.unwrap();
    let long = vec![b'x'; LONG];
    for (method, path) in [("GET", "/health/live"), ("GET", "/v1/account"), ("POST", "/v1/live/ticket")] {
        let with_a_body = request(method, path, &headers, &long);
        let answered = timeout(SOON, wire.exchange(&with_a_body)).await.unwrap().unwrap();
        assert!((200..300).contains(&answered.status), "{method} {path}: {}", answered.status);
        let next = timeout(SOON, wire.exchange(&request("GET", "/v1/account", &headers, b""))).await;
        assert_eq!(next.unwrap().unwrap().status, 200, "after {method} {path}");
    }
}

async fn a_refusal_is_heard_by_who_sends_steadily_and_slowly_and_their_connection_goes_on(mode: Mode) {
    let ground = Ground::new(mode).await;
    let mut stream = tls(ground.device.addr).await.unwrap();
    stream.write_all(too_long(&ground.device).as_bytes()).await.unwrap();
    for piece in vec![b' '; 2 * MAX_PUSH_BYTES].chunks(MAX_PUSH_BYTES / 8) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        sleep(Duration::from_millis(250)).await;
    }
    stream.write_all(&request("GET", "/health/live", &[("connection", "close")], b"")).await.unwrap();
    let mut said = Vec::new();
    timeout(SOON, stream.read_to_end(&mut said)).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("HTTP/1.1 200"), "{said}");
}

async fn whoever_says_nothing_more_after_a_refusal_keeps_no_connection(mode: Mode) {
    let ground = Ground::new(mode).await;
    let mut stream = tls(ground.device.addr).await.unwrap();
    stream.write_all(too_long(&ground.device).as_bytes()).await.unwrap();
    stream.write_all(&[b' '; 1000]).await.unwrap();
    let mut said = Vec::new();
    // However it is closed: with what is unread, so it may be a reset.
    let _ = timeout(SOON, stream.read_to_end(&mut said)).await.expect("it is still open");
    assert!(said.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&said));
}
