//! What a request still had to say when it was answered. A connection that is closed before its request is read resets:
//! the caller may never see the answer, and what it sends next on the same connection is lost. So the rest is read and
//! thrown away, while the answer is on its way already.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, http::header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::timeout;

/// What is read and thrown away may be longer than the largest blob by so much: a pack of small ones, and 1 MiB.
const BEYOND: u64 = 5 << 20;

/// The rest of a body, which a handler reads at the same time or not at all.
pub struct Leftover(Arc<Rest>);

/// A body in the hands of two.
struct Rest {
    body: Mutex<Body>,
    /// The client waits until it is asked for the body (RFC 9110, 10.1.1), and nobody has asked yet.
    unasked: AtomicBool,
}

/// Lets the rest of a request's body be reached after the request was given away.
pub fn watch(request: Request) -> (Request, Leftover) {
    let unasked = AtomicBool::new(request.headers().contains_key(header::EXPECT));
    let (parts, body) = request.into_parts();
    let rest = Arc::new(Rest { body: Mutex::new(body), unasked });
    (Request::from_parts(parts, Body::new(Watched(Arc::clone(&rest)))), Leftover(rest))
}

impl Leftover {
    /// Reads a bounded rest and throws it away, where blobs have at most so many bytes, for no longer than this, and at
    /// no lower pace than any body: beyond that the connection closes with what is unread. Something is held meanwhile.
    pub fn drain(self, largest: u64, patience: Duration, held: impl Send + 'static) {
        // Who was answered without being asked for the body does not send it: what would come is the next request.
        if self.0.unasked.load(Ordering::Relaxed) || self.0.lock().is_end_stream() {
            return;
        }
        tokio::spawn(async move {
            let frames = stream::poll_fn(|cx| self.0.poll(cx));
            let all = frames.map_ok(|frame| frame.into_data().unwrap_or_default());
            let _ = timeout(patience, discard(all, largest.saturating_add(BEYOND))).await;
            drop(held);
        });
    }
}

/// Reads a body that nobody needs, up to so many bytes.
async fn discard<E>(mut body: impl Stream<Item = Result<Bytes, E>> + Unpin, most: u64) {
    let mut read = 0;
    while let Some(Ok(bytes)) = body.next().await {
        read += bytes.len() as u64;
        if read > most {
            break;
        }
    }
}

impl Rest {
    // A panic while it is held can only come from the body itself, which is broken then in any case.
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.unasked.store(false, Ordering::Relaxed);
        Pin::new(&mut *self.lock()).poll_frame(cx)
    }
}

struct Watched(Arc<Rest>);

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.0.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    /// Whether the rest of a body is let go of, though nothing ends it but the limits.
    async fn is_let_go_of(body: Body, patience: Duration) -> bool {
        let (held, gone) = oneshot::channel::<()>();
        let (request, rest) = watch(Request::new(body));
        drop(request);
        rest.drain(0, patience, held);
        timeout(SOON, gone).await.is_ok()
    }

    #[tokio::test]
    async fn a_rest_without_an_end_is_let_go_of_by_its_length_and_by_its_time() {
        let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20])));
        assert!(is_let_go_of(Body::from_stream(chunks), Duration::from_hours(1)).await);
        let silent = stream::pending::<std::io::Result<Bytes>>();
        assert!(is_let_go_of(Body::from_stream(silent), Duration::from_millis(20)).await);
    }
}
