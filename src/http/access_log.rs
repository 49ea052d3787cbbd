//! The access log: one line for each request, written when nothing more comes of it. So it can say how many bytes went,
//! also of an answer that takes hours; nothing is held back to count them.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::Request,
    http::{Method, StatusCode},
    response::Response,
};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use lockstep_api::Code;
use lockstep_events::Clock;

use super::{around::RequestId, limiting::Gate};
use crate::{clock::SystemClock, limits::truncated, metrics::known, state::Shared};

/// What stands for the status of a request whose client left before there was one.
const GONE: u16 = 499;

/// How `/health/ready` was answered last.
#[derive(Debug)]
pub struct Readiness(AtomicU16);

impl Default for Readiness {
    /// That a node serves is nothing to tell until it did not.
    fn default() -> Self {
        Self(AtomicU16::new(200))
    }
}

impl Readiness {
    /// Whether an answer is worth a line. Balancers ask every few seconds whether a node lives and serves: the same
    /// answer again is not.
    fn is_news(&self, route: &str, status: u16) -> bool {
        match (route, status) {
            ("/health/live", 200) => false,
            ("/health/ready", 200 | 503) => self.0.swap(status, Ordering::Relaxed) != status,
            _ => true,
        }
    }
}

/// Bytes of a body.
type Bytecount = Arc<AtomicU64>;

/// A request on its way. Its line is written when this is dropped: with the last of the answer and of what was still
/// read of the request, or with whoever waited.
pub struct Line {
    server: Shared,
    gate: Gate,
    id: RequestId,
    method: Method,
    route: String,
    started: Instant,
    answered: Option<(StatusCode, Option<Code>, Duration)>,
    received: Bytecount,
    sent: Bytecount,
}

impl Line {
    /// Of a request that has just come.
    pub fn begin(server: &Shared, (gate, id): (&Gate, RequestId), method: &Method, route: &str) -> Self {
        Self {
            server: Arc::clone(server),
            gate: gate.clone(),
            id,
            method: method.clone(),
            route: route.to_owned(),
            started: Instant::now(),
            answered: None,
            received: Bytecount::default(),
            sent: Bytecount::default(),
        }
    }

    /// Counts what comes of the request's body.
    pub fn receiving(&self, request: Request) -> Request {
        let bytes = Arc::clone(&self.received);
        request.map(|body| Body::new(Counted { body, bytes, _with_it: () }))
    }

    /// Keeps in mind how it is answered; since it came so much time has gone.
    pub fn answered(&mut self, status: StatusCode, code: Option<Code>) -> Duration {
        let took = self.started.elapsed();
        self.answered = Some((status, code, took));
        took
    }

    /// Counts what goes of the answer's body, and ends with it.
    pub fn sending(self: Arc<Self>, response: Response) -> Response {
        let bytes = Arc::clone(&self.sent);
        response.map(|body| Body::new(Counted { body, bytes, _with_it: self }))
    }
}

impl Drop for Line {
    /// Writes it: who asked stands there under a name of this month, and from a network, not an address.
    fn drop(&mut self) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let (status, code, took) = match self.answered {
            Some((status, code, took)) => (status.as_u16(), code.map_or("-", Code::as_str), took),
            None => (GONE, "-", self.started.elapsed()),
        };
        let route = self.route.as_str();
        if !self.server.readiness.is_news(route, status) {
            tracing::debug!(route, status, request = %self.id.0, "answered as before");
            return;
        }
        // The time of the line itself, which is the machine's.
        let (now, names) = (SystemClock.now(), &self.server.pseudonyms);
        let (account, session) = match self.gate.known() {
            Some((account, session)) => (names.account(account, now), names.session(session, now)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        // Anybody may make up one, and as long as they like.
        let method = known(self.method.as_str());
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let [received, sent] = [&self.received, &self.sent].map(|bytes| bytes.load(Ordering::Relaxed));
        let from = truncated(self.gate.client());
        tracing::info!(
            %method, route, status, code, ms, received, sent, account, session, %from, request = %self.id.0, "request"
        );
    }
}

/// A body of which is counted what is read of it, with what lives as long as it does.
struct Counted<T> {
    body: Body,
    bytes: Bytecount,
    _with_it: T,
}

impl<T: Unpin> HttpBody for Counted<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let came = frame.data_ref().map_or(0, Bytes::len);
            self.bytes.fetch_add(came as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_node_serves_is_a_line_when_it_changes_and_what_is_refused_is_one_each_time() {
        let readiness = Readiness::default();
        let ready =
            [200, 200, 503, 503, 503, 200, 200].map(|status| readiness.is_news("/health/ready", status));
        assert_eq!(ready, [false, false, true, false, false, true, false]);
        for (route, status) in
            [("/health/live", 405), ("/health/ready", 429), ("/health/ready", GONE), ("/v1/account", 200)]
        {
            assert!(readiness.is_news(route, status) && readiness.is_news(route, status), "{route} {status}");
        }
        assert!(!readiness.is_news("/health/live", 200));
    }
}
