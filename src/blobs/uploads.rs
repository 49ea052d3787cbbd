//! Uploads through the server that are not finished: a broken connection goes on where it stopped.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use lockstep_events::{BlobHash, VaultId, canonical::sha256};
use tokio::{
    fs::{self, OpenOptions},
    io::AsyncWriteExt,
};

/// Why an upload did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It does not continue where the server is.
    #[error("the upload continues at {0}")]
    Offset(u64),
    /// There are more bytes than were announced.
    #[error("the upload is longer than announced")]
    TooLong,
    /// The bytes do not have the hash. They are thrown away.
    #[error("the bytes do not have the promised hash")]
    Hash,
    /// The connection broke; what came is kept.
    #[error("the upload broke off at {0}")]
    Broken(u64),
    /// The disk.
    #[error("the part cannot be kept")]
    Disk(#[from] io::Error),
}

/// The parts of unfinished uploads, each a file.
#[derive(Debug, Clone)]
pub struct Uploads {
    folder: PathBuf,
}

impl Uploads {
    /// Parts in a folder, which is made when it is needed.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn part(&self, vault: VaultId, hash: &BlobHash) -> PathBuf {
        self.folder.join(format!("{vault}-{hash}"))
    }

    /// How much of a blob is here.
    pub async fn offset(&self, vault: VaultId, hash: &BlobHash) -> u64 {
        fs::metadata(self.part(vault, hash)).await.map_or(0, |part| part.len())
    }

    /// Takes bytes from `offset` on; the whole blob, checked, once all `size` bytes are here. Offset 0 starts again.
    ///
    /// # Errors
    /// [`UploadError`]. After `Broken` the upload can go on.
    pub async fn take<E>(
        &self,
        vault: VaultId,
        hash: &BlobHash,
        (offset, size): (u64, u64),
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Bytes, UploadError> {
        fs::create_dir_all(&self.folder).await?;
        let path = self.part(vault, hash);
        let here = self.offset(vault, hash).await;
        if offset != 0 && offset != here {
            return Err(UploadError::Offset(here));
        }
        let mut part = OpenOptions::new()
            .create(true)
            .write(true)
            .append(offset > 0)
            .truncate(offset == 0)
            .open(&path)
            .await?;
        let mut at = offset;
        while let Some(chunk) = body.next().await {
            let Ok(chunk) = chunk else {
                part.flush().await?;
                return Err(UploadError::Broken(at));
            };
            at += chunk.len() as u64;
            if at > size {
                drop(part);
                fs::remove_file(&path).await?;
                return Err(UploadError::TooLong);
            }
            part.write_all(&chunk).await?;
        }
        part.flush().await?;
        if at < size {
            return Err(UploadError::Broken(at));
        }
        let bytes = Bytes::from(fs::read(&path).await?);
        fs::remove_file(&path).await?;
        if sha256(&bytes) == hash.0 { Ok(bytes) } else { Err(UploadError::Hash) }
    }
}
