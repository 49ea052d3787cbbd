//! Making a version, and opening one.

use lockstep_events::{
    AccountId, BlobHash, Chain, DeviceId, EntryId, Header, Seq, VaultId, VersionId, VersionKind,
    canonical::sha256,
    header::{FORMAT, HeaderError, MAX_CONTENT},
    ids::Signature,
};
use rand::{CryptoRng, RngCore};
use uuid::Uuid;

use super::{
    Rejected,
    context::Context,
    hierarchy::WRAP_LEN,
    identity::DeviceKey,
    keys::{ContentKey, VaultKey},
    padding::padded_len,
    sealed::{open_padded, seal_padded, sealed_len},
    wipe::Plaintext,
};

/// A version as it is stored and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// SHA-256 of the header.
    pub id: VersionId,
    /// The header.
    pub header: Header,
    /// The device that signed.
    pub signer: DeviceId,
    /// By `signer` over the id.
    pub signature: Signature,
    /// u32 generation of the vault key | the content key wrapped by it; none where there is no content.
    pub wrapped_key: Option<Vec<u8>>,
    /// The sealed content; none where there is none, or where it is not here.
    pub ciphertext: Option<Vec<u8>>,
}

/// Why a version cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MakeError {
    /// What the header's rules say.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The cipher refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// Who writes, where, and what they have seen.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The account.
    pub account: AccountId,
    /// The vault.
    pub vault: VaultId,
    /// The writing device.
    pub device: DeviceId,
    /// Its key.
    pub device_key: &'a DeviceKey,
    /// The vault's key.
    pub vault_key: &'a VaultKey,
    /// The generation of the vault's key.
    pub generation: u32,
    /// How much of the vault's stream it has applied.
    pub observed_seq: Seq,
    /// The chain there.
    pub observed_chain: Chain,
    /// Its clock, in milliseconds since 1970.
    pub client_time: i64,
}

/// The longest content that fits a version: its box may have 64 KiB.
pub const fn fits(content: usize) -> bool {
    sealed_len(padded_len(content)) <= MAX_CONTENT as usize
}

fn in_order(mut parents: Vec<VersionId>) -> Vec<VersionId> {
    parents.sort_unstable();
    parents.dedup();
    parents
}

impl Author<'_> {
    /// An edit (no parent or one) or a merge (two or more) with new content.
    ///
    /// # Errors
    /// If the content is too long or the parents are too many.
    pub fn write(
        &self,
        entry: EntryId,
        parents: Vec<VersionId>,
        content: &[u8],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Version, MakeError> {
        if !fits(content.len()) {
            return Err(HeaderError::ContentTooLong.into());
        }
        let parents = in_order(parents);
        let kind = if parents.len() > 1 { VersionKind::Merge } else { VersionKind::Edit };
        let mut header = self.blank(entry, kind, parents);
        header.key_id = random_uuid(rng);
        header.author_device = self.device;
        header.observed_seq = self.observed_seq;
        header.observed_chain = self.observed_chain;
        header.client_time = self.client_time;
        let key = ContentKey::random(rng);
        let ciphertext = seal_padded(key.bytes(), &Context::entry(&header), content, rng)?;
        header.content_hash = Some(BlobHash(sha256(&ciphertext)));
        header.content_len = u32::try_from(ciphertext.len()).map_err(|_| HeaderError::ContentTooLong)?;
        let wrap = self.vault_key.wrap_content_key(
            &key,
            (self.account, self.vault, self.generation),
            (entry, header.key_id),
            rng,
        )?;
        let wrapped_key = [&self.generation.to_be_bytes()[..], &wrap].concat();
        self.sign(header, Some(wrapped_key), Some(ciphertext))
    }

    /// An existing version becomes the head in place of `parents`.
    ///
    /// # Errors
    /// If there are no parents, or too many.
    pub fn adopt(
        &self,
        entry: EntryId,
        parents: Vec<VersionId>,
        content_of: VersionId,
    ) -> Result<Version, MakeError> {
        let mut header = self.blank(entry, VersionKind::Adopt, in_order(parents));
        header.content_of = Some(content_of);
        self.sign(header, None, None)
    }

    /// The entry is deleted; `parents` are all the heads that the person was shown.
    ///
    /// # Errors
    /// If there are no parents, or too many.
    pub fn tombstone(&self, entry: EntryId, parents: Vec<VersionId>) -> Result<Version, MakeError> {
        self.sign(self.blank(entry, VersionKind::Tombstone, in_order(parents)), None, None)
    }

    fn blank(&self, entry: EntryId, kind: VersionKind, parents: Vec<VersionId>) -> Header {
        Header {
            format: FORMAT,
            account: self.account,
            vault: self.vault,
            entry,
            kind,
            parents,
            content_of: None,
            key_id: Uuid::nil(),
            content_hash: None,
            content_len: 0,
            author_device: DeviceId::NIL,
            observed_seq: Seq::ZERO,
            observed_chain: Chain::ZERO,
            client_time: 0,
        }
    }

    fn sign(
        &self,
        header: Header,
        wrapped_key: Option<Vec<u8>>,
        ciphertext: Option<Vec<u8>>,
    ) -> Result<Version, MakeError> {
        header.validate()?;
        let id = header.version_id();
        let signature = self.device_key.sign_version(&id);
        Ok(Version { id, header, signer: self.device, signature, wrapped_key, ciphertext })
    }
}

