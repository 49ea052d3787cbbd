//! The one place of the server that names a cipher: AES-256-GCM from the TLS library's own crypto provider.
//!
//! Two uses. A subject key is sealed under the key of an epoch with a random nonce. Personal data is sealed under
//! its subject key with a nonce made from key, context and data: sealing the same again gives the same bytes, so that
//! a retried command makes the same event, and different data never shares a nonce.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use lockstep_events::canonical::Writer;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A key.
pub type Key = Zeroizing<[u8; 32]>;

/// What was handed in is not what was sealed with this key and context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed data does not open with its key")]
pub struct Rejected;

const VERSION: u8 = 1;

/// Seals with a nonce made of key, context and data.
///
/// # Errors
/// Only if there is more data than the cipher takes, 64 GiB.
pub fn seal(key: &Key, context: &[u8], data: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&*derived(key, "nonce")).map_err(|_| Rejected)?;
    mac.update(&Writer::new("lockstep/v1/sealed").lp(context).lp(data).finish());
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&mac.finalize().into_bytes()[..NONCE_LEN]);
    seal_with(key, nonce, context, data)
}

/// Seals with this nonce, which is used once with the key.
///
/// # Errors
/// Only if there is more data than the cipher takes, 64 GiB.
pub fn seal_with(
    key: &Key,
    nonce: [u8; NONCE_LEN],
    context: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Rejected> {
    let mut ciphertext = data.to_vec();
    aes(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut ciphertext)
        .map_err(|_| Rejected)?;
    Ok([&[VERSION][..], &nonce, &ciphertext].concat())
}

/// Opens what was sealed with this key and context.
///
/// # Errors
/// [`Rejected`], for every reason alike.
pub fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Rejected> {
    let (version, rest) = sealed.split_first().ok_or(Rejected)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Rejected)?;
    if *version != VERSION {
        return Err(Rejected);
    }
    let mut data = Zeroizing::new(ciphertext.to_vec());
    let length = aes(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut data)
        .map_err(|_| Rejected)?
        .len();
    data.truncate(length);
    Ok(data)
}

/// Another key, from which there is no way back.
pub fn derived(key: &Key, purpose: &str) -> Key {
    let mut other = Zeroizing::new([0; 32]);
    let expanded =
        Hkdf::<Sha256>::new(Some(b"lockstep/v1/subjects"), &**key).expand(purpose.as_bytes(), &mut *other);
    // 32 bytes are always within what HKDF can give.
    debug_assert!(expanded.is_ok());
    other
}

fn aes(key: &Key) -> Result<LessSafeKey, Rejected> {
    let data_key = derived(key, "data");
    UnboundKey::new(&AES_256_GCM, &*data_key).map(LessSafeKey::new).map_err(|_| Rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Zeroizing::new([n; 32])
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_context_alone() {
        let sealed = seal(&key(1), b"here", b"zoe@example.org").unwrap();
        assert_eq!(*open(&key(1), b"here", &sealed).unwrap(), b"zoe@example.org");
        assert_eq!(open(&key(2), b"here", &sealed), Err(Rejected));
        assert_eq!(open(&key(1), b"there", &sealed), Err(Rejected));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&key(1), b"here", &changed), Err(Rejected), "byte {at}");
            assert_eq!(open(&key(1), b"here", &sealed[..at]), Err(Rejected), "cut at {at}");
        }
    }

    #[test]
    fn sealing_the_same_again_gives_the_same_and_anything_else_another_nonce() {
        let one = seal(&key(1), b"here", b"same").unwrap();
        assert_eq!(one, seal(&key(1), b"here", b"same").unwrap());
        let others = [
            seal(&key(1), b"here", b"else").unwrap(),
            seal(&key(1), b"there", b"same").unwrap(),
            seal(&key(2), b"here", b"same").unwrap(),
        ];
        assert!(others.iter().all(|other| other[1..=NONCE_LEN] != one[1..=NONCE_LEN]));
    }
}
