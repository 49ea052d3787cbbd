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
const NEXT: &str = "profile.json.new";
/// How the names begin of files that only prove that one can be written.
const TRIAL: &str = "profile.trial.";
/// Whoever changes the profile holds it.
const LOCK: &str = "profile.lock";
/// Whoever has the live socket holds it.
pub(crate) const SOCKET: &str = "socket.lock";
/// What a profile consists of beside its sealed files; `profile.json` is deleted first of all.
const FILES: [&str; 12] = [
    FILE,
    NEXT,
    SOCKET,
    DATABASE,
    "vault.db-wal",
    "vault.db-shm",
    "vault.db-journal",
    "kept.json",
    "kept.json.new",
    "kept.key",
    "kept.key.new",
    LOCK,
];
/// What else may lie in its directory: the socket of `unlock`, and what a file system puts into its root.
const BESIDE: [&str; 2] = ["agent.sock", "lost+found"];

impl Profile {
    /// Reads the profile of a directory.
    ///
    /// # Errors
    /// [`Error::NoProfile`] if there is none.
    pub fn read(home: &Path) -> Result<Self, Error> {
        let text = match std::fs::read(home.join(FILE)) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(Error::NoProfile(home.to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let profile: Self = serde_json::from_slice(&text).map_err(|_| Error::Damaged("profile.json"))?;
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
        replace_private(&home.join(FILE), &text)
    }

    /// Changes what stands in the open, as it is now: another process may have changed the rest since this one read it.
    ///
    /// # Errors
    /// If the file cannot be read or written; it is as it was then.
    pub(crate) fn change(home: &Path, change: impl FnOnce(&mut Self)) -> Result<(), Error> {
        let _held = Held::take(home)?;
        let mut now = Self::read(home)?;
        change(&mut now);
        now.write(home)
    }

    /// The local database of a directory.
    pub(crate) fn database(home: &Path) -> PathBuf {
        home.join(DATABASE)
    }
}

/// Held by whoever changes, makes or deletes the profile of a directory: one at a time.
pub(crate) struct Held {
    home: PathBuf,
    _lock: std::fs::File,
}

impl Held {
    /// Waits until nobody else holds it.
    ///
    /// # Errors
    /// If the directory is not there, or cannot be written.
    pub(crate) fn take(home: &Path) -> Result<Self, Error> {
        let path = home.join(LOCK);
        loop {
            let lock = private().write(true).create(true).truncate(false).open(&path)?;
            lock.lock()?;
            if is_still(&lock, &path)? {
                return Ok(Self { home: home.to_owned(), _lock: lock });
            }
        }
    }

    /// The same where waiting does not stop other tasks.
    ///
    /// # Errors
    /// As [`Held::take`].
    pub(crate) async fn wait(home: &Path) -> Result<Self, Error> {
        let home = home.to_owned();
        let taken = tokio::task::spawn_blocking(move || Self::take(&home)).await;
        taken.map_err(|_| Error::Invalid("the profile could not be locked"))?
    }

    /// From now on there is no profile: its other files are the rest of one.
    ///
    /// # Errors
    /// If its file cannot be deleted.
    pub(crate) fn unmake(&self) -> Result<(), Error> {
        gone(std::fs::remove_file(self.home.join(FILE)))
    }

    /// Deletes the files of a profile, or the rest of one.
    ///
    /// # Errors
    /// If one cannot be deleted.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        for name in FILES.iter().filter(|name| **name != LOCK) {
            gone(std::fs::remove_file(self.home.join(name)))?;
        }
        for name in names(&self.home)?.iter().filter(|name| name.starts_with(TRIAL)) {
            gone(std::fs::remove_file(self.home.join(name)))?;
        }
        // Sealed files: nothing opens them any more. What somebody else put beside them stays.
        let folder = self.home.join(ATTACHMENTS);
        for name in names(&folder)?.iter().filter(|name| is_sealed(name)) {
            gone(std::fs::remove_file(folder.join(name)))?;
        }
        let _ = std::fs::remove_dir(folder);
        Ok(())
    }

    /// The same, and lets go of the directory.
    ///
    /// # Errors
    /// As [`Held::clear`].
    pub(crate) fn delete(self) -> Result<(), Error> {
        self.clear()?;
        gone(std::fs::remove_file(self.home.join(LOCK)))
    }
}

/// Whether a file that was waited for is still the one of its name: who deleted the profile has deleted it, too.
#[cfg(unix)]
fn is_still(file: &std::fs::File, path: &Path) -> Result<bool, Error> {
    use std::os::unix::fs::MetadataExt;
    let id = |found: std::fs::Metadata| (found.dev(), found.ino());
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        there => Ok(id(there?) == id(file.metadata()?)),
    }
}

#[cfg(not(unix))]
fn is_still(_: &std::fs::File, _: &Path) -> Result<bool, Error> {
    Ok(true)
}

