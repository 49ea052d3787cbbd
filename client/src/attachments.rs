//! Attachments on this device: sealed files beside the local database, by the hash of the sealed bytes.

use std::path::{Path, PathBuf};

use lockstep_api::Code;
use lockstep_events::{BlobHash, EntryId, VersionId};
use sha2::{Digest, Sha256};
use tokio::{
    fs,
    io::{AsyncReadExt, AsyncWriteExt},
};

use crate::{
    crypto::{
        attachment::{Attachment, seal_attachment},
        os_random,
        wipe::Plaintext,
    },
    engine::Engine,
    error::Error,
    model::AlarmKind,
    profile::ATTACHMENTS,
    store::attachments,
};

/// The longest sealed file that a server takes by default.
const MAX_SEALED: usize = 100 * 1024 * 1024;
/// So much of a file is in memory at the same time while it is looked at.
const PIECE: usize = 64 * 1024;

impl Engine {
    /// Where the sealed bytes of a blob are kept.
    pub(crate) fn sealed_file(&self, hash: &BlobHash) -> PathBuf {
        self.home.join(ATTACHMENTS).join(hash.to_string())
    }

    /// Seals a file and keeps it until it was sent.
    pub(crate) async fn attach(&self, entry: EntryId, content: &[u8]) -> Result<Attachment, Error> {
        let place = (self.account(), self.vault(), entry);
        let (attachment, sealed) = seal_attachment(place, content, &mut os_random())?;
        if sealed.len() > MAX_SEALED {
            return Err(Error::Invalid("an attachment has at most about 90 MiB"));
        }
        let path = self.sealed_file(&attachment.hash);
        let unfinished = path.with_extension("new");
        let mut file = create(&unfinished).await?;
        file.write_all(&sealed).await?;
        file.sync_all().await?;
        fs::rename(unfinished, &path).await?;
        // Before the database says that there is such a file: after a power cut it must not be alone with that.
        sync_folder(&path).await?;
        Ok(attachment)
    }

    /// Takes a sealed file away that no version names.
    pub(crate) async fn detach(&self, attachment: &Attachment) -> Result<(), Error> {
        remove(&self.sealed_file(&attachment.hash)).await
    }

    /// The file behind an attachment.
    pub(crate) async fn attachment(
        &self,
        entry: EntryId,
        attachment: &Attachment,
    ) -> Result<Plaintext, Error> {
        let place = (self.account(), self.vault(), entry);
        let path = self.sealed_file(&attachment.hash);
        let sealed = match whole(&path, &attachment.hash).await? {
            Some(sealed) => sealed,
            // What lies here damaged is of no use: the server's takes its place.
            None => self.download(attachment, &path).await?,
        };
        Ok(attachment.open(place, &sealed)?)
    }

    /// Takes the sealed files away that nothing opens any more: those of entries that were erased, and of changes that
    /// were given up. Whoever is cut off after such a change is applied does it with the next pull.
    pub(crate) async fn forget_unopened(&self) -> Result<(), Error> {
        if fs::metadata(self.home.join(ATTACHMENTS)).await.is_err() {
            return Ok(());
        }
        let unopened = attachments::unopened(&mut *self.store.pool().acquire().await?).await?;
        for hash in self.unnamed(unopened).await? {
            let path = self.sealed_file(&hash);
            let unfinished = path.with_extension("part");
            // Not under whoever fetches it just now, to whom the server says that it is gone.
            let idle = std::fs::File::open(&unfinished).is_ok_and(|file| file.try_lock().is_ok());
            for old in [&path, &path.with_extension("parts")].into_iter().chain(idle.then_some(&unfinished)) {
                // What cannot be taken away now is with the next pull.
                let _ = remove(old).await;
            }
        }
        Ok(())
    }

    /// Those of some blobs that no entry names: which files a version has only the server says, but what stands in an entry
    /// its devices wrote.
    async fn unnamed(&self, mut hashes: Vec<BlobHash>) -> Result<Vec<BlobHash>, Error> {
        // To open all entries takes its time.
        if !hashes.iter().any(|hash| self.sealed_file(hash).exists()) {
            return Ok(hashes);
        }
        for vault in self.own_vaults().await? {
            let entries = self.at(vault).entries().await?;
            let heads = entries.iter().flat_map(|entry| &entry.heads);
            for content in heads.filter_map(|head| std::str::from_utf8(head.content.bytes()?).ok()) {
                hashes.retain(|hash| !content.contains(&hash.to_string()));
            }
        }
        Ok(hashes)
    }

    /// Whether the sealed file is here, unchanged.
    pub(crate) async fn is_whole(&self, hash: &BlobHash) -> Result<bool, Error> {
        let mut file = match fs::File::open(self.sealed_file(hash)).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let (mut so_far, mut piece) = (Sha256::new(), vec![0; PIECE]);
        loop {
            match file.read(&mut piece).await? {
                0 => return Ok(so_far.finalize().as_slice() == hash.as_bytes()),
                length => so_far.update(&piece[..length]),
            }
        }
    }

