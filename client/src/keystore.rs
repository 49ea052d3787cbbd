//! What keeps a profile open without its password: a random secret in the key store of the system or, weaker, in a file.
//!
//! The secret alone opens nothing. It wraps the local key, and what it wraps stands in the profile's directory, in
//! `kept.json`: a copy of the directory does not open without the key store, and whoever reads the key store has nothing
//! to open without the directory. With the secret in a file beside it the directory is all that somebody needs.

mod file;
#[cfg(target_os = "linux")]
mod secret_service;

use std::path::Path;

use lockstep_events::{AccountId, DeviceId};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    crypto::{keys::LocalKey, os_random},
    error::Error,
    profile::{Profile, replace_private},
};

/// The wrapped key in the profile directory.
const FILE: &str = "kept.json";

/// Where the secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the key store of the system, which locks when the person logs out.
    System,
    /// In a file that only its owner reads: weaker.
    File,
}

impl Place {
    /// As a person reads it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "key store of the system",
            Self::File => "file in the profile (weaker)",
        }
    }
}

/// Somewhere secrets of devices are kept, each under the id of its device. Blocking.
trait KeyStore {
    /// Keeps a text under a device, in the place of what was kept.
    fn put(&self, device: DeviceId, secret: &str) -> Result<(), Error>;
    /// What is kept.
    fn get(&self, device: DeviceId) -> Result<Option<Zeroizing<String>>, Error>;
    /// Keeps it no longer.
    fn forget(&self, device: DeviceId) -> Result<(), Error>;
}

/// `kept.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Version of this file: 1.
    format: u16,
    place: Place,
    /// The local key under the secret, lower-case hex.
    wrapped: String,
}

fn store(home: &Path, place: Place) -> Result<Box<dyn KeyStore>, Error> {
    match place {
        Place::File => Ok(Box::new(file::SecretFile::new(home))),
        #[cfg(target_os = "linux")]
        Place::System => Ok(Box::new(secret_service::SecretService::connect()?)),
        #[cfg(not(target_os = "linux"))]
        Place::System => Err(Error::KeyStore("none is built in for this system".to_owned())),
    }
}

/// Where this profile is kept open; none if it is not.
///
/// # Errors
/// If the file is damaged or cannot be read.
pub(crate) fn place(home: &Path) -> Result<Option<Place>, Error> {
    Ok(read(home)?.map(|kept| kept.place))
}

fn read(home: &Path) -> Result<Option<Kept>, Error> {
    let text = match std::fs::read(home.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let kept: Kept = serde_json::from_slice(&text).map_err(|_| Error::Damaged("kept.json"))?;
    if kept.format == 1 { Ok(Some(kept)) } else { Err(Error::UpdateNeeded("kept.json's format".to_owned())) }
}

/// Keeps a profile open from now on.
///
/// # Errors
/// [`Error::KeyStore`] if there is none that keeps a secret; nothing is changed then.
pub(crate) async fn keep(home: &Path, profile: &Profile, key: &LocalKey, place: Place) -> Result<(), Error> {
    forget(home, profile.device).await?;
    let of: (AccountId, DeviceId) = (profile.account, profile.device);
    let mut secret = Zeroizing::new([0; 32]);
    os_random().fill_bytes(&mut *secret);
    let secret = Zeroizing::new(hex::encode(*secret));
    let wrapped = key.lock_under(&LocalKey::from_token(&secret)?, of, &mut os_random())?;
    let kept = Kept { format: 1, place, wrapped: hex::encode(wrapped) };
    let text = serde_json::to_vec_pretty(&kept).map_err(|_| Error::Invalid("kept.json cannot be written"))?;
    on(home, place, move |store| {
        store.put(of.1, &secret)?;
        // A store that takes a secret and does not give it back would leave a profile that seems to be kept open.
        match store.get(of.1)? {
            Some(again) if again == secret => Ok(()),
            _ => Err(Error::KeyStore("it does not give back what it was given".to_owned())),
        }
    })
    .await?;
    replace_private(&home.join(FILE), &text)
}

/// The local key of a profile that is kept open; none if it is not, or its secret is gone.
///
/// # Errors
/// [`Error::KeyStore`] if the store cannot be asked, [`Error::WrongPassword`] if it has another secret.
pub(crate) async fn open(home: &Path, profile: &Profile) -> Result<Option<LocalKey>, Error> {
    let Some(kept) = read(home)? else { return Ok(None) };
    let device = profile.device;
    let Some(secret) = on(home, kept.place, move |store| store.get(device)).await? else { return Ok(None) };
    let wrapped = hex::decode(&kept.wrapped).map_err(|_| Error::Damaged("kept.json"))?;
    let outer = LocalKey::from_token(&secret).map_err(|_| Error::WrongPassword)?;
    LocalKey::unlock_from(&outer, (profile.account, device), &wrapped)
        .map(Some)
        .map_err(|_| Error::WrongPassword)
}

/// Keeps it open no longer: first the wrapped key goes, so that a store that does not answer cannot keep it. Whether it
/// was kept.
///
/// # Errors
/// If the store cannot be asked; what it still has opens nothing.
pub(crate) async fn forget(home: &Path, device: DeviceId) -> Result<bool, Error> {
    let place = match place(home) {
        Ok(None) => return Ok(false),
        Ok(Some(place)) => place,
        // Half a file says no place. What a store still has opens nothing without it; a file is taken away in any case.
        Err(Error::Damaged(_)) => Place::File,
        Err(other) => return Err(other),
    };
    std::fs::remove_file(home.join(FILE))?;
    on(home, place, move |store| store.forget(device)).await?;
    Ok(true)
}

/// Asks a store on a thread that may wait: a system may ask its person first.
async fn on<T: Send + 'static>(
    home: &Path,
    place: Place,
    ask: impl FnOnce(&dyn KeyStore) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let home = home.to_owned();
    let asked = tokio::task::spawn_blocking(move || ask(&*store(&home, place)?)).await;
    asked.map_err(|_| Error::KeyStore("it broke off".to_owned()))?
}

