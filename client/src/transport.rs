//! Requests to the server: HTTPS, JSON, problems. No redirect is followed and nothing goes out in the open.

use std::{
    io::SeekFrom,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lockstep_api::{Code, Problem};
use reqwest::{Method, StatusCode, header};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, ClientRequestBuilder, http::Uri, protocol::WebSocketConfig},
};

use crate::{
    error::Error,
    server::{Fingerprint, Server},
    tls,
};

/// No answer is longer: a page of 1,000 events with contents is a few megabytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(10);
/// Less than a server keeps a connection on which nothing comes: a request must not meet its end.
const IDLE: Duration = Duration::from_secs(5);
/// Longer than the longest long-poll.
const ANSWER: Duration = Duration::from_mins(1);
/// Files take as long as the server bears.
const FILE: Duration = Duration::from_mins(10);

/// So much of a file is in memory at the same time.
const PIECE: u64 = 64 * 1024;
/// A whole account may be long.
const DOWNLOAD: Duration = Duration::from_hours(1);

/// A WebSocket to the server.
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Nothing.
    None,
    /// JSON text.
    Json(Vec<u8>),
    /// Bytes of a blob.
    Bytes(Vec<u8>),
    /// Bytes of a file, from one of them on, at most so many: read while they are sent.
    File(PathBuf, u64, u64),
}

impl Body {
    /// A value as JSON.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Error> {
        serde_json::to_vec(value).map(Self::Json).map_err(|_| Error::Invalid("not to be written as JSON"))
    }
}

/// An answer of any status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// Names what was stored.
    pub(crate) etag: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

impl Answer {
    /// The body, if the status says that all is well.
    pub(crate) fn ok(self) -> Result<Vec<u8>, Error> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let problem: Problem = match serde_json::from_slice(&self.body) {
            Ok(problem) => problem,
            Err(_) if matches!(self.status.as_u16(), 502..=504) => {
                return Err(Error::Offline(Box::new(NobodyBehind(self.status.as_u16()))));
            }
            Err(_) => {
                // A proxy's page, for example: keep the status, which decides whether to try again.
                let code = if self.status.is_server_error() { Code::Internal } else { Code::NotFound };
                Problem { status: self.status.as_u16(), ..Problem::new(code) }
            }
        };
        Err(match problem.code {
            Code::Revoked | Code::RefreshFailed => {
                Error::Revoked(problem.facts.and_then(|facts| serde_json::from_value(facts).ok()))
            }
            Code::LoginFailed => Error::LoginFailed,
            _ => Error::Refused { problem: Box::new(problem), retry_after: self.retry_after },
        })
    }

    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        serde_json::from_slice(&self.ok()?).map_err(|_| Error::Protocol("a body of another form"))
    }
}

/// A proxy has answered for a server that it does not reach.
#[derive(Debug, thiserror::Error)]
#[error("a proxy answers {0}: the server behind it is away")]
struct NobodyBehind(u16);

/// Nobody is asked.
#[derive(Debug, thiserror::Error)]
#[error("it is left alone")]
struct LeftAlone;

/// An answer that is read piece by piece.
pub(crate) struct Download(reqwest::Response);

impl Download {
    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        self.0.chunk().await.map_err(offline)
    }
}

/// The way to one server.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    http: reqwest::Client,
    tls: Arc<ClientConfig>,
    base: String,
    /// Bytes of files that were sent and fetched: for whoever watches.
    pub(crate) moved: Arc<AtomicU64>,
    /// Whether the server is left alone.
    pub(crate) silent: Arc<AtomicBool>,
}

impl Transport {
    pub(crate) fn new(server: &Server) -> Result<Self, Error> {
        let tls = tls::config(&server.trust)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .timeout(ANSWER)
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(offline)?;
        Ok(Self {
            http,
            tls: Arc::new(tls),
            base: server.url.clone(),
            moved: Arc::default(),
            silent: Arc::default(),
        })
    }

    /// Whatever would be asked on the way of something else is not.
    fn may_speak(&self) -> Result<(), Error> {
        if self.silent.load(Ordering::Relaxed) { Err(boxed(LeftAlone)) } else { Ok(()) }
    }