/// The generation of the vault key that a wrapped content key needs.
///
/// # Errors
/// [`Rejected`] if it is not a wrapped content key.
pub fn generation_of(wrapped_key: &[u8]) -> Result<u32, Rejected> {
    match wrapped_key.split_first_chunk::<4>() {
        Some((generation, wrap)) if wrap.len() == WRAP_LEN => Ok(u32::from_be_bytes(*generation)),
        _ => Err(Rejected),
    }
}

/// The content key of a version, wrapped by another generation of the vault's key. Header, id and signature do not name
/// the wrap: the version stays the same.
///
/// # Errors
/// [`Rejected`] if `old` is not the key that wrapped it.
pub fn rewrap(
    header: &Header,
    wrapped_key: &[u8],
    old: &VaultKey,
    (generation, new): (u32, &VaultKey),
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>, Rejected> {
    let place = |generation| (header.account, header.vault, generation);
    let of = (header.entry, header.key_id);
    let key = old.unwrap_content_key(place(generation_of(wrapped_key)?), of, &wrapped_key[4..])?;
    let wrap = new.wrap_content_key(&key, place(generation), of, rng)?;
    Ok([&generation.to_be_bytes()[..], &wrap].concat())
}

/// Opens the content of a version with the vault's key of [`generation_of`] its wrapped key.
///
/// # Errors
/// [`Rejected`] if anything of header, key and content does not belong together.
pub fn open_content(
    header: &Header,
    wrapped_key: &[u8],
    ciphertext: &[u8],
    vault_key: &VaultKey,
) -> Result<Plaintext, Rejected> {
    let generation = generation_of(wrapped_key)?;
    if header.content_hash != Some(BlobHash(sha256(ciphertext))) {
        return Err(Rejected);
    }
    let key = vault_key.unwrap_content_key(
        (header.account, header.vault, generation),
        (header.entry, header.key_id),
        &wrapped_key[4..],
    )?;
    open_padded(key.bytes(), &Context::entry(header), ciphertext)
}

fn random_uuid(rng: &mut (impl RngCore + CryptoRng)) -> Uuid {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// A fresh random identifier for an entry, a vault, a device or an account.
pub fn new_id<Id: From<Uuid>>(rng: &mut (impl RngCore + CryptoRng)) -> Id {
    random_uuid(rng).into()
}

#[cfg(test)]
#[path = "version_tests.rs"]
mod tests;
