//! Blobs as files. An object is written beside its place, synced, renamed, and its folder synced: after that it
//! survives a power cut, and before that nobody can see it.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use lockstep_events::canonical::sha256;
use uuid::Uuid;

use crate::blobs::{BlobError, BlobStore, check_key};

/// A blob store in a folder.
#[derive(Debug, Clone)]
pub struct FilesystemBlobs {
    objects: PathBuf,
    unfinished: PathBuf,
}

impl FilesystemBlobs {
    /// Opens or makes the folder; what an earlier process did not finish is deleted.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self, BlobError> {
        let store = Self { objects: folder.join("objects"), unfinished: folder.join("unfinished") };
        let made = fs::remove_dir_all(&store.unfinished).or_else(missing_is_fine);
        made.and_then(|()| fs::create_dir_all(&store.unfinished)).map_err(failed)?;
        fs::create_dir_all(&store.objects).map_err(failed)?;
        Ok(store)
    }

    /// Objects are spread over 256 folders by a hash of their key; the key itself is the name, its slashes as dots
    /// (which no key has).
    fn place(&self, key: &str) -> Result<PathBuf, BlobError> {
        check_key(key)?;
        let shard = format!("{:02x}", sha256(key.as_bytes())[0]);
        Ok(self.objects.join(shard).join(key.replace('/', ".")))
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<(), BlobError> {
        let place = self.place(key)?;
        if place.exists() {
            return Ok(());
        }
        let unfinished = self.unfinished.join(Uuid::new_v4().to_string());
        let written = write_and_move(&unfinished, &place, bytes);
        if written.is_err() {
            // What is left over is deleted at the next start.
            let _ = fs::remove_file(&unfinished);
        }
        written.map_err(failed)
    }

    fn names(&self, prefix: &str, after: Option<&str>, limit: usize) -> io::Result<Vec<String>> {
        let mut keys = Vec::new();
        for shard in fs::read_dir(&self.objects)? {
            for object in fs::read_dir(shard?.path())? {
                let key = object?.file_name().to_string_lossy().replace('.', "/");
                if key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after) {
                    keys.push(key);
                }
            }
        }
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys)
    }
}

fn write_and_move(unfinished: &Path, place: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let folder = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        folder.parent().map_or(Ok(()), sync_folder)?;
    }
    fs::rename(unfinished, place)?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn failed(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::NotFound => BlobError::Missing,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(Box::new(error)),
        _ => BlobError::Unavailable(Box::new(error)),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BlobError::Other(Box::new(error)))?
}

#[async_trait]
impl BlobStore for FilesystemBlobs {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BlobError> {
        let (store, key) = (self.clone(), key.to_owned());
        blocking(move || store.write(&key, &bytes)).await
    }

    async fn get(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, BlobError> {
        let place = self.place(key)?;
        blocking(move || {
            let mut file = File::open(place).map_err(failed)?;
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 == length { Ok(bytes.into()) } else { Err(BlobError::Missing) }
        })
        .await
    }

    async fn length(&self, key: &str) -> Result<u64, BlobError> {
        let place = self.place(key)?;
        blocking(move || fs::metadata(place).map(|data| data.len()).map_err(failed)).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let place = self.place(key)?;
        blocking(move || fs::remove_file(place).or_else(missing_is_fine).map_err(failed)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, BlobError> {
        let (store, prefix, after) = (self.clone(), prefix.to_owned(), after.map(str::to_owned));
        blocking(move || store.names(&prefix, after.as_deref(), limit).map_err(failed)).await
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
        let folder = self.unfinished.clone();
        blocking(move || fs::metadata(folder).map(drop).map_err(failed)).await
    }
}
