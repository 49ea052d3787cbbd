//! Store and index as one: put blobs on the shelf, find them, take them off.
//!
//! Blob first, index second, event last: what an event or the index names is there, and what is there without a
//! name is swept.

use std::{collections::HashMap, path::Path, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use lockstep_events::{BlobHash, Clock, Micros, VaultId};
use uuid::Uuid;

use super::{
    BlobError, BlobIndex, BlobPlace, BlobStore, PART,
    check::{WINDOW, hash_object},
};

/// So many objects are read at the same time for one request.
pub(super) const READERS: usize = 8;
/// So many blobs are taken off at once.
const PAGE: usize = 500;
/// No push lives so long, in seconds: a naming from before has not ended and never will, and the log knows its event.
const NAMING_S: i64 = 600;
/// So many uploads that did not end are looked at.
const UPLOADS: usize = 100_000;

/// The shelf of a server.
pub struct Shelf {
    /// The bytes.
    pub store: Arc<dyn BlobStore>,
    /// Where they lie.
    pub index: Arc<dyn BlobIndex>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The key under which a client uploads a blob straight to the store.
pub fn direct_key(vault: VaultId, hash: &BlobHash) -> String {
    format!("direct/{vault}/{hash}")
}

impl Shelf {
    /// Stores blobs as one object; their hashes have been checked.
    ///
    /// # Errors
    /// If the store or the index does not answer. Then nothing is on the shelf.
    pub async fn put(&self, vault: VaultId, blobs: &[(BlobHash, Bytes)]) -> Result<(), BlobError> {
        self.put_again(vault, blobs, &[]).await
    }

    /// The same; some of them are [`Self::lost`].
    ///
    /// # Errors
    /// If the store or the index does not answer.
    pub async fn put_again(
        &self,
        vault: VaultId,
        blobs: &[(BlobHash, Bytes)],
        lost: &[(BlobHash, BlobPlace)],
    ) -> Result<(), BlobError> {
        let pack = pack_key(vault);
        let mut bytes = BytesMut::with_capacity(blobs.iter().map(|(_, bytes)| bytes.len()).sum());
        let mut places = Vec::with_capacity(blobs.len());
        for (hash, blob) in blobs {
            let (offset, length) = (bytes.len() as u64, blob.len() as u64);
            places.push((*hash, BlobPlace { pack: pack.clone(), offset, length }));
            bytes.extend_from_slice(blob);
        }
        self.store.put(&pack, bytes.freeze()).await?;
        self.enter(vault, &places, lost).await
    }

    /// Stores the bytes of a file, whose hash has been checked, as an object of its own. The file may be gone then. It
    /// may be among the blobs that are [`Self::lost`].
    ///
    /// # Errors
    /// If the store or the index does not answer. Then nothing is on the shelf.
    pub async fn put_file(
        &self,
        vault: VaultId,
        (hash, length): (BlobHash, u64),
        file: &Path,
        lost: &[(BlobHash, BlobPlace)],
    ) -> Result<(), BlobError> {
        let pack = pack_key(vault);
        self.store.put_file(&pack, file).await?;
        self.enter(vault, &[(hash, BlobPlace { pack, offset: 0, length })], lost).await
    }

    /// Lengths of those of these blobs that are on the shelf.
    ///
    /// A blob that a client uploaded straight to the store is looked at here for the first time.
    ///
    /// # Errors
    /// If the store or the index does not answer.
    pub async fn lengths(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
    ) -> Result<HashMap<BlobHash, u64>, BlobError> {
        let mut lengths = lengths(self.index.find(vault, hashes).await?);
        let missing: Vec<_> = hashes.iter().filter(|hash| !lengths.contains_key(*hash)).copied().collect();
        let asked = missing.into_iter().map(|hash| async move {
            Ok::<_, BlobError>(self.arrived(vault, hash).await?.map(|place| (hash, place)))
        });
        let asked = stream::iter(asked).buffer_unordered(READERS);
        let arrived: Vec<_> = asked.try_filter_map(|found| async move { Ok(found) }).try_collect().await?;
        if !arrived.is_empty() {
            self.index.insert(vault, &arrived, self.clock.now()).await?;
            let hashes: Vec<_> = arrived.iter().map(|(hash, _)| *hash).collect();
            lengths.extend(self::lengths(self.index.find(vault, &hashes).await?));
        }
        Ok(lengths)
    }

    /// The same, of those that the index has. They stay there for now: an event that names them follows at once, and then
    /// [`Self::naming_ended`].
    ///
    /// # Errors
    /// If the index does not answer.
    pub async fn name(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
    ) -> Result<HashMap<BlobHash, u64>, BlobError> {
        Ok(lengths(self.index.name(vault, hashes, self.clock.now()).await?))
    }

    /// Whether the event stands for which these were named. If that cannot be noted nothing is lost: the sweep asks the
    /// log a day later.
    pub async fn naming_ended(&self, vault: VaultId, hashes: &[BlobHash], stands: bool) {
        if !hashes.is_empty() && self.index.naming_ended(vault, hashes, stands).await.is_err() {
            tracing::debug!("it is not noted whether blobs are named; the sweep asks the log");
        }
    }

    /// Of these blobs the sweep asks the log whether a version keeps and counts them: nobody ends this naming.
    ///
    /// # Errors
    /// If the index does not answer.
    pub async fn ask_the_log(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<(), BlobError> {
        if hashes.is_empty() {
            return Ok(());
        }
        self.index.name(vault, hashes, self.clock.now()).await.map(drop)
    }

    /// A direct upload, if it is there and has its hash. One that has not is as if it were not there: the sweep
    /// deletes it when nobody can be looking at it any more.
    async fn arrived(&self, vault: VaultId, hash: BlobHash) -> Result<Option<BlobPlace>, BlobError> {
        let pack = direct_key(vault, &hash);
        let length = match self.store.length(&pack).await {
            Ok(length) => length,
            Err(BlobError::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        let right = length <= PART && hash_object(&*self.store, &pack, length).await? == hash.0;
        Ok(right.then_some(BlobPlace { pack, offset: 0, length }))
    }

    /// The bytes of those of these blobs that a vault has, at most `most` bytes together; a blob that would go over
    /// that comes without bytes, and so does one that is [`Self::lost`]: the others are still to be had.
    ///
    /// # Errors
    /// If the store or the index does not answer.
    pub async fn get(
        &self,
        vault: VaultId,
        hashes: &[BlobHash],
        most: u64,
    ) -> Result<HashMap<BlobHash, Option<Bytes>>, BlobError> {
        let mut left = most;
        let mut wanted = Vec::new();
        let mut found = HashMap::new();
        for (hash, place) in self.index.find(vault, hashes).await? {
            if place.length <= left {
                left -= place.length;
                wanted.push((hash, place));
            } else {
                found.insert(hash, None);
            }
        }
        let reads = wanted.into_iter().map(|(hash, place)| async move {
            match self.store.get(&place.pack, place.offset, place.length).await {
                Ok(bytes) => Ok((hash, Some(bytes))),
                Err(BlobError::Missing) => Ok((hash, None)),
                Err(error) => Err(error),
            }
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(READERS).try_collect().await?;
        found.extend(read);
        Ok(found)
    }

    /// The bytes of a blob from one of them on, a megabyte at a time, and how long the whole is; none: the vault does
    /// not have it.
    ///
    /// # Errors
    /// If the index does not answer. Later the stream says so if the store does not.
    pub async fn stream(
        self: &Arc<Self>,
        vault: VaultId,
        hash: BlobHash,
        from: u64,
    ) -> Result<Option<(u64, BoxStream<'static, Result<Bytes, BlobError>>)>, BlobError> {
        let Some((_, place)) = self.index.find(vault, &[hash]).await?.pop() else { return Ok(None) };
        let length = place.length;
        let store = Arc::clone(&self.store);
        let pieces = stream::try_unfold(from, move |at| {
            let (store, place) = (Arc::clone(&store), place.clone());
            async move {
                if at >= place.length {
                    return Ok(None);
                }
                let size = (place.length - at).min(WINDOW);
                let bytes = store.get(&place.pack, place.offset + at, size).await?;
                Ok(Some((bytes, at + size)))
            }
        });
        Ok(Some((length, pieces.boxed())))
    }

    /// Takes blobs off the shelf, whoever names them, and deletes the objects in which no other blob lies.
    ///
    /// # Errors
    /// If the store or the index does not answer; what is left over is swept.
    pub async fn remove(&self, vault: VaultId, hashes: &[BlobHash]) -> Result<(), BlobError> {
        let marks = self.index.marks(vault, hashes).await?;
        let doomed = self.index.remove(vault, &marks, Micros(i64::MAX), self.clock.now()).await?;
        self.delete(&doomed).await
    }

    /// The same, but a blob that was named since its mark was read stays, and so does one that somebody is naming. Of such
    /// a one the sweep asks the log.
    ///
    /// # Errors
    /// If the store or the index does not answer; what is left over is swept.
    pub async fn remove_unless_named(
        &self,
        vault: VaultId,
        marks: &[(BlobHash, u64)],
    ) -> Result<(), BlobError> {
        if marks.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let doomed = self.index.remove(vault, marks, now.plus_seconds(-NAMING_S), now).await?;
        self.delete(&doomed).await
    }

    /// Deletes an object at once if no blob lies in it.
    pub(super) async fn delete_orphan(&self, object: &str) -> Result<(), BlobError> {
        let doomed = self.index.orphans(&[object.to_owned()], Micros(i64::MAX), self.clock.now()).await?;
        self.delete(&doomed).await
    }

    /// Deletes doomed objects.
    pub(super) async fn delete(&self, doomed: &[String]) -> Result<(), BlobError> {
        for object in doomed {
            self.store.delete(object).await?;
        }
        self.index.forget_orphans(doomed).await
    }
}

/// A key that no object has or had.
pub(super) fn pack_key(vault: VaultId) -> String {
    format!("packs/{vault}/{}", Uuid::new_v4())
}

/// Under which names objects of a vault lie.
fn prefixes(vault: VaultId) -> [String; 3] {
    ["packs", "direct", "large"].map(|kind| format!("{kind}/{vault}/"))
}

impl Shelf {
    /// Takes everything of a vault off the shelf, also what no event names and what is still on its way; how many
    /// blobs that were.
    ///
    /// # Errors
    /// If the store or the index does not answer. It may be repeated.
    pub async fn clear(&self, vault: VaultId) -> Result<u64, BlobError> {
        let prefixes = prefixes(vault);
        // Every upload that did not end: what was given up is swept within a day, so these are not many.
        for (object, upload) in self.index.uploads_before(Micros(i64::MAX), UPLOADS).await? {
            if prefixes.iter().any(|prefix| object.starts_with(prefix)) {
                self.store.abort_parts(&object, &upload).await?;
                self.index.upload_ended(&object).await?;
            }
        }
        self.index.forget_promises(vault).await?;
        let mut gone = 0;
        loop {
            let hashes = self.index.of_vault(vault, None, PAGE).await?;
            if hashes.is_empty() {
                break;
            }
            self.remove(vault, &hashes).await?;
            gone += hashes.len() as u64;
        }
        for prefix in prefixes {
            loop {
                let listed = self.store.list(&prefix, None, PAGE).await?;
                let keys: Vec<String> = listed.into_iter().map(|object| object.key).collect();
                if keys.is_empty() {
                    break;
                }
                self.delete(&keys).await?;
            }
        }
        Ok(gone)
    }
}

fn lengths(places: Vec<(BlobHash, BlobPlace)>) -> HashMap<BlobHash, u64> {
    places.into_iter().map(|(hash, place)| (hash, place.length)).collect()
}
