//! The keys that sign access tokens: `next` is published before it signs, `previous` verifies until its tokens ran
//! out. Databases know only public parts; the private ones come from the key file.

use ed25519_dalek::SigningKey;
use lockstep_events::{Micros, header::public_key, ids::PublicKey};
use rand::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};

use super::{
    credentials::{CredentialError, CredentialStore, KeyState, SigningKeyRow},
    server_keys::ServerKeys,
    token::LONGEST_S,
};

/// A key signs for so long, in seconds: 30 days.
const LIFE: i64 = 30 * 24 * 3600;

/// What a key has signed has expired after so long, in seconds: the longest life that the options allow to a token, and
/// what clocks may differ by.
const VERIFIES: i64 = LONGEST_S as i64 + 60;

/// No key signs at the moment.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("there is no current signing key")]
pub struct NoKey;

/// A key by its name, as small as a socket can keep it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Kid(pub [u8; 12]);

impl Kid {
    /// Reads the name as the header of a token has it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut name = [0; 12];
        hex::decode_to_slice(text, &mut name).ok()?;
        Some(Self(name))
    }
}

/// The keys as one node knows them.
pub struct KeySet {
    rows: Vec<SigningKeyRow>,
    current: Option<(String, SigningKey)>,
}

/// A key in the JSON Web Key Set (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// `EdDSA`.
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: String,
    /// Its name.
    pub kid: String,
    /// The public key, base64url without padding.
    pub x: String,
}

/// The JSON Web Key Set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Jwks {
    /// Every key that verifies, and the one that will.
    pub keys: Vec<Jwk>,
}

impl KeySet {
    /// The keys of some rows.
    pub fn new(rows: Vec<SigningKeyRow>, keys: &ServerKeys) -> Self {
        let current = rows.iter().find(|row| row.state == KeyState::Current);
        let current = current.map(|row| (row.kid.clone(), keys.signing_key(&row.kid)));
        Self { rows, current }
    }

    /// The key that signs at the moment, by its name.
    pub fn signer(&self) -> Option<(String, SigningKey)> {
        self.current.clone()
    }

    /// The key that signs.
    pub fn current(&self) -> Option<(&str, &SigningKey)> {
        self.current.as_ref().map(|(kid, key)| (kid.as_str(), key))
    }

    /// The public part of a key that is not revoked. `next` verifies too: another node may sign with it already.
    pub fn verifying(&self, kid: &str) -> Option<PublicKey> {
        let row = self.rows.iter().find(|row| row.kid == kid && row.state != KeyState::Revoked)?;
        Some(row.public_key)
    }

    /// The keys of which something is accepted.
    pub fn accepted(&self) -> Vec<Kid> {
        let accepted = self.rows.iter().filter(|row| row.state != KeyState::Revoked);
        accepted.filter_map(|row| Kid::parse(&row.kid)).collect()
    }

    /// The rows behind it.
    pub fn rows(&self) -> &[SigningKeyRow] {
        &self.rows
    }

    /// What is published.
    pub fn jwks(&self) -> Jwks {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let published = self.rows.iter().filter(|row| row.state != KeyState::Revoked);
        let keys = published.map(|row| Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            usage: "sig".to_owned(),
            kid: row.kid.clone(),
            x: URL_SAFE_NO_PAD.encode(row.public_key.0),
        });
        Jwks { keys: keys.collect() }
    }

    /// Whether the current key has signed for long enough, or there is none.
    pub fn due(&self, now: Micros) -> bool {
        let current = self.rows.iter().find(|row| row.state == KeyState::Current);
        current.is_none_or(|row| row.changed_at.plus_seconds(LIFE) <= now)
    }
}

/// A new key for later.
pub fn make(keys: &ServerKeys, now: Micros, rng: &mut (impl RngCore + CryptoRng)) -> SigningKeyRow {
    let mut name = Kid::default();
    rng.fill_bytes(&mut name.0);
    let kid = hex::encode(name.0);
    let public_key = public_key(&keys.signing_key(&kid));
    SigningKeyRow { kid, public_key, state: KeyState::Next, created_at: now, changed_at: now }
}

