//! What stands between a device and its server: a relay that counts bytes, and a proxy that lets no WebSocket through.

#![allow(dead_code, reason = "each program that shares this uses a part of it")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use lockstep_events::canonical::sha256;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// Runs something for as long as this process lives, whatever runtime its maker has.
fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(work);
    });
}

fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Hands bytes on as they are, and counts them.
pub struct Relay {
    pub addr: SocketAddr,
    flow: Arc<Flow>,
}

/// What goes through a relay.
struct Flow {
    /// In both directions.
    moved: AtomicU64,
    /// So many more go to the server.
    left: AtomicU64,
}

impl Relay {
    pub fn start(upstream: SocketAddr) -> Self {
        let (listener, addr) = listen();
        let flow = Arc::new(Flow { moved: AtomicU64::new(0), left: AtomicU64::new(u64::MAX) });
        let shared = Arc::clone(&flow);
        in_background(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                if shared.left.load(Ordering::SeqCst) == 0 {
                    continue;
                }
                let Ok(server) = TcpStream::connect(upstream).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pump(from_client, to_server, Arc::clone(&shared), true));
                tokio::spawn(pump(from_server, to_client, Arc::clone(&shared), false));
            }
        });
        Self { addr, flow }
    }

    /// Bytes in both directions since this was asked last.
    pub fn moved(&self) -> u64 {
        self.flow.moved.swap(0, Ordering::SeqCst)
    }

    /// So many bytes more go to the server; then the line is dead until it is mended.
    pub fn cut_after(&self, bytes: u64) {
        self.flow.left.store(bytes, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.flow.left.store(u64::MAX, Ordering::SeqCst);
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, flow: Arc<Flow>, up: bool) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(mut len @ 1..) = from.read(&mut buffer).await {
        if up {
            let take = |left: u64| Some(left - left.min(len as u64));
            let left = flow.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap();
            len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
        }
        flow.moved.fetch_add(len as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..len]).await.is_err() || up && flow.left.load(Ordering::SeqCst) == 0 {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// A proxy that speaks TLS with its own certificate, as those of companies do, and plain HTTP with the server.
pub struct Proxy {
    pub addr: SocketAddr,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    manners: Arc<Manners>,
}

/// What a proxy does with what goes through it.
#[derive(Default)]
struct Manners {
    /// Cuts off whoever asks for a WebSocket.
    refuses: AtomicBool,
    /// Changes a byte of every blob.
    spoils: AtomicBool,
    /// Keeps the answer to a new password to itself.
    holds: AtomicBool,
    /// It has one.
    held: AtomicBool,
    /// What it says instead, before it hangs up.
    instead: Mutex<Option<&'static str>>,
}

impl Proxy {
    /// At first no WebSocket goes through.
    pub fn start(upstream: SocketAddr) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let fingerprint = hex::encode(sha256(&certificate));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let tls = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
        let (listener, addr) = listen();
        let manners = Arc::new(Manners { refuses: AtomicBool::new(true), ..Manners::default() });
        let asked = Arc::clone(&manners);
        in_background(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, upstream, tls.clone(), Arc::clone(&asked)));
            }
        });
        Self { addr, fingerprint, manners }
    }

    /// Whether requests for a WebSocket are cut off from now on.
    pub fn refuse(&self, refuses: bool) {
        self.manners.refuses.store(refuses, Ordering::SeqCst);
    }

    /// From now on whoever sends a new password or recovery code hears nothing of it.
    pub fn hold_new_secrets(&self) {
        self.manners.holds.store(true, Ordering::SeqCst);
    }

    /// From now on whoever sends a new password or recovery code hears this, and then nothing more.
    pub fn answer_new_secrets(&self, with: &'static str) {
        *self.manners.instead.lock().unwrap() = Some(with);
        self.hold_new_secrets();
    }

    /// All is handed on as it comes.
    pub fn let_new_secrets_be_answered(&self) {
        self.manners.holds.store(false, Ordering::SeqCst);
    }

    /// Whether the server has answered to one, and nobody heard it.
    pub fn has_held(&self) -> bool {
        self.manners.held.load(Ordering::SeqCst)
    }

    /// Whether a byte of every blob that is fetched is another one from now on.
    pub fn spoil(&self, spoils: bool) {
        self.manners.spoils.store(spoils, Ordering::SeqCst);
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr, tls: TlsAcceptor, manners: Arc<Manners>) {
    let Ok(mut client) = tls.accept(client).await else { return };
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let Ok(1..) = client.read_buf(&mut head).await else { return };
    }
    let asks = String::from_utf8_lossy(&head).to_ascii_lowercase();
    if asks.contains("upgrade: websocket") && manners.refuses.load(Ordering::SeqCst) {
        let _ = client
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        let _ = client.shutdown().await;
        return;
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    if server.write_all(&head).await.is_err() {
        return;
    }
    let holds = manners.holds.load(Ordering::SeqCst);
    if !manners.spoils.load(Ordering::SeqCst) && !holds {
        let _ = copy_bidirectional(&mut client, &mut server).await;
        return;
    }
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    // Whether the request that is being answered is for a blob.
    let for_blob = AtomicBool::new(is_for_blob(&head));
    let new_secret = AtomicBool::new(is_new_secret(&head));
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
            for_blob.store(is_for_blob(&buffer[..len]), Ordering::SeqCst);
            new_secret.fetch_or(is_new_secret(&buffer[..len]), Ordering::SeqCst);
            if to_server.write_all(&buffer[..len]).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(len @ 1..) = from_server.read(&mut buffer).await {
            if holds && new_secret.load(Ordering::SeqCst) {
                manners.held.store(true, Ordering::SeqCst);
                let instead = *manners.instead.lock().unwrap();
                let Some(instead) = instead else { continue };
                let _ = to_client.write_all(instead.as_bytes()).await;
                break;
            }
            if len > 4096 && !holds && for_blob.swap(false, Ordering::SeqCst) {
                buffer[len - 1] ^= 1;
            }
            if to_client.write_all(&buffer[..len]).await.is_err() {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

fn is_new_secret(head: &[u8]) -> bool {
    [&b"POST /v1/account/password/finish"[..], b"PUT /v1/account/recovery", b"POST /v1/recovery/finish"]
        .iter()
        .any(|way| head.starts_with(way))
}

fn is_for_blob(head: &[u8]) -> bool {
    head.starts_with(b"GET /v1/vaults/") && head.windows(7).any(|seven| seven == b"/blobs/")
}
