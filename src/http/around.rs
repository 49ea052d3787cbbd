//! What surrounds every request: its id, its time limit, the catch of a panic, the security headers, the line of the
//! access log.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
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
    access_log::Line,
    cors::{self, Grant},
    leftover,
    limiting::Gate,
    pace::Paced,
    problem::{Failure, Full, Pending},
    queries,
};
use crate::{no_room::NoRoom, state::Shared};

/// The id of a request: in the answer's `x-request-id`, in problems, in the access log.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(pub Uuid);

/// Marks an answer whose status says "error" and whose body is not a problem: it is sent as it is.
#[derive(Debug, Clone, Copy)]
pub struct Written;

/// Path and query are at most so long, in bytes.
const MAX_URL: usize = 4 * 1024;
/// Method, path, query and headers are at most so long, in bytes.
const MAX_HEAD: usize = 16 * 1024;

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
    let method = request.method().clone();
    let template = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let limit = time_limit(&method, template.as_deref(), server.config.request_timeout_s);
    let grant = Grant::new(&server.config, request.headers());
    let from = (request.headers(), request.extensions().get().copied());
    let gate = Gate::new(&server, &method, template.as_deref(), from);
    let route = template.as_deref().unwrap_or("-");
    let mut line = Line::begin(&server, (&gate, id), &method, route);
    request.extensions_mut().insert(id);
    request.extensions_mut().insert(gate.clone());
    let paced = line.receiving(request).map(|body| Body::new(Paced::new(body)));
    let (request, rest) = leftover::watch(paced);
    let passed = async {
        let entered = gate.enter(&server).await;
        let (template, uri) = (template.as_deref(), request.uri());
        let fitting = entered
            .and_then(|()| fits(&request))
            .and_then(|()| queries::fits(request.method(), template, uri));
        match fitting {
            Ok(()) => inside(&server, request, next).await,
            Err(refused) => refused.into_response(),
        }
    };
    let run = AssertUnwindSafe(tokio::time::timeout(limit, passed)).catch_unwind();
    let response = match run.await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Failure::from(Code::TimedOut).into_response(),
        // The panic itself was logged by the hook, without its message.
        Err(_) => Failure::from(Code::Internal).into_response(),
    };
    let response = server.untaken.count(gate.client(), response).unwrap_or_else(IntoResponse::into_response);
    let code = response.extensions().get::<Pending>().map(|pending| pending.0.code);
    note_room(&server.no_room, (&method, route), &response);
    let mut response = with_headers(written(response, id), id);
    gate.write(response.headers_mut());
    grant.write(response.headers_mut());
    let status = response.status();
    let took = line.answered(status, code);
    server.metrics.answered(method.as_str(), route, status.as_u16(), took);
    let line = Arc::new(line);
    // What comes over a connection that is a WebSocket from now on is no body.
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let largest = server.config.max_attachment_bytes.max(server.config.max_blob_bytes);
        rest.drain(largest, limit, Arc::clone(&line));
    }
    line.sending(response)
}

/// Keeps in mind which store had no room for this, or that there is room for it again.
fn note_room(no_room: &NoRoom, (method, route): (&Method, &str), response: &Response) {
    let what = || format!("{method} {route}");
    match response.extensions().get::<Full>() {
        Some(Full(store, cause)) => no_room.refused(*store, &what(), cause, Instant::now()),
        None if response.status().is_success() => no_room.taken(what, Instant::now()),
        None => {}
    }
}

/// The handler, or the answer to a browser that asks before it calls.
async fn inside(server: &Shared, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match cors::preflight(&server.config, &parts) {
        Some(answer) => answer,
        None => next.run(Request::from_parts(parts, body)).await,
    }
}

/// Checks the size of the head. What is far larger the connection refuses by itself.
fn fits(request: &Request) -> Result<(), Failure> {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if path > MAX_URL {
        return Err(Failure::from(Code::UrlTooLong).detail("at most 4096 bytes"));
    }
    // As it stands on the wire: name, colon, space, value, end of line.
    let lines = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if request.method().as_str().len() + path + lines.sum::<usize>() > MAX_HEAD {
        return Err(Failure::from(Code::HeadTooLarge).detail("at most 16384 bytes"));
    }
    Ok(())
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