/// Makes the directory of a new profile, readable by its owner only, and proves that files can be written in it: before
/// a server is told anything. What is left of an attempt that was cut off may lie there, and nothing of anybody else.
pub(crate) fn claim(home: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(home)?;
    let known = |name: &String| {
        FILES.contains(&name.as_str()) || BESIDE.contains(&name.as_str()) || name.starts_with(TRIAL)
    };
    let strange = |name: &String| !known(name) && name != ATTACHMENTS;
    if names(home)?.iter().any(strange) || !names(&home.join(ATTACHMENTS))?.iter().all(|name| is_sealed(name))
    {
        return Err(Error::Occupied(home.to_owned()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o700))?;
    }
    // Under a name of its own: somebody else may be changing the profile that came to be here meanwhile.
    let trial = home.join(format!("{TRIAL}{}", uuid::Uuid::new_v4().simple()));
    let written = write_private(&trial, &[0; 4096]);
    gone(std::fs::remove_file(trial))?;
    written
}

/// The names in a folder; none if it is not there.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
    }
}

/// Whether a name is one of a sealed file, of one that is not finished yet, or of how far it was sent: its hash, and an
/// ending.
fn is_sealed(name: &str) -> bool {
    let (hash, ending) = name.split_once('.').unwrap_or((name, ""));
    let known = ["", "new", "part", "parts", "parts.new"].contains(&ending);
    known && hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// That there was nothing to delete is as good.
fn gone(deleted: std::io::Result<()>) -> Result<(), Error> {
    match deleted {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// How to open a file that only its owner reads.
fn private() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// Writes a file that only its owner reads.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let mut file = private().write(true).create(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

/// The same, in the place of what is there: whole or not at all, whatever breaks off.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let next = PathBuf::from(next);
    write_private(&next, bytes)?;
    std::fs::rename(next, path)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_directory_with_anything_of_somebody_else_is_left_as_it_is() {
        use std::os::unix::fs::PermissionsExt;
        for strange in ["letter.txt", "attachments/scan.pdf"] {
            let home = home();
            let file = home.path().join(strange);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "mine").unwrap();
            std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
            assert!(matches!(claim(home.path()), Err(Error::Occupied(_))), "{strange}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
            let mode = std::fs::metadata(home.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755, "{strange}");
        }
    }

    #[test]
    fn what_is_left_of_an_attempt_that_was_cut_off_is_in_the_way_of_nothing() {
        let home = home();
        for rest in ["vault.db", "vault.db-wal", "profile.json.new", "agent.sock"] {
            std::fs::write(home.path().join(rest), "").unwrap();
        }
        let sealed = home.path().join(ATTACHMENTS).join("ab".repeat(32));
        std::fs::create_dir_all(sealed.parent().unwrap()).unwrap();
        for unfinished in ["part", "parts", "parts.new", "new"] {
            std::fs::write(sealed.with_extension(unfinished), "").unwrap();
        }
        claim(home.path()).unwrap();
        Held::take(home.path()).unwrap().delete().unwrap();
        assert_eq!(names(home.path()).unwrap(), ["agent.sock"]);
    }

    #[test]
    fn deleting_a_profile_takes_sealed_files_and_nothing_else() {
        let home = home();
        let folder = home.path().join(ATTACHMENTS);
        std::fs::create_dir(&folder).unwrap();
        for name in [&"0".repeat(64), "scan.pdf"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        Held::take(home.path()).unwrap().delete().unwrap();
        assert_eq!(names(&folder).unwrap(), ["scan.pdf"]);
    }

    #[test]
    fn changes_of_the_profile_at_the_same_time_are_all_kept() {
        let home = home();
        crate::keystore::tests::profile(1).write(home.path()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        Profile::change(home.path(), |profile| profile.name.push('x')).unwrap();
                    }
                });
            }
        });
        assert!(Profile::read(home.path()).unwrap().name.ends_with(&"x".repeat(64)));
    }

    #[test]
    fn who_asks_whether_files_can_be_written_harms_no_profile_that_is_being_changed() {
        let home = home();
        crate::keystore::tests::profile(1).write(home.path()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..32).for_each(|_| claim(home.path()).unwrap()));
            }
            for _ in 0..32 {
                Profile::change(home.path(), |profile| profile.name.push('x')).unwrap();
                Profile::read(home.path()).unwrap();
            }
        });
        assert!(!names(home.path()).unwrap().iter().any(|name| name.starts_with(TRIAL)));
    }

    #[test]
    fn one_at_a_time_holds_a_profile_also_where_the_file_that_is_held_is_deleted_again_and_again() {
        let home = home();
        let holding = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let held = Held::take(home.path()).unwrap();
                        assert_eq!(holding.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        holding.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        held.delete().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused() {
        let home = home();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(claim(&file), Err(Error::File(_))));
        assert!(matches!(claim(&file.join("below")), Err(Error::File(_))));
    }
}
