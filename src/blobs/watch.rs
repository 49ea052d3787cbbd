//! Whether the blob store answers: asked in the background, so that nobody has to wait for one that hangs.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{BlobError, BlobStore, Listed, Parts, Presigned};
use crate::causes::with_causes;

/// A store that has not answered by then hangs.
const PROBE: Duration = Duration::from_secs(4);
/// A store that has refused no write for so long counts as one that takes them, until the next.
const WRITES: Duration = Duration::from_secs(30);
/// Between two questions to a store that answers, and to one that does not.
const CALM: Duration = Duration::from_secs(5);
const AWAY: Duration = Duration::from_secs(1);

/// How a store was when it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Touch {
    /// It answers.
    Answers,
    /// It says that it cannot, or nobody is there: that is known at once, so it may be asked.
    Refuses,
    /// It takes what is asked and says nothing: nobody asks until it answers again.
    Hangs,
}

/// A blob store of which it is known whether it answers. While it hangs, everything is [`BlobError::Unavailable`] at once.
pub struct Watch {
    store: Arc<dyn BlobStore>,
    touch: AtomicU8,
    /// When it last refused to take something although it answered.
    refused: Mutex<Option<Instant>>,
}

impl Watch {
    /// Stands before a store; nothing is asked of it yet, and it counts as one that answers.
    pub fn new(store: Arc<dyn BlobStore>) -> Self {
        Self { store, touch: AtomicU8::new(Touch::Answers as u8), refused: Mutex::default() }
    }

    /// How the store is: one that answers and takes nothing refuses.
    pub fn touch(&self) -> Touch {
        let refused = self.refused().is_some_and(|at| at.elapsed() < WRITES);
        match self.asked() {
            Touch::Answers if refused => Touch::Refuses,
            asked => asked,
        }
    }

    fn refused(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what became of a write: a store may give what it has, and take nothing more.
    async fn wrote<T>(&self, outcome: Result<T, BlobError>) -> Result<T, BlobError> {
        match &outcome {
            Ok(_) => {
                if self.refused().take().is_some() {
                    tracing::info!("the blob store takes what is written again");
                }
            }
            // What is full is told by itself, and what is away by the next question.
            Err(error @ BlobError::Unavailable(_)) if self.answers_now().await => {
                if self.refused().replace(Instant::now()).is_none() {
                    let cause = with_causes(error);
                    tracing::warn!(cause, "the blob store answers, and does not take what is written");
                }
            }
            Err(_) => {}
        }
        outcome
    }

    /// Whether it answers still, by the last question and by one more.
    async fn answers_now(&self) -> bool {
        self.asked() == Touch::Answers
            && matches!(tokio::time::timeout(PROBE, self.store.ready()).await, Ok(Ok(())))
    }

    /// How the store was when it was last asked.
    fn asked(&self) -> Touch {
        match self.touch.load(Ordering::Relaxed) {
            0 => Touch::Answers,
            1 => Touch::Refuses,
            _ => Touch::Hangs,
        }
    }

    /// Refuses what a store that hangs would be asked for: before a body is read, for example.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn may_ask(&self) -> Result<(), BlobError> {
        match self.touch() {
            Touch::Hangs => Err(BlobError::Unavailable("it hangs".into())),
            Touch::Answers | Touch::Refuses => Ok(()),
        }
    }

    /// Asks from time to time, the first time at once, until the server stops.
    pub async fn run(&self, stop: &CancellationToken) {
        loop {
            let pause = if self.probe(PROBE).await == Touch::Answers { CALM } else { AWAY };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks once, and logs what changed.
    async fn probe(&self, patience: Duration) -> Touch {
        let asked = tokio::time::timeout(patience, self.store.ready()).await;
        let (touch, cause) = match asked {
            Ok(Ok(())) => (Touch::Answers, String::new()),
            Ok(Err(error)) => (Touch::Refuses, with_causes(&error)),
            Err(_) => {
                (Touch::Hangs, format!("it takes what is asked and does not answer within {patience:?}"))
            }
        };
        let before = self.asked();
        self.touch.store(touch as u8, Ordering::Relaxed);
        if touch != Touch::Answers {
            // That says it all.
            self.refused().take();
        }
        match (before, touch) {
            (Touch::Answers, Touch::Refuses | Touch::Hangs) => {
                tracing::warn!(cause, "long ciphertexts cannot be stored or read; everything else is served");
            }
            (Touch::Refuses | Touch::Hangs, Touch::Answers) => tracing::info!("the blob store answers again"),
            _ => {}
        }
        touch
    }
}

#[async_trait]
impl BlobStore for Watch {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BlobError> {
        self.may_ask()?;
        self.wrote(self.store.put(key, bytes).await).await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), BlobError> {
        self.may_ask()?;
        self.wrote(self.store.put_file(key, file).await).await
    }

    async fn get(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, BlobError> {
        self.may_ask()?;
        self.store.get(key, offset, length).await
    }

    async fn length(&self, key: &str) -> Result<u64, BlobError> {
        self.may_ask()?;
        self.store.length(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.may_ask()?;
        self.store.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, BlobError> {
        self.may_ask()?;
        self.store.list(prefix, after, limit).await
    }

    fn is_reached_by_clients(&self) -> bool {
        self.store.is_reached_by_clients()
    }

    async fn presign_put(
        &self,
        key: &str,
        length: u64,
        sha256: &[u8; 32],
        expires_s: u32,
    ) -> Result<Option<Presigned>, BlobError> {
        self.may_ask()?;
        self.store.presign_put(key, length, sha256, expires_s).await
    }

    async fn start_parts(
        &self,
        key: &str,
        lengths: &[u64],
        expires_s: u32,
    ) -> Result<Option<Parts>, BlobError> {
        self.may_ask()?;
        match self.store.start_parts(key, lengths, expires_s).await {
            // It was not asked.
            Ok(None) => Ok(None),
            outcome => self.wrote(outcome).await,
        }
    }

    async fn finish_parts(&self, key: &str, upload: &str, tags: &[String]) -> Result<(), BlobError> {
        self.may_ask()?;
        self.store.finish_parts(key, upload, tags).await
    }

    async fn abort_parts(&self, key: &str, upload: &str) -> Result<(), BlobError> {
        self.may_ask()?;
        self.store.abort_parts(key, upload).await
    }

    async fn ready(&self) -> Result<(), BlobError> {
        self.may_ask()?;
        self.store.ready().await
    }
}
