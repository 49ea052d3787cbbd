//! How long a connection bears that its client takes nothing of what it is sent. Whoever does not read would otherwise
//! hold a connection, its buffers and what its answer stands on for ever.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// An ordinary answer: longer than a train takes through a tunnel.
const ANSWER: Duration = Duration::from_mins(1);

/// The patience of one connection: of an ordinary answer, until a route says otherwise for its own.
#[derive(Debug, Clone)]
pub struct Patience(Arc<AtomicU64>);

impl Patience {
    /// For an ordinary answer.
    pub fn ordinary() -> Self {
        let patience = Self(Arc::default());
        patience.reset();
        patience
    }

    /// Back to that of an ordinary answer.
    pub fn reset(&self) {
        self.set(ANSWER);
    }

    /// So long from now on.
    pub fn set(&self, patience: Duration) {
        self.0.store(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whoever has the connection now has a limit of its own.
    pub fn give_up(&self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }

    fn left(&self) -> Option<Duration> {
        Some(self.0.load(Ordering::Relaxed)).filter(|millis| *millis < u64::MAX).map(Duration::from_millis)
    }
}

/// A stream that fails once a write has made no progress for as long as its patience lasts.
pub struct Patient<S> {
    stream: S,
    patience: Patience,
    /// Runs while a write is blocked.
    over: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// Watches a stream.
    pub fn new(stream: S, patience: Patience) -> Self {
        Self { stream, patience, over: None }
    }

    fn watched<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.over = None;
            return wrote;
        }
        let Some(patience) = self.patience.left() else { return wrote };
        let over = self.over.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(over.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watched(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_write_that_makes_no_progress_fails_and_any_progress_begins_the_time_anew() {
        let (mut reader, writer) = duplex(10);
        let patience = Patience::ordinary();
        let mut patient = Patient::new(writer, patience.clone());
        patient.write_all(&[1; 10]).await.unwrap();
        assert!(patient.over.is_none());
        assert!(patient.write(&[1]).now_or_never().is_none() && patient.over.is_some());
        reader.read_exact(&mut [0; 10]).await.unwrap();
        assert_eq!(patient.write(&[1; 10]).await.unwrap(), 10);
        assert!(patient.over.is_none());
        patience.set(Duration::from_millis(20));
        let failed = patient.write(&[1]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_has_a_limit_of_its_own_is_not_watched() {
        let (mut reader, writer) = duplex(10);
        let patience = Patience::ordinary();
        patience.set(Duration::from_millis(1));
        patience.give_up();
        let mut patient = Patient::new(writer, patience.clone());
        let written = tokio::spawn(async move { patient.write_all(&[1; 20]).await });
        sleep(Duration::from_millis(200)).await;
        reader.read_exact(&mut [0; 20]).await.unwrap();
        written.await.unwrap().unwrap();
        patience.reset();
        assert_eq!(patience.left(), Some(ANSWER));
    }
}
