//! What clients that do not read cost the server: bytes per socket, not bytes per event.

use futures_util::{SinkExt, StreamExt};
use lockstep_api::live::{ClientMessage, PROTOCOL, ServerMessage, Sub};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{
    Ground, in_both_modes,
    support::{
        device::{Device, entry},
        mode::Mode,
        wire::tls,
    },
};

in_both_modes! {
    eight_clients_that_do_not_read_cost_no_memory_for_the_events_that_wait_for_them;
}

const SLOW: u64 = 8;
const PUSHES: u64 = 40;
const VERSIONS: u64 = 128;
/// Of each ciphertext, short enough to travel with its event.
const BYTES: usize = 3_000;
/// Buffers of a socket in this process (its frame, its write buffer, TLS), with room; the kernel's are not ours.
const PER_SOCKET: u64 = 1024 * 1024;
/// What a server's memory goes up and down by under load, whoever reads.
const ROOM: u64 = 16 * 1024 * 1024;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Follows the vault from a place on, and reads nothing after the greeting.
async fn follow(device: &Device) -> Socket {
    let url = format!("wss://localhost:{}/v1/live", device.addr.port());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", PROTOCOL.parse().unwrap());
    let (mut socket, _) = client_async(request, tls(device.addr).await.unwrap()).await.unwrap();
    let hello = ClientMessage::Hello {
        token: Some(device.token.clone()),
        ticket: None,
        client: "test/1".to_owned(),
        caps: Vec::new(),
        subs: vec![Sub { stream: device.vault.into(), after: None }],
    };
    socket.send(Message::text(serde_json::to_string(&hello).unwrap())).await.unwrap();
    assert!(matches!(said(&mut socket).await, ServerMessage::Welcome { .. }));
    socket
}

async fn said(socket: &mut Socket) -> ServerMessage {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

async fn write(device: &Device) {
    for _ in 0..PUSHES {
        let items = (0..VERSIONS).map(|_| device.edit(entry(), &[], &[7; BYTES])).collect();
        assert!(device.push(items).await.iter().all(|result| result.outcome.stands()));
    }
}

async fn eight_clients_that_do_not_read_cost_no_memory_for_the_events_that_wait_for_them(mode: Mode) {
    // They are borne for longer than this test takes.
    let patience = [
        ("LOCKSTEP_LIVE_BLOCKED_S", "600"),
        ("LOCKSTEP_LIVE_BEHIND_S", "600"),
        ("LOCKSTEP_ACCESS_TOKEN_S", "1200"),
    ];
    let ground = Ground::with(mode, &patience).await;
    let device = &ground.device;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(follow(&device.another().await).await);
    }
    // The first round fills what is kept for everybody: heads of entries, pages of the database, and the kernel's
    // buffers of the eight connections.
    write(device).await;
    let (before, _) = ground.server.memory();
    write(device).await;
    let (after, _) = ground.server.memory();
    let waiting = SLOW * PUSHES * VERSIONS * BYTES as u64 * 4 / 3;
    let grown = after.saturating_sub(before);
    eprintln!("{} KiB more for {} KiB that wait", grown / 1024, waiting / 1024);
    let bound = SLOW * PER_SOCKET + ROOM;
    assert!(waiting > 5 * bound, "this would not notice a queue: {waiting} bytes wait");
    assert!(grown < bound, "{grown} bytes more");
    // Whoever begins to read at last gets everything, once.
    let end = device.seq().await;
    let mut at = 0;
    while at < end {
        match said(&mut slow[0]).await {
            ServerMessage::Ev { from, to, .. } => {
                assert_eq!(from.0, at);
                at = to.0;
            }
            ServerMessage::Ping { t, .. } => {
                let pong = serde_json::to_string(&ClientMessage::Pong { t }).unwrap();
                slow[0].send(Message::text(pong)).await.unwrap();
            }
            _ => {}
        }
    }
}
