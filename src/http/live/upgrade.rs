//! From a request to a WebSocket: the server's half of the opening handshake of RFC 6455, §4.2.
//!
//! Ours and not axum's, because a socket of axum hides the connection, and what is sent is written to that directly.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use lockstep_api::Code;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::http::problem::Failure;

/// A frame that a client sends is at most so long, in bytes.
const MAX_INBOUND: usize = 64 * 1024;
/// Read at once. The buffer lives as long as its socket, so it is small; a longer frame makes room for itself.
const READ_BUFFER: usize = 256;

/// An open socket.
///
/// In a box: a future has room for each place that a value passes through.
pub type WebSocket = Box<WebSocketStream<TokioIo<Upgraded>>>;

/// A request that may become a WebSocket.
pub struct Upgrade {
    on: OnUpgrade,
    accept: HeaderValue,
    offered: Vec<HeaderValue>,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        if parts.method != Method::GET {
            return Err(Failure::from(Code::MethodNotAllowed));
        }
        let headers = &parts.headers;
        for (name, wanted) in [
            (header::CONNECTION, "upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
        ] {
            if !words(headers, &name).any(|word| word.eq_ignore_ascii_case(wanted.as_bytes())) {
                return Err(wrong(&format!("a WebSocket begins with {name}: {wanted}")));
            }
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| wrong("a WebSocket begins with a sec-websocket-key"))?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
            .map_err(|error| Failure::caused(Code::Internal, error))?;
        let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
        let on =
            parts.extensions.remove().ok_or_else(|| wrong("this connection cannot become a WebSocket"))?;
        Ok(Self { on, accept, offered })
    }
}

impl Upgrade {
    /// Whether the client speaks a sub-protocol.
    pub fn offers(&self, protocol: &str) -> bool {
        self.offered.iter().flat_map(of_list).any(|word| word == protocol.as_bytes())
    }

    /// The answer. Once it is sent, the socket is served, in a task of its own.
    pub fn accept<F>(
        self,
        protocol: &'static str,
        serve: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let on = self.on;
        tokio::spawn(async move {
            // Who is gone before the answer is sent is served no more.
            let Ok(upgraded) = on.await else { return };
            let io = TokioIo::new(upgraded);
            let opened = WebSocketStream::from_raw_socket(io, Role::Server, Some(config()));
            serve(Box::new(Box::pin(opened).await)).await;
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept),
            (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol)),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_INBOUND))
        .max_frame_size(Some(MAX_INBOUND))
}

fn wrong(detail: &str) -> Failure {
    Failure::from(Code::InvalidHeader).detail(detail)
}

/// The words of a header that is a list with commas, over all of its lines.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().flat_map(of_list)
}

fn of_list(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}
