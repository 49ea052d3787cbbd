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

use crate::{
    blobs::{BlobError, BlobStore, Listed, Parts, Presigned, check_key},
    no_room::is_full,
};

/// A blob store in a folder.
#[derive(Debug, Clone)]
pub struct FilesystemBlobs {
    objects: PathBuf,
    unfinished: PathBuf,
}

impl FilesystemBlobs {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self, BlobError> {
        let store = Self { objects: folder.join("objects"), unfinished: folder.join("unfinished") };
        fs::create_dir_all(&store.unfinished).map_err(failed)?;
        fs::create_dir_all(&store.objects).map_err(failed)?;
        Ok(store)
    }

    /// Deletes what an earlier process did not finish, and what any other has not finished yet: only for whoever has the
    /// folder for itself.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn forget_unfinished(&self) -> Result<(), BlobError> {
        let deleted = fs::remove_dir_all(&self.unfinished).or_else(missing_is_fine);
        deleted.and_then(|()| fs::create_dir_all(&self.unfinished)).map_err(failed)
    }

    /// Objects are spread over 256 folders by a hash of their key; the key itself is the name, its slashes as dots
    /// (which no key has).
    fn place(&self, key: &str) -> Result<PathBuf, BlobError> {
        check_key(key)?;
        Ok(self.objects.join(shard(key)).join(key.replace('/', ".")))
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

    /// Moves a file that is synced into its place. Where it lies on another disk, its bytes are copied.
    fn adopt(&self, key: &str, file: &Path) -> Result<(), BlobError> {
        let place = self.place(key)?;
        if place.exists() {
            return Ok(());
        }
        File::open(file).and_then(|file| file.sync_all()).map_err(failed)?;
        match move_to(file, &place) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.copy(file, &place),
            moved => moved.map_err(failed),
        }
    }

    fn copy(&self, file: &Path, place: &Path) -> Result<(), BlobError> {
        let unfinished = self.unfinished.join(Uuid::new_v4().to_string());
        let copied = fs::copy(file, &unfinished)
            .and_then(|_| File::open(&unfinished)?.sync_all())
            .and_then(|()| move_to(&unfinished, place));
        if copied.is_err() {
            // On a disk that is full it would keep others out.
            let _ = fs::remove_file(&unfinished);
        }
        copied.map_err(failed)
    }

    /// By folder, and by name within it: to go on, nothing is read that was listed before but the rest of a folder.
    fn listed(&self, prefix: &str, after: Option<&str>, limit: usize) -> io::Result<Vec<Listed>> {
        let begun = after.map(shard);
        let mut shards: Vec<_> = fs::read_dir(&self.objects)?
            .map(|shard| Ok(shard?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        shards.retain(|shard| begun.as_ref().is_none_or(|begun| shard >= begun));
        shards.sort_unstable();
        let mut listed = Vec::new();
        for shard in shards {
            let after = after.filter(|_| begun.as_ref() == Some(&shard));
            for (key, object) in self.in_shard(&shard, prefix, after)? {
                if listed.len() == limit {
                    return Ok(listed);
                }
                // One that was deleted meanwhile is not in the list.
                if let Ok(data) = object.metadata() {
                    listed.push(Listed { key, length: data.len() });
                }
            }
        }
        Ok(listed)
    }

    fn in_shard(
        &self,
        shard: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> io::Result<Vec<(String, fs::DirEntry)>> {
        let mut found = Vec::new();
        for object in fs::read_dir(self.objects.join(shard))? {
            let object = object?;
            let key = object.file_name().to_string_lossy().replace('.', "/");
            if key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after) {
                found.push((key, object));
            }
        }
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }
}

/// The folder of a key.
fn shard(key: &str) -> String {
    format!("{:02x}", sha256(key.as_bytes())[0])
}

fn write_and_move(unfinished: &Path, place: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    move_to(unfinished, place)
}

/// Makes a synced file an object: it is there as a whole, durably.
fn move_to(file: &Path, place: &Path) -> io::Result<()> {
    let folder = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        folder.parent().map_or(Ok(()), sync_folder)?;
    }
    fs::rename(file, place)?;
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
        _ if is_full(&error) => BlobError::Full(Box::new(error)),
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

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), BlobError> {
        let (store, key, file) = (self.clone(), key.to_owned(), file.to_owned());
        blocking(move || store.adopt(&key, &file)).await
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

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, BlobError> {
        let (store, prefix, after) = (self.clone(), prefix.to_owned(), after.map(str::to_owned));
        blocking(move || store.listed(&prefix, after.as_deref(), limit).map_err(failed)).await
    }

    async fn presign_put(
        &self,
        _: &str,
        _: u64,
        _: &[u8; 32],
        _: u32,
    ) -> Result<Option<Presigned>, BlobError> {
        Ok(None)
    }

    async fn start_parts(&self, _: &str, _: &[u64], _: u32) -> Result<Option<Parts>, BlobError> {
        Ok(None)
    }

    async fn finish_parts(&self, _: &str, _: &str, _: &[String]) -> Result<(), BlobError> {
        Err(BlobError::Missing)
    }

    async fn abort_parts(&self, _: &str, _: &str) -> Result<(), BlobError> {
        Ok(())
    }

    async fn ready(&self) -> Result<(), BlobError> {
        let folder = self.unfinished.clone();
        blocking(move || fs::metadata(folder).map(drop).map_err(failed)).await
    }
}
