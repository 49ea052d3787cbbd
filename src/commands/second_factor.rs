//! Checking a second factor that is shown.
//!
//! A guess was counted, durably and for all nodes, before this is asked. What can be used once is marked as used by
//! compare-and-set before it counts as right: of two that show the same code at once, one is refused.

use lockstep_events::{
    AccountId, Event, EventId, LogError, Micros, NewEvent, Outcome, Unit,
    event::{AccountEvent, FactorRefused},
};
use uuid::Uuid;

use super::{
    factor_body::{Body, BodyError, OpenFactor, demanded},
    facts::{existing_account, new_event},
};
use crate::{
    auth::{
        credentials::CredentialError,
        passkey::{Assertion, RelyingParty},
    },
    quotas::Exceeded,
    state::Server,
};

/// Why a factor was not set, removed or accepted.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// It is not right, or was used.
    #[error("the second factor is not right")]
    Wrong,
    /// The last proof came before the factor did, which was no part of it.
    #[error("the proof is older than the factor")]
    Unproven,
    /// There is no such factor.
    #[error("there is no such factor")]
    NoFactor,
    /// An account has only so many.
    #[error("the account has as many second factors as it may have")]
    TooMany(Exceeded),
    /// What is known of a factor cannot be opened or kept.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

/// A factor as it is shown.
pub enum Shown<'a> {
    /// Six digits.
    Totp(&'a str),
    /// A code to be used once.
    Code(&'a str),
    /// A passkey's id and proof.
    Passkey(&'a [u8], Assertion<'a>),
}

/// Checks a factor of an account for an attempt.
pub struct CheckFactor<'a> {
    /// Whose.
    pub account: AccountId,
    /// The attempt.
    pub attempt: Uuid,
    /// What a passkey signed.
    pub challenge: &'a [u8],
    /// For whom passkeys answer.
    pub relying_party: &'a RelyingParty,
    /// What is shown.
    pub shown: Shown<'a>,
}

impl CheckFactor<'_> {
    /// Whether it is right; it is used then. Since when all factors have been set that were looked at.
    ///
    /// # Errors
    /// [`FactorError`]
    pub async fn run(self, server: &Server) -> Result<Micros, FactorError> {
        let factors = demanded(server, self.account).await?;
        if self.accepts(server, &factors).await? {
            let set = factors.iter().filter(|factor| factor.counts());
            return Ok(set.map(OpenFactor::set_at).max().unwrap_or_default());
        }
        let event = Event::Account(AccountEvent::FactorRefused(FactorRefused { attempt: self.attempt }));
        let event = new_event(None, self.account.into(), EventId(Uuid::new_v4()), None, &event)?;
        append(server, self.account, vec![event]).await?;
        Err(FactorError::Wrong)
    }

    async fn accepts(&self, server: &Server, factors: &[OpenFactor]) -> Result<bool, FactorError> {
        let now = server.clock.now();
        for OpenFactor { stored, body } in factors {
            let after = match &self.shown {
                Shown::Totp(given) => body.after_digits(given, now),
                Shown::Code(given) => body.after_code(given),
                Shown::Passkey(id, proof) => self.after_passkey(body, id, proof),
            };
            if let Some(after) = after {
                let used = after.seal(server, self.account, stored.id).await?;
                // Somebody who was first has moved it on: then it was used.
                return Ok(server.credentials.replace_factor(stored, &used).await?);
            }
        }
        Ok(false)
    }

    fn after_passkey(&self, body: &Body, id: &[u8], proof: &Assertion<'_>) -> Option<Body> {
        let mut known = body.passkey().filter(|known| known.id == id)?.clone();
        known.counter = self.relying_party.verify(&known, self.challenge, proof).ok()?;
        Some(Body::Passkey(known))
    }
}

/// Appends what happened to factors; that it stands already is as good.
///
/// # Errors
/// [`FactorError::NoFactor`] if there is no such account, or what the log says.
pub(super) async fn append(
    server: &Server,
    account: AccountId,
    events: Vec<NewEvent>,
) -> Result<(), FactorError> {
    let unit = Unit { streams: vec![existing_account(account)], events, ..Unit::default() };
    match server.batcher.append(unit).await? {
        Outcome::Appended(_) | Outcome::IdReused(_) => Ok(()),
        Outcome::Conflict(_) | Outcome::Missing(_) => Err(FactorError::NoFactor),
    }
}
