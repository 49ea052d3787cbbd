//! The port that keeps subject keys, sealed. What every implementation promises (and the contract suite in
//! `tests/privacy` makes it keep):
//!
//! 1. The first key under a name stays until it is destroyed; everybody gets that one.
//! 2. What is destroyed is gone, and leaves a tombstone: no key is ever made in its place, also not by a caller that
//!    began before. Purposes that had no key yet get none either.
//! 3. What was answered is durable.

use std::ops::Range;

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros};
use uuid::Uuid;

use super::purpose::Purpose;

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The database cannot be reached or timed out.
    #[error("the store of subject keys is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The disk or the quota of the database is full.
    #[error("the store of subject keys has no room left")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else the database says.
    #[error("the store of subject keys failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Which key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName {
    /// Whose data.
    pub subject: AccountId,
    /// What it is kept for.
    pub purpose: Purpose,
    /// The month, or empty.
    pub period: String,
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Which key.
    pub name: KeyName,
    /// Names it in receipts.
    pub id: Uuid,
    /// The epoch whose key seals it.
    pub epoch: u32,
    /// The sealed key.
    pub bytes: Vec<u8>,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing yet.
    None,
    /// A key.
    Key(StoredKey),
    /// It was destroyed.
    Destroyed,
}

/// Keeps subject keys. Every call is one transaction.
#[async_trait]
pub trait SubjectKeys: Send + Sync {
    /// What stands under a name.
    async fn find(&self, name: &KeyName) -> Result<Standing, KeyStoreError>;

    /// Stores a key unless something stands under its name; what stands there then.
    async fn add(&self, key: &StoredKey) -> Result<Standing, KeyStoreError>;

    /// The living keys of a person.
    async fn of(&self, subject: AccountId) -> Result<Vec<StoredKey>, KeyStoreError>;

    /// Living keys that are sealed under one of these epochs, at most `limit`.
    async fn sealed_under(&self, epochs: Range<u32>, limit: u32) -> Result<Vec<StoredKey>, KeyStoreError>;

    /// Replaces the sealed bytes of a living key, if they are still those of `from`.
    async fn reseal(&self, from: &StoredKey, to: &StoredKey) -> Result<bool, KeyStoreError>;

    /// Destroys all keys of a person for some purposes; the ids of all that there ever were, oldest id first.
    async fn destroy(
        &self,
        subject: AccountId,
        purposes: &[Purpose],
        at: Micros,
    ) -> Result<Vec<Uuid>, KeyStoreError>;

    /// Deletes the keys of all people for a purpose with a period before this one; how many.
    async fn expire(&self, purpose: Purpose, first_kept: &str) -> Result<u64, KeyStoreError>;
}
