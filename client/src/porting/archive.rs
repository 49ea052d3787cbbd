//! The encrypted archive: vaults with their items, and the one file, in one sealed box under a password of its own.
//!
//! ```text
//! lockstep-archive 2\n
//! {"account":…,"file":…,"items":…,"salt":…,"suite":1}\n
//! sealed box (context `export`) of {"vaults":[{"vault":{"id":…,"name":…,"first":…},"items":[…]}],"file":base64}
//! ```
//!
//! The second line stands in the open and is bound into the box's context, so that changing it makes the archive
//! unreadable. Form 1 held one vault: its box has the JSON array of items. Neither is read as the other.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lockstep_events::AccountId;
use rand::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::crypto::{
    Rejected, context::Context, keys::ArchiveKey, local::SUITE_S1, password::Password, wipe::Plaintext,
};

use super::{import::Imported, item::Item, portion::Portion, secret::Secret};

/// How an archive of any form begins; the number of its form follows, and the end of the line.
const MAGIC: &[u8] = b"lockstep-archive ";
/// The form that is written.
const FORM: &[u8] = b"2";

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

/// What the box holds. Fields that are not known here are those of a newer form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    vaults: Vec<Portion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<Secret>,
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
    #[error("the password is not the archive's, or the archive was changed or cut")]
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

/// Whether these bytes begin as an archive of any form does.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Seals vaults, and the one file if there is one, into an archive.
///
/// # Errors
/// If the memory for the password's stretching is not to be had.
pub fn seal(
    (vaults, file): (Vec<Portion>, Option<&[u8]>),
    password: &Password,
    account: AccountId,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>, ArchiveError> {
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    let head = Head {
        account,
        file: uuid::Builder::from_random_bytes(id).into_uuid(),
        items: vaults.iter().map(|portion| portion.items.len() as u64).sum(),
        salt: hex::encode(salt),
        suite: SUITE_S1,
    };
    let contents = Contents { vaults, file: file.map(|file| BASE64_STANDARD.encode(file).into()) };
    let content = Zeroizing::new(serde_json::to_vec(&contents).map_err(|_| ArchiveError::Shape)?);
    let key = ArchiveKey::stretch(password, &salt)?;
    let mut archive = [MAGIC, FORM, b"\n"].concat();
    archive.extend(serde_json::to_vec(&head).map_err(|_| ArchiveError::Shape)?);
    archive.push(b'\n');
    archive.extend(key.seal(&head.context(&salt), &content, rng)?);
    Ok(archive)
}

/// Opens an archive. Of form 1 it gives bare items: which vault they were in, it does not say.
///
/// # Errors
/// Not an archive, of a newer program, or another password.
pub fn open(archive: &[u8], password: &Password) -> Result<Imported, ArchiveError> {
    let rest = archive.strip_prefix(MAGIC).ok_or(ArchiveError::Shape)?;
    let (form, rest) = line(rest, 16)?;
    let (head, sealed) = match form {
        b"1" | b"2" => line(rest, 4096)?,
        other if !other.is_empty() && other.iter().all(u8::is_ascii_digit) => {
            return Err(ArchiveError::Newer);
        }
        _ => return Err(ArchiveError::Shape),
    };
    let head: Head = serde_json::from_slice(head).map_err(|_| ArchiveError::Shape)?;
    if head.suite != SUITE_S1 {
        return Err(ArchiveError::Newer);
    }
    let mut salt = [0; 32];
    hex::decode_to_slice(&head.salt, &mut salt).map_err(|_| ArchiveError::Shape)?;
    let key = ArchiveKey::stretch(password, &salt)?;
    let content = key.open(&head.context(&salt), sealed)?;
    let mut imported = Imported { source: "Lockstep archive".to_owned(), ..Imported::default() };
    if form == b"1" {
        imported.items = serde_json::from_slice::<Vec<Item>>(&content).map_err(|_| ArchiveError::Newer)?;
        return Ok(imported);
    }
    let contents: Contents = serde_json::from_slice(&content).map_err(|_| ArchiveError::Newer)?;
    imported.vaults = contents.vaults;
    imported.file = contents.file.map(|text| decoded(&text)).transpose()?;
    Ok(imported)
}

/// A line of at most so many bytes, and what follows.
fn line(bytes: &[u8], most: usize) -> Result<(&[u8], &[u8]), ArchiveError> {
    let end = bytes.iter().take(most).position(|byte| *byte == b'\n').ok_or(ArchiveError::Shape)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

fn decoded(text: &Secret) -> Result<Plaintext, ArchiveError> {
    BASE64_STANDARD.decode(text.as_str()).map(Plaintext::new).map_err(|_| ArchiveError::Shape)
}

#[cfg(test)]
mod tests {
    use lockstep_events::VaultId;

    use super::*;
    use crate::{
        crypto::os_random,
        porting::{fixtures, portion::Origin},
    };

    const PASSWORD: &str = "violet anchor mumbles archive";

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn portions() -> Vec<Portion> {
        let mut items = fixtures::items(50, 9);
        let more = items.split_off(30);
        let vault = |n, name: Option<&str>, first| Origin {
            id: VaultId(Uuid::from_u128(n)),
            name: name.map(Secret::from),
            first,
        };
        vec![
            Portion { vault: vault(1, None, true), items },
            Portion { vault: vault(2, Some("Work"), false), items: more },
        ]
    }

    fn sealed() -> Vec<u8> {
        let file: &[u8] = &[0, 1, 0xff];
        seal((portions(), Some(file)), &password(PASSWORD), AccountId::NIL, &mut os_random()).unwrap()
    }

    #[test]
    fn an_archive_opens_with_its_password_only_and_unchanged_only() {
        let sealed = sealed();
        let opened = open(&sealed, &password(PASSWORD)).unwrap();
        assert_eq!(opened.vaults, portions());
        assert_eq!((opened.items.len(), opened.file.as_deref()), (0, Some(&[0, 1, 0xff][..])));
        assert!(open(&sealed, &password("violet anchor mumblet")).unwrap_err().is_rejected());
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains("otpauth") && !text.contains("Work"));
        let at = sealed.windows(10).position(|w| w == b"\"items\":50").unwrap() + 9;
        let mut fewer = sealed.clone();
        fewer[at] = b'1';
        assert!(open(&fewer, &password(PASSWORD)).unwrap_err().is_rejected());
        assert!(open(&sealed[..sealed.len() - 1], &password(PASSWORD)).unwrap_err().is_rejected());
        assert!(matches!(open(&sealed[..40], &password("x")), Err(ArchiveError::Shape)));
    }

    #[test]
    fn an_archive_of_the_first_form_is_still_read_and_none_is_read_as_another_form() {
        let first = include_bytes!("../../testdata/archive-1.lockstep");
        let mut opened = open(first, &password(PASSWORD)).unwrap();
        let names: Vec<&str> = opened.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!((names, opened.vaults.len()), (vec!["mail", "passport"], 0));
        let scan = opened.items[1].attachments[0].take_content().unwrap();
        assert_eq!(scan.as_slice(), b"scan of a passport");
        let as_form = |form: u8, bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes[MAGIC.len()] = form;
            open(&bytes, &password(PASSWORD)).unwrap_err()
        };
        for (form, bytes) in [(b'2', &first[..]), (b'1', &sealed()), (b'3', &sealed())] {
            assert!(matches!(as_form(form, bytes), ArchiveError::Newer));
        }
        assert!(matches!(as_form(b'x', first), ArchiveError::Shape));
    }
}
