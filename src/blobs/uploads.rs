//! Uploads through the server that are not finished: a broken connection goes on where it stopped.
//!
//! What came is a file beside the store, hashed while it comes; no blob is ever in memory as a whole.

use std::{
    cmp::Ordering,
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use lockstep_events::{BlobHash, VaultId};
use sha2::{Digest, Sha256};
use tokio::{
    fs::{self, File, OpenOptions},
    io::AsyncWriteExt,
    sync::OwnedMutexGuard,
};
use tokio_util::sync::CancellationToken;

use super::check::hash_file;
use crate::no_room;

/// A part that nobody went on with for so long is thrown away.
const KEPT: Duration = Duration::from_hours(24);

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
    /// The connection broke, or a newer one took over; what came is kept. In what the body says: anywhere.
    #[error("the upload broke off at {0}")]
    Broken(u64),
    /// The bytes came too slowly; what came is kept.
    #[error("the upload was too slow")]
    TooSlow,
    /// The disk.
    #[error("the part cannot be kept")]
    Disk(#[from] io::Error),
}

/// The bytes of a whole blob, synced to a file. Until it is [`Whole::done`] the upload can go on at its end: then what
/// came need not come again when the store did not answer.
#[derive(Debug)]
pub struct Whole {
    path: PathBuf,
    _turn: Turn,
}

impl Whole {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes the file, if it was not moved away.
    pub async fn done(self) {
        // What cannot be deleted is swept.
        let _ = fs::remove_file(&self.path).await;
    }
}

/// The parts of unfinished uploads, each a file.
#[derive(Debug, Clone)]
pub struct Uploads {
    folder: PathBuf,
    /// One writer for each part: the newest.
    writers: Arc<Mutex<HashMap<PathBuf, Writer>>>,
}

#[derive(Debug, Default)]
struct Writer {
    /// Cancelled when a newer one takes over.
    newest: CancellationToken,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The right to write a part.
#[derive(Debug)]
struct Turn {
    over: CancellationToken,
    _guard: OwnedMutexGuard<()>,
}

impl Uploads {
    /// Parts in a folder, which is made when it is needed.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), writers: Arc::default() }
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
    /// A client that goes on may be here before its broken connection was noticed: the newest request takes over.
    ///
    /// # Errors
    /// [`UploadError`]. After `Broken` the upload can go on.
    pub async fn take(
        &self,
        vault: VaultId,
        hash: &BlobHash,
        (offset, size): (u64, u64),
        body: impl Stream<Item = Result<Bytes, UploadError>> + Unpin,
    ) -> Result<Whole, UploadError> {
        fs::create_dir_all(&self.folder).await?;
        let path = self.part(vault, hash);
        let turn = self.turn(&path).await;
        let here = self.offset(vault, hash).await;
        if offset != 0 && offset != here {
            return Err(UploadError::Offset(here));
        }
        let hasher = hashed(&path, offset).await?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(offset > 0).truncate(offset == 0);
        let mut part = options.open(&path).await?;
        let outcome = match has_room(&self.folder, size.saturating_sub(offset)) {
            Ok(()) => receive(&mut part, (offset, size), hasher, &turn.over, body).await,
            Err(full) => Err(full.into()),
        };
        // What was written last may fail only here.
        let mut outcome = part.flush().await.map_err(UploadError::from).and(outcome);
        if outcome.is_ok() {
            outcome = part.sync_all().await.map_err(UploadError::from).and(outcome);
        }
        match outcome {
            // What was hashed came past here; the file has it and nothing else. A writer that was cut off in the middle
            // may have written a moment longer than anybody waited for it.
            Ok(digest) if digest == hash.0 && part.metadata().await?.len() == size => {
                Ok(Whole { path, _turn: turn })
            }
            outcome => {
                let error = outcome.err().unwrap_or(UploadError::Hash);
                let is_full = is_full(&error);
                // It took room that others need, and does not fit: what came before stays.
                if is_full && offset > 0 {
                    part.set_len(offset).await?;
                }
                drop(part);
                if (is_full && offset == 0) || matches!(error, UploadError::TooLong | UploadError::Hash) {
                    fs::remove_file(&path).await?;
                }
                Err(error)
            }
        }
    }

    fn writers(&self) -> MutexGuard<'_, HashMap<PathBuf, Writer>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the present writer of a part to stop, and waits until it has.
    async fn turn(&self, path: &Path) -> Turn {
        let over = CancellationToken::new();
        let turn = {
            let mut writers = self.writers();
            // Writers of other parts that have ended need no place any more.
            writers.retain(|other, writer| other == path || Arc::strong_count(&writer.turn) > 1);
            let writer = writers.entry(path.to_owned()).or_default();
            std::mem::replace(&mut writer.newest, over.clone()).cancel();
            Arc::clone(&writer.turn)
        };
        Turn { over, _guard: turn.lock_owned().await }
    }

    /// Deletes the parts of a vault; how many.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub async fn clear(&self, vault: VaultId) -> io::Result<u64> {
        let of_vault = format!("{vault}-");
        let mut parts = match fs::read_dir(&self.folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        let mut deleted = 0;
        while let Some(part) = parts.next_entry().await? {
            if part.file_name().to_string_lossy().starts_with(&of_vault) {
                fs::remove_file(part.path()).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Deletes parts that nobody went on with for a day; how many.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub async fn sweep(&self, now: SystemTime) -> io::Result<u64> {
        let mut parts = match fs::read_dir(&self.folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        let mut deleted = 0;
        while let Some(part) = parts.next_entry().await? {
            let changed = part.metadata().await?.modified()?;
            if now.duration_since(changed).is_ok_and(|age| age > KEPT) {
                fs::remove_file(part.path()).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// Whether there is no room left for a part.
fn is_full(error: &UploadError) -> bool {
    matches!(error, UploadError::Disk(disk) if no_room::is_full(disk))
}

/// Refuses what cannot fit before any of it is written: whoever shares the disk would be refused until it is gone again.
/// A file system that does not say how much room it has is tried.
#[cfg(unix)]
fn has_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let Ok(there) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let has_room = there.f_blocks == 0 || bytes <= there.f_bavail.saturating_mul(there.f_frsize);
    if has_room { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

#[cfg(not(unix))]
fn has_room(_: &Path, _: u64) -> io::Result<()> {
    Ok(())
}

/// The hash of what is here already.
async fn hashed(path: &Path, length: u64) -> io::Result<Sha256> {
    if length == 0 {
        return Ok(Sha256::new());
    }
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || hash_file(&path, length)).await.map_err(io::Error::other)?
}

async fn receive(
    part: &mut File,
    (offset, size): (u64, u64),
    mut hasher: Sha256,
    over: &CancellationToken,
    mut body: impl Stream<Item = Result<Bytes, UploadError>> + Unpin,
) -> Result<[u8; 32], UploadError> {
    let mut at = offset;
    loop {
        let chunk = tokio::select! {
            () = over.cancelled() => return Err(UploadError::Broken(at)),
            chunk = body.next() => chunk,
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|error| match error {
            UploadError::Broken(_) => UploadError::Broken(at),
            other => other,
        })?;
        at += chunk.len() as u64;
        if at > size {
            return Err(UploadError::TooLong);
        }
        hasher.update(&chunk);
        part.write_all(&chunk).await?;
    }
    match at.cmp(&size) {
        Ordering::Less => Err(UploadError::Broken(at)),
        Ordering::Equal => Ok(hasher.finalize().into()),
        // What is here already is longer than the whole is said to be.
        Ordering::Greater => Err(UploadError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;

    use futures_util::stream;
    use lockstep_events::canonical::sha256;
    use uuid::Uuid;

    use super::*;

    type Chunks = Vec<Result<Bytes, UploadError>>;

    fn ok(bytes: &[u8]) -> Result<Bytes, UploadError> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    async fn take(
        uploads: &Uploads,
        hash: &BlobHash,
        place: (u64, u64),
        chunks: Chunks,
    ) -> Result<Vec<u8>, UploadError> {
        let whole = uploads.take(VaultId(Uuid::nil()), hash, place, stream::iter(chunks)).await?;
        let bytes = std::fs::read(whole.path()).unwrap();
        whole.done().await;
        Ok(bytes)
    }

    #[tokio::test]
    async fn an_upload_that_broke_off_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let hash = BlobHash(sha256(b"0123456789"));
        let uploads = Uploads::new(folder.path());
        let broken = take(&uploads, &hash, (0, 10), vec![ok(b"0123"), Err(UploadError::Broken(0))]).await;
        assert!(matches!(broken, Err(UploadError::Broken(4))));
        // The process is another one meanwhile.
        let uploads = Uploads::new(folder.path());
        assert!(matches!(take(&uploads, &hash, (5, 10), vec![]).await, Err(UploadError::Offset(4))));
        assert!(matches!(take(&uploads, &hash, (4, 10), vec![ok(b"45")]).await, Err(UploadError::Broken(6))));
        assert_eq!(take(&uploads, &hash, (6, 10), vec![ok(b"67"), ok(b"89")]).await.unwrap(), b"0123456789");
        assert_eq!(uploads.offset(VaultId(Uuid::nil()), &hash).await, 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_whole_is_no_shorter_than_what_came_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, hash) = (Uploads::new(folder.path()), BlobHash(sha256(b"0123456789")));
        let begun = take(&uploads, &hash, (0, 20), vec![ok(b"0123456789")]).await;
        assert!(matches!(begun, Err(UploadError::Broken(10))));
        assert!(matches!(take(&uploads, &hash, (10, 5), vec![]).await, Err(UploadError::TooLong)));
        assert_eq!(take(&uploads, &hash, (0, 10), vec![ok(b"0123456789")]).await.unwrap(), b"0123456789");
    }

    #[tokio::test]
    async fn a_whole_that_could_not_be_stored_need_not_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(folder.path());
        let (vault, hash) = (VaultId(Uuid::nil()), BlobHash(sha256(b"0123456789")));
        let body = stream::iter(vec![ok(b"0123456789")]);
        drop(uploads.take(vault, &hash, (0, 10), body).await.unwrap());
        assert_eq!(uploads.offset(vault, &hash).await, 10);
        assert_eq!(take(&uploads, &hash, (10, 10), vec![]).await.unwrap(), b"0123456789");
    }

    /// What came has the hash; the file has more, from a writer of before whose last bytes were late.
    #[tokio::test]
    async fn a_file_that_another_writer_made_longer_meanwhile_is_no_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, hash) = (Uploads::new(folder.path()), BlobHash(sha256(b"0123456789")));
        let _ = take(&uploads, &hash, (0, 10), vec![ok(b"0123")]).await;
        let part = uploads.part(VaultId(Uuid::nil()), &hash);
        let late = std::fs::File::options().append(true).open(&part).unwrap();
        let body = stream::once(async {
            std::io::Write::write_all(&mut &late, b"4567").unwrap();
            ok(b"456789")
        });
        let taken = uploads.take(VaultId(Uuid::nil()), &hash, (4, 10), Box::pin(body)).await;
        assert!(matches!(taken, Err(UploadError::Hash)), "{taken:?}");
        assert!(!part.exists());
        assert_eq!(take(&uploads, &hash, (0, 10), vec![ok(b"0123456789")]).await.unwrap(), b"0123456789");
    }

    #[tokio::test]
    async fn what_is_not_the_promised_blob_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(folder.path());
        let hash = BlobHash(sha256(b"0123456789"));
        let wrong = take(&uploads, &hash, (0, 10), vec![ok(b"012345678x")]).await;
        assert!(matches!(wrong, Err(UploadError::Hash)));
        let long = take(&uploads, &hash, (0, 10), vec![ok(b"0123456789"), ok(b"x")]).await;
        assert!(matches!(long, Err(UploadError::TooLong)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_full_disk_cuts_off_gives_its_room_back_and_what_came_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, hash) = (Uploads::new(folder.path()), BlobHash(sha256(b"0123456789")));
        let full = || Err(io::Error::from(io::ErrorKind::StorageFull).into());
        let cut = take(&uploads, &hash, (0, 10), vec![ok(b"0123"), full()]).await;
        assert!(matches!(cut, Err(UploadError::Disk(_))), "{cut:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let _ = take(&uploads, &hash, (0, 10), vec![ok(b"0123")]).await;
        let cut = take(&uploads, &hash, (4, 10), vec![ok(b"45"), full()]).await;
        assert!(matches!(cut, Err(UploadError::Disk(_))), "{cut:?}");
        assert_eq!(uploads.offset(VaultId(Uuid::nil()), &hash).await, 4);
        assert_eq!(take(&uploads, &hash, (4, 10), vec![ok(b"456789")]).await.unwrap(), b"0123456789");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_no_disk_holds_is_refused_before_any_of_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (uploads, hash) = (Uploads::new(folder.path()), BlobHash(sha256(b"0123456789")));
        let unread = stream::once(async { panic!("nothing of it is read") });
        let refused = uploads.take(VaultId(Uuid::nil()), &hash, (0, 1 << 62), Box::pin(unread)).await;
        assert!(matches!(&refused, Err(error) if is_full(error)), "{refused:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_newest_request_takes_over_from_one_whose_connection_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(folder.path());
        let hash = BlobHash(sha256(b"0123456789"));
        let hanging = {
            let uploads = uploads.clone();
            let body = Box::pin(stream::iter(vec![ok(b"0123")]).chain(stream::pending()));
            tokio::spawn(async move { uploads.take(VaultId(Uuid::nil()), &hash, (0, 10), body).await })
        };
        while uploads.offset(VaultId(Uuid::nil()), &hash).await < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(take(&uploads, &hash, (4, 10), vec![ok(b"456789")]).await.unwrap(), b"0123456789");
        assert!(matches!(hanging.await.unwrap(), Err(UploadError::Broken(4))));
    }

    #[tokio::test]
    async fn a_part_that_nobody_went_on_with_for_a_day_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(folder.path());
        assert_eq!(Uploads::new(&folder.path().join("none")).sweep(SystemTime::now()).await.unwrap(), 0);
        for (age_h, byte) in [(25, 1), (23, 2)] {
            let _ = take(&uploads, &BlobHash([byte; 32]), (0, 10), vec![ok(b"0123")]).await;
            let part = uploads.part(VaultId(Uuid::nil()), &BlobHash([byte; 32]));
            let then = SystemTime::now() - Duration::from_hours(age_h);
            let file = std::fs::File::options().write(true).open(part).unwrap();
            file.set_times(FileTimes::new().set_modified(then)).unwrap();
        }
        assert_eq!(uploads.sweep(SystemTime::now()).await.unwrap(), 1);
        assert_eq!(uploads.offset(VaultId(Uuid::nil()), &BlobHash([2; 32])).await, 4);
    }
}
