//! Answers kept for retries: a command with an `Idempotency-Key` is done once, and answered the same again.

use async_trait::async_trait;
use lockstep_events::{AccountId, DeviceId, Micros};

use crate::auth::credentials::CredentialError;

/// An answer is kept so long, in seconds.
pub const KEPT_S: i64 = 30 * 24 * 3600;

/// Whose key it is. Two devices may use the same key for different things.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AnswerKey {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// The key as the device sent it: 1 to 128 visible ASCII characters.
    pub key: String,
}

/// What was answered to which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// SHA-256 over route and body.
    pub request_hash: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// Keeps answers. The first one under a key stays, whoever else answers at the same time, until its time is over: then
/// it is no longer found, and when it was swept its key is free again. Every call is one transaction.
#[async_trait]
pub trait KeptAnswers: Send + Sync {
    /// What is kept under a key.
    async fn kept(&self, key: &AnswerKey, now: Micros) -> Result<Option<KeptAnswer>, CredentialError>;

    /// Keeps an answer until a time.
    async fn keep(&self, key: &AnswerKey, answer: &KeptAnswer, until: Micros) -> Result<(), CredentialError>;

    /// Deletes what is kept no longer.
    async fn sweep(&self, now: Micros) -> Result<u64, CredentialError>;
}
