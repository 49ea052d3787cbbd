//! A shelf without anything on it, for tests of what stands on one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lockstep_events::{BlobHash, Clock, Micros, VaultId};

use super::{BlobError, BlobIndex, BlobPlace, BlobStore, Shelf};

struct Nothing;

pub fn no_blobs() -> Shelf {
    Shelf { store: Arc::new(Nothing), index: Arc::new(Nothing), clock: Arc::new(Nothing) }
}

impl Clock for Nothing {
    fn now(&self) -> Micros {
        Micros(1)
    }
}

#[async_trait]
impl BlobIndex for Nothing {
    async fn find(&self, _: VaultId, _: &[BlobHash]) -> Result<Vec<(BlobHash, BlobPlace)>, BlobError> {
        Ok(Vec::new())
    }
    async fn name(&self, _: VaultId, _: &[BlobHash]) -> Result<Vec<(BlobHash, BlobPlace)>, BlobError> {
        Ok(Vec::new())
    }
    async fn insert(&self, _: VaultId, _: &[(BlobHash, BlobPlace)], _: Micros) -> Result<(), BlobError> {
        Ok(())
    }
    async fn remove(&self, _: VaultId, _: &[BlobHash]) -> Result<Vec<String>, BlobError> {
        Ok(Vec::new())
    }
    async fn sweep_unnamed(&self, _: Micros, _: Micros, _: Micros) -> Result<u64, BlobError> {
        Ok(0)
    }
    async fn orphans(&self, _: &[String], _: Micros, _: Micros) -> Result<Vec<String>, BlobError> {
        Ok(Vec::new())
    }
    async fn forget_orphans(&self, _: &[String]) -> Result<(), BlobError> {
        Ok(())
    }
}

#[async_trait]
impl BlobStore for Nothing {
    async fn put(&self, _: &str, _: Bytes) -> Result<(), BlobError> {
        Ok(())
    }
    async fn get(&self, _: &str, _: u64, _: u64) -> Result<Bytes, BlobError> {
        Err(BlobError::Missing)
    }
    async fn length(&self, _: &str) -> Result<u64, BlobError> {
        Err(BlobError::Missing)
    }
    async fn delete(&self, _: &str) -> Result<(), BlobError> {
        Ok(())
    }
    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<String>, BlobError> {
        Ok(Vec::new())
    }
    async fn presign_put(
        &self,
        _: &str,
        _: u64,
        _: &[u8; 32],
        _: u32,
    ) -> Result<Option<(String, Vec<(String, String)>)>, BlobError> {
        Ok(None)
    }
    async fn ready(&self) -> Result<(), BlobError> {
        Ok(())
    }
}
