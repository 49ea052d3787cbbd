//! EdDSA for `jsonwebtoken`, by the same curve code as everything else: no second implementation, no other algorithm.

use std::sync::Once;

use ed25519_dalek::{SigningKey, VerifyingKey};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
};
use signature::{Signer, Verifier};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Ed::signer(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Ed::verifier(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the implementation that `jsonwebtoken` uses in this process. Without any it would panic at first use.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Refused only if one is installed already, which nothing else here does.
        let _ = PROVIDER.install_default();
    });
}

/// A key as `jsonwebtoken` passes it around: its 32 bytes.
pub fn encoding_key(key: &SigningKey) -> EncodingKey {
    EncodingKey::from_ed_der(key.as_bytes())
}

/// A public key as `jsonwebtoken` passes it around: its 32 bytes.
pub fn decoding_key(key: &lockstep_events::ids::PublicKey) -> DecodingKey {
    DecodingKey::from_ed_der(&key.0)
}

struct Ed<K>(K);

impl Ed<SigningKey> {
    fn signer(algorithm: Algorithm, key: &EncodingKey) -> Result<Self, Error> {
        only_eddsa(algorithm)?;
        Ok(Self(SigningKey::from_bytes(&bytes(key.as_bytes())?)))
    }
}

impl Ed<VerifyingKey> {
    fn verifier(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        only_eddsa(algorithm)?;
        let key = VerifyingKey::from_bytes(&bytes(key.try_get_as_bytes()?)?);
        key.map(Self).map_err(|_| ErrorKind::InvalidEddsaKey.into())
    }
}

fn only_eddsa(algorithm: Algorithm) -> Result<(), Error> {
    if algorithm == Algorithm::EdDSA { Ok(()) } else { Err(ErrorKind::InvalidAlgorithm.into()) }
}

fn bytes(key: &[u8]) -> Result<[u8; 32], Error> {
    key.try_into().map_err(|_| ErrorKind::InvalidEddsaKey.into())
}

impl Signer<Vec<u8>> for Ed<SigningKey> {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }
}

impl JwtSigner for Ed<SigningKey> {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

impl Verifier<Vec<u8>> for Ed<VerifyingKey> {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let signature = ed25519_dalek::Signature::from_slice(signature)?;
        // Strict: no second signature for the same message, no small-order keys.
        self.0.verify_strict(message, &signature)
    }
}

impl JwtVerifier for Ed<VerifyingKey> {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
