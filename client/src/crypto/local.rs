//! The local lock: what the password opens on this device, without the server.
//!
//! ```text
//! LocalKey     = Argon2id S1(lp("lockstep/v1/local") | password input, local salt[32]), 32 bytes
//! database key = HKDF(no salt, LocalKey, lp("lockstep/v1/dev/db")), 32 bytes, SQLCipher's raw key
//! ```

use argon2::{Algorithm, Argon2, Params, Version};
use rand::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use lockstep_events::{AccountId, DeviceId, canonical::Writer};

use super::{
    Rejected,
    context::Context,
    hierarchy::{derive, unwrap, wrap},
    keys::{ArchiveKey, LocalKey},
    password::Password,
};

/// The number of suite S1: Argon2id v1.3, 64 MiB, 3 passes, 4 lanes. Compiled in; never a server's choice.
pub const SUITE_S1: u16 = 1;

/// The salt of the local lock. It stands beside the database, in the open.
pub type LocalSalt = [u8; 32];

/// Argon2id with the numbers of suite S1.
pub(in crate::crypto) fn suite_s1() -> Result<Argon2<'static>, Rejected> {
    let params = Params::new(64 * 1024, 3, 4, None).map_err(|_| Rejected)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// A fresh local salt.
pub fn new_salt(rng: &mut (impl RngCore + CryptoRng)) -> LocalSalt {
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    salt
}

fn stretch(domain: &str, password: &Password, salt: &[u8; 32]) -> Result<[u8; 32], Rejected> {
    let input = Zeroizing::new(Writer::new(domain).fixed(&password.input(b"")).finish());
    let mut key = [0; 32];
    suite_s1()?.hash_password_into(&input, salt, &mut key).map_err(|_| Rejected)?;
    Ok(key)
}

impl LocalKey {
    /// Stretches a password: about half a second and 64 MiB.
    ///
    /// # Errors
    /// [`Rejected`] if the memory is not to be had.
    pub fn stretch(password: &Password, salt: &LocalSalt) -> Result<Self, Rejected> {
        stretch("lockstep/v1/local", password, salt).map(Self::new)
    }

    /// The database's raw key as SQLCipher takes it: 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// Never in practice.
    pub fn database_key(&self) -> Result<Zeroizing<String>, Rejected> {
        let key = derive(self.bytes(), "lockstep/v1/dev/db")?;
        Ok(Zeroizing::new(hex::encode(key.bytes())))
    }

    /// Wraps this key under the one of a later password.
    ///
    /// # Errors
    /// Never in practice.
    pub fn lock_under(
        &self,
        outer: &Self,
        (account, device): (AccountId, DeviceId),
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        let key = derive(outer.bytes(), "lockstep/v1/dev/lock")?;
        wrap(&key, &Context::local_lock(account, device), self.bytes(), rng)
    }

    /// Opens [`Self::lock_under`].
    ///
    /// # Errors
    /// [`Rejected`] for another password, account or device.
    pub fn unlock_from(
        outer: &Self,
        (account, device): (AccountId, DeviceId),
        wrapped: &[u8],
    ) -> Result<Self, Rejected> {
        let key = derive(outer.bytes(), "lockstep/v1/dev/lock")?;
        unwrap(&key, &Context::local_lock(account, device), wrapped).map(Self::new)
    }

    /// The key as text, for whatever keeps this device unlocked (an agent, the key store of the system).
    pub fn to_token(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.bytes()))
    }

    /// Reads [`Self::to_token`].
    ///
    /// # Errors
    /// [`Rejected`] if it is not 64 hexadecimal digits.
    pub fn from_token(token: &str) -> Result<Self, Rejected> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(token, &mut bytes).map_err(|_| Rejected)?;
        Ok(Self::new(bytes))
    }
}

impl ArchiveKey {
    /// Stretches the password of an exported archive, which may be another than the account's.
    ///
    /// # Errors
    /// [`Rejected`] if the memory is not to be had.
    pub fn stretch(password: &Password, salt: &[u8; 32]) -> Result<Self, Rejected> {
        stretch("lockstep/v1/archive", password, salt).map(Self::new)
    }

    /// Seals an archive, padded.
    ///
    /// # Errors
    /// [`Rejected`] for 4 GiB and more.
    pub fn seal(
        &self,
        place: &Context,
        content: &[u8],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        super::sealed::seal_padded(self.bytes(), place, content, rng)
    }

    /// Opens an archive.
    ///
    /// # Errors
    /// [`Rejected`] for another password, context or content.
    pub fn open(&self, place: &Context, sealed: &[u8]) -> Result<super::wipe::Plaintext, Rejected> {
        super::sealed::open_padded(self.bytes(), place, sealed)
    }
}
