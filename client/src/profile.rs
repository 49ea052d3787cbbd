//! The profile directory: `profile.json` in the open (whose device this is, how to unlock it, which server it
//! trusts) and `vault.db`, which only the unlocked key reads.

use std::path::{Path, PathBuf};

use lockstep_events::{AccountId, DeviceId, VaultId};
use serde::{Deserialize, Serialize};

use crate::{error::Error, server::Server};

/// What stands in the open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of this file: 1.
    pub format: u16,
    /// The server and how it is trusted.
    pub server: Server,
    /// The name that was registered or logged in with.
    pub name: String,
    /// The account.
    pub account: AccountId,
    /// This device.
    pub device: DeviceId,
    /// The default vault.
    pub vault: VaultId,
    /// The suite of the local lock, 1 = Argon2id 64 MiB, t 3, p 4.
    pub suite: u16,
    /// The salt of the local lock, lower-case hex.
    pub salt: String,
    /// Once the password was changed: what opens this profile in the place of `salt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LocalLock>,
}

/// The key of the local database under a later password than the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalLock {
    /// The salt of the later password, lower-case hex.
    pub salt: String,
    /// The local key under the one that the later password gives, lower-case hex.
    pub wrapped: String,
}

/// The name of the local database in the profile directory.
pub const DATABASE: &str = "vault.db";
/// The folder of sealed files in the profile directory.
pub(crate) const ATTACHMENTS: &str = "attachments";
const FILE: &str = "profile.json";

impl Profile {
    /// Reads the profile of a directory.
    ///
    /// # Errors
    /// [`Error::NoProfile`] if there is none.
    pub fn read(home: &Path) -> Result<Self, Error> {
        let text = match std::fs::read(home.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoProfile(home.to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let profile: Self =
            serde_json::from_slice(&text).map_err(|_| Error::Invalid("profile.json is damaged"))?;
        if profile.format == 1 && profile.suite == crate::crypto::local::SUITE_S1 {
            Ok(profile)
        } else {
            Err(Error::UpdateNeeded("this profile's format".to_owned()))
        }
    }

    /// Whether a directory holds a profile.
    pub fn exists(home: &Path) -> bool {
        home.join(FILE).exists()
    }

    /// Writes the profile, last of all files, so that a directory with a profile is complete.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&self, home: &Path) -> Result<(), Error> {
        let text =
            serde_json::to_vec_pretty(self).map_err(|_| Error::Invalid("profile.json cannot be written"))?;
        let next = home.join("profile.json.new");
        write_private(&next, &text)?;
        std::fs::rename(next, home.join(FILE))?;
        Ok(())
    }

    /// Deletes the files of a profile.
    ///
    /// # Errors
    /// If one cannot be deleted.
    pub(crate) fn delete(home: &Path) -> Result<(), Error> {
        for name in [FILE, DATABASE, "vault.db-wal", "vault.db-shm", "kept.json", "kept.key"] {
            match std::fs::remove_file(home.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        // Sealed files: nothing opens them any more.
        match std::fs::remove_dir_all(home.join(ATTACHMENTS)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The local database of a directory.
    pub(crate) fn database(home: &Path) -> PathBuf {
        home.join(DATABASE)
    }
}

/// Makes the directory, readable by its owner only.
pub(crate) fn make_home(home: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(home)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes a file that only its owner reads.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}
