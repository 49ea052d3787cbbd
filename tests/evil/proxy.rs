//! A server that lies: it hands on what the real one says, changed by a lie, and keeps what the client sends after it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lockstep_api::sync::{Changes, Snapshot};
use lockstep_client::server::{Server as Address, Trust};
use lockstep_events::{Chain, Seq, StreamId, canonical::sha256};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{ClientRequestBuilder, Message, handshake::derive_accept_key, http::Uri, protocol::Role},
};

/// What the client asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `LIVE` for a frame of the live feed.
    pub method: String,
    /// With its query.
    pub path: String,
    pub body: Vec<u8>,
}

/// What the real server answered; a frame of the live feed has the status 101. With the status 0 the line breaks before
/// the client has heard anything.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The chain at the places that the client was shown.
pub type Known = BTreeMap<(StreamId, Seq), Chain>;

/// Changes an answer; whether it did.
pub type Lie = Box<dyn FnMut(&Asked, &mut Answer, &Known) -> bool + Send>;

/// Changes what a client asks, as if its app were wrong.
pub type Mistake = Box<dyn FnMut(&mut Asked) + Send>;

#[derive(Default)]
struct State {
    lie: Option<Lie>,
    mistake: Option<Mistake>,
    told: usize,
    after: Vec<Asked>,
    known: Known,
}

/// The lying server. It begins honest.
pub struct Proxy {
    pub address: Address,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let trust = Trust::Pinned(lockstep_client::server::Fingerprint(sha256(&certificate)));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let tls = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let http = reqwest::Client::builder()
            .no_proxy()
            // Sooner than the server gives a connection up: what is sent in that very moment would be lost.
            .pool_idle_timeout(std::time::Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (tls, http, state) = (tls.clone(), http.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(client) = tls.accept(client).await else { return };
                    let serve = service_fn(move |request| {
                        let (http, state) = (http.clone(), Arc::clone(&state));
                        async move {
                            let answered = answer(request, upstream, http, state).await;
                            answered.ok_or_else(|| std::io::Error::other("the line broke"))
                        }
                    });
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(client), serve);
                    let _ = connection.with_upgrades().await;
                });
            }
        });
        Self { address: Address::new(&address, trust).unwrap(), state }
    }

    /// From now on this lie is told wherever it fits.
    pub fn tell(&self, lie: Lie) {
        let mut state = self.state.lock().unwrap();
        state.lie = Some(lie);
        state.told = 0;
        state.after.clear();
    }

    /// From now on, or no longer, apps make this mistake; the server has no part in it.
    pub fn mistaken(&self, mistake: Option<Mistake>) {
        self.state.lock().unwrap().mistake = mistake;
    }

    /// Whether the client has sent something on the live feed since the lie was told.
    pub fn heard(&self, what: impl Fn(&str) -> bool) -> bool {
        let state = self.state.lock().unwrap();
        let frames = state.after.iter().filter(|asked| asked.method == "LIVE");
        frames.into_iter().any(|frame| what(&String::from_utf8_lossy(&frame.body)))
    }

    /// How often the lie was told so far.
    pub fn told(&self) -> usize {
        self.state.lock().unwrap().told
    }

    /// From now on the truth. Gives how often the lie was told, and what the client sent after the first time.
    pub fn honest(&self) -> (usize, Vec<Asked>) {
        let mut state = self.state.lock().unwrap();
        state.lie = None;
        (std::mem::take(&mut state.told), std::mem::take(&mut state.after))
    }
}

impl State {
    fn mistake(&mut self, asked: &mut Asked) {
        if let Some(mistake) = &mut self.mistake {
            mistake(asked);
        }
    }

    fn heard(&mut self, asked: &Asked) {
        if self.told > 0 {
            self.after.push(asked.clone());
        }
    }

    fn says(&mut self, asked: &Asked, answer: &mut Answer) {
        if let Some(lie) = &mut self.lie
            && lie(asked, answer, &self.known)
        {
            self.told += 1;
        }
        if let Ok(page) = serde_json::from_slice::<Changes>(&answer.body) {
            self.known.insert((page.stream, page.to), page.chain);
        } else if let Ok(page) = serde_json::from_slice::<Snapshot>(&answer.body) {
            self.known.insert((page.vault.into(), page.position), page.chain);
        }
    }
}

async fn answer(
    mut request: Request<Incoming>,
    upstream: SocketAddr,
    http: reqwest::Client,
    state: Arc<Mutex<State>>,
) -> Option<Response<Full<Bytes>>> {
    if request.headers().contains_key("sec-websocket-key") {
        return Some(upgrade(&mut request, upstream, state));
    }
    let path = request.uri().path_and_query().unwrap().to_string();
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default().to_vec();
    let mut asked = Asked { method: parts.method.to_string(), path, body };
    state.lock().unwrap().mistake(&mut asked);
    state.lock().unwrap().heard(&asked);
    let mut forward =
        http.request(parts.method, format!("http://{upstream}{}", asked.path)).body(asked.body.clone());
    for (name, value) in &parts.headers {
        if !["host", "content-length", "transfer-encoding"].contains(&name.as_str()) {
            forward = forward.header(name, value);
        }
    }
    let got = forward.send().await.unwrap();
    let named = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let status = got.status().as_u16();
    let headers = got.headers().iter().map(named).collect();
    let mut answer = Answer { status, headers, body: got.bytes().await.unwrap().to_vec() };
    state.lock().unwrap().says(&asked, &mut answer);
    if answer.status == 0 {
        return None;
    }
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        if !["content-length", "transfer-encoding", "connection", "date"].contains(&name.as_str()) {
            response = response.header(name, value);
        }
    }
    Some(response.body(Full::new(answer.body.into())).unwrap())
}

/// Takes the client's socket and opens one to the real server.
fn upgrade(
    request: &mut Request<Incoming>,
    upstream: SocketAddr,
    state: Arc<Mutex<State>>,
) -> Response<Full<Bytes>> {
    let key = derive_accept_key(request.headers()["sec-websocket-key"].as_bytes());
    let path = request.uri().path().to_owned();
    let upgrading = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrading.await else { return };
        let mut client = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let uri: Uri = format!("ws://{upstream}{path}").parse().unwrap();
        let ask = ClientRequestBuilder::new(uri).with_sub_protocol(lockstep_api::live::PROTOCOL);
        let Ok((mut server, _)) = tokio_tungstenite::connect_async(ask).await else { return };
        let asked =
            |body: &[u8]| Asked { method: "LIVE".to_owned(), path: path.clone(), body: body.to_vec() };
        loop {
            tokio::select! {
                said = client.next() => {
                    let Some(Ok(said)) = said else { break };
                    if let Message::Text(text) = &said {
                        state.lock().unwrap().heard(&asked(text.as_bytes()));
                    }
                    if server.send(said).await.is_err() {
                        break;
                    }
                }
                said = server.next() => {
                    let Some(Ok(said)) = said else { break };
                    let said = match said {
                        Message::Text(text) => {
                            let body = text.as_bytes().to_vec();
                            let mut answer = Answer { status: 101, headers: Vec::new(), body };
                            state.lock().unwrap().says(&asked(b""), &mut answer);
                            Message::text(String::from_utf8(answer.body).unwrap())
                        }
                        other => other,
                    };
                    if client.send(said).await.is_err() {
                        break;
                    }
                }
            }
        }
    });
    Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", key)
        .header("sec-websocket-protocol", lockstep_api::live::PROTOCOL)
        .body(Full::default())
        .unwrap()
}
