//! The key hierarchy: which key derives from which, and which wraps which.
//!
//! ```text
//! PasswordKey        = HKDF(no salt, export key, lp("lockstep/v1/mk") | account | u32 cred_gen)
//! wrapping key of X  = HKDF(no salt, parent key, lp(label))      one label per parent and kind of child:
//!   "lockstep/v1/mk/ark"   PasswordKey    → AccountRootKey
//!   "lockstep/v1/dev/ark"  LocalKey       → AccountRootKey
//!   "lockstep/v1/dev/key"  LocalKey       → DeviceKey
//!   "lockstep/v1/ark/ask"  AccountRootKey → AccountSigningKey
//!   "lockstep/v1/ark/vk"   AccountRootKey → VaultKey
//!   "lockstep/v1/vk/cek"   VaultKey       → ContentKey
//! wrap               = sealed box of the child's 32 bytes, not padded, in the child's context (104 bytes)
//! ```

use hkdf::Hkdf;
use lockstep_events::{AccountId, DeviceId, EntryId, VaultId, canonical::Writer};
use rand::{CryptoRng, RngCore};
use sha2::Sha512;
use uuid::Uuid;

use super::{
    Rejected,
    context::Context,
    identity::AccountSigningKey,
    keys::{AccountRootKey, ContentKey, ExportKey, LocalKey, PasswordKey, VaultKey, WrappingKey},
    sealed::{open, seal},
};

/// The length of every wrapped key.
pub const WRAP_LEN: usize = 104;

/// HKDF-SHA-512 into `output`.
pub(in crate::crypto) fn hkdf(
    salt: Option<&[u8]>,
    key: &[u8],
    info: &[u8],
    output: &mut [u8],
) -> Result<(), Rejected> {
    Hkdf::<Sha512>::new(salt, key).expand(info, output).map_err(|_| Rejected)
}

/// 32 bytes derived from a key under a label.
pub(in crate::crypto) fn derive(key: &[u8; 32], label: &str) -> Result<WrappingKey, Rejected> {
    let mut bytes = [0; 32];
    hkdf(None, key, &Writer::new(label).finish(), &mut bytes)?;
    Ok(WrappingKey::new(bytes))
}

/// Wraps 32 bytes.
pub(in crate::crypto) fn wrap(
    key: &WrappingKey,
    context: &Context,
    child: &[u8; 32],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>, Rejected> {
    seal(key.bytes(), context, child, rng)
}

/// Opens what [`wrap`] made.
pub(in crate::crypto) fn unwrap(
    key: &WrappingKey,
    context: &Context,
    wrapped: &[u8],
) -> Result<[u8; 32], Rejected> {
    (*open(key.bytes(), context, wrapped)?).try_into().map_err(|_| Rejected)
}

impl PasswordKey {
    /// From OPAQUE's export key, for one generation of the account's credential.
    ///
    /// # Errors
    /// Never in practice; [`Rejected`] if the derivation refuses its lengths.
    pub fn derive(export: &ExportKey, account: AccountId, cred_gen: u32) -> Result<Self, Rejected> {
        let info = Writer::new("lockstep/v1/mk").fixed(account.as_bytes()).u32(cred_gen).finish();
        let mut bytes = [0; 32];
        hkdf(None, export.bytes(), &info, &mut bytes)?;
        Ok(Self::new(bytes))
    }

    fn for_ark(&self) -> Result<WrappingKey, Rejected> {
        derive(self.bytes(), "lockstep/v1/mk/ark")
    }
}

impl LocalKey {
    fn for_ark(&self) -> Result<WrappingKey, Rejected> {
        derive(self.bytes(), "lockstep/v1/dev/ark")
    }
}

impl AccountRootKey {
    fn for_ask(&self) -> Result<WrappingKey, Rejected> {
        derive(self.bytes(), "lockstep/v1/ark/ask")
    }

    fn for_vault(&self) -> Result<WrappingKey, Rejected> {
        derive(self.bytes(), "lockstep/v1/ark/vk")
    }

    /// Wraps this key under the password's.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wrap_by_password(
        &self,
        key: &PasswordKey,
        (account, ark_gen, cred_gen): (AccountId, u32, u32),
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        let context = Context::ark_by_password(account, ark_gen, cred_gen);
        wrap(&key.for_ark()?, &context, self.bytes(), rng)
    }

    /// Opens [`Self::wrap_by_password`].
    ///
    /// # Errors
    /// [`Rejected`] if it is not that key's wrap for this account and these generations.
    pub fn unwrap_by_password(
        key: &PasswordKey,
        (account, ark_gen, cred_gen): (AccountId, u32, u32),
        wrapped: &[u8],
    ) -> Result<Self, Rejected> {
        let context = Context::ark_by_password(account, ark_gen, cred_gen);
        unwrap(&key.for_ark()?, &context, wrapped).map(Self::new)
    }

    /// Wraps this key for this device's own database.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wrap_on_device(
        &self,
        key: &LocalKey,
        (account, ark_gen, device): (AccountId, u32, DeviceId),
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        let context = Context::ark_on_device(account, ark_gen, device);
        wrap(&key.for_ark()?, &context, self.bytes(), rng)
    }

    /// Opens [`Self::wrap_on_device`].
    ///
    /// # Errors
    /// [`Rejected`] if it is not that key's wrap for this account and device.
    pub fn unwrap_on_device(
        key: &LocalKey,
        (account, ark_gen, device): (AccountId, u32, DeviceId),
        wrapped: &[u8],
    ) -> Result<Self, Rejected> {
        let context = Context::ark_on_device(account, ark_gen, device);
        unwrap(&key.for_ark()?, &context, wrapped).map(Self::new)
    }

    /// Wraps the account signing key.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wrap_ask(
        &self,
        ask: &AccountSigningKey,
        account: AccountId,
        key_id: Uuid,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        wrap(&self.for_ask()?, &Context::ask(account, key_id), &ask.seed(), rng)
    }

    /// Opens [`Self::wrap_ask`].
    ///
    /// # Errors
    /// [`Rejected`] if it is not this account's.
    pub fn unwrap_ask(
        &self,
        account: AccountId,
        key_id: Uuid,
        wrapped: &[u8],
    ) -> Result<AccountSigningKey, Rejected> {
        let seed = unwrap(&self.for_ask()?, &Context::ask(account, key_id), wrapped)?;
        Ok(AccountSigningKey::from_seed(&seed))
    }

    /// Wraps a vault key.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wrap_vault_key(
        &self,
        key: &VaultKey,
        (account, vault, generation): (AccountId, VaultId, u32),
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        let context = Context::vault_key(account, vault, generation);
        wrap(&self.for_vault()?, &context, key.bytes(), rng)
    }

    /// Opens [`Self::wrap_vault_key`].
    ///
    /// # Errors
    /// [`Rejected`] if it is not this vault's, of this generation.
    pub fn unwrap_vault_key(
        &self,
        (account, vault, generation): (AccountId, VaultId, u32),
        wrapped: &[u8],
    ) -> Result<VaultKey, Rejected> {
        let context = Context::vault_key(account, vault, generation);
        unwrap(&self.for_vault()?, &context, wrapped).map(VaultKey::new)
    }
}

