//! Large blobs that clients upload straight to the object store, in parts.
//!
//! The store only knows hashes of parts, so the whole is read once and compared with its hash before it counts. Until
//! then it is an object in which no blob lies. Every upload has a key of its own: whoever still holds a request of an
//! older one cannot change what was taken. The key is made of a number and the hash for which the upload was begun: who
//! ends it with another hash finds no upload, and can do nothing to the one who ends it rightly at the same time.

use lockstep_events::{BlobHash, VaultId, canonical::sha256};
use uuid::Uuid;

use super::{BlobError, BlobPlace, PART, Presigned, Shelf, check::hash_object, shelf::direct_key};

/// A vault has at most so many uploads in parts that did not end: each is a row here, and parts that are paid for.
pub const MAX_OPEN: u64 = 1024;

/// Where a vault's uploads in parts go.
fn prefix(vault: VaultId) -> String {
    format!("large/{vault}/")
}

/// Names an upload in parts to its client: `<uuid>.<the store's name for it>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    nonce: Uuid,
    upload: String,
}

impl Ticket {
    /// Reads a ticket; none: it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (nonce, upload) = text.split_once('.')?;
        let fits = (1..=1024).contains(&upload.len()) && upload.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then_some(Self { nonce: nonce.parse().ok()?, upload: upload.to_owned() })
    }

    /// The ticket as text.
    pub fn text(&self) -> String {
        format!("{}.{}", self.nonce, self.upload)
    }

    fn key(&self, vault: VaultId, hash: &BlobHash) -> String {
        let made_of = [self.nonce.as_bytes().as_slice(), hash.as_bytes().as_slice()].concat();
        let mut name = [0; 16];
        name.copy_from_slice(&sha256(&made_of)[..16]);
        format!("{}{}", prefix(vault), Uuid::from_bytes(name))
    }
}

/// Why an upload in parts was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LargeError {
    /// There is no such upload, or parts of it are not there.
    #[error("there is no such upload, or parts of it are missing")]
    NoUpload,
    /// The whole does not have the hash or length.
    #[error("the bytes do not have the promised hash")]
    Hash,
    /// Store or index.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl Shelf {
    /// Whether a vault may begin so many more uploads in parts. What was given up is forgotten after a day.
    ///
    /// # Errors
    /// If the index does not answer.
    pub async fn may_start_large(&self, vault: VaultId, more: u64) -> Result<bool, BlobError> {
        Ok(more == 0 || self.index.uploads_under(&prefix(vault)).await? + more <= MAX_OPEN)
    }

    /// Begins an upload in parts; none where clients do not reach the store. An earlier one that takes the same room in
    /// a plan is given up: a blob takes it once.
    ///
    /// # Errors
    /// If the store or the index does not answer.
    pub async fn start_large(
        &self,
        vault: VaultId,
        (hash, size): (BlobHash, u64),
        expires_s: u32,
    ) -> Result<Option<(Ticket, Vec<Presigned>)>, BlobError> {
        let lengths: Vec<u64> =
            (0..size.div_ceil(PART)).map(|number| (size - number * PART).min(PART)).collect();
        let mut ticket = Ticket { nonce: Uuid::new_v4(), upload: String::new() };
        let key = ticket.key(vault, &hash);
        let Some(parts) = self.store.start_parts(&key, &lengths, expires_s).await? else { return Ok(None) };
        self.index.upload_started(&key, &parts.upload, self.clock.now()).await?;
        ticket.upload = parts.upload;
        if let Some(earlier) = self.index.promised_at(vault, hash, &key).await? {
            self.give_up(&earlier).await?;
        }
        Ok(Some((ticket, parts.parts)))
    }

    /// How a client may put a short blob straight into the store; none where clients do not reach it.
    ///
    /// # Errors
    /// If the store or the index does not answer.
    pub async fn presign_direct(
        &self,
        vault: VaultId,
        (hash, size): (BlobHash, u64),
        expires_s: u32,
    ) -> Result<Option<Presigned>, BlobError> {
        let key = direct_key(vault, &hash);
        let Some(put) = self.store.presign_put(&key, size, &hash.0, expires_s).await? else {
            return Ok(None);
        };
        self.index.promised_at(vault, hash, &key).await?;
        Ok(Some(put))
    }

    async fn give_up(&self, object: &str) -> Result<(), BlobError> {
        if let Some(upload) = self.index.upload_to(object).await? {
            self.store.abort_parts(object, &upload).await?;
            self.index.upload_ended(object).await?;
        }
        Ok(())
    }

    /// Makes a blob of its parts. Doing it again is no error.
    ///
    /// # Errors
    /// [`LargeError`]. After `Hash` it has to begin again.
    pub async fn finish_large(
        &self,
        vault: VaultId,
        (hash, size): (BlobHash, u64),
        ticket: &Ticket,
        tags: &[String],
    ) -> Result<(), LargeError> {
        let pack = ticket.key(vault, &hash);
        // Asked in this order: an upload ends after its blob was entered.
        let begun = self.index.upload_to(&pack).await?;
        if !self.index.find(vault, &[hash]).await?.is_empty() {
            return Ok(());
        }
        // Whose upload it is, is known here: not every store compares the name of an upload with the key.
        if begun.as_ref() != Some(&ticket.upload) {
            return Err(LargeError::NoUpload);
        }
        match self.store.finish_parts(&pack, &ticket.upload, tags).await {
            // An earlier call may have come so far.
            Ok(()) | Err(BlobError::Missing) => {}
            Err(error) => return Err(error.into()),
        }
        let length = match self.store.length(&pack).await {
            Err(BlobError::Missing) => return Err(LargeError::NoUpload),
            other => other?,
        };
        if hash_object(&*self.store, &pack, length).await? != hash.0 {
            self.index.upload_ended(&pack).await?;
            self.delete_orphan(&pack).await?;
            return Err(LargeError::Hash);
        }
        // The bytes are right and the caller is not: another one may know better.
        if length != size {
            return Err(LargeError::Hash);
        }
        let place = BlobPlace { pack: pack.clone(), offset: 0, length };
        self.index.insert(vault, &[(hash, place)], self.clock.now()).await?;
        // An object that was given up meanwhile takes no blob.
        let is_there = !self.index.find(vault, &[hash]).await?.is_empty();
        self.index.upload_ended(&pack).await?;
        if is_there { Ok(()) } else { Err(LargeError::NoUpload) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_for_another_hash_has_another_key() {
        let ticket = |n| Ticket { nonce: Uuid::from_u128(n), upload: String::new() };
        let key = |n, hash| ticket(n).key(VaultId(Uuid::nil()), &BlobHash([hash; 32]));
        assert!(key(1, 1) == key(1, 1) && key(1, 1) != key(1, 2) && key(1, 1) != key(2, 1));
    }

    #[test]
    fn a_ticket_comes_back_from_its_text_and_nothing_else_is_one() {
        let ticket = Ticket { nonce: Uuid::from_u128(7), upload: "a.b~c".to_owned() };
        assert_eq!(Ticket::parse(&ticket.text()), Some(ticket));
        let nonce = Uuid::from_u128(7);
        for wrong in ["", "x", "x.y", &format!("{nonce}."), &format!("{nonce}.a b"), &format!("../{nonce}.a")]
        {
            assert_eq!(Ticket::parse(wrong), None, "{wrong}");
        }
    }
}
