//! Signing keys: the account's, which certifies the roster, and the device's, which signs versions and requests.

use ed25519_dalek::{Signer, SigningKey};
use lockstep_events::{
    AccountId, DeviceId, Hash32, VersionId,
    header::{public_key, sign_version},
    ids::{PublicKey, Signature},
    roster::{Claim, Roster, Statement},
};
use rand::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::{
    Rejected,
    context::Context,
    hierarchy::{derive, unwrap, wrap},
    keys::LocalKey,
};

macro_rules! signing_keys {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        ///
        /// Ed25519; wiped on drop, never shown.
        #[derive(Clone)]
        pub struct $name(SigningKey);

        impl $name {
            /// A fresh random key.
            pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
                let mut seed = Zeroizing::new([0; 32]);
                rng.fill_bytes(&mut *seed);
                Self::from_seed(&seed)
            }

            /// The public half.
            pub fn public(&self) -> PublicKey {
                public_key(&self.0)
            }

            pub(in crate::crypto) fn from_seed(seed: &[u8; 32]) -> Self {
                Self(SigningKey::from_bytes(seed))
            }

            pub(in crate::crypto) fn seed(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}

signing_keys! {
    /// ASK: signs the statements of the account's roster.
    AccountSigningKey;
    /// The device's own key: never leaves the device.
    DeviceKey;
}

impl AccountSigningKey {
    /// Statement 0 of a new account's roster.
    pub fn found(&self, account: AccountId) -> Statement {
        Statement::sign(
            &self.0,
            account,
            0,
            Hash32::ZERO,
            Claim::AccountCreated { signing_key: self.public() },
        )
    }

    /// The statement that follows a roster.
    ///
    /// # Errors
    /// [`Rejected`] if this is not the roster's key.
    pub fn state(&self, roster: &Roster, claim: Claim) -> Result<Statement, Rejected> {
        if roster.signing_key != self.public() {
            return Err(Rejected);
        }
        Ok(Statement::sign(&self.0, roster.account, roster.epoch + 1, roster.last, claim))
    }
}

impl DeviceKey {
    /// Signs a version id.
    pub fn sign_version(&self, version: &VersionId) -> Signature {
        sign_version(&self.0, version)
    }

    /// Signs a canonical message, which must begin with its own domain.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }

    /// Wraps this key for the device's own database.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wrap(
        &self,
        key: &LocalKey,
        (account, device): (AccountId, DeviceId),
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        let wrapping = derive(key.bytes(), "lockstep/v1/dev/key")?;
        wrap(&wrapping, &Context::device_key(account, device), &self.seed(), rng)
    }

    /// Opens [`Self::wrap`].
    ///
    /// # Errors
    /// [`Rejected`] if it is not this device's.
    pub fn unwrap(
        key: &LocalKey,
        (account, device): (AccountId, DeviceId),
        wrapped: &[u8],
    ) -> Result<Self, Rejected> {
        let wrapping = derive(key.bytes(), "lockstep/v1/dev/key")?;
        let seed = Zeroizing::new(unwrap(&wrapping, &Context::device_key(account, device), wrapped)?);
        Ok(Self::from_seed(&seed))
    }
}
