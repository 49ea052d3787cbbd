//! The encrypted archive: all items in one sealed box under a password of its own.
//!
//! ```text
//! lockstep-archive 1\n
//! {"account":…,"file":…,"items":…,"salt":…,"suite":1}\n
//! sealed box (context `export`) of the JSON array of items
//! ```
//!
//! The second line stands in the open and is bound into the box's context, so that changing it makes the archive
//! unreadable.

use lockstep_events::AccountId;
use rand::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypto::{Rejected, context::Context, keys::ArchiveKey, local::SUITE_S1, password::Password};

use super::item::Item;

/// How an archive begins.
pub const MAGIC: &[u8] = b"lockstep-archive 1\n";

/// What stands in the open.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    account: AccountId,
    file: Uuid,
    items: u64,
    salt: String,
    suite: u16,
}

/// Why an archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It does not begin as one.
    #[error("this is not a Lockstep archive, or it is damaged")]
    Shape,
    /// Made by a newer program.
    #[error("this archive was made by a newer program: update this one")]
    Newer,
    /// Wrong password, or changed.
    #[error("the password is not the archive's, or the archive was changed")]
    Rejected(#[from] Rejected),
}

impl ArchiveError {
    /// Whether another password may help.
    pub const fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

impl Head {
    fn context(&self, salt: &[u8; 32]) -> Context {
        Context::archive(self.account, self.file, self.items, self.suite, salt)
    }
}

/// Seals items into an archive.
///
/// # Errors
/// If the memory for the password's stretching is not to be had.
pub fn seal(
    items: &[Item],
    password: &Password,
    account: AccountId,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>, ArchiveError> {
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    let mut file = [0; 16];
    rng.fill_bytes(&mut file);
    let head = Head {
        account,
        file: uuid::Builder::from_random_bytes(file).into_uuid(),
        items: items.len() as u64,
        salt: hex::encode(salt),
        suite: SUITE_S1,
    };
    let content = zeroize::Zeroizing::new(serde_json::to_vec(items).map_err(|_| ArchiveError::Shape)?);
    let key = ArchiveKey::stretch(password, &salt)?;
    let mut archive = MAGIC.to_vec();
    archive.extend(serde_json::to_vec(&head).map_err(|_| ArchiveError::Shape)?);
    archive.push(b'\n');
    archive.extend(key.seal(&head.context(&salt), &content, rng)?);
    Ok(archive)
}

/// Opens an archive.
///
/// # Errors
/// Not an archive, of a newer program, or another password.
pub fn open(archive: &[u8], password: &Password) -> Result<Vec<Item>, ArchiveError> {
    let rest = archive.strip_prefix(MAGIC).ok_or(ArchiveError::Shape)?;
    let end = rest.iter().take(4096).position(|byte| *byte == b'\n').ok_or(ArchiveError::Shape)?;
    let head: Head = serde_json::from_slice(&rest[..end]).map_err(|_| ArchiveError::Shape)?;
    if head.suite != SUITE_S1 {
        return Err(ArchiveError::Newer);
    }
    let mut salt = [0; 32];
    hex::decode_to_slice(&head.salt, &mut salt).map_err(|_| ArchiveError::Shape)?;
    let key = ArchiveKey::stretch(password, &salt)?;
    let content = key.open(&head.context(&salt), &rest[end + 1..])?;
    serde_json::from_slice(&content).map_err(|_| ArchiveError::Newer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crypto::os_random, porting::fixtures};

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn an_archive_opens_with_its_password_only_and_unchanged_only() {
        let items = fixtures::items(50, 9);
        let sealed =
            seal(&items, &password("violet anchor mumbles"), AccountId::NIL, &mut os_random()).unwrap();
        assert_eq!(open(&sealed, &password("violet anchor mumbles")).unwrap(), items);
        assert!(open(&sealed, &password("violet anchor mumblet")).unwrap_err().is_rejected());
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains("otpauth") && !text.contains(items[0].name.as_str()));
        let changed = text.replace("\"items\":50", "\"items\":49");
        assert_ne!(changed, text, "the number stands in the open");
        let at =
            MAGIC.len() + sealed[MAGIC.len()..].windows(10).position(|w| w == b"\"items\":50").unwrap() + 9;
        let mut fewer = sealed.clone();
        fewer[at] = b'1';
        assert!(open(&fewer, &password("violet anchor mumbles")).unwrap_err().is_rejected());
        assert!(matches!(open(&sealed[..40], &password("x")), Err(ArchiveError::Shape)));
    }
}
