//! The keys, each its own type, so that none can be used in another's place.

use rand::{CryptoRng, RngCore};
use zeroize::{Zeroize, ZeroizeOnDrop};

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        ///
        /// 32 bytes, wiped on drop, never shown.
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            pub(in crate::crypto) const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            pub(in crate::crypto) const fn bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}

keys! {
    /// MK: from the password by way of OPAQUE; wraps the account root key and nothing else.
    PasswordKey;
    /// ARK: the root of everything an account owns.
    AccountRootKey;
    /// The key of one generation of one vault; wraps content keys.
    VaultKey;
    /// CEK: seals the content of exactly one version.
    ContentKey;
    /// What the local password gives on this device: opens the database and wraps the account root key.
    LocalKey;
    /// A key that wraps other keys; derived from one of the above.
    WrappingKey;
    /// Opens one exported archive.
    ArchiveKey;
}

macro_rules! random_keys {
    ($($name:ident),+) => {$(
        impl $name {
            /// A fresh random key.
            pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
                let mut bytes = [0; 32];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }
        }
    )+};
}
random_keys!(AccountRootKey, VaultKey, ContentKey);

/// What OPAQUE hands the client beside the session: 64 bytes that only the right password gives.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ExportKey([u8; 64]);

impl ExportKey {
    pub(in crate::crypto) const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    pub(in crate::crypto) const fn bytes(&self) -> &[u8; 64] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) const fn for_test() -> Self {
        Self([0x11; 64])
    }
}

impl std::fmt::Debug for ExportKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExportKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_its_name_and_nothing_of_its_bytes() {
        assert_eq!(format!("{:?}", VaultKey::new([0x5a; 32])), "VaultKey(…)");
        assert_eq!(format!("{:?}", ExportKey::new([0x5a; 64])), "ExportKey(…)");
    }
}
