//! A shelf without anything on it, for tests of what stands on one.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use lockstep_events::{BlobHash, Clock, Micros, VaultId};

use crate::adapters::sqlite::operations::SqliteOperations;

use super::{
    BlobError, BlobIndex, BlobPlace, BlobStore, Held, Listed, Lying, Parts, Presigned, Promise, Settled,
    Shelf,
};

struct Nothing;

/// An index in a file of a folder.
pub async fn index_in(folder: &Path) -> Arc<dyn BlobIndex> {
    Arc::new(SqliteOperations::open(&folder.join("operations.sqlite")).await.unwrap())
}

pub fn no_blobs() -> Shelf {
    Shelf { store: Arc::new(Nothing), index: Arc::new(Nothing), clock: Arc::new(Nothing) }
}

impl Clock for Nothing {
    fn now(&self) -> Micros {
        Micros(1)
    }
}

type Result<T> = std::result::Result<T, BlobError>;

#[async_trait]
impl BlobIndex for Nothing {
    async fn find(&self, _: VaultId, _: &[BlobHash]) -> Result<Vec<(BlobHash, BlobPlace)>> {
        Ok(Vec::new())
    }
    async fn name(&self, _: VaultId, _: &[BlobHash], _: Micros) -> Result<Vec<(BlobHash, BlobPlace)>> {
        Ok(Vec::new())
    }
    async fn naming_ended(&self, _: VaultId, _: &[BlobHash], _: bool) -> Result<()> {
        Ok(())
    }
    async fn endless(
        &self,
        _: Micros,
        _: Option<(VaultId, BlobHash)>,
        _: usize,
    ) -> Result<Vec<(VaultId, BlobHash, u64)>> {
        Ok(Vec::new())
    }
    async fn naming_settled(&self, _: VaultId, _: &[(BlobHash, u64)], _: Settled) -> Result<()> {
        Ok(())
    }
    async fn insert(&self, _: VaultId, _: &[(BlobHash, BlobPlace)], _: Micros) -> Result<()> {
        Ok(())
    }
    async fn marks(&self, _: VaultId, _: &[BlobHash]) -> Result<Vec<(BlobHash, u64)>> {
        Ok(Vec::new())
    }
    async fn remove(&self, _: VaultId, _: &[(BlobHash, u64)], _: Micros, _: Micros) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn of_vault(&self, _: VaultId, _: Option<BlobHash>, _: usize) -> Result<Vec<BlobHash>> {
        Ok(Vec::new())
    }
    async fn sweep_unnamed(&self, _: Micros, _: Micros, _: Micros) -> Result<u64> {
        Ok(0)
    }
    async fn orphans(&self, _: &[String], _: Micros, _: Micros) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn doomed(&self, _: usize) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn forget_orphans(&self, _: &[String]) -> Result<()> {
        Ok(())
    }
    async fn used(&self, _: &[String]) -> Result<Vec<(String, u64)>> {
        Ok(Vec::new())
    }
    async fn objects(&self, _: Option<&str>, _: usize) -> Result<Vec<Held>> {
        Ok(Vec::new())
    }
    async fn lying_in(&self, _: &str) -> Result<Vec<Lying>> {
        Ok(Vec::new())
    }
    async fn relocate(&self, _: &str, _: &str, _: &[Lying]) -> Result<()> {
        Ok(())
    }
    async fn upload_started(&self, _: &str, _: &str, _: Micros) -> Result<()> {
        Ok(())
    }
    async fn upload_to(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
    async fn uploads_before(&self, _: Micros, _: usize) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }
    async fn uploads_under(&self, _: &str) -> Result<u64> {
        Ok(0)
    }
    async fn upload_ended(&self, _: &str) -> Result<()> {
        Ok(())
    }
    async fn promise(&self, _: &Promise<'_>) -> Result<std::result::Result<(), u64>> {
        Ok(Ok(()))
    }
    async fn promised_at(&self, _: VaultId, _: BlobHash, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
    async fn break_promise(&self, _: VaultId, _: BlobHash) -> Result<()> {
        Ok(())
    }
    async fn forget_promises(&self, _: VaultId) -> Result<()> {
        Ok(())
    }
    async fn sweep_promises(&self, _: Micros) -> Result<u64> {
        Ok(0)
    }
    async fn take_turn(&self, _: &str, _: Micros, _: Micros) -> Result<bool> {
        Ok(false)
    }
}

#[async_trait]
impl BlobStore for Nothing {
    async fn put(&self, _: &str, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn put_file(&self, _: &str, _: &Path) -> Result<()> {
        Ok(())
    }
    async fn get(&self, _: &str, _: u64, _: u64) -> Result<Bytes> {
        Err(BlobError::Missing)
    }
    async fn length(&self, _: &str) -> Result<u64> {
        Err(BlobError::Missing)
    }
    async fn delete(&self, _: &str) -> Result<()> {
        Ok(())
    }
    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<Listed>> {
        Ok(Vec::new())
    }
    async fn presign_put(&self, _: &str, _: u64, _: &[u8; 32], _: u32) -> Result<Option<Presigned>> {
        Ok(None)
    }
    async fn start_parts(&self, _: &str, _: &[u64], _: u32) -> Result<Option<Parts>> {
        Ok(None)
    }
    async fn finish_parts(&self, _: &str, _: &str, _: &[String]) -> Result<()> {
        Err(BlobError::Missing)
    }
    async fn abort_parts(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}
