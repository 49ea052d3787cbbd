//! Hashes of what is too long to be in memory.

use std::{fs::File, io, io::Read, path::Path};

use sha2::{Digest, Sha256};

use super::{BlobError, BlobStore};

/// So much is in memory at the same time.
pub(super) const WINDOW: u64 = 1024 * 1024;

/// The first `length` bytes of a file, hashed so far.
pub(super) fn hash_file(path: &Path, length: u64) -> io::Result<Sha256> {
    let mut file = File::open(path)?.take(length);
    let mut hasher = Sha256::new();
    let hashed = io::copy(&mut file, &mut hasher)?;
    if hashed == length { Ok(hasher) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The hash of an object.
pub(super) async fn hash_object(
    store: &dyn BlobStore,
    key: &str,
    length: u64,
) -> Result<[u8; 32], BlobError> {
    let mut hasher = Sha256::new();
    let mut at = 0;
    while at < length {
        let bytes = store.get(key, at, (length - at).min(4 * WINDOW)).await?;
        at += bytes.len() as u64;
        hasher.update(&bytes);
    }
    Ok(hasher.finalize().into())
}
