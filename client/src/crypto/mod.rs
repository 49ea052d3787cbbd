//! All cryptography of the client, behind a safe front.
//!
//! No other module names a cipher, a hash construction or a key-exchange crate. Keys are types of their own
//! ([`keys`]) that wipe themselves, and show nothing in `Debug`; every failure to open, unwrap or verify is the
//! one error [`Rejected`], so that an error can never tell an attacker which step failed.
//!
//! ```text
//! password ─ opaque ─► ExportKey ─► PasswordKey (MK) ── wraps ─► AccountRootKey (ARK)
//! password ─ local  ─► LocalKey ─► DatabaseKey;      ── wraps ─► AccountRootKey
//! ARK ── wraps ─► AccountSigningKey (ASK), VaultKey[vault, generation] ── wraps ─► ContentKey (CEK)
//! ContentKey ─ sealed box ─► one version's content
//! ```
//!
//! Encodings, written out so that a second implementation can follow (`testdata/box_v1.py` is one):
//! `lp(x)` = length of x as u32 | x; all numbers big-endian; ids as their 16 bytes; HKDF is HKDF-SHA-512.

pub mod approval;
pub mod attachment;
pub mod context;
pub mod hierarchy;
pub mod identity;
pub mod keys;
pub mod label;
pub mod local;
pub mod opaque;
pub mod padding;
pub mod password;
pub mod recovery;
pub mod sealed;
pub mod version;
pub mod wipe;

#[cfg(test)]
mod vectors;

/// Something did not open, unwrap, verify or decode. Deliberately without any detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rejected: not authentic, or not for this key and place")]
pub struct Rejected;

/// The random generator of the operating system: what the program passes wherever randomness is asked for.
pub fn os_random() -> impl rand::RngCore + rand::CryptoRng + Send {
    rand::rngs::OsRng
}