    /// The attachments of a version that are not here, or not unchanged.
    pub(crate) async fn not_whole(
        &self,
        db: &mut sqlx::SqliteConnection,
        version: VersionId,
    ) -> Result<Vec<BlobHash>, Error> {
        let mut missing = Vec::new();
        for hash in attachments::of(db, &[version]).await?.into_values().flatten() {
            if !self.is_whole(&hash).await? {
                missing.push(hash);
            }
        }
        Ok(missing)
    }

    /// Fetches a sealed file; one that broke off goes on where it stopped.
    async fn download(&self, attachment: &Attachment, path: &Path) -> Result<Vec<u8>, Error> {
        let unfinished = path.with_extension("part");
        let url = format!("/v1/vaults/{}/blobs/{}", self.vault(), attachment.hash);
        let mut file = alone(&unfinished).await?;
        if let Some(sealed) = whole(path, &attachment.hash).await? {
            // Another command of this profile had it, and this one waited.
            remove(&unfinished).await?;
            return Ok(sealed);
        }
        let resumed = file.metadata().await?.len() > 0;
        let token = self.access_token().await?;
        match self.transport.download(&url, &token, &mut file).await?.ok() {
            Ok(_) => {}
            Err(Error::Refused { problem, .. }) if problem.code == Code::NotFound => {
                return Err(Error::FileGone);
            }
            Err(Error::Refused { problem, .. }) if problem.code == Code::BlobLost => {
                return Err(Error::ContentLost);
            }
            // What is here may be longer than the blob: it is not it.
            Err(Error::Refused { problem, .. }) if problem.code == Code::RangeNotSatisfiable => {}
            Err(other) => return Err(other),
        }
        let sealed = fs::read(&unfinished).await?;
        if !is(&sealed, &attachment.hash) {
            fs::remove_file(&unfinished).await?;
            if resumed {
                // What lay here from before may be to blame.
                drop(file);
                return Box::pin(self.download(attachment, path)).await;
            }
            return Err(self.alarm(AlarmKind::ContentHash, &format!("attachment {}", attachment.hash)).await);
        }
        fs::rename(unfinished, path).await?;
        Ok(sealed)
    }
}

/// The sealed file at a path, if it is there unchanged: read once and checked as it was read, because another command of
/// this profile may take it away meanwhile.
async fn whole(path: &Path, hash: &BlobHash) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        sealed => Ok(Some(sealed?).filter(|sealed| is(sealed, hash))),
    }
}

/// Whether these bytes are a blob.
fn is(sealed: &[u8], hash: &BlobHash) -> bool {
    BlobHash(lockstep_events::canonical::sha256(sealed)) == *hash
}

/// Makes the names in a file's folder durable.
async fn sync_folder(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        fs::File::open(folder).await?.sync_all().await?;
    }
    let _ = path;
    Ok(())
}

/// Takes a file of this profile away, if it is there.
pub(crate) async fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The same, and no other command of this profile has it open so: both would write at its end. Waits for the other.
async fn alone(path: &Path) -> Result<fs::File, Error> {
    loop {
        let file = create(path).await?.into_std().await;
        let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
        let file = locked.await.map_err(std::io::Error::other)??;
        // The other one may have taken it away, or made it the finished file.
        if is_still(&file, path)? {
            return Ok(fs::File::from_std(file));
        }
    }
}

/// Whether a path names this open file.
fn is_still(file: &std::fs::File, path: &Path) -> Result<bool, Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |of: std::fs::Metadata| (of.dev(), of.ino());
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            there => Ok(place(there?) == place(file.metadata()?)),
        }
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(path.exists())
    }
}

/// Opens a file of this profile to write at its end; nobody else may read it.
pub(crate) async fn create(path: &Path) -> Result<fs::File, Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).await?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    options.mode(0o600);
    Ok(options.open(path).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::testing::two_devices;

    #[tokio::test]
    async fn a_file_that_an_entry_names_stays_whatever_the_server_says_that_has_it() {
        let (device, _, _, _) = two_devices().await;
        let entry = device.add(b"an entry").await.unwrap();
        let named = device.attach(entry, b"named").await.unwrap();
        let unnamed = device.attach(entry, b"unnamed").await.unwrap();
        let content = format!("{{\"attachments\": [{{\"hash\": \"{}\"}}]}}", named.hash);
        device.add(content.as_bytes()).await.unwrap();
        // Both belong to what was erased, and to nothing else.
        let mut tx = device.store.begin().await.unwrap();
        attachments::put(&mut tx, VersionId([7; 32]), &[named.hash, unnamed.hash]).await.unwrap();
        tx.commit().await.unwrap();
        device.forget_unopened().await.unwrap();
        assert!(device.is_whole(&named.hash).await.unwrap());
        assert!(!device.is_whole(&unnamed.hash).await.unwrap());
    }
}
