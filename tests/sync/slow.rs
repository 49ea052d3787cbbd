//! Clients that hold a connection and say next to nothing.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Ground,
    blobs::{OCTETS, hash, long, one},
    support::{device::Device, mode::Mode, wire},
};

/// What is called ten seconds here may be a little less by the clock, and more on a busy machine.
const SOONEST: Duration = Duration::from_secs(9);
const LATEST: Duration = Duration::from_secs(25);

fn head(device: &Device, bytes: &[u8]) -> String {
    format!(
        "PUT /v1/vaults/{}/blobs/{}?size={} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: {}\r\ncontent-length: {}\r\n\r\n",
        device.vault,
        hash(bytes),
        bytes.len(),
        device.token,
        OCTETS[0].1,
        bytes.len()
    )
}

/// Writes one piece after the other, a second apart, until the other side answers or hangs up; what it said.
async fn drip(mut socket: impl AsyncReadExt + AsyncWriteExt + Unpin, pieces: Vec<Vec<u8>>) -> String {
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    for piece in pieces {
        if socket.write_all(&piece).await.is_err() || socket.flush().await.is_err() {
            break;
        }
        match timeout(Duration::from_secs(1), socket.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => {
                said.extend_from_slice(&buffer[..read]);
                break;
            }
            Ok(_) => break,
            Err(_) => {}
        }
    }
    let _ = timeout(Duration::from_secs(5), socket.read_to_end(&mut said)).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn an_upload_slower_than_a_kibibyte_a_second_is_cut_off_and_can_go_on() {
    let ground = Ground::new(Mode::Embedded).await;
    let device = &ground.device;
    let bytes = long(1);
    let mut socket = wire::tls(device.addr).await.unwrap();
    socket.write_all(head(device, &bytes).as_bytes()).await.unwrap();
    let began = Instant::now();
    let said = drip(socket, bytes.chunks(700).take(40).map(<[u8]>::to_vec).collect()).await;
    assert!((SOONEST..LATEST).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("body_too_slow"), "{said}");
    assert_eq!(one(device, &hash(&bytes)).await.code(), "not_found");
    let path = format!("/v1/vaults/{}/blobs/{}?size={}", device.vault, hash(&bytes), bytes.len());
    let wrong = [OCTETS[0], ("upload-offset", "1")];
    let reply = device.send("PUT", &path, &wrong, b"").await;
    let at = reply.json::<serde_json::Value>()["facts"]["offset"].as_u64().unwrap();
    assert!((700 * 8..700 * 20).contains(&at), "{at} bytes were kept");
    let (offset, rest) = (at.to_string(), &bytes[usize::try_from(at).unwrap()..]);
    let resume = [OCTETS[0], ("upload-offset", offset.as_str())];
    assert_eq!(device.send("PUT", &path, &resume, rest).await.status, 204);
}

#[tokio::test]
async fn an_upload_of_two_kibibytes_a_second_is_slow_and_welcome() {
    let ground = Ground::new(Mode::Embedded).await;
    let device = &ground.device;
    let bytes = long(1);
    let mut socket = wire::tls(device.addr).await.unwrap();
    socket.write_all(head(device, &bytes).as_bytes()).await.unwrap();
    let said = drip(socket, bytes.chunks(2048).map(<[u8]>::to_vec).collect()).await;
    assert!(said.starts_with("HTTP/1.1 204"), "{said}");
    assert_eq!(one(device, &hash(&bytes)).await.body, bytes);
}

#[tokio::test]
async fn a_json_body_that_trickles_is_cut_off() {
    let ground = Ground::new(Mode::Embedded).await;
    let device = &ground.device;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n",
        device.push_path(),
        device.token
    );
    let mut socket = wire::tls(device.addr).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let said = drip(socket, vec![b" ".to_vec(); 40]).await;
    assert!((SOONEST..LATEST).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("body_too_slow"), "{said}");
}

#[tokio::test]
async fn a_head_that_is_not_complete_after_ten_seconds_ends_the_connection() {
    let ground = Ground::new(Mode::Embedded).await;
    let mut socket = wire::tls(ground.server.addr).await.unwrap();
    socket.write_all(b"GET /v1/streams HTTP/1.1\r\nhost: localhost\r\n").await.unwrap();
    let began = Instant::now();
    drip(socket, (0..60).map(|n| format!("x-slow-{n}: 1\r\n").into_bytes()).collect()).await;
    assert!((SOONEST..LATEST).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_connection_without_a_handshake_is_closed_after_ten_seconds() {
    let ground = Ground::new(Mode::Embedded).await;
    let mut socket = TcpStream::connect(ground.server.addr).await.unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    let closed = timeout(LATEST, socket.read_to_end(&mut said)).await;
    assert!(closed.is_ok(), "it is open still");
    assert!((SOONEST..LATEST).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(device_is_served(&ground.device).await, "others are served meanwhile and after");
}

async fn device_is_served(device: &Device) -> bool {
    device.get("/v1/streams").await.status == 200
}
