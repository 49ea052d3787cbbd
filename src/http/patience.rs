//! How long a connection bears that its client takes nothing of what it is sent, or hardly anything. Whoever does not
//! read would otherwise hold a connection, its buffers and what its answer stands on for ever.

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
/// While something waits to be taken, so many bytes must be in each second of the patience.
const LEAST: u128 = 1024;

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

/// A stream that fails once too little of what waits was written for as long as its patience lasts.
pub struct Patient<S> {
    stream: S,
    patience: Patience,
    blocked: Option<Blocked>,
}

/// Runs from the first write that is blocked until enough was written, or all of it.
struct Blocked {
    over: Pin<Box<Sleep>>,
    left: u128,
}

impl Blocked {
    fn new(patience: Duration) -> Self {
        Self { over: Box::pin(sleep(patience)), left: LEAST * patience.as_millis() / 1000 }
    }
}

impl<S> Patient<S> {
    /// Watches a stream.
    pub fn new(stream: S, patience: Patience) -> Self {
        Self { stream, patience, blocked: None }
    }

    fn watched(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(wrote) = wrote {
            let bytes = wrote.as_ref().map_or(0, |bytes| *bytes as u128);
            let still =
                |blocked: Blocked| Some(Blocked { left: blocked.left.checked_sub(bytes)?, ..blocked });
            self.blocked = self.blocked.take().and_then(still);
            return Poll::Ready(wrote);
        }
        let Some(patience) = self.patience.left() else { return wrote };
        let blocked = self.blocked.get_or_insert_with(|| Blocked::new(patience));
        ready!(blocked.over.as_mut().poll(cx));
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
        // Asked for when all is written that there was.
        self.blocked = None;
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
    async fn a_write_that_makes_no_progress_fails_and_the_time_begins_anew_when_all_is_taken() {
        let (mut reader, writer) = duplex(10);
        let patience = Patience::ordinary();
        let mut patient = Patient::new(writer, patience.clone());
        patient.write_all(&[1; 10]).await.unwrap();
        assert!(patient.blocked.is_none());
        assert!(patient.write(&[1]).now_or_never().is_none() && patient.blocked.is_some());
        reader.read_exact(&mut [0; 10]).await.unwrap();
        assert_eq!(patient.write(&[1; 10]).await.unwrap(), 10);
        assert!(patient.blocked.is_some(), "ten bytes are not much");
        patient.flush().await.unwrap();
        assert!(patient.blocked.is_none());
        patience.set(Duration::from_millis(20));
        let failed = patient.write(&[1]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_takes_a_few_bytes_now_and_then_does_not_hold_an_answer() {
        let (mut reader, writer) = duplex(10);
        let patience = Patience::ordinary();
        patience.set(Duration::from_millis(100));
        let mut patient = Patient::new(writer, patience);
        let sipping = tokio::spawn(async move {
            while reader.read_exact(&mut [0; 1]).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        });
        let failed = patient.write_all(&[1; 10_000]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        drop(patient);
        sipping.await.unwrap();
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
