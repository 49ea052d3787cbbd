//! Attachments: files beside the versions of an entry, each sealed under a key of its own, which the entry's content
//! keeps together with what else is known of the file.

use lockstep_events::{AccountId, BlobHash, EntryId, VaultId, canonical::sha256};
use rand::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use super::{
    Rejected,
    context::Context,
    sealed::{open_padded, seal_padded},
    version::new_id,
    wipe::Plaintext,
};

/// Whose entry an attachment belongs to.
pub type Place = (AccountId, VaultId, EntryId);

/// What an entry's content keeps of an attachment. It holds the key: it belongs into sealed content and nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its id.
    pub id: Uuid,
    /// The id of its key.
    pub key_id: Uuid,
    /// SHA-256 of the sealed file.
    pub hash: BlobHash,
    /// Length of the file, in bytes.
    pub size: u64,
    /// The key.
    key: Key,
}

/// 32 bytes in hexadecimal, wiped on drop.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Key(String);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attachment({}, {} bytes)", self.id, self.size)
    }
}

/// Seals a file under a fresh key.
///
/// # Errors
/// [`Rejected`] for 4 GiB and more.
pub fn seal_attachment(
    place: Place,
    content: &[u8],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Attachment, Vec<u8>), Rejected> {
    let mut key = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *key);
    let (id, key_id) = (new_id(rng), new_id(rng));
    let sealed = seal_padded(&key, &Context::attachment(place, id, key_id), content, rng)?;
    let attachment = Attachment {
        id,
        key_id,
        hash: BlobHash(sha256(&sealed)),
        size: content.len() as u64,
        key: Key(hex::encode(*key)),
    };
    Ok((attachment, sealed))
}

impl Attachment {
    /// Opens the sealed file.
    ///
    /// # Errors
    /// [`Rejected`] for any other bytes, and in any other entry.
    pub fn open(&self, place: Place, sealed: &[u8]) -> Result<Plaintext, Rejected> {
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(self.key.0.as_bytes(), &mut *key).map_err(|_| Rejected)?;
        if BlobHash(sha256(sealed)) != self.hash {
            return Err(Rejected);
        }
        let content = open_padded(&key, &Context::attachment(place, self.id, self.key_id), sealed)?;
        if content.len() as u64 == self.size { Ok(content) } else { Err(Rejected) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::os_random;

    fn place(entry: u128) -> Place {
        (AccountId(Uuid::from_u128(1)), VaultId(Uuid::from_u128(2)), EntryId(Uuid::from_u128(entry)))
    }

    #[test]
    fn a_file_comes_back_in_its_entry_and_nowhere_else() {
        let content = vec![7; 100_000];
        let (attachment, mut sealed) = seal_attachment(place(3), &content, &mut os_random()).unwrap();
        assert_eq!(&*attachment.open(place(3), &sealed).unwrap(), &content[..]);
        assert!(attachment.open(place(4), &sealed).is_err());
        let (other, _) = seal_attachment(place(3), &content, &mut os_random()).unwrap();
        assert!(other.open(place(3), &sealed).is_err());
        sealed[50_000] ^= 1;
        assert!(attachment.open(place(3), &sealed).is_err());
    }

    #[test]
    fn what_is_kept_of_it_survives_json_and_does_not_show_the_key() {
        let (attachment, sealed) = seal_attachment(place(3), b"x", &mut os_random()).unwrap();
        let text = serde_json::to_string(&attachment).unwrap();
        let again: Attachment = serde_json::from_str(&text).unwrap();
        assert_eq!(&*again.open(place(3), &sealed).unwrap(), b"x");
        assert!(!format!("{again:?}").contains(again.key.0.as_str()));
    }
}
