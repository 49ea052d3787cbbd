//! The weaker store: a file of mode 0600 beside what it opens.

use std::path::{Path, PathBuf};

use lockstep_events::DeviceId;
use zeroize::Zeroizing;

use super::KeyStore;
use crate::{error::Error, profile::replace_private};

/// A secret in a file of the profile.
pub(super) struct SecretFile(PathBuf);

impl SecretFile {
    /// The file of a profile directory.
    pub(super) fn new(home: &Path) -> Self {
        Self(home.join("kept.key"))
    }
}

impl KeyStore for SecretFile {
    fn put(&self, _: DeviceId, secret: &str) -> Result<(), Error> {
        replace_private(&self.0, secret.as_bytes())
    }

    fn get(&self, _: DeviceId) -> Result<Option<Zeroizing<String>>, Error> {
        match std::fs::read_to_string(&self.0) {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&self, _: DeviceId) -> Result<(), Error> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
