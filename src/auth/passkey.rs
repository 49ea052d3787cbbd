//! Passkeys: what a relying party checks of a `WebAuthn` registration and assertion (Level 2, §7.1 and §7.2, and what
//! Level 3 adds), with attestation `none`: who made the authenticator is not asked. Signatures are checked by `ring`.
//!
//! The person has to be there (UP). That they were recognised (UV) is not asked: a passkey is a second factor here, and
//! the password was proven before.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_events::canonical::sha256;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::cbor::Value;

/// The person was there.
const PRESENT: u8 = 0x01;
/// The credential may be copied to other authenticators …
const MAY_BE_COPIED: u8 = 0x08;
/// … and was.
const COPIED: u8 = 0x10;
/// A credential follows.
const ATTESTED: u8 = 0x40;
/// Extensions follow.
const EXTENDED: u8 = 0x80;
/// A credential's id is at most so long.
const MAX_ID: usize = 1023;

/// Something in the answer of an authenticator is not as it must be. Never says which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the passkey does not prove itself")]
pub struct Refused;

/// For whom authenticators answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    /// Its id: a domain.
    pub id: String,
    /// The origins from which it may be asked.
    pub origins: Vec<String>,
}

/// The signature schemes that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Scheme {
    Es256,
    EdDsa,
}

impl Scheme {
    const ALL: [Self; 2] = [Self::Es256, Self::EdDsa];

    /// Its number in the registry of COSE.
    const fn algorithm(self) -> i64 {
        match self {
            Self::Es256 => -7,
            Self::EdDsa => -8,
        }
    }
}

/// COSE algorithms that are taken, the preferred first.
pub fn algorithms() -> Vec<i64> {
    Scheme::ALL.map(Scheme::algorithm).to_vec()
}

/// A registered credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: Vec<u8>,
    scheme: Scheme,
    public_key: Vec<u8>,
    /// How often it signed, if it counts.
    pub counter: u32,
}

/// An authenticator's proof.
pub struct Assertion<'a> {
    /// `clientDataJSON`.
    pub client_data: &'a [u8],
    /// `authenticatorData`.
    pub authenticator_data: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// What a client says of itself. It may say more, which is not looked at; nothing may stand twice.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: Option<bool>,
    /// Of a page that holds this one in a frame: then another site is in the game.
    #[serde(default)]
    top_origin: Option<serde_json::Value>,
    #[serde(default)]
    token_binding: Option<TokenBinding>,
}

#[derive(Deserialize)]
struct TokenBinding {
    status: String,
}

/// The authenticator's data, taken apart.
struct Data<'a> {
    counter: u32,
    credential: Option<Credential>,
    /// All of it.
    bytes: &'a [u8],
}

impl RelyingParty {
    /// The credential that an authenticator made for a challenge.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn register(
        &self,
        challenge: &[u8],
        client_data: &[u8],
        attestation: &[u8],
    ) -> Result<Credential, Refused> {
        self.check_client(client_data, "webauthn.create", challenge)?;
        let object = Value::read_whole(attestation).filter(|object| object.is_map_of(3)).ok_or(Refused)?;
        let part = |name| object.named(name).ok_or(Refused);
        let data = self.read(part("authData")?.bytes().ok_or(Refused)?)?;
        let credential = data.credential.clone().ok_or(Refused)?;
        let format = part("fmt")?.text().ok_or(Refused)?;
        check_attestation(format, part("attStmt")?, &credential, data.bytes, client_data)?;
        Ok(credential)
    }

    /// The counter of a credential that signed a challenge; one that does not rise means that it was copied.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn verify(
        &self,
        credential: &Credential,
        challenge: &[u8],
        proof: &Assertion<'_>,
    ) -> Result<u32, Refused> {
        self.check_client(proof.client_data, "webauthn.get", challenge)?;
        let data = self.read(proof.authenticator_data)?;
        if data.credential.is_some() {
            return Err(Refused);
        }
        credential.check_signature(data.bytes, proof.client_data, proof.signature)?;
        let counts = data.counter > 0 || credential.counter > 0;
        if counts && data.counter <= credential.counter { Err(Refused) } else { Ok(data.counter) }
    }

    fn check_client(&self, json: &[u8], kind: &str, challenge: &[u8]) -> Result<(), Refused> {
        let data: ClientData = serde_json::from_slice(json).map_err(|_| Refused)?;
        let wanted = URL_SAFE_NO_PAD.encode(challenge);
        let same = bool::from(wanted.as_bytes().ct_eq(data.challenge.as_bytes()));
        let framed = data.cross_origin == Some(true) || data.top_origin.is_some();
        // There is no token binding here: a client that says it uses one talks to somebody in between.
        let bound = data.token_binding.is_some_and(|binding| binding.status != "supported");
        let right = data.kind == kind && self.origins.contains(&data.origin);
        if same && right && !framed && !bound { Ok(()) } else { Err(Refused) }
    }

    /// Party, flags, counter, then a credential and extensions where the flags say so, and nothing behind them.
    fn read<'a>(&self, bytes: &'a [u8]) -> Result<Data<'a>, Refused> {
        let (party, rest) = bytes.split_at_checked(32).ok_or(Refused)?;
        let (&[flags, a, b, c, d], mut rest) = rest.split_first_chunk::<5>().ok_or(Refused)?;
        let counter = u32::from_be_bytes([a, b, c, d]);
        let has = |flag: u8| flags & flag != 0;
        let right = bool::from(party.ct_eq(&sha256(self.id.as_bytes())));
        if !right || !has(PRESENT) || (has(COPIED) && !has(MAY_BE_COPIED)) {
            return Err(Refused);
        }
        let mut credential = None;
        if has(ATTESTED) {
            let (made, after) = read_credential(rest, counter)?;
            (credential, rest) = (Some(made), after);
        }
        if has(EXTENDED) {
            let (extensions, after) = Value::read(rest).ok_or(Refused)?;
            if !matches!(extensions, Value::Map(_)) {
                return Err(Refused);
            }
            rest = after;
        }
        if rest.is_empty() { Ok(Data { counter, credential, bytes }) } else { Err(Refused) }
    }
}

