//! Objects of the blob store go over one by one: a megabyte or a few at a time, never a whole attachment in memory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{fs::File, io::AsyncWriteExt};
use uuid::Uuid;

use super::{MoveError, Watch};
use crate::{
    blobs::{BlobError, BlobStore, Listed, Pages},
    private_file,
};

/// Objects that are on their way at the same time.
const AT_ONCE: usize = 4;
/// Objects that are asked for at the same time.
const ASKED: usize = 16;
/// So much of an object is in memory.
const WINDOW: u64 = 4 * 1024 * 1024;

/// What went over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Objects in the old store.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that an earlier move had brought.
    pub there: u64,
}

/// Two stores, and a folder for what does not fit into memory.
pub struct Objects<'a> {
    pub from: &'a dyn BlobStore,
    pub to: &'a dyn BlobStore,
    /// The data folder of the new place.
    pub data: &'a Path,
}

impl Objects<'_> {
    /// Refuses a store that has objects of somebody else: nothing here would name them, and the sweep would delete them.
    pub async fn check(&self) -> Result<(), MoveError> {
        let mut pages = Pages::of(self.to);
        while let Some(page) = pages.next().await? {
            let asked = page.into_iter().map(|object| async move {
                match self.from.length(&object.key).await {
                    Ok(_) => Ok(None),
                    Err(BlobError::Missing) => Ok(Some(object.key)),
                    Err(error) => Err(error),
                }
            });
            let strange: Vec<_> = stream::iter(asked).buffered(ASKED).try_collect().await?;
            if let Some(key) = strange.into_iter().flatten().next() {
                return Err(MoveError::StrangeObject(key));
            }
        }
        Ok(())
    }

    /// Copies every object that is not there with the same length.
    pub async fn carry(&self, watch: &mut Watch<'_>) -> Result<Carried, MoveError> {
        // What a move left that was killed.
        let _ = fs::remove_dir_all(self.folder());
        private_file::make_folder(&self.folder()).map_err(|error| self.disk(error))?;
        let carried = self.carry_all(watch).await;
        let _ = fs::remove_dir_all(self.folder());
        carried
    }

    async fn carry_all(&self, watch: &mut Watch<'_>) -> Result<Carried, MoveError> {
        let mut carried = Carried::default();
        let mut pages = Pages::of(self.from);
        while let Some(page) = pages.next().await? {
            carried.bytes += page.iter().map(|object| object.length).sum::<u64>();
            let moves = page.iter().map(|object| self.object(object));
            let mut moves = stream::iter(moves).buffer_unordered(AT_ONCE);
            while let Some(was_there) = moves.try_next().await? {
                carried.objects += 1;
                carried.there += u64::from(was_there);
                watch("objects", carried.objects, 0);
            }
        }
        Ok(carried)
    }

    /// Copies one; whether it was there.
    async fn object(&self, object: &Listed) -> Result<bool, MoveError> {
        let Listed { key, length } = object;
        match self.to.length(key).await {
            Ok(there) if there == *length => return Ok(true),
            // Bytes are never exchanged under a key; but half of them may have been left there by other hands.
            Ok(_) => self.to.delete(key).await?,
            Err(BlobError::Missing) => {}
            Err(error) => return Err(error.into()),
        }
        if *length <= WINDOW {
            self.to.put(key, self.from.get(key, 0, *length).await?).await?;
            return Ok(false);
        }
        let path = self.folder().join(Uuid::new_v4().to_string());
        self.fetch(object, &path).await?;
        self.to.put_file(key, &path).await?;
        // The store may have taken the file itself.
        let _ = fs::remove_file(&path);
        Ok(false)
    }

    async fn fetch(&self, object: &Listed, path: &Path) -> Result<(), MoveError> {
        let mut file = File::from_std(private_file::create(path).map_err(|error| self.disk(error))?);
        let mut at = 0;
        while at < object.length {
            let bytes = self.from.get(&object.key, at, (object.length - at).min(WINDOW)).await?;
            at += bytes.len() as u64;
            file.write_all(&bytes).await.map_err(|error| self.disk(error))?;
        }
        file.flush().await.map_err(|error| self.disk(error))
    }

    /// Where an object waits on its way.
    fn folder(&self) -> PathBuf {
        self.data.join("moving")
    }

    fn disk(&self, source: io::Error) -> MoveError {
        MoveError::File { path: self.folder(), source }
    }
}
