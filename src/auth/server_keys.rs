//! The server's secret keys: one file that only the server may read. Databases hold nothing that opens anything
//! without it; every node of one log shares it.
//!
//! The file has a random root, from which keys for single purposes are derived; the OPAQUE setups, which are kept as
//! they were made, each with its number: records name the setup that made them, so that it can be renewed; and the
//! key of the oldest epoch that still opens subject keys (see `subjects::epochs`), which moves on every 30 days.

use std::{fs, io, path::Path};

use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use lockstep_api::opaque::ServerSuite;
use lockstep_events::{AccountId, canonical::Writer};
use opaque_ke::ServerSetup;
use rand::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

use super::credentials::NameIndex;
use crate::{private_file, subjects::epochs::EpochKeys};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("cannot use the key file {path}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not a key file.
    #[error("{0} is not a key file of lockstepd")]
    Shape(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    root: String,
    opaque_setups: Vec<StoredSetup>,
    /// None only in a file of an earlier program.
    subject_epoch: Option<StoredEpoch>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEpoch {
    first: u32,
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSetup {
    id: u32,
    setup: String,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.root.zeroize();
        self.subject_epoch.iter_mut().for_each(|stored| stored.key.zeroize());
        self.opaque_setups.iter_mut().for_each(|stored| stored.setup.zeroize());
    }
}

/// The keys, in memory.
pub struct ServerKeys {
    root: Zeroizing<[u8; 32]>,
    setups: Vec<(u32, ServerSetup<ServerSuite>)>,
    epochs: EpochKeys,
}

impl ServerKeys {
    /// New keys.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut root = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *root);
        Self { root, setups: vec![(1, ServerSetup::new(rng))], epochs: EpochKeys::generate(rng) }
    }

    /// The keys of the file, which is made if it does not exist.
    ///
    /// # Errors
    /// [`KeyFileError`]
    pub fn load_or_make(path: &Path, rng: &mut (impl RngCore + CryptoRng)) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::File { path: path.display().to_string(), source };
        if !path.try_exists().map_err(failed)? {
            if let Some(folder) = path.parent() {
                private_file::make_folder(folder).map_err(failed)?;
            }
            let text = Zeroizing::new(Self::generate(rng).to_text());
            private_file::write_new(path, text.as_bytes()).map_err(failed)?;
        }
        let (keys, is_complete) = Self::read(path, rng)?;
        if is_complete {
            return Ok(keys);
        }
        // A file of an earlier program gets what it lacks; it is read again, in case that another node was first.
        let text = Zeroizing::new(keys.to_text());
        private_file::write(path, text.as_bytes()).map_err(failed)?;
        Ok(Self::read(path, rng)?.0)
    }

    fn read(path: &Path, rng: &mut (impl RngCore + CryptoRng)) -> Result<(Self, bool), KeyFileError> {
        let place = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| KeyFileError::File { path: place(), source })?;
        Self::from_text(&Zeroizing::new(text), rng).ok_or_else(|| KeyFileError::Shape(place()))
    }

    /// Replaces the epochs in a key file by later ones: the keys before them are gone.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn keep_epochs(path: &Path, later: &EpochKeys) -> Result<(), KeyFileError> {
        let (mut keys, is_complete) = Self::read(path, &mut rand::rngs::OsRng)?;
        if is_complete && keys.epochs.first() >= later.first() {
            return Ok(());
        }
        keys.epochs = later.clone();
        let text = Zeroizing::new(keys.to_text());
        private_file::write(path, text.as_bytes())
            .map_err(|source| KeyFileError::File { path: path.display().to_string(), source })
    }

    fn to_text(&self) -> String {
        let setups = self.setups.iter();
        let file = KeyFile {
            version: 1,
            root: hex::encode(*self.root),
            opaque_setups: setups
                .map(|(id, setup)| StoredSetup { id: *id, setup: hex::encode(setup.serialize()) })
                .collect(),
            subject_epoch: Some(StoredEpoch {
                first: self.epochs.first(),
                key: hex::encode(**self.epochs.first_key()),
            }),
        };
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }

    /// The keys, and whether the text had all of them.
    fn from_text(text: &str, rng: &mut (impl RngCore + CryptoRng)) -> Option<(Self, bool)> {
        let file: KeyFile = serde_json::from_str(text).ok().filter(|file: &KeyFile| file.version == 1)?;
        let mut root = Zeroizing::new([0; 32]);
        hex::decode_to_slice(&file.root, &mut *root).ok()?;
        let mut setups = Vec::new();
        for stored in &file.opaque_setups {
            let bytes = Zeroizing::new(hex::decode(&stored.setup).ok()?);
            setups.push((stored.id, ServerSetup::deserialize(&bytes).ok()?));
        }
        let epochs = match &file.subject_epoch {
            None => EpochKeys::generate(rng),
            Some(stored) => {
                let mut key = Zeroizing::new([0; 32]);
                hex::decode_to_slice(&stored.key, &mut *key).ok()?;
                EpochKeys::from(stored.first, key)
            }
        };
        (!setups.is_empty()).then_some((Self { root, setups, epochs }, file.subject_epoch.is_some()))
    }

    /// The setup that new records are made with, and its number.
    pub fn newest_setup(&self) -> (u32, &ServerSetup<ServerSuite>) {
        // `from_text` and `generate` leave no list empty.
        let (id, setup) = &self.setups[self.setups.len() - 1];
        (*id, setup)
    }

    /// The setup that a record names.
    pub fn setup(&self, id: u32) -> Option<&ServerSetup<ServerSuite>> {
        self.setups.iter().find(|(known, _)| *known == id).map(|(_, setup)| setup)
    }

    /// The key that signs the shred list.
    pub fn shred_list_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.derive("shred-list"))
    }

    /// The keys that seal subject keys.
    pub fn epoch_keys(&self) -> &EpochKeys {
        &self.epochs
    }

    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let expanded = Hkdf::<Sha256>::new(Some(b"lockstep/v1/server"), &*self.root)
            .expand(purpose.as_bytes(), &mut *key);
        // 32 bytes are always within what HKDF can give.
        debug_assert!(expanded.is_ok());
        key
    }

    fn mac(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        // HMAC takes keys of every length, so the `else` never runs; it must not panic all the same.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.derive(purpose)) else { return [0; 32] };
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    /// What a database keeps to notice that it is used with another key file.
    pub fn commitment(&self) -> [u8; 32] {
        self.mac("commitment", b"")
    }

    /// Under which index an account with this name is kept. Upper and lower case, composed and decomposed forms,
    /// and space around the name make no difference.
    pub fn name_index(&self, name: &str) -> NameIndex {
        NameIndex(self.mac("blind-index", normalised(name).as_bytes()))
    }

    /// The account id that a name without an account seems to have: always the same.
    pub fn fake_account(&self, name: &str) -> AccountId {
        let mac = self.mac("fake-account", normalised(name).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac[..16]);
        AccountId(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The key behind a `kid`.
    pub fn signing_key(&self, kid: &str) -> SigningKey {
        SigningKey::from_bytes(&self.derive(&format!("jwt/{kid}")))
    }

    /// The secret part of a refresh token.
    pub fn refresh_secret(&self, session: &[u8; 16], seed: &[u8; 32], generation: u32) -> [u8; 32] {
        let message = Writer::new("refresh").fixed(session).fixed(seed).u32(generation).finish();
        self.mac("refresh", &message)
    }

    /// Bytes that are the same for the same cause, and that nobody else can tell: so that a retried command makes
    /// the same session.
    pub fn stable(&self, purpose: &str, cause: &[u8]) -> [u8; 32] {
        self.mac(purpose, cause)
    }
}

/// NFKC, lower case, no space around.
fn normalised(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).collect::<String>().nfkc().collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::OsRng;

    #[test]
    fn the_file_is_made_once_for_its_owner_alone_and_gives_the_same_keys_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/server.json");
        let first = ServerKeys::load_or_make(&path, &mut OsRng).unwrap();
        let second = ServerKeys::load_or_make(&path, &mut OsRng).unwrap();
        assert_eq!(first.commitment(), second.commitment());
        assert_eq!(first.newest_setup().1.serialize(), second.newest_setup().1.serialize());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_is_not_a_key_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.json");
        for text in ["", "{}", r#"{"version":1,"root":"00","opaque_setups":[]}"#] {
            fs::write(&path, text).unwrap();
            assert!(matches!(ServerKeys::load_or_make(&path, &mut OsRng), Err(KeyFileError::Shape(_))));
        }
    }

    #[test]
    fn a_file_of_an_earlier_program_gets_epoch_keys_once_and_they_only_move_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.json");
        let made = ServerKeys::load_or_make(&path, &mut OsRng).unwrap();
        let mut file: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        file.as_object_mut().unwrap().remove("subject_epoch");
        fs::write(&path, file.to_string()).unwrap();
        let completed = ServerKeys::load_or_make(&path, &mut OsRng).unwrap();
        let again = ServerKeys::load_or_make(&path, &mut OsRng).unwrap();
        assert_eq!(completed.commitment(), made.commitment());
        assert_eq!(completed.epochs.key(7), again.epochs.key(7));
        ServerKeys::keep_epochs(&path, &again.epochs.from_epoch(5)).unwrap();
        ServerKeys::keep_epochs(&path, &again.epochs).unwrap();
        let moved = ServerKeys::load_or_make(&path, &mut OsRng).unwrap();
        assert_eq!((moved.epochs.key(4), moved.epochs.key(7)), (None, again.epochs.key(7)));
    }

    #[test]
    fn a_name_is_found_however_it_is_written_and_only_with_the_key() {
        let keys = ServerKeys::generate(&mut OsRng);
        let index = keys.name_index("Zoë@example.org");
        assert!(index == keys.name_index("  zoe\u{308}@EXAMPLE.org "));
        assert!(index != keys.name_index("zoe@example.org"));
        assert!(index != ServerKeys::generate(&mut OsRng).name_index("Zoë@example.org"));
    }

    #[test]
    fn a_name_without_an_account_always_seems_to_have_the_same_one() {
        let keys = ServerKeys::generate(&mut OsRng);
        assert_eq!(keys.fake_account("nobody"), keys.fake_account("NOBODY"));
        assert_ne!(keys.fake_account("nobody"), keys.fake_account("somebody"));
    }
}
