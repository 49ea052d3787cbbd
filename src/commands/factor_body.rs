//! What is known of a second factor: sealed under the person's key for such secrets, so that it ends with them
//! wherever a copy of it lies.

use lockstep_events::{
    AccountId, EventId, Micros, Position, Sealed,
    canonical::{Writer, sha256},
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::facts::derived;
use crate::{
    auth::{
        credentials::CredentialError,
        factors::{FactorKind, StoredFactor},
        passkey::Credential,
        totp,
    },
    state::Server,
    subjects::{Purpose, SubjectError},
};

/// Codes that are given with the first factor.
pub const CODES: u32 = 10;

/// Why a factor could not be looked at or kept.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Its key is gone, or it was changed.
    #[error(transparent)]
    Subjects(#[from] SubjectError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

/// What is known of a factor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Codes by time.
    Totp {
        /// The secret.
        secret: totp::Secret,
        /// Whether a code has confirmed it.
        confirmed: bool,
        /// The last step whose code was taken.
        used: i64,
        /// When it was confirmed.
        #[serde(default)]
        set_at: Micros,
    },
    /// A passkey.
    Passkey(Credential),
    /// Codes on paper.
    Codes {
        /// From which they are made.
        seed: [u8; 32],
        /// Which were used: bit n for code n.
        used: u32,
    },
}

/// A factor that was opened.
pub struct OpenFactor {
    /// As it is stored.
    pub stored: StoredFactor,
    /// What is known of it.
    pub body: Body,
}

impl OpenFactor {
    /// Whether it is codes on paper, which only stand in for others.
    pub const fn is_codes(&self) -> bool {
        matches!(self.body, Body::Codes { .. })
    }

    /// Whether it is demanded, and more than codes on paper.
    pub const fn counts(&self) -> bool {
        self.body.is_set() && !self.is_codes()
    }

    /// Since when it is demanded, if it is. It may have been begun long before.
    pub fn set_at(&self) -> Micros {
        match self.body {
            Body::Totp { set_at, .. } => set_at.max(self.stored.created_at),
            _ => self.stored.created_at,
        }
    }

    /// Whether a proof of this second came after it was set, or it is none that a proof has to have for a part. A token
    /// says whole seconds: of one second nobody knows which was first.
    pub fn was_set_before(&self, proven_at: i64) -> bool {
        !self.counts() || self.set_at().seconds() < proven_at
    }
}

/// The id of an event about a factor. A factor's id may come back, as that of a passkey does.
pub fn event_id(domain: &str, factor: &StoredFactor) -> EventId {
    derived(domain, &[factor.id.as_bytes(), &factor.created_at.0.to_be_bytes()])
}

/// The id of the event that set a factor.
pub fn set_id(factor: &StoredFactor) -> EventId {
    event_id("lockstep/v1/factor-set", factor)
}

/// Where it belongs: this factor's row and no other.
fn context(factor: Uuid) -> Vec<u8> {
    Writer::new("lockstep/v1/factor").fixed(factor.as_bytes()).finish()
}

impl Body {
    /// Sealed for the row of a factor.
    ///
    /// # Errors
    /// [`BodyError`]
    pub async fn seal(
        &self,
        server: &Server,
        account: AccountId,
        factor: Uuid,
    ) -> Result<Vec<u8>, BodyError> {
        let text = Zeroizing::new(serde_json::to_vec(self).map_err(|e| CredentialError::Other(e.into()))?);
        Ok(server.subjects.seal(account, Purpose::Credential, &context(factor), &text).await?.bytes)
    }

    /// What it is.
    pub const fn kind(&self) -> FactorKind {
        match self {
            Self::Totp { .. } => FactorKind::Totp,
            Self::Passkey(_) => FactorKind::Passkey,
            Self::Codes { .. } => FactorKind::Codes,
        }
    }

    /// Whether it is demanded: what was only begun is not.
    pub const fn is_set(&self) -> bool {
        !matches!(self, Self::Totp { confirmed: false, .. })
    }

    /// How many codes are left.
    pub const fn codes_left(&self) -> Option<u32> {
        match self {
            Self::Codes { used, .. } => Some(CODES - (*used & ((1 << CODES) - 1)).count_ones()),
            _ => None,
        }
    }

    /// The passkey inside.
    pub const fn passkey(&self) -> Option<&Credential> {
        if let Self::Passkey(known) = self { Some(known) } else { None }
    }

    /// After these digits were shown, if they are right now and were not used.
    pub fn after_digits(&self, given: &str, now: Micros) -> Option<Self> {
        let Self::Totp { secret, used, set_at, .. } = self else { return None };
        let used = totp::check(secret, given, now, *used)?;
        Some(Self::Totp { secret: *secret, confirmed: true, used, set_at: *set_at })
    }

    /// The same, demanded from then on.
    #[must_use]
    pub fn set_from(mut self, now: Micros) -> Self {
        if let Self::Totp { set_at, .. } = &mut self {
            *set_at = now;
        }
        self
    }

    /// After this code was shown, if it is one and was not used.
    pub fn after_code(&self, given: &str) -> Option<Self> {
        let Self::Codes { seed, used } = self else { return None };
        let given: String = given.chars().filter(char::is_ascii_alphanumeric).collect();
        let given = given.to_ascii_uppercase();
        let right = |number: &u32| bool::from(code(seed, *number).as_bytes().ct_eq(given.as_bytes()));
        // Every one is computed, whichever is right.
        let right: Vec<u32> = (0..CODES).filter(right).collect();
        let fresh = right.into_iter().find(|number| used & (1 << number) == 0)?;
        Some(Self::Codes { seed: *seed, used: used | (1 << fresh) })
    }

    /// The codes, as they are written on paper.
    pub fn written(&self) -> Vec<String> {
        match self {
            Self::Codes { seed, .. } => (0..CODES).map(|number| grouped(&code(seed, number))).collect(),
            _ => Vec::new(),
        }
    }
}

/// The code with a number: 80 bits, in base 32.
fn code(seed: &[u8; 32], number: u32) -> String {
    let made = sha256(&Writer::new("lockstep/v1/factor-code").fixed(seed).u32(number).finish());
    totp::base32(&made[..10])
}

/// In four groups of four.
fn grouped(code: &str) -> String {
    code.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join("-")
}

/// Every second factor that is stored for an account, oldest first: also those that were only begun, and codes in
/// whose place others have come.
///
/// # Errors
/// [`BodyError`]. A factor that cannot be opened is never left out: nobody would be asked for it.
pub async fn stored(server: &Server, account: AccountId) -> Result<Vec<OpenFactor>, BodyError> {
    let mut open = Vec::new();
    for stored in server.credentials.factors(account).await? {
        if !matches!(stored.kind, FactorKind::Recovery | FactorKind::Approval) {
            let body = opened(server, &stored).await?;
            open.push(OpenFactor { stored, body });
        }
    }
    Ok(open)
}

/// The second factors of an account, those that were only begun included, oldest first.
///
/// # Errors
/// As [`stored`].
pub async fn factors(server: &Server, account: AccountId) -> Result<Vec<OpenFactor>, BodyError> {
    let mut all = stored(server, account).await?;
    let last = last_codes(server, &all).await?;
    all.retain(|factor| !factor.is_codes() || Some(factor.stored.id) == last);
    Ok(all)
}

/// The codes that count. New ones come before the old ones go, and several may have come at once: the last ones by the
/// order of the log have taken the place of all others.
///
/// # Errors
/// If the log does not answer. It is asked only if there are several.
pub async fn last_codes(server: &Server, all: &[OpenFactor]) -> Result<Option<Uuid>, BodyError> {
    let codes: Vec<_> = all.iter().filter(|factor| factor.is_codes()).collect();
    if let [] | [_] = codes[..] {
        return Ok(codes.first().map(|only| only.stored.id));
    }
    let places = places(server, &codes).await?;
    let last = codes.iter().zip(places).max_by_key(|(_, place)| *place);
    Ok(last.map(|(codes, _)| codes.stored.id))
}

/// Where in the log the setting of these factors stands, if it does: the one order that all nodes agree on.
///
/// # Errors
/// If the log does not answer.
pub async fn places(server: &Server, factors: &[&OpenFactor]) -> Result<Vec<Option<Position>>, BodyError> {
    let ids: Vec<_> = factors.iter().map(|factor| set_id(&factor.stored)).collect();
    let found = server.log.find(&ids).await.map_err(|e| CredentialError::Unavailable(e.into()))?;
    let place = |id: &EventId| found.iter().find(|event| event.event_id == *id).map(|event| event.position);
    Ok(ids.iter().map(place).collect())
}

/// The second factors that are demanded.
///
/// # Errors
/// As [`factors`].
pub async fn demanded(server: &Server, account: AccountId) -> Result<Vec<OpenFactor>, BodyError> {
    let mut all = factors(server, account).await?;
    all.retain(|factor| factor.body.is_set());
    Ok(all)
}

/// Whether all factors that count were set before a proof of this second: they were part of it then.
///
/// # Errors
/// As [`stored`].
pub async fn all_set_before(server: &Server, account: AccountId, proven_at: i64) -> Result<bool, BodyError> {
    let all = stored(server, account).await?;
    Ok(all.iter().all(|factor| factor.was_set_before(proven_at)))
}

async fn opened(server: &Server, stored: &StoredFactor) -> Result<Body, BodyError> {
    let sealed = Sealed {
        subject: stored.account,
        purpose: Purpose::Credential.name().to_owned(),
        period: String::new(),
        bytes: stored.body.clone(),
    };
    let text = server.subjects.open(&sealed, &context(stored.id)).await?.ok_or(SubjectError::Erased)?;
    Ok(serde_json::from_slice(&text).map_err(|error| CredentialError::Other(error.into()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(used: u32) -> Body {
        Body::Codes { seed: [7; 32], used }
    }

    fn by_time(confirmed: bool, used: i64) -> Body {
        Body::Totp { secret: [7; 20], confirmed, used, set_at: Micros(0) }
    }

    fn open(body: Body) -> OpenFactor {
        let (id, account, kind) = (Uuid::nil(), AccountId(Uuid::nil()), body.kind());
        let stored =
            StoredFactor { id, account, kind, body: Vec::new(), version: 1, created_at: Micros(5_000_000) };
        OpenFactor { stored, body }
    }

    #[test]
    fn what_was_only_begun_is_not_demanded() {
        assert!(!by_time(false, 0).is_set());
        assert!(by_time(true, 0).is_set() && codes(0).is_set());
    }

    #[test]
    fn only_a_proof_of_a_later_second_came_after_a_factor_was_set_and_codes_on_paper_wait_for_none() {
        let confirmed = open(by_time(true, 0).set_from(Micros(60_999_999)));
        assert!(confirmed.was_set_before(61) && !confirmed.was_set_before(60));
        assert!(open(by_time(false, 0)).was_set_before(0) && open(codes(0)).was_set_before(0));
        // One that was stored before its time was kept counts from its beginning.
        let mut old = serde_json::to_value(by_time(true, 9)).unwrap();
        old["Totp"].as_object_mut().unwrap().remove("set_at").unwrap();
        let old = open(serde_json::from_value(old).unwrap());
        assert!(old.was_set_before(6) && !old.was_set_before(5));
    }

    #[test]
    fn a_code_on_paper_is_taken_once_however_it_is_typed() {
        let written = codes(0).written();
        assert_eq!(written.len(), 10);
        let third = &written[3];
        assert_eq!(third.len(), 19);
        let after = codes(0).after_code(&third.to_lowercase().replace('-', " ")).unwrap();
        assert_eq!(after.codes_left(), Some(9));
        assert!(after.after_code(third).is_none());
        assert!(after.after_code(&written[4]).is_some());
        assert!(after.after_code(&code(&[7; 32], CODES)).is_none());
        assert!(after.after_code(&code(&[8; 32], 4)).is_none());
        assert!(after.after_code("").is_none());
    }

    #[test]
    fn the_next_state_of_a_totp_factor_remembers_the_step_that_was_used() {
        let now = Micros(3_000_000_000);
        let right = totp::code(&[7; 20], 100);
        let after = by_time(false, 0).after_digits(&right, now).unwrap();
        assert!(after == by_time(true, 100));
        assert!(after.after_digits(&right, now).is_none());
        assert!(codes(0).after_digits(&right, now).is_none());
    }
}
