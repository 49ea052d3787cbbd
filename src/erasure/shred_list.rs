//! The shred list: what was erased, kept beside the key file and outside every database.
//!
//! A database that is restored from before an erasure brings the person back, and one from before a purge the entry.
//! This list knows better: it is applied again before the server serves. One line for each erasure; every line is
//! signed and has the hash of the line before, so that nobody takes one out or puts one in. Nodes may share the
//! file: a line is written under its lock, behind all lines that others wrote.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier};
use lockstep_events::{
    AccountId, EntryId, Micros, VaultId,
    canonical::{Writer, sha256},
};
use serde::{Deserialize, Serialize};

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Shred {
    /// A person, with the vaults.
    Subject {
        /// The account.
        account: AccountId,
        /// Its vaults.
        vaults: Vec<VaultId>,
    },
    /// An entry.
    Entry {
        /// Its vault.
        vault: VaultId,
        /// The entry.
        entry: EntryId,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: Micros,
    shred: Shred,
    before: String,
    signature: String,
}

/// Why the list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShredListError {
    /// The file cannot be read or written.
    #[error("cannot use the shred list {path}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A line was changed, taken out or put in, or belongs to another key file.
    #[error("line {line} of the shred list {path} does not follow the lines before it: the file was changed")]
    Changed {
        /// The file.
        path: String,
        /// The line.
        line: usize,
    },
    /// Lines that this process has read are gone.
    #[error(
        "the shred list {path} is shorter than it was: start the server again, and it is made whole from the log"
    )]
    Cut {
        /// The file.
        path: String,
    },
}

#[derive(Default)]
struct Known {
    shreds: Vec<Shred>,
    all: HashSet<Shred>,
    /// Bytes of the file that are read.
    read: u64,
    /// Hash of the last line.
    last: [u8; 32],
}

/// The list.
pub struct ShredList {
    path: PathBuf,
    key: SigningKey,
    known: Mutex<Known>,
}

impl ShredList {
    /// Reads the list; there is none before the first erasure.
    ///
    /// # Errors
    /// [`ShredListError`]
    pub fn open(path: &Path, key: SigningKey) -> Result<Self, ShredListError> {
        let list = Self { path: path.to_owned(), key, known: Mutex::default() };
        if path.exists() {
            let mut file = list.file()?;
            list.catch_up(&mut file, &mut list.known())?;
        }
        Ok(list)
    }

    /// Everything on the list, oldest first.
    pub fn all(&self) -> Vec<Shred> {
        self.known().shreds.clone()
    }

    /// How many lines the file has now, those of other nodes among them.
    ///
    /// # Errors
    /// [`ShredListError`]
    pub fn count(&self) -> Result<usize, ShredListError> {
        let mut known = self.known();
        if known.read > 0 || self.path.exists() {
            self.catch_up(&mut self.file()?, &mut known)?;
        }
        Ok(known.shreds.len())
    }

    /// Puts an erasure on the list, unless it is there; durable when it returns.
    ///
    /// # Errors
    /// [`ShredListError`]
    pub fn add(&self, shred: &Shred, at: Micros) -> Result<(), ShredListError> {
        let mut known = self.known();
        if known.all.contains(shred) {
            return Ok(());
        }
        let mut file = self.file()?;
        self.catch_up(&mut file, &mut known)?;
        if !known.all.contains(shred) {
            let text = self.line(shred, at, &known.last);
            let written = file.seek(SeekFrom::Start(known.read)).and_then(|_| {
                // A torn line of somebody who died in the middle stands behind what was read.
                file.set_len(known.read)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
            written.map_err(|source| self.failed(source))?;
            known.take(shred.clone(), &text);
        }
        Ok(())
    }

    fn line(&self, shred: &Shred, at: Micros, before: &[u8; 32]) -> String {
        let signature = hex::encode(self.key.sign(&message(shred, at, before)).to_bytes());
        let line = Line { at, shred: shred.clone(), before: hex::encode(before), signature };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }

    /// Reads the lines that were written since the last look. The lock of the file lasts as long as `file`.
    fn catch_up(&self, file: &mut File, known: &mut Known) -> Result<(), ShredListError> {
        let mut text = String::new();
        if file.metadata().map_err(|source| self.failed(source))?.len() < known.read {
            return Err(ShredListError::Cut { path: self.path.display().to_string() });
        }
        let read = file.seek(SeekFrom::Start(known.read)).and_then(|_| file.read_to_string(&mut text));
        read.map_err(|source| self.failed(source))?;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let shred = self.checked(line, &known.last).ok_or_else(|| ShredListError::Changed {
                path: self.path.display().to_string(),
                line: known.shreds.len() + 1,
            })?;
            known.take(shred, line);
        }
        Ok(())
    }

    fn checked(&self, text: &str, last: &[u8; 32]) -> Option<Shred> {
        let line: Line = serde_json::from_str(text).ok()?;
        let signature = Signature::from_slice(&hex::decode(&line.signature).ok()?).ok()?;
        let follows = line.before == hex::encode(last);
        let signed =
            self.key.verifying_key().verify(&message(&line.shred, line.at, last), &signature).is_ok();
        (follows && signed).then_some(line.shred)
    }

    fn file(&self) -> Result<File, ShredListError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path).map_err(|source| self.failed(source))?;
        file.lock().map_err(|source| self.failed(source))?;
        Ok(file)
    }

    fn failed(&self, source: io::Error) -> ShredListError {
        ShredListError::File { path: self.path.display().to_string(), source }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn take(&mut self, shred: Shred, line: &str) {
        self.read += line.len() as u64;
        self.last = sha256(line.as_bytes());
        self.all.insert(shred.clone());
        self.shreds.push(shred);
    }
}

