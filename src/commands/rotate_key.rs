//! Turning and revoking the keys that sign access tokens. The log says which key signs since when.

use lockstep_events::{
    Epoch, Event, EventId, EventLog, LogError, Micros, StreamId, StreamKind, Unit,
    event::{OperatorActed, SigningKeyRotated, SystemEvent},
    log::StreamExpect,
};
use rand::{CryptoRng, RngCore};

use super::facts::{claim, derived, new_event, word};
use crate::auth::{
    credentials::{CredentialError, CredentialStore, KeyState, SigningKeyRow},
    server_keys::ServerKeys,
    signing_keys::{KeySet, make, revoked, turned},
};

/// The event that a key signs from now on; the same however often it is made.
///
/// # Errors
/// Only if serde cannot write one of our own types.
pub fn rotated(set: &KeySet, epoch_if_new: Epoch) -> Result<Option<Unit>, LogError> {
    let Some(row) = set.rows().iter().find(|row| row.state == KeyState::Current) else { return Ok(None) };
    let body = SigningKeyRotated { kid: word(row.kid.clone())?, public_key: row.public_key };
    let event = Event::System(SystemEvent::SigningKeyRotated(body));
    let id = derived("lockstep/v1/signing-key", &[row.kid.as_bytes()]);
    Ok(Some(of_system(id, &event, epoch_if_new)?))
}

fn of_system(id: EventId, event: &Event, epoch_if_new: Epoch) -> Result<Unit, LogError> {
    let event = new_event(None, StreamId::SYSTEM, id, None, event)?;
    let streams = vec![claim(StreamId::SYSTEM, StreamKind::System, StreamExpect::Any, epoch_if_new)];
    Ok(Unit { streams, events: vec![event], ..Unit::default() })
}

/// The event that an operator did something to a key.
fn acted(command: String, id: EventId, epoch_if_new: Epoch) -> Result<Unit, LogError> {
    let event =
        Event::System(SystemEvent::OperatorActed(OperatorActed { command: word(command)?, run: id.0 }));
    of_system(id, &event, epoch_if_new)
}

/// The epoch that the system stream begins with, whichever node is first.
pub fn system_epoch(keys: &ServerKeys) -> Epoch {
    Epoch::from_slice(&keys.stable("epoch", b"system")[..16]).unwrap_or(Epoch::ZERO)
}

/// Why keys were not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such key.
    #[error("there is no signing key {0}")]
    NoKey(String),
    /// Another program changed them at the same time.
    #[error("the signing keys were changed by another program at the same time; look again")]
    Overtaken,
    /// The credential store did not answer.
    #[error("the credential store did not answer")]
    Credentials(#[from] CredentialError),
    /// The log did not answer.
    #[error("the keys were changed, but the log did not take the record of it")]
    Log(#[from] LogError),
}

/// An operator's change of the keys, beside a running server or without one.
pub struct OperatorKeys<'a> {
    /// The credential store.
    pub store: &'a dyn CredentialStore,
    /// The log.
    pub log: &'a dyn EventLog,
    /// The key file.
    pub keys: &'a ServerKeys,
    /// The time.
    pub now: Micros,
}

impl OperatorKeys<'_> {
    /// Turns the keys once: `next` signs, `current` only verifies.
    ///
    /// # Errors
    /// [`KeyError`]
    pub async fn rotate(&self, rng: &mut (impl RngCore + CryptoRng)) -> Result<KeySet, KeyError> {
        let rows = self.store.signing_keys().await?;
        let (keys, now) = (self.keys, self.now);
        let after = turned(&rows, make(keys, now, rng), make(keys, now, rng), now);
        let current = after.iter().find(|row| row.state == KeyState::Current).map_or("", |row| &row.kid);
        let id = derived("lockstep/v1/keys-rotate", &[current.as_bytes()]);
        self.replace(&rows, &after, ("keys rotate".to_owned(), id)).await
    }

    /// Revokes a key: its tokens are refused by every node within a second. If it was the current one, `next` takes
    /// its place. Done again it changes nothing; what the log did not take the first time it has then.
    ///
    /// # Errors
    /// [`KeyError`]
    pub async fn revoke(&self, kid: &str, rng: &mut (impl RngCore + CryptoRng)) -> Result<KeySet, KeyError> {
        let rows = self.store.signing_keys().await?;
        let Some(row) = rows.iter().find(|row| row.kid == kid) else {
            return Err(KeyError::NoKey(kid.to_owned()));
        };
        let mut after = revoked(&rows, kid, self.now);
        if row.state == KeyState::Current {
            after = turned(&after, make(self.keys, self.now, rng), make(self.keys, self.now, rng), self.now);
        }
        // Once for a key: there is no way back.
        let id = derived("lockstep/v1/keys-revoke", &[kid.as_bytes()]);
        self.replace(&rows, &after, (format!("keys revoke {kid}"), id)).await
    }

    async fn replace(
        &self,
        before: &[SigningKeyRow],
        after: &[SigningKeyRow],
        (command, id): (String, EventId),
    ) -> Result<KeySet, KeyError> {
        if !self.store.replace_signing_keys(before, after).await? {
            return Err(KeyError::Overtaken);
        }
        let set = KeySet::new(after.to_vec(), self.keys);
        let epoch = system_epoch(self.keys);
        // Each by itself: who signs was announced long ago, perhaps.
        let units: Vec<Unit> =
            rotated(&set, epoch)?.into_iter().chain([acted(command, id, epoch)?]).collect();
        self.log.append(&units, self.now).await?;
        Ok(set)
    }
}