#[cfg(test)]
pub(crate) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::server::{Server, Trust};

    pub(crate) fn profile(device: u128) -> Profile {
        Profile {
            format: 1,
            server: Server { url: "https://localhost".to_owned(), trust: Trust::System },
            name: "someone".to_owned(),
            account: Uuid::from_u128(1).into(),
            device: Uuid::from_u128(device).into(),
            vault: Uuid::from_u128(3).into(),
            suite: 1,
            salt: String::new(),
            lock: None,
        }
    }

    fn key() -> LocalKey {
        LocalKey::from_token(&"5a".repeat(32)).unwrap()
    }

    async fn token(home: &Path, profile: &Profile) -> Option<String> {
        open(home, profile).await.unwrap().map(|key| key.to_token().to_string())
    }

    #[tokio::test]
    async fn a_kept_key_comes_back_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let (home, profile) = (home.path(), profile(2));
        assert_eq!(token(home, &profile).await, None);
        keep(home, &profile, &key(), Place::File).await.unwrap();
        assert_eq!(place(home).unwrap(), Some(Place::File));
        assert_eq!(token(home, &profile).await.unwrap(), "5a".repeat(32));
        assert!(forget(home, profile.device).await.unwrap());
        assert_eq!(token(home, &profile).await, None);
        assert!(!forget(home, profile.device).await.unwrap());
        assert_eq!(std::fs::read_dir(home).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn neither_half_opens_anything_alone_nor_under_another_device() {
        let home = tempfile::tempdir().unwrap();
        let (home, own) = (home.path(), profile(2));
        keep(home, &own, &key(), Place::File).await.unwrap();
        assert!(matches!(open(home, &profile(9)).await, Ok(None) | Err(Error::WrongPassword)));
        let wrapped = std::fs::read_to_string(home.join(FILE)).unwrap();
        let secret = std::fs::read_to_string(home.join("kept.key")).unwrap();
        assert!(!wrapped.contains(secret.trim()) && !wrapped.contains(&"5a".repeat(8)));
        std::fs::remove_file(home.join("kept.key")).unwrap();
        assert_eq!(token(home, &own).await, None);
    }

    #[tokio::test]
    async fn a_damaged_file_is_named_opens_nothing_and_is_forgotten_like_a_whole_one() {
        let home = tempfile::tempdir().unwrap();
        let (home, own) = (home.path(), profile(2));
        for damaged in ["{\"format\":1,\"place\":\"cellar\"}", "{\"format\":1,\"pla"] {
            keep(home, &own, &key(), Place::File).await.unwrap();
            std::fs::write(home.join(FILE), damaged).unwrap();
            let error = open(home, &own).await.unwrap_err();
            assert_eq!(error.to_string(), "kept.json is damaged");
            assert!(forget(home, own.device).await.unwrap());
            assert_eq!(std::fs::read_dir(home).unwrap().count(), 0, "nothing is left behind");
        }
        keep(home, &own, &key(), Place::File).await.unwrap();
        assert!(token(home, &own).await.is_some());
    }
}