fn message(shred: &Shred, at: Micros, before: &[u8; 32]) -> Vec<u8> {
    let writer = Writer::new("lockstep/v1/shred").fixed(before).i64(at.0);
    match shred {
        Shred::Subject { account, vaults } => {
            let ids: Vec<u8> = vaults.iter().flat_map(|vault| *vault.as_bytes()).collect();
            writer.u8(1).fixed(account.as_bytes()).lp(&ids).finish()
        }
        Shred::Entry { vault, entry } => {
            writer.u8(2).fixed(vault.as_bytes()).fixed(entry.as_bytes()).finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn subject(n: u128) -> Shred {
        let vaults = vec![VaultId(Uuid::from_u128(n + 1000))];
        Shred::Subject { account: AccountId(Uuid::from_u128(n)), vaults }
    }

    fn entry(n: u128) -> Shred {
        Shred::Entry { vault: VaultId(Uuid::from_u128(n)), entry: EntryId(Uuid::from_u128(n)) }
    }

    fn list_of(path: &Path, shreds: &[Shred]) -> ShredList {
        let list = ShredList::open(path, key(1)).unwrap();
        shreds.iter().for_each(|shred| list.add(shred, Micros(5)).unwrap());
        list
    }

    #[test]
    fn what_was_erased_is_known_to_every_later_process_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shred-list");
        list_of(&path, &[subject(1), entry(2), subject(1)]);
        assert_eq!(list_of(&path, &[]).all(), [subject(1), entry(2)]);
    }

    #[test]
    fn nodes_that_share_the_file_write_behind_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shred-list");
        let (one, other) = (list_of(&path, &[]), list_of(&path, &[]));
        one.add(&subject(1), Micros(1)).unwrap();
        other.add(&subject(2), Micros(2)).unwrap();
        one.add(&subject(3), Micros(3)).unwrap();
        other.add(&subject(1), Micros(4)).unwrap();
        assert_eq!(list_of(&path, &[]).all(), [subject(1), subject(2), subject(3)]);
    }

    #[test]
    fn a_line_that_was_taken_out_put_in_moved_or_changed_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shred-list");
        list_of(&path, &[subject(1), entry(2), subject(3)]);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let changed = lines[1].replace("000000000002", "000000000007");
        let tampered = [
            [lines[1], lines[2]].concat(),
            [lines[0], lines[2]].concat(),
            [lines[0], lines[2], lines[1]].concat(),
            [lines[0], lines[0], lines[1]].concat(),
            [lines[0], &changed, lines[2]].concat(),
        ];
        for text in tampered {
            std::fs::write(&path, &text).unwrap();
            let opened = ShredList::open(&path, key(1));
            assert!(matches!(opened, Err(ShredListError::Changed { .. })), "{text}");
        }
        std::fs::write(&path, &text).unwrap();
        assert!(ShredList::open(&path, key(1)).is_ok());
        assert!(matches!(ShredList::open(&path, key(2)), Err(ShredListError::Changed { line: 1, .. })));
    }

    #[test]
    fn a_list_that_was_cut_short_or_taken_away_while_it_is_used_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shred-list");
        let list = list_of(&path, &[subject(1), entry(2)]);
        assert_eq!(list.count().unwrap(), 2);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.split_inclusive('\n').next().unwrap()).unwrap();
        let cut = |done| matches!(done, Err(ShredListError::Cut { .. }));
        assert!(cut(list.add(&subject(3), Micros(5))));
        std::fs::remove_file(&path).unwrap();
        assert!(cut(list.count().map(drop)) && cut(list.add(&subject(3), Micros(5))));
        std::fs::write(&path, &text).unwrap();
        list.add(&subject(3), Micros(5)).unwrap();
        assert_eq!(list_of(&path, &[]).count().unwrap(), 3);
    }

    #[test]
    fn a_line_that_was_torn_by_a_crash_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shred-list");
        list_of(&path, &[subject(1), subject(2)]);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        let list = list_of(&path, &[]);
        assert_eq!(list.all(), [subject(1)]);
        list.add(&entry(4), Micros(1)).unwrap();
        assert_eq!(list_of(&path, &[]).all(), [subject(1), entry(4)]);
    }
}