impl VaultKey {
    /// Wraps a content key.
    ///
    /// # Errors
    /// Never in practice.
    pub(in crate::crypto) fn wrap_content_key(
        &self,
        key: &ContentKey,
        (account, vault, generation): (AccountId, VaultId, u32),
        (entry, key_id): (EntryId, Uuid),
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        let context = Context::content_key(account, vault, generation, entry, key_id);
        wrap(&derive(self.bytes(), "lockstep/v1/vk/cek")?, &context, key.bytes(), rng)
    }

    /// Opens [`Self::wrap_content_key`].
    pub(in crate::crypto) fn unwrap_content_key(
        &self,
        (account, vault, generation): (AccountId, VaultId, u32),
        (entry, key_id): (EntryId, Uuid),
        wrapped: &[u8],
    ) -> Result<ContentKey, Rejected> {
        let context = Context::content_key(account, vault, generation, entry, key_id);
        unwrap(&derive(self.bytes(), "lockstep/v1/vk/cek")?, &context, wrapped).map(ContentKey::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn account(n: u128) -> AccountId {
        AccountId(Uuid::from_u128(n))
    }

    #[test]
    fn a_root_key_wrapped_by_the_password_opens_only_for_its_account_and_generations() {
        let mut rng = StdRng::seed_from_u64(1);
        let mk = PasswordKey::derive(&ExportKey::new([3; 64]), account(1), 1).unwrap();
        let ark = AccountRootKey::random(&mut rng);
        let wrapped = ark.wrap_by_password(&mk, (account(1), 1, 1), &mut rng).unwrap();
        assert_eq!(wrapped.len(), WRAP_LEN);
        let back = AccountRootKey::unwrap_by_password(&mk, (account(1), 1, 1), &wrapped).unwrap();
        assert_eq!(back.bytes(), ark.bytes());
        for place in [(account(2), 1, 1), (account(1), 2, 1), (account(1), 1, 2)] {
            assert!(AccountRootKey::unwrap_by_password(&mk, place, &wrapped).is_err(), "{place:?}");
        }
        let other = PasswordKey::derive(&ExportKey::new([3; 64]), account(1), 2).unwrap();
        assert!(AccountRootKey::unwrap_by_password(&other, (account(1), 1, 1), &wrapped).is_err());
    }

    #[test]
    fn a_vault_key_does_not_open_as_another_generation_or_vault() {
        let mut rng = StdRng::seed_from_u64(2);
        let (ark, key) = (AccountRootKey::random(&mut rng), VaultKey::random(&mut rng));
        let vault = |n| VaultId(Uuid::from_u128(n));
        let wrapped = ark.wrap_vault_key(&key, (account(1), vault(1), 1), &mut rng).unwrap();
        assert!(ark.unwrap_vault_key((account(1), vault(1), 1), &wrapped).is_ok());
        assert!(ark.unwrap_vault_key((account(1), vault(1), 2), &wrapped).is_err());
        assert!(ark.unwrap_vault_key((account(1), vault(2), 1), &wrapped).is_err());
        // A wrap of one kind is never taken for one of another kind.
        assert!(ark.unwrap_ask(account(1), Uuid::nil(), &wrapped).is_err());
    }
}
