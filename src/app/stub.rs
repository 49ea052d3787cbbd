//! Stands in until the adapters of these ports are there.

use async_trait::async_trait;
use bytes::Bytes;

use crate::blobs::{BlobError, BlobStore};

pub struct NoBlobs;

#[async_trait]
impl BlobStore for NoBlobs {
    async fn put(&self, _: &str, _: Bytes) -> Result<(), BlobError> {
        Err(BlobError::Missing)
    }

    async fn get(&self, _: &str, _: u64, _: u64) -> Result<Bytes, BlobError> {
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
