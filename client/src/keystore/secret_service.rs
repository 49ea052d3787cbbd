//! The key store of a Linux desktop: the Secret Service (GNOME Keyring, `KWallet`, `KeePassXC`), over D-Bus.

use std::sync::Arc;

use keyring_core::{Entry, api::CredentialStoreApi};
use lockstep_events::DeviceId;
use zbus_secret_service_keyring_store::Store;
use zeroize::Zeroizing;

use super::KeyStore;
use crate::error::Error;

/// How its entries are named.
const SERVICE: &str = "lockstep";

/// The session's Secret Service.
pub(super) struct SecretService(Arc<Store>);

impl SecretService {
    /// Connects to it.
    pub(super) fn connect() -> Result<Self, Error> {
        Store::new().map(Self).map_err(failed)
    }

    fn entry(&self, device: DeviceId) -> Result<Entry, Error> {
        self.0.build(SERVICE, &device.to_string(), None).map_err(failed)
    }
}

impl KeyStore for SecretService {
    fn put(&self, device: DeviceId, secret: &str) -> Result<(), Error> {
        self.entry(device)?.set_password(secret).map_err(failed)
    }

    fn get(&self, device: DeviceId) -> Result<Option<Zeroizing<String>>, Error> {
        match self.entry(device)?.get_password() {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(keyring_core::Error::NoEntry) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn forget(&self, device: DeviceId) -> Result<(), Error> {
        match self.entry(device)?.delete_credential() {
            Ok(()) | Err(keyring_core::Error::NoEntry) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Its errors name the service and the bus, never a secret: those that could carry one are not shown.
fn failed(error: keyring_core::Error) -> Error {
    use keyring_core::Error as E;
    Error::KeyStore(match error {
        E::PlatformFailure(cause) | E::NoStorageAccess(cause) => cause.to_string(),
        E::BadEncoding(_) | E::BadDataFormat(..) | E::BadStoreFormat(_) => {
            "what it keeps is damaged".to_owned()
        }
        E::Ambiguous(_) => "it keeps two secrets of this device".to_owned(),
        _ => "it refuses".to_owned(),
    })
}
