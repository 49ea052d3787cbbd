//! The port for what all nodes count together.

use async_trait::async_trait;
use lockstep_events::Micros;

use super::gcra::Quota;
use crate::auth::credentials::CredentialError;

/// One from one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// The bucket: a keyed hash, so that the table names nobody.
    pub key: [u8; 16],
    /// Whether the bucket must outlive a crash of the database.
    pub kept: bool,
    /// How much it holds.
    pub quota: Quota,
}

/// What became of a list of takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// One was taken from each; when each will be full again.
    All(Vec<Micros>),
    /// The bucket at this place had none. What stands before it was taken, what stands after it was not.
    Refused {
        /// The place in the list.
        at: usize,
        /// When the bucket will be full again.
        full_at: Micros,
    },
}

/// Buckets that all nodes share. Exact: two nodes never take the same one.
#[async_trait]
pub trait RateStore: Send + Sync {
    /// Takes one from each bucket in order, until one has none.
    async fn take(&self, takes: &[Take], now: Micros) -> Result<Taken, CredentialError>;

    /// Puts one back.
    async fn give_back(&self, take: &Take) -> Result<(), CredentialError>;

    /// Forgets buckets that are full again; how many. What a clock wrote that has been set back since is full in a day.
    async fn sweep(&self, now: Micros) -> Result<u64, CredentialError>;
}
