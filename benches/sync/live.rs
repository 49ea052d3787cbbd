//! From a push to the frame with its content on another device, idle and under 200 writes a second.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use lockstep_api::live::{ClientMessage, PROTOCOL, ServerMessage, Sub};
use lockstep_events::StreamId;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use crate::{
    floor::{self, Floor},
    report::{Options, Report, Target, percentile},
    support::{
        child::Lockstepd,
        device::{Device, entry, id},
        wire::{Wire, request, tls},
    },
};

pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub async fn measure(options: &Options, report: &mut Report) {
    let samples = if options.quick { 30 } else { 300 };
    for (mode, mut variables, _) in crate::modes().await {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let keys = folders[0].path().join("server.json").display().to_string();
        variables.push(("LOCKSTEP_KEY_FILE".to_owned(), keys));
        let start = |n: usize| {
            let program = env!("CARGO_BIN_EXE_lockstepd");
            Lockstepd::start(program, folders[n].path(), "127.0.0.1:0", &variables)
        };
        let written = start(0);
        let (limits, other, floor) = if mode == "embedded" {
            ((3.0, 15.0), None, floor::embedded(samples).await)
        } else {
            // The listener is at another node: every event crosses NATS.
            ((10.0, 100.0), Some(start(1)), floor::distributed(samples).await)
        };
        let read = other.as_ref().map_or(written.addr, |other| other.addr);
        let bench = Bench { written: written.addr, read, mode, samples, limits, floor };
        bench.latency("idle", report).await;
        let others = Device::register(written.addr).await;
        let load = tokio::spawn(background(others));
        bench.latency("under 200 writes/s", report).await;
        load.abort();
    }
}

/// A device that follows its account and its vault.
pub async fn follow(device: &Device) -> Socket {
    let mut request =
        format!("wss://localhost:{}/v1/live", device.addr.port()).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", PROTOCOL.parse().unwrap());
    // The library clears its buffer before each read: at its usual size, clearing costs the machine more than a frame.
    let small = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let stream = tls(device.addr).await.unwrap();
    let (mut socket, _) = client_async_with_config(request, stream, Some(small)).await.unwrap();
    let hello = ClientMessage::Hello {
        token: Some(device.token.clone()),
        ticket: None,
        client: "bench".to_owned(),
        caps: Vec::new(),
        subs: [device.account.into(), device.vault.into()].map(|stream| Sub { stream, after: None }).to_vec(),
    };
    socket.send(Message::text(serde_json::to_string(&hello).unwrap())).await.unwrap();
    let mut subbed = 0;
    while subbed < 2 {
        let said = said(&mut socket).await;
        subbed += said.iter().filter(|said| matches!(said, ServerMessage::Subbed { .. })).count();
    }
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

async fn until(socket: &mut Socket, vault: StreamId, seq: u64) {
    loop {
        for message in said(socket).await {
            if matches!(message, ServerMessage::Ev { stream, to, .. } if stream == vault && to.0 >= seq) {
                return;
            }
        }
    }
}

/// One way from a writer to a listener.
struct Bench<'a> {
    written: SocketAddr,
    read: SocketAddr,
    mode: &'a str,
    samples: usize,
    limits: (f64, f64),
    floor: Floor,
}

impl Bench<'_> {
    async fn latency(&self, when: &str, report: &mut Report) {
        let device = Device::register(self.written).await;
        let other = Device { addr: self.read, ..device.another().await };
        let mut socket = follow(&other).await;
        let mut wire = Wire::connect(self.written).await.unwrap();
        let bearer = format!("Bearer {}", device.token);
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let (of, mut parents) = (entry(), Vec::new());
        let (vault, first) = (StreamId::from(device.vault), device.seq().await);
        until_caught_up(&mut socket, vault, first).await;
        let mut took = Vec::new();
        for n in 0..self.samples as u64 {
            let item = device.edit(of, &parents, &[&n.to_be_bytes()[..], &[7; 600]].concat());
            parents = vec![id(&item)];
            let body = serde_json::to_vec(&device.batch(vec![item])).unwrap();
            let bytes = request("POST", &device.push_path(), &headers, &body);
            let sent = Instant::now();
            let heard = async {
                until(&mut socket, vault, first + n + 1).await;
                sent.elapsed().as_secs_f64() * 1000.0
            };
            let (reply, at) = tokio::join!(wire.exchange(&bytes), heard);
            took.push(at);
            assert_eq!(reply.unwrap().status, 200);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let name = |what: &str| format!("push to frame on another device, {what}, {when}, {}", self.mode);
        let floor = &self.floor;
        for (what, share, least, most) in
            [("p50", 0.5, floor.p50, self.limits.0), ("p99", 0.99, floor.p99, self.limits.1)]
        {
            let ours = percentile(&mut took, share);
            report.beside(&name(what), "ms", ours, Some((least, floor.name)), Target::AtMost(most));
        }
    }
}

async fn until_caught_up(socket: &mut Socket, vault: StreamId, seq: u64) {
    if seq > 0 {
        until(socket, vault, seq).await;
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
