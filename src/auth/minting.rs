//! Making access tokens, and the keys that sign them as this node knows them.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use ed25519_dalek::SigningKey;
use lockstep_events::{AccountId, DeviceId, Micros, SessionId, event::Method};
use lru::LruCache;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::bounded::bounded;

use super::{
    signing_keys::{Jwks, KeySet, Kid, NoKey},
    token::{self, AUDIENCE, Claims, Scope, TokenError},
};

/// So many tokens are remembered as verified, about 300 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// A token of scope [`Scope::Identity`] is valid so long, in seconds; it is not refreshed.
pub const IDENTITY_LIFE_S: u32 = 15 * 60;

/// Signs and verifies access tokens.
///
/// A device sends the same token with every request of five minutes. Its signature is checked once and its claims
/// are remembered by its SHA-256, until the set of keys changes; its times are checked with every request.
pub struct Tokens {
    issuer: String,
    life_s: u32,
    keys: RwLock<KeySet>,
    confirmed: Mutex<Instant>,
    verified: Mutex<LruCache<[u8; 32], Claims>>,
}

/// Whom a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Bearer {
    /// The account.
    pub account: AccountId,
    /// The device; nil for an enrolment.
    pub device: DeviceId,
    /// The session.
    pub session: SessionId,
    /// What it allows.
    pub scope: Scope,
    /// How the session proved itself.
    pub method: Method,
    /// When the password was last proven; zero if it was not.
    pub proven_at: Micros,
    /// The account's auth epoch.
    pub auth_epoch: u64,
}

impl Tokens {
    /// Tokens of an issuer, valid for `life_s` seconds.
    pub fn new(issuer: String, life_s: u32, keys: KeySet) -> Self {
        let verified = Mutex::new(bounded(REMEMBERED));
        let confirmed = Mutex::new(Instant::now());
        Self { issuer, life_s, keys: RwLock::new(keys), confirmed, verified }
    }

    /// How long a token is valid, in seconds.
    pub fn life_s(&self) -> u32 {
        self.life_s
    }

    /// How long a token of a scope is valid, in seconds.
    pub fn life_of(&self, scope: Scope) -> u32 {
        if scope == Scope::Identity { IDENTITY_LIFE_S } else { self.life_s }
    }

    fn keys(&self) -> RwLockReadGuard<'_, KeySet> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on with these keys, which were read at this moment.
    pub fn use_keys(&self, keys: KeySet, read: Instant) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = read;
        if self.keys().rows() == keys.rows() {
            return;
        }
        let mut held = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *held = keys;
        // Under the lock of the keys: nothing that an older key verified can come in afterwards.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How long ago the keys were read. Of one that was revoked since then, this node knows nothing.
    pub fn out_of_touch(&self) -> Duration {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Whether what this key has signed is accepted.
    pub fn accepts(&self, key: Kid) -> bool {
        self.keys().accepted().contains(&key)
    }

    /// What is published.
    pub fn jwks(&self) -> Jwks {
        self.keys().jwks()
    }

    /// The key that signs at the moment, by its published name: for other things than tokens.
    pub fn signer(&self) -> Option<(String, SigningKey)> {
        self.keys().signer()
    }

    /// Makes a token.
    ///
    /// # Errors
    /// If no key signs at the moment.
    pub fn mint(&self, bearer: Bearer, now: Micros) -> Result<String, NoKey> {
        let iat = now.seconds();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: bearer.account,
            sid: bearer.session,
            did: bearer.device,
            jti: Uuid::new_v4(),
            iat,
            nbf: iat,
            exp: iat + i64::from(self.life_of(bearer.scope)),
            scope: bearer.scope,
            acr: bearer.method,
            auth_time: bearer.proven_at.seconds(),
            aep: bearer.auth_epoch,
            key: Kid::default(),
        };
        token::sign(&self.keys(), &claims)
    }

    /// Verifies a token; whether its bearer was revoked since is another question.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn verify(&self, token: &str, now: Micros) -> Result<Claims, TokenError> {
        let keys = self.keys();
        let name: [u8; 32] = Sha256::digest(token).into();
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(claims) = known {
            token::check_times(&claims, now)?;
            return Ok(claims);
        }
        let claims = token::verify(&keys, &self.issuer, token, now)?;
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).put(name, claims.clone());
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{server_keys::ServerKeys, signing_keys::make};
    use rand::rngs::OsRng;

    fn at(second: i64) -> Micros {
        Micros(second * 1_000_000)
    }

    fn keys() -> KeySet {
        let folder = tempfile::tempdir().unwrap();
        let server = ServerKeys::load_or_make(&folder.path().join("keys.json"), &mut OsRng).unwrap();
        let mut row = make(&server, at(1), &mut OsRng);
        row.state = crate::auth::credentials::KeyState::Current;
        KeySet::new(vec![row], &server)
    }

    fn mint(tokens: &Tokens) -> String {
        let bearer = Bearer {
            account: AccountId(Uuid::from_u128(1)),
            device: DeviceId(Uuid::from_u128(2)),
            session: SessionId(Uuid::from_u128(3)),
            scope: Scope::Vault,
            method: Method::Password,
            proven_at: at(1000),
            auth_epoch: 0,
        };
        tokens.mint(bearer, at(1000)).unwrap()
    }

    #[test]
    fn a_token_that_was_verified_still_expires() {
        let tokens = Tokens::new("urn:test".to_owned(), 300, keys());
        let token = mint(&tokens);
        assert!(tokens.verify(&token, at(1001)).is_ok());
        assert_eq!(tokens.verify(&token, at(1306)), Err(TokenError::Expired));
        assert!(tokens.verify(&token, at(1002)).is_ok(), "the clock decides, not what was said last");
    }

    #[test]
    fn a_token_that_was_verified_dies_with_its_key() {
        let tokens = Tokens::new("urn:test".to_owned(), 300, keys());
        let token = mint(&tokens);
        assert!(tokens.verify(&token, at(1001)).is_ok());
        tokens.use_keys(keys(), Instant::now());
        assert_eq!(tokens.verify(&token, at(1001)), Err(TokenError::Invalid));
    }

    #[test]
    fn what_did_not_verify_is_not_remembered() {
        let tokens = Tokens::new("urn:test".to_owned(), 300, keys());
        let mut forged = mint(&tokens);
        let at_ten = forged.len() - 10;
        let other = if forged[at_ten..].starts_with('A') { "B" } else { "A" };
        forged.replace_range(at_ten..=at_ten, other);
        assert_eq!(tokens.verify(&forged, at(1001)), Err(TokenError::Invalid));
        assert_eq!(tokens.verify(&forged, at(1001)), Err(TokenError::Invalid));
    }
}
