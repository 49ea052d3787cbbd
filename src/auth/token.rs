//! Access tokens: JWTs signed with EdDSA, and every check of them.

use jsonwebtoken::{Algorithm, Header, Validation};
use lockstep_events::{AccountId, DeviceId, Micros, SessionId, event::Method};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    jwt,
    signing_keys::{KeySet, Kid, NoKey},
};

/// The `typ` of our tokens (RFC 9068).
const TYP: &str = "at+jwt";
/// The `aud` of our tokens.
pub const AUDIENCE: &str = "urn:lockstep:api";
/// No token of ours is nearly as long.
const MAX_LEN: usize = 4096;
/// No token of ours lives longer, in seconds, whatever the options say.
pub const LONGEST_S: u32 = 1_200;
/// Clocks of two nodes may differ by so much, in seconds.
const LEEWAY: i64 = 5;

/// What an access token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Reads and writes of ciphertexts, wraps and the feed: an enrolled device that proved a key.
    Vault,
    /// Only the enrolment of a new device.
    Enrol,
    /// Who somebody is, without knowledge of a key: no ciphertext, no wraps, no export, no feed.
    Identity,
}

/// What a token says. All of it is required, and nothing else may stand there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// The account.
    pub sub: AccountId,
    /// The session; for an enrolment the one that it will open.
    pub sid: SessionId,
    /// The device; nil for an enrolment.
    pub did: DeviceId,
    /// Names the token.
    pub jti: Uuid,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Not valid before.
    pub nbf: i64,
    /// Not valid after.
    pub exp: i64,
    /// What it allows.
    pub scope: Scope,
    /// How the session proved itself.
    pub acr: Method,
    /// When the password was last proven; 0 if it was not.
    pub auth_time: i64,
    /// The account's auth epoch when the token was made.
    pub aep: u64,
    /// The key that signed it: the header says it, not the claims.
    #[serde(skip)]
    pub key: Kid,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not one of ours, or was changed.
    #[error("the access token does not verify")]
    Invalid,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
}

/// Signs a token with the current key.
///
/// # Errors
/// If there is no current key, which a started server always has.
pub fn sign(keys: &KeySet, claims: &Claims) -> Result<String, NoKey> {
    jwt::install();
    let (kid, key) = keys.current().ok_or(NoKey)?;
    let header =
        Header { typ: Some(TYP.to_owned()), kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &jwt::encoding_key(key)).map_err(|_| NoKey)
}

/// Verifies a token. Times are compared here, with the time that is passed in; everything else by `jsonwebtoken`.
///
/// # Errors
/// [`TokenError`]
pub fn verify(keys: &KeySet, issuer: &str, token: &str, now: Micros) -> Result<Claims, TokenError> {
    jwt::install();
    if token.len() > MAX_LEN {
        return Err(TokenError::Invalid);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
    let kid = header.kid.clone().ok_or(TokenError::Invalid)?;
    let name = Kid::parse(&kid).ok_or(TokenError::Invalid)?;
    // Compared as a whole: a header that says anything beyond type, algorithm and key is not ours.
    let ours = Header { typ: Some(TYP.to_owned()), kid: Some(kid.clone()), ..Header::new(Algorithm::EdDSA) };
    let key = keys.verifying(&kid).filter(|_| header == ours).ok_or(TokenError::Invalid)?;
    let claims = jsonwebtoken::decode::<Claims>(token, &jwt::decoding_key(&key), &validation(issuer))
        .map_err(|_| TokenError::Invalid)?
        .claims;
    check_times(&claims, now)?;
    Ok(Claims { key: name, ..claims })
}

fn validation(issuer: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[AUDIENCE]);
    // `jsonwebtoken` reads the machine's clock; ours is passed in.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

/// Checks the times of claims whose signature was verified.
///
/// # Errors
/// [`TokenError`]
pub fn check_times(claims: &Claims, now: Micros) -> Result<(), TokenError> {
    let now = now.seconds();
    let sane = (0..=i64::MAX / 4).contains(&claims.exp)
        && (0..=claims.exp).contains(&claims.nbf)
        && (0..=claims.exp).contains(&claims.iat);
    if !sane || claims.nbf > now + LEEWAY || claims.iat > now + LEEWAY {
        return Err(TokenError::Invalid);
    }
    if claims.exp + LEEWAY <= now { Err(TokenError::Expired) } else { Ok(()) }
}
