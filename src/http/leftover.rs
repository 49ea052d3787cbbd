//! What a refused request still had to say. A connection that is closed before its request is read resets, and the
//! caller may never see why it was refused; so for a moment it is read and thrown away.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// What is read and thrown away may be longer than the largest blob by so much: a pack of small ones, and 1 MiB.
const BEYOND: u64 = 5 << 20;
/// It takes at most so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// The rest of a body, which a handler reads at the same time or not at all.
pub struct Leftover(Arc<Mutex<Body>>);

/// Lets the rest of a request's body be reached after the request was given away.
pub fn watch(request: Request) -> (Request, Leftover) {
    let (parts, body) = request.into_parts();
    let shared = Arc::new(Mutex::new(body));
    (Request::from_parts(parts, Body::new(Watched(Arc::clone(&shared)))), Leftover(shared))
}

impl Leftover {
    /// Reads a bounded rest and throws it away, where blobs have at most so many bytes.
    pub async fn drain(self, largest: u64) {
        let frames = stream::poll_fn(|cx| poll(&self.0, cx));
        let all = frames.map_ok(|frame| frame.into_data().unwrap_or_default());
        // Too slow: the connection closes with what is unread.
        let _ = tokio::time::timeout(PATIENCE, discard(all, largest.saturating_add(BEYOND))).await;
    }
}

/// Reads a body that nobody needs, up to so many bytes.
pub async fn discard<E>(mut body: impl Stream<Item = Result<Bytes, E>> + Unpin, most: u64) {
    let mut read = 0;
    while let Some(Ok(bytes)) = body.next().await {
        read += bytes.len() as u64;
        if read > most {
            break;
        }
    }
}

struct Watched(Arc<Mutex<Body>>);

// A panic while it is held can only come from the body itself, which is broken then in any case.
fn lock(body: &Mutex<Body>) -> MutexGuard<'_, Body> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

fn poll(body: &Mutex<Body>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
    Pin::new(&mut *lock(body)).poll_frame(cx)
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        poll(&self.0, cx)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).size_hint()
    }
}
