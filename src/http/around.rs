//! What surrounds every request: its id, its time limit, the catch of a panic, the security headers, the access log.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use lockstep_api::{Code, Problem};
use uuid::Uuid;

use super::{
    leftover,
    pace::Paced,
    problem::{Failure, Pending},
};
use crate::state::Shared;

/// The id of a request: in the answer's `x-request-id`, in problems, in the access log.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(pub Uuid);

/// Marks an answer whose status says "error" and whose body is not a problem: it is sent as it is.
#[derive(Debug, Clone, Copy)]
pub struct Written;

const HEADERS: [(HeaderName, &str); 8] = [
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "()"),
];

/// The middleware.
pub async fn around(State(server): State<Shared>, mut request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::new_v4());
    let started = Instant::now();
    let method = request.method().clone();
    let template = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let limit = time_limit(&method, template.as_deref(), server.config.request_timeout_s);
    request.extensions_mut().insert(id);
    let paced = request.map(|body| Body::new(Paced::new(body)));
    let (request, rest) = leftover::watch(paced);
    let run = AssertUnwindSafe(tokio::time::timeout(limit, next.run(request))).catch_unwind();
    let response = match run.await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Failure::from(Code::TimedOut).into_response(),
        // The panic itself was logged by the hook, without its message.
        Err(_) => Failure::from(Code::Internal).into_response(),
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        rest.drain().await;
    }
    let response = with_headers(written(response, id), id);
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    let route = template.as_deref().unwrap_or("-");
    tracing::info!(%method, route, status, ms = millis, request = %id.0, "request");
    response
}

/// Uploads may be long; everything else may not.
fn time_limit(method: &Method, template: Option<&str>, seconds: u64) -> Duration {
    let upload = template.is_some_and(|template| {
        (method == Method::PUT && template.contains("/blobs/")) || template.ends_with("/complete")
    });
    Duration::from_secs(if upload { seconds * 20 } else { seconds })
}

/// Writes the body of a problem. An error that is not one of ours yet becomes one.
fn written(mut response: Response, id: RequestId) -> Response {
    let pending = response.extensions_mut().remove::<Pending>();
    let Some(Pending(mut problem)) = pending.or_else(|| foreign(&response)) else { return response };
    problem.request = Some(id.0.to_string());
    let bytes = serde_json::to_vec(&problem).unwrap_or_default();
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, bytes.into())
}

/// A refusal that a library wrote (for example of a broken WebSocket upgrade), as a problem.
fn foreign(response: &Response) -> Option<Pending> {
    let code = match response.status() {
        _ if response.extensions().get::<Written>().is_some() => return None,
        status if !status.is_client_error() && !status.is_server_error() => return None,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        status if status.is_client_error() => Code::InvalidHeader,
        _ => Code::Internal,
    };
    let mut problem = Problem::new(code);
    problem.status = response.status().as_u16();
    Some(Pending(problem))
}

fn with_headers(mut response: Response, id: RequestId) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&id.0.to_string()) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}
