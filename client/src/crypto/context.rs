//! Context bytes: what a box is bound to beside its key. `lp(dst) | u16 suite | fields`, fields of fixed width.
//!
//! A box taken to another place (another account, entry, version, generation) does not open there.

use lockstep_events::{AccountId, DeviceId, EntryId, Header, VaultId, canonical::Writer};
use uuid::Uuid;

/// The only box suite so far: AES-256-GCM, HKDF-SHA-512, 16 KiB chunks.
pub const BOX_SUITE: u16 = 1;

/// The context of one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context(Vec<u8>);

fn start(dst: &str) -> Writer {
    Writer::new(dst).u16(BOX_SUITE)
}

impl Context {
    pub(in crate::crypto) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn end(writer: Writer) -> Self {
        Self(writer.finish())
    }

    /// The account root key under the password: account, generation of the root key, of the credential.
    pub fn ark_by_password(account: AccountId, ark_gen: u32, cred_gen: u32) -> Self {
        let w = start("lockstep/v1/ark-wrap/pw").fixed(account.as_bytes());
        Self::end(w.u32(ark_gen).u32(cred_gen))
    }

    /// The account root key under a recovery code: account, generation of the root key, slot.
    pub fn ark_by_recovery(account: AccountId, ark_gen: u32, slot: u16) -> Self {
        let w = start("lockstep/v1/ark-wrap/rec").fixed(account.as_bytes());
        Self::end(w.u32(ark_gen).u16(slot))
    }

    /// The account root key on this device: account, generation of the root key, device.
    pub fn ark_on_device(account: AccountId, ark_gen: u32, device: DeviceId) -> Self {
        let w = start("lockstep/v1/ark-wrap/dev").fixed(account.as_bytes());
        Self::end(w.u32(ark_gen).fixed(device.as_bytes()))
    }

    /// This device's signing key in its own database: account, device.
    pub fn device_key(account: AccountId, device: DeviceId) -> Self {
        let w = start("lockstep/v1/device-key-wrap").fixed(account.as_bytes());
        Self::end(w.fixed(device.as_bytes()))
    }

    /// The local key under a later password's: account, device.
    pub fn local_lock(account: AccountId, device: DeviceId) -> Self {
        let w = start("lockstep/v1/local-lock").fixed(account.as_bytes());
        Self::end(w.fixed(device.as_bytes()))
    }

    /// What a device is called: account, device.
    pub fn device_label(account: AccountId, device: DeviceId) -> Self {
        let w = start("lockstep/v1/device-label").fixed(account.as_bytes());
        Self::end(w.fixed(device.as_bytes()))
    }

    /// The account signing key: account, key id.
    pub fn ask(account: AccountId, key_id: Uuid) -> Self {
        Self::end(start("lockstep/v1/ask-wrap").fixed(account.as_bytes()).fixed(key_id.as_bytes()))
    }

    /// A vault key: account, vault, generation.
    pub fn vault_key(account: AccountId, vault: VaultId, generation: u32) -> Self {
        let w = start("lockstep/v1/vk-wrap").fixed(account.as_bytes()).fixed(vault.as_bytes());
        Self::end(w.u32(generation))
    }

    /// A content key: account, vault, generation of the vault key, entry, id of the content key.
    pub fn content_key(
        account: AccountId,
        vault: VaultId,
        generation: u32,
        entry: EntryId,
        key_id: Uuid,
    ) -> Self {
        let w = start("lockstep/v1/cek-wrap").fixed(account.as_bytes()).fixed(vault.as_bytes());
        Self::end(w.u32(generation).fixed(entry.as_bytes()).fixed(key_id.as_bytes()))
    }

    /// The content of a version: every field of its header but `content_hash` and `content_len`.
    pub fn entry(header: &Header) -> Self {
        Self::end(start("lockstep/v1/entry").fixed(&header.context_fields()))
    }

    /// An attachment: account, vault, entry, its id, id of its key.
    pub fn attachment(
        (account, vault, entry): (AccountId, VaultId, EntryId),
        attachment: Uuid,
        key_id: Uuid,
    ) -> Self {
        let w = start("lockstep/v1/attach").fixed(account.as_bytes()).fixed(vault.as_bytes());
        Self::end(w.fixed(entry.as_bytes()).fixed(attachment.as_bytes()).fixed(key_id.as_bytes()))
    }

    /// An exported archive: account, its own random id, generation counter, suite of its password, salt.
    pub fn archive(account: AccountId, file: Uuid, counter: u64, suite: u16, salt: &[u8; 32]) -> Self {
        let w = start("lockstep/v1/export").fixed(account.as_bytes()).fixed(file.as_bytes());
        Self::end(w.u64(counter).u16(suite).fixed(salt))
    }

    #[cfg(test)]
    pub(in crate::crypto) fn from_vector(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}