impl Credential {
    /// Checks a signature over the authenticator's data and the hash of the client's.
    fn check_signature(&self, data: &[u8], client_data: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let message = [data, &sha256(client_data)[..]].concat();
        let scheme: &dyn VerificationAlgorithm = match self.scheme {
            Scheme::Es256 => &ECDSA_P256_SHA256_ASN1,
            Scheme::EdDsa => &ED25519,
        };
        UnparsedPublicKey::new(scheme, &self.public_key).verify(&message, signature).map_err(|_| Refused)
    }
}

/// Nothing at all, as a client gives it that was asked for none; or a signature by the credential itself, which some
/// leave standing, and which then has to be right. An authenticator's certificate was not asked for.
fn check_attestation(
    format: &str,
    statement: &Value,
    credential: &Credential,
    data: &[u8],
    client_data: &[u8],
) -> Result<(), Refused> {
    match format {
        "none" if statement.is_map_of(0) => Ok(()),
        "packed" if statement.is_map_of(2) => {
            let algorithm = statement.named("alg").and_then(Value::int);
            if algorithm != Some(credential.scheme.algorithm()) {
                return Err(Refused);
            }
            let signature = statement.named("sig").and_then(Value::bytes).ok_or(Refused)?;
            credential.check_signature(data, client_data, signature)
        }
        _ => Err(Refused),
    }
}

/// The attested credential: AAGUID, length, id, COSE key; and what follows.
fn read_credential(data: &[u8], counter: u32) -> Result<(Credential, &[u8]), Refused> {
    let (_aaguid, rest) = data.split_at_checked(16).ok_or(Refused)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(Refused)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (id, rest) = rest.split_at_checked(length).ok_or(Refused)?;
    if id.is_empty() || id.len() > MAX_ID {
        return Err(Refused);
    }
    let (key, rest) = Value::read(rest).ok_or(Refused)?;
    let (scheme, public_key) = cose(&key).ok_or(Refused)?;
    Ok((Credential { id: id.to_vec(), scheme, public_key, counter }, rest))
}

/// ES256 over P-256, or `EdDSA` over Ed25519 (RFC 9053): the members that such a key has, and no others.
fn cose(key: &Value) -> Option<(Scheme, Vec<u8>)> {
    let coordinate = |name: i64| key.at(name)?.bytes().filter(|bytes| bytes.len() == 32);
    let number = |name: i64| key.at(name)?.int();
    match (number(1)?, number(3)?, number(-1)?) {
        (2, -7, 1) if key.is_map_of(5) => {
            Some((Scheme::Es256, [&[4_u8][..], coordinate(-2)?, coordinate(-3)?].concat()))
        }
        (1, -8, 6) if key.is_map_of(4) => Some((Scheme::EdDsa, coordinate(-2)?.to_vec())),
        _ => None,
    }
}

#[cfg(test)]
#[path = "passkey_tests.rs"]
mod tests;
