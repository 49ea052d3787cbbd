//! The port that keeps erasures on their way: which step is next, and since when. The log has the requests; this is
//! how far their fulfilment is, so that any node goes on where another one stopped.

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros, event::ErasedCounts};

use crate::subjects::keys::KeyStoreError;

/// An erasure on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose data.
    pub account: AccountId,
    /// The next step, from 2: the request was the first.
    pub step: u8,
    /// It is not begun before.
    pub due_at: Micros,
    /// What was destroyed until now.
    pub counts: ErasedCounts,
}

/// Keeps erasures on their way. Every call is one transaction.
#[async_trait]
pub trait ErasureQueue: Send + Sync {
    /// Puts an erasure in, to begin at a time; one that has begun stays as it is.
    async fn put(&self, account: AccountId, due_at: Micros) -> Result<(), KeyStoreError>;

    /// Takes out an erasure that has not begun; whether there was one.
    async fn cancel(&self, account: AccountId) -> Result<bool, KeyStoreError>;

    /// An erasure on its way.
    async fn find(&self, account: AccountId) -> Result<Option<Job>, KeyStoreError>;

    /// An erasure whose next step is due, and that nobody works on; it is the caller's until a time.
    async fn claim(&self, now: Micros, until: Micros) -> Result<Option<Job>, KeyStoreError>;

    /// Notes how far an erasure is. It is not the caller's any more.
    async fn note(&self, job: &Job) -> Result<(), KeyStoreError>;

    /// Takes out an erasure that is done.
    async fn done(&self, account: AccountId) -> Result<(), KeyStoreError>;
}
