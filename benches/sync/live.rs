//! From a push to the frame with its content on another device, idle and under 200 writes a second.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use lockstep_api::live::{ClientMessage, PROTOCOL, ServerMessage, Sub};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{
    report::{Options, Report, Target, percentile},
    support::{
        child::Lockstepd,
        device::{Device, entry, id},
        wire::{Wire, request, tls},
    },
};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub async fn measure(options: &Options, report: &mut Report) {
    for (mode, variables, _) in crate::modes().await {
        let folder = tempfile::tempdir().unwrap();
        let server =
            Lockstepd::start(env!("CARGO_BIN_EXE_lockstepd"), folder.path(), "127.0.0.1:0", &variables);
        let limits = if mode == "embedded" { (3.0, 15.0) } else { (10.0, 100.0) };
        let samples = if options.quick { 30 } else { 300 };
        latency(&server, mode, "idle", samples, limits, report).await;
        let others = Device::register(server.addr).await;
        let load = tokio::spawn(background(others));
        latency(&server, mode, "under 200 writes/s", samples, limits, report).await;
        load.abort();
    }
}

/// A device that follows its vault.
async fn follow(device: &Device) -> Socket {
    let mut request =
        format!("wss://localhost:{}/v1/live", device.addr.port()).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", PROTOCOL.parse().unwrap());
    let (mut socket, _) = client_async(request, tls(device.addr).await.unwrap()).await.unwrap();
    let hello = ClientMessage::Hello {
        token: Some(device.token.clone()),
        ticket: None,
        client: "bench".to_owned(),
        caps: Vec::new(),
        subs: vec![Sub { stream: device.vault.into(), after: None }],
    };
    socket.send(Message::text(serde_json::to_string(&hello).unwrap())).await.unwrap();
    while !said(&mut socket).await.iter().any(|said| matches!(said, ServerMessage::Subbed { .. })) {}
    socket
}

/// The messages of the next frame: one, or several in an array.
async fn said(socket: &mut Socket) -> Vec<ServerMessage> {
    loop {
        let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
        if let Ok(one) = serde_json::from_str(&text) {
            return vec![one];
        }
        return serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}

async fn until(socket: &mut Socket, seq: u64) {
    loop {
        for message in said(socket).await {
            if matches!(message, ServerMessage::Ev { to, .. } if to.0 >= seq) {
                return;
            }
        }
    }
}

async fn latency(
    server: &Lockstepd,
    mode: &str,
    when: &str,
    samples: usize,
    (p50, p99): (f64, f64),
    report: &mut Report,
) {
    let device = Device::register(server.addr).await;
    let other = device.another().await;
    let mut socket = follow(&other).await;
    let mut wire = Wire::connect(server.addr).await.unwrap();
    let bearer = format!("Bearer {}", device.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let (of, mut parents) = (entry(), Vec::new());
    let first = device.seq().await;
    until_caught_up(&mut socket, first).await;
    let mut took = Vec::new();
    for n in 0..samples as u64 {
        let item = device.edit(of, &parents, &[&n.to_be_bytes()[..], &[7; 600]].concat());
        parents = vec![id(&item)];
        let body = serde_json::to_vec(&device.batch(vec![item])).unwrap();
        let bytes = request("POST", &device.push_path(), &headers, &body);
        let sent = Instant::now();
        let (reply, ()) = tokio::join!(wire.exchange(&bytes), until(&mut socket, first + n + 1));
        took.push(sent.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(reply.unwrap().status, 200);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let name = |what: &str| format!("push to frame on another device, {what}, {when}, {mode}");
    report.row(&name("p50"), "ms", percentile(&mut took, 0.5), Target::AtMost(p50));
    report.row(&name("p99"), "ms", percentile(&mut took, 0.99), Target::AtMost(p99));
}

async fn until_caught_up(socket: &mut Socket, seq: u64) {
    if seq > 0 {
        until(socket, seq).await;
    }
}

/// Two hundred pushes a second by another account.
async fn background(device: Device) {
    let mut wire = Wire::connect(device.addr).await.unwrap();
    let bearer = format!("Bearer {}", device.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        tick.tick().await;
        let item = device.edit(entry(), &[], &[9; 600]);
        let body = serde_json::to_vec(&device.batch(vec![item])).unwrap();
        let reply = wire.exchange(&request("POST", &device.push_path(), &headers, &body)).await.unwrap();
        assert_eq!(reply.status, 200);
    }
}
