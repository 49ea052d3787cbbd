//! Sealed box v1: AES-256-GCM in chunks, committing to its key and context.
//!
//! ```text
//! box        = salt[24] | commitment[32] | chunk 0 | chunk 1 | … | last chunk
//! chunk      = AES-256-GCM(key, nonce, up to 16384 bytes, no associated data) | tag[16]
//! nonce      = nonce_base[7] | u32 number of the chunk from 0 | u8: 1 for the last chunk, else 0
//! key[32] | commitment[32] | nonce_base[7] = HKDF-SHA-512(salt, input key, info)
//! info       = lp("lockstep/v1/box") | lp(context)
//! ```
//!
//! Every chunk but the last is full; the last may be short, and is empty only if the whole content is. So a
//! content has one division into chunks, and a box cut at a chunk's end does not open: its last chunk is not
//! marked as last. The commitment is compared first and in constant time: a box opens under one key and in one
//! context only, which AES-GCM alone does not promise. The salt makes key and nonces new for every box.

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{AeadInPlace, KeyInit, generic_array::GenericArray},
};
use rand::{CryptoRng, RngCore};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    Rejected,
    context::Context,
    hierarchy::hkdf,
    padding::{pad, unpad},
    wipe::Plaintext,
};
use lockstep_events::canonical::Writer;

/// Content bytes of a full chunk.
pub const CHUNK: usize = 16 * 1024;
/// Bytes of the salt.
pub const SALT: usize = 24;
const COMMITMENT: usize = 32;
const TAG: usize = 16;
const HEAD: usize = SALT + COMMITMENT;
const DOMAIN: &str = "lockstep/v1/box";

/// The length of the box of a content of this length (before padding).
pub const fn sealed_len(content: usize) -> usize {
    let chunks = if content == 0 { 1 } else { content.div_ceil(CHUNK) };
    HEAD + content + chunks * TAG
}

/// Seals a content, padded, under a 32-byte key and a context.
///
/// # Errors
/// [`Rejected`] for a content of 4 GiB and more.
pub(in crate::crypto) fn seal_padded(
    key: &[u8; 32],
    place: &Context,
    content: &[u8],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>, Rejected> {
    seal(key, place, &pad(content)?, rng)
}

/// Opens what [`seal_padded`] made.
///
/// # Errors
/// [`Rejected`] for anything else.
pub(in crate::crypto) fn open_padded(
    key: &[u8; 32],
    place: &Context,
    sealed: &[u8],
) -> Result<Plaintext, Rejected> {
    unpad(&open(key, place, sealed)?)
}

/// Seals bytes as they are: for keys, whose length is no secret.
pub(in crate::crypto) fn seal(
    key: &[u8; 32],
    place: &Context,
    content: &[u8],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>, Rejected> {
    let mut salt = [0; SALT];
    rng.fill_bytes(&mut salt);
    let derived = Derived::new(key, &salt, place)?;
    let mut sealed = Vec::with_capacity(sealed_len(content.len()));
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(derived.commitment());
    let cipher = derived.cipher();
    let count = content.len().div_ceil(CHUNK).max(1);
    for number in 0..count {
        let from = number * CHUNK;
        let start = sealed.len();
        sealed.extend_from_slice(&content[from..content.len().min(from + CHUNK)]);
        let nonce = derived.nonce(number, number + 1 == count)?;
        let tag =
            cipher.encrypt_in_place_detached(&nonce, &[], &mut sealed[start..]).map_err(|_| Rejected)?;
        sealed.extend_from_slice(&tag);
    }
    Ok(sealed)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`Rejected`] for anything else: another key, another context, any changed, missing or added byte.
pub(in crate::crypto) fn open(key: &[u8; 32], place: &Context, sealed: &[u8]) -> Result<Plaintext, Rejected> {
    let (salt, rest) = sealed.split_first_chunk::<SALT>().ok_or(Rejected)?;
    let (commitment, body) = rest.split_first_chunk::<COMMITMENT>().ok_or(Rejected)?;
    let derived = Derived::new(key, salt, place)?;
    if !bool::from(derived.commitment().ct_eq(commitment)) {
        return Err(Rejected);
    }
    let cipher = derived.cipher();
    let mut content = Zeroizing::new(Vec::with_capacity(body.len()));
    let count = body.len().div_ceil(CHUNK + TAG);
    if count == 0 {
        return Err(Rejected);
    }
    for (number, chunk) in body.chunks(CHUNK + TAG).enumerate() {
        let (bytes, tag) = chunk.split_at_checked(chunk.len().wrapping_sub(TAG)).ok_or(Rejected)?;
        if bytes.is_empty() && number > 0 {
            return Err(Rejected);
        }
        let start = content.len();
        content.extend_from_slice(bytes);
        let nonce = derived.nonce(number, number + 1 == count)?;
        cipher
            .decrypt_in_place_detached(&nonce, &[], &mut content[start..], GenericArray::from_slice(tag))
            .map_err(|_| Rejected)?;
    }
    Ok(Plaintext::new(std::mem::take(&mut *content)))
}

/// `key[32] | commitment[32] | nonce_base[7]`
struct Derived(Zeroizing<[u8; 71]>);

impl Derived {
    fn new(key: &[u8; 32], salt: &[u8; SALT], place: &Context) -> Result<Self, Rejected> {
        let info = Writer::new(DOMAIN).lp(place.bytes()).finish();
        let mut derived = Zeroizing::new([0; 71]);
        hkdf(Some(salt), key, &info, &mut *derived)?;
        Ok(Self(derived))
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(GenericArray::from_slice(&self.0[..32]))
    }

    fn commitment(&self) -> &[u8] {
        &self.0[32..64]
    }

    fn nonce(&self, number: usize, last: bool) -> Result<Nonce<aes_gcm::aead::consts::U12>, Rejected> {
        let mut nonce = [0; 12];
        nonce[..7].copy_from_slice(&self.0[64..]);
        nonce[7..11].copy_from_slice(&u32::try_from(number).map_err(|_| Rejected)?.to_be_bytes());
        nonce[11] = u8::from(last);
        Ok(nonce.into())
    }
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
