//! Making access tokens, and the keys that sign them as this node knows them.

use std::sync::{PoisonError, RwLock};

use lockstep_events::{AccountId, DeviceId, Micros, SessionId, event::Method};
use uuid::Uuid;

use super::{
    signing_keys::{Jwks, KeySet, NoKey},
    token::{self, AUDIENCE, Claims, Scope, TokenError},
};

/// A token of scope [`Scope::Identity`] is valid so long, in seconds; it is not refreshed.
pub const IDENTITY_LIFE_S: u32 = 15 * 60;

/// Signs and verifies access tokens.
pub struct Tokens {
    issuer: String,
    life_s: u32,
    keys: RwLock<KeySet>,
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
        Self { issuer, life_s, keys: RwLock::new(keys) }
    }

    /// How long a token is valid, in seconds.
    pub fn life_s(&self) -> u32 {
        self.life_s
    }

    /// How long a token of a scope is valid, in seconds.
    pub fn life_of(&self, scope: Scope) -> u32 {
        if scope == Scope::Identity { IDENTITY_LIFE_S } else { self.life_s }
    }

    /// From now on with these keys.
    pub fn use_keys(&self, keys: KeySet) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// What is published.
    pub fn jwks(&self) -> Jwks {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).jwks()
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
        };
        token::sign(&self.keys.read().unwrap_or_else(PoisonError::into_inner), &claims)
    }

    /// Verifies a token; whether its bearer was revoked since is another question.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn verify(&self, token: &str, now: Micros) -> Result<Claims, TokenError> {
        token::verify(&self.keys.read().unwrap_or_else(PoisonError::into_inner), &self.issuer, token, now)
    }
}