    /// Sends a request to a path of the server (or, for presigned uploads, to another HTTPS address).
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(String, String)],
        body: Body,
    ) -> Result<Answer, Error> {
        self.may_speak()?;
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            // As bytes: a reason may hold any letter.
            request = request.header(name, value.as_bytes());
        }
        request = match body {
            Body::None => request,
            Body::Json(json) => request.header(header::CONTENT_TYPE, "application/json").body(json),
            Body::Bytes(bytes) => {
                request.header(header::CONTENT_TYPE, "application/octet-stream").body(bytes)
            }
            Body::File(path, from, most) => {
                let (length, file) = open(&path, from, most, &self.moved).await?;
                let request = request.header(header::CONTENT_TYPE, "application/octet-stream");
                request.header(header::CONTENT_LENGTH, length).timeout(FILE).body(file)
            }
        };
        read(request.send().await.map_err(offline)?).await
    }

    /// Writes the body of an answer behind what a file holds, if the server answers with the rest of it.
    pub(crate) async fn download(
        &self,
        path: &str,
        token: &str,
        file: &mut tokio::fs::File,
    ) -> Result<Answer, Error> {
        self.may_speak()?;
        let from = file.metadata().await?.len();
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(token).timeout(FILE);
        let request = request.header(header::RANGE, format!("bytes={from}-"));
        let mut response = request.send().await.map_err(offline)?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return read(response).await;
        }
        while let Some(chunk) = response.chunk().await.map_err(offline)? {
            file.write_all(&chunk).await?;
            self.moved.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        file.sync_all().await?;
        Ok(Answer { status: StatusCode::PARTIAL_CONTENT, retry_after: None, etag: None, body: Vec::new() })
    }

    /// Asks for something that may be long, to be read piece by piece.
    pub(crate) async fn piecewise(&self, path: &str, token: &str) -> Result<Download, Error> {
        self.may_speak()?;
        let request = self.http.request(Method::GET, format!("{}{path}", self.base)).bearer_auth(token);
        let response = request.timeout(DOWNLOAD).send().await.map_err(offline)?;
        if response.status().is_success() {
            return Ok(Download(response));
        }
        Err(read(response).await?.ok().err().unwrap_or(Error::Protocol("an answer of no status")))
    }

    /// Opens the WebSocket of the live feed.
    pub(crate) async fn socket(&self) -> Result<Socket, Error> {
        self.may_speak()?;
        let address: Uri = format!("{}/v1/live", self.base.replacen("https", "wss", 1))
            .parse()
            .map_err(|_| Error::Address(self.base.clone()))?;
        let host = address.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = address.port_u16().unwrap_or(443);
        let connect = async {
            let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(boxed)?;
            tcp.set_nodelay(true).map_err(boxed)?;
            let name = ServerName::try_from(host.clone()).map_err(boxed)?;
            let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp).await.map_err(tls_failed)?;
            let request = ClientRequestBuilder::new(address).with_sub_protocol(lockstep_api::live::PROTOCOL);
            let config =
                WebSocketConfig::default().read_buffer_size(16 * 1024).max_message_size(Some(16 << 20));
            let (socket, _) = client_async_with_config(request, tls, Some(config)).await.map_err(unopened)?;
            Ok(socket)
        };
        tokio::time::timeout(CONNECT, connect).await.map_err(boxed)?
    }
}

/// A piece of a file, and how long it is.
async fn open(
    path: &std::path::Path,
    from: u64,
    most: u64,
    moved: &Arc<AtomicU64>,
) -> Result<(u64, reqwest::Body), Error> {
    let mut file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len().saturating_sub(from).min(most);
    file.seek(SeekFrom::Start(from)).await?;
    let start = (file, length, Arc::clone(moved));
    let pieces = futures_util::stream::try_unfold(start, |(mut file, left, moved)| async move {
        let mut piece = vec![0; usize::try_from(left.min(PIECE)).unwrap_or_default()];
        if piece.is_empty() {
            return Ok::<_, std::io::Error>(None);
        }
        file.read_exact(&mut piece).await?;
        let left = left - piece.len() as u64;
        moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(Some((piece, (file, left, moved))))
    });
    Ok((length, reqwest::Body::wrap_stream(pieces)))
}

async fn read(mut response: reqwest::Response) -> Result<Answer, Error> {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let etag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(offline)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Error::Protocol("an answer of more than 64 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, retry_after, etag, body })
}

/// How long the server asks to wait.
fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// A socket that was refused for now says for how long, like any other answer.
fn unopened(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Http(answer) if matches!(answer.status().as_u16(), 429 | 503) => {
            let code = if answer.status().as_u16() == 429 { Code::TooManyRequests } else { Code::Draining };
            let problem = Box::new(Problem::new(code));
            Error::Refused { problem, retry_after: retry_after(answer.headers()) }
        }
        other => boxed(other),
    }
}

fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Offline(Box::new(error))
}

fn tls_failed(error: std::io::Error) -> Error {
    if is_certificate(&error) { Error::Certificate } else { boxed(error) }
}

fn offline(error: reqwest::Error) -> Error {
    // The address may hold ids: it does not belong into an error that is shown or logged.
    let error = error.without_url();
    if is_certificate(&error) { Error::Certificate } else { boxed(error) }
}

/// Whether a line broke that stood: what was sent may have arrived.
pub(crate) fn was_cut(error: &Error) -> bool {
    let Error::Offline(cause) = error else { return false };
    cause.downcast_ref::<reqwest::Error>().is_some_and(|cause| !cause.is_connect() && !cause.is_timeout())
}

fn is_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inside.is_some_and(|inside| is_certificate(inside)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The fingerprint of the certificate that a server shows; trusts nothing.
pub(crate) async fn probe(url: &str) -> Result<Fingerprint, Error> {
    let (config, seen) = tls::probing()?;
    let address: Uri = url.parse().map_err(|_| Error::Address(url.to_owned()))?;
    let host =
        address.host().ok_or_else(|| Error::Address(url.to_owned()))?.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| Error::Address(url.to_owned()))?;
    let tcp = TcpStream::connect((host.as_str(), address.port_u16().unwrap_or(443)));
    let tcp = tokio::time::timeout(CONNECT, tcp).await.map_err(boxed)?.map_err(boxed)?;
    let refused = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    let seen = seen.lock().ok().and_then(|seen| *seen);
    match (seen, refused) {
        (Some(fingerprint), _) => Ok(fingerprint),
        (None, Err(error)) => Err(boxed(error)),
        (None, Ok(_)) => Err(Error::Certificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, retry_after: None, etag: None, body: body.to_vec() }
    }

    #[test]
    fn a_proxy_without_a_server_behind_it_is_no_server_that_failed() {
        for status in [502, 503, 504] {
            let error = answer(status, b"<html>Bad Gateway</html>").ok().unwrap_err();
            assert!(matches!(error, Error::Offline(_)), "{error:?}");
        }
        let said = serde_json::to_vec(&Problem::new(Code::LogUnavailable)).unwrap();
        for (status, body, code) in [
            (503, said.as_slice(), Code::LogUnavailable),
            (500, b"", Code::Internal),
            (404, b"", Code::NotFound),
        ] {
            let error = answer(status, body).ok().unwrap_err();
            assert!(matches!(error, Error::Refused { problem, .. } if problem.code == code));
        }
    }
}