/// The list after one turn: `next` signs, `current` only verifies, `previous` no more once all that it signed has expired,
/// and `fresh` is the next.
/// Without a `next` (the first start, or after its revocation) `fresh` signs at once, with `spare` as the next.
pub fn turned(
    rows: &[SigningKeyRow],
    fresh: SigningKeyRow,
    spare: SigningKeyRow,
    now: Micros,
) -> Vec<SigningKeyRow> {
    let has_next = rows.iter().any(|row| row.state == KeyState::Next);
    let mut after: Vec<SigningKeyRow> = rows.iter().filter_map(|row| one_turn(row, now)).collect();
    if has_next {
        after.push(fresh);
    } else {
        after.push(SigningKeyRow { state: KeyState::Current, ..fresh });
        after.push(spare);
    }
    after.sort_by(|a, b| (a.created_at, &a.kid).cmp(&(b.created_at, &b.kid)));
    after
}

fn one_turn(row: &SigningKeyRow, now: Micros) -> Option<SigningKeyRow> {
    let state = match row.state {
        KeyState::Next => KeyState::Current,
        KeyState::Current => KeyState::Previous,
        KeyState::Previous if row.changed_at.plus_seconds(VERIFIES) <= now => return None,
        KeyState::Previous | KeyState::Revoked => return Some(row.clone()),
    };
    Some(SigningKeyRow { state, changed_at: now, ..row.clone() })
}

/// The list after the revocation of a key: its tokens are refused at once.
pub fn revoked(rows: &[SigningKeyRow], kid: &str, now: Micros) -> Vec<SigningKeyRow> {
    let revoke = |row: &SigningKeyRow| {
        if row.kid != kid || row.state == KeyState::Revoked {
            return row.clone();
        }
        SigningKeyRow { state: KeyState::Revoked, changed_at: now, ..row.clone() }
    };
    rows.iter().map(revoke).collect()
}

/// The keys of the store; where none signs, or the one that does is due, they are turned. Of several nodes that do
/// this at the same time one wins, and the others take what it made.
///
/// # Errors
/// If the store does not answer.
pub async fn load_or_turn(
    store: &dyn CredentialStore,
    keys: &ServerKeys,
    now: Micros,
    rng: &mut (impl RngCore + CryptoRng + Send),
) -> Result<(KeySet, bool), CredentialError> {
    let mut did = false;
    loop {
        let rows = store.signing_keys().await?;
        let set = KeySet::new(rows, keys);
        if !set.due(now) {
            return Ok((set, did));
        }
        let after = turned(set.rows(), make(keys, now, rng), make(keys, now, rng), now);
        did = store.replace_signing_keys(set.rows(), &after).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::OsRng;

    fn states(rows: &[SigningKeyRow]) -> Vec<KeyState> {
        rows.iter().map(|row| row.state).collect()
    }

    #[test]
    fn a_key_is_published_signs_verifies_and_goes() {
        let keys = ServerKeys::generate(&mut OsRng);
        let at = |n: i64| Micros(n * 1_000_000);
        let turn = |rows: &[SigningKeyRow], n| {
            turned(rows, make(&keys, at(n), &mut OsRng), make(&keys, at(n), &mut OsRng), at(n))
        };
        let first = turn(&[], 1);
        let second = turn(&first, 2);
        let third = turn(&second, 2 + VERIFIES);
        let hurried = turn(&second, 1 + VERIFIES);
        let mut began = states(&first);
        began.sort_by_key(|state| *state == KeyState::Next);
        assert_eq!(began, [KeyState::Current, KeyState::Next]);
        assert_eq!(second.len(), 3);
        assert_eq!(third.len(), 3);
        let gone = first.iter().find(|row| row.state == KeyState::Current).unwrap();
        assert!(third.iter().all(|row| row.kid != gone.kid), "what it signed has expired");
        assert!(KeySet::new(hurried, &keys).verifying(&gone.kid).is_some(), "what it signed may be used");
        let next = first.iter().find(|row| row.state == KeyState::Next).unwrap();
        let set = KeySet::new(second, &keys);
        assert_eq!(set.current().unwrap().0, next.kid);
        assert_eq!(set.jwks().keys.len(), 3);
    }

    #[test]
    fn a_revoked_key_neither_signs_nor_verifies_nor_is_published() {
        let keys = ServerKeys::generate(&mut OsRng);
        let rows =
            turned(&[], make(&keys, Micros(1), &mut OsRng), make(&keys, Micros(1), &mut OsRng), Micros(1));
        let kid = KeySet::new(rows.clone(), &keys).current().unwrap().0.to_owned();
        let set = KeySet::new(revoked(&rows, &kid, Micros(2)), &keys);
        assert!(set.current().is_none() && set.verifying(&kid).is_none() && set.due(Micros(2)));
        assert!(set.jwks().keys.iter().all(|key| key.kid != kid));
    }
}
