//! What Apple takes for a client secret: a JWT that the developer's key signs (ES256), made anew for every exchange.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_events::Micros;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use super::OidcError;
use crate::config::Apple;

/// The secret is valid for so long, in seconds.
const LIFE_S: i64 = 300;

/// Makes the secret.
///
/// # Errors
/// [`OidcError::AppleKey`]
pub fn client_secret(apple: &Apple, client_id: &str, now: Micros) -> Result<String, OidcError> {
    let key = key(apple)?;
    let header = serde_json::json!({ "alg": "ES256", "kid": apple.key_id, "typ": "JWT" });
    let claims = serde_json::json!({
        "iss": apple.team,
        "iat": now.seconds(),
        "exp": now.seconds() + LIFE_S,
        "aud": "https://appleid.apple.com",
        "sub": client_id,
    });
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).map_err(|_| OidcError::AppleKey)?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Reads the key: every time, as it may be replaced.
///
/// # Errors
/// [`OidcError::AppleKey`]
pub fn key(apple: &Apple) -> Result<EcdsaKeyPair, OidcError> {
    let der = PrivatePkcs8KeyDer::from_pem_file(&apple.key_file).map_err(|_| OidcError::AppleKey)?;
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &random)
        .map_err(|_| OidcError::AppleKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};

    #[test]
    fn the_secret_is_a_short_lived_token_that_the_key_signed() {
        let place = tempfile::tempdir().unwrap();
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key_file = place.path().join("AuthKey.p8");
        std::fs::write(&key_file, pair.serialize_pem()).unwrap();
        let apple = Apple { team: "TEAM".into(), key_id: "KEY".into(), key_file };
        let secret = client_secret(&apple, "org.example.vault", Micros(1_000_000_000_000)).unwrap();
        let parts: Vec<&str> = secret.split('.').collect();
        let json = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(json(parts[0])["kid"], "KEY");
        let claims = json(parts[1]);
        assert_eq!((&claims["iss"], &claims["sub"]), (&"TEAM".into(), &"org.example.vault".into()));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), LIFE_S);
        let der = PrivatePkcs8KeyDer::from_pem_file(&apple.key_file).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            der.secret_pkcs8_der(),
            &SystemRandom::new(),
        )
        .unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref().to_vec());
        let message = format!("{}.{}", parts[0], parts[1]);
        public.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
    }

    #[test]
    fn a_key_that_is_none_is_refused_without_a_word_of_it() {
        let place = tempfile::tempdir().unwrap();
        let key_file = place.path().join("AuthKey.p8");
        std::fs::write(&key_file, "canary").unwrap();
        let apple = Apple { team: "TEAM".into(), key_id: "KEY".into(), key_file };
        let error = client_secret(&apple, "x", Micros(0)).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}
