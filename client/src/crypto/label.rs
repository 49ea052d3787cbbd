//! What a person calls a device: for the account's devices to read, and for nobody else.
//!
//! ```text
//! key   = HKDF(no salt, account root key, lp("lockstep/v1/ark/label")), 32 bytes
//! label = padded sealed box of the name, in the context of account and device
//! ```

use lockstep_events::{AccountId, DeviceId};
use rand::{CryptoRng, RngCore};

use super::{
    Rejected,
    context::Context,
    hierarchy::derive,
    keys::{AccountRootKey, WrappingKey},
    sealed::{open_padded, seal_padded},
};

/// A name is at most so long, in bytes: every label has the same length.
pub const MAX_NAME: usize = 64;

impl AccountRootKey {
    fn for_labels(&self) -> Result<WrappingKey, Rejected> {
        derive(self.bytes(), "lockstep/v1/ark/label")
    }

    /// Seals a device's name.
    ///
    /// # Errors
    /// [`Rejected`] if it is longer than [`MAX_NAME`].
    pub fn seal_label(
        &self,
        (account, device): (AccountId, DeviceId),
        name: &str,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        if name.len() > MAX_NAME {
            return Err(Rejected);
        }
        let context = Context::device_label(account, device);
        seal_padded(self.for_labels()?.bytes(), &context, name.as_bytes(), rng)
    }

    /// Opens [`Self::seal_label`].
    ///
    /// # Errors
    /// [`Rejected`] if it is not this account's label of this device.
    pub fn open_label(
        &self,
        (account, device): (AccountId, DeviceId),
        label: &[u8],
    ) -> Result<String, Rejected> {
        let name = open_padded(self.for_labels()?.bytes(), &Context::device_label(account, device), label)?;
        String::from_utf8(name.to_vec()).map_err(|_| Rejected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::OsRng;
    use uuid::Uuid;

    #[test]
    fn a_name_is_read_for_its_device_and_account_only_and_its_length_is_not_seen() {
        let (ark, other) = (AccountRootKey::random(&mut OsRng), AccountRootKey::random(&mut OsRng));
        let place = (AccountId(Uuid::from_u128(1)), DeviceId(Uuid::from_u128(2)));
        let label = ark.seal_label(place, "Zoë's telephone", &mut OsRng).unwrap();
        assert_eq!(ark.open_label(place, &label).unwrap(), "Zoë's telephone");
        assert!(other.open_label(place, &label).is_err());
        assert!(ark.open_label((place.0, DeviceId(Uuid::from_u128(3))), &label).is_err());
        assert!(ark.open_label((AccountId(Uuid::from_u128(9)), place.1), &label).is_err());
        let long = "x".repeat(MAX_NAME);
        assert_eq!(ark.seal_label(place, &long, &mut OsRng).unwrap().len(), label.len());
        assert!(label.len() <= 512);
        assert!(ark.seal_label(place, &format!("{long}x"), &mut OsRng).is_err());
    }
}
