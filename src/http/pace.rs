//! The least pace at which a body must come: whoever sends more slowly holds a connection for nothing.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// So much must come in every [`WINDOW`]: 1 KiB/s.
const LEAST: usize = 10 * 1024;
const WINDOW: Duration = Duration::from_secs(10);

/// The body came too slowly.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body came too slowly")]
struct TooSlow;

/// Whether an error of a body says that it came too slowly.
pub fn was_too_slow(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<TooSlow>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// A body that ends with an error when it comes too slowly. What has come while nobody asked for more counts: a sender
/// does not pay for a busy server.
pub struct Paced {
    body: Body,
    least: usize,
    length: Duration,
    window: Option<Window>,
}

/// Runs from the first moment in which there was nothing to read until enough has come.
struct Window {
    came: usize,
    end: Pin<Box<Sleep>>,
}

impl Paced {
    /// Watches a body.
    pub fn new(body: Body) -> Self {
        Self::with(body, LEAST, WINDOW)
    }

    fn with(body: Body, least: usize, length: Duration) -> Self {
        Self { body, least, length, window: None }
    }

    fn came(&mut self, bytes: usize) {
        let least = self.least;
        self.window = self.window.take().and_then(|window| {
            let came = window.came + bytes;
            (came < least).then_some(Window { came, ..window })
        });
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.came(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(_) => {}
            Poll::Pending => {
                let length = self.length;
                let new = || Window { came: 0, end: Box::pin(sleep(length)) };
                if self.window.get_or_insert_with(new).end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
                }
            }
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
    use futures_util::{StreamExt, stream};
    use tokio::sync::mpsc;

    use super::*;

    /// Chunks of this length, one after each pause; a thousand bytes must come in every window. Both in milliseconds.
    fn drip(chunk: usize, chunks: usize, pause: u64, window: u64) -> Body {
        let chunks = stream::iter(0..chunks).then(move |_| async move {
            sleep(Duration::from_millis(pause)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; chunk]))
        });
        Body::new(Paced::with(Body::from_stream(chunks), 1000, Duration::from_millis(window)))
    }

    async fn read(body: Body) -> Result<usize, bool> {
        let read = axum::body::to_bytes(body, usize::MAX).await;
        read.map(|bytes| bytes.len()).map_err(|error| was_too_slow(&error))
    }

    #[tokio::test]
    async fn a_body_that_trickles_is_cut_off_and_one_that_flows_is_not() {
        assert_eq!(read(drip(1, 1000, 10, 300)).await, Err(true));
        assert_eq!(read(drip(10, 1000, 50, 300)).await, Err(true));
        assert_eq!(read(drip(10_000, 20, 20, 3_000)).await, Ok(200_000));
        assert_eq!(read(drip(1, 3, 1, 3_000)).await, Ok(3), "it ended in time");
    }

    #[tokio::test]
    async fn what_came_while_nobody_asked_counts() {
        let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
        let chunks = stream::unfold(receiver, |mut receiver| async move {
            let chunk = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(chunk), receiver))
        });
        let paced = Paced::with(Body::from_stream(chunks), 1000, Duration::from_millis(1_000));
        let mut body = Body::new(paced).into_data_stream();
        tokio::spawn(async move {
            sleep(Duration::from_millis(5)).await;
            (0..20).for_each(|_| sender.send(Bytes::from_static(b"sixteen bytes...")).unwrap());
        });
        let mut came = 0;
        while let Some(chunk) = body.next().await {
            came += chunk.unwrap().len();
            sleep(Duration::from_millis(75)).await;
        }
        assert_eq!(came, 20 * 16);
    }
}
