//! Replacing credentials: staged beside the old ones, then its events, then in their place. Whatever is killed in
//! between, a password that the log does not know never opens anything, and one that it knows always does.

use lockstep_events::{
    AccountId, Hash32, LogError, NewEvent, Outcome, Position, Unit,
    canonical::sha256,
    event::{AccountEvent, CredentialSet},
    log::{Placed, Required, StreamClaim, SubjectClaim},
};
use uuid::Uuid;

use super::facts::{Actor, derived, existing_account, word};
use crate::{
    auth::{
        credentials::{CredentialError, KnownPassword, Wrapped},
        factors::{Replacement, Staged},
    },
    state::Server,
};

/// A staged change whose event does not stand after so many seconds never came to it: no request lives so long.
const STALE_S: i64 = 90;

/// Why credentials were not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Another change was first, or is under way.
    #[error("another change of the credentials was first")]
    Overtaken,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

/// What stands in the log with a change.
#[derive(Default)]
pub struct Together {
    /// Events after those of the credentials.
    pub events: Vec<NewEvent>,
    /// Events that must stand before.
    pub requires: Vec<Required>,
    /// What must be as it was looked at.
    pub subjects: Vec<SubjectClaim>,
    /// Streams that begin with it, besides the account's.
    pub streams: Vec<StreamClaim>,
}

/// A change that was carried out.
pub struct Replaced {
    /// Where its events are written.
    pub placed: Vec<Placed>,
    /// Whether they stood already: then it was carried out before, and what came after it is left alone.
    pub again: bool,
}

impl Replaced {
    /// The last place.
    pub fn position(&self) -> Position {
        self.placed.iter().map(|placed| placed.position).max().unwrap_or_default()
    }
}

/// A change of credentials.
pub struct Replace {
    /// Who changes them.
    pub actor: Actor,
    /// The change. It has a password record or a wrapped key: their event is what decides.
    pub staged: Staged,
}

impl Replace {
    /// Carries the change out. The same change again changes nothing.
    ///
    /// # Errors
    /// [`ReplaceError`]
    pub async fn run(self, server: &Server, together: Together) -> Result<Replaced, ReplaceError> {
        let (account, attempt) = (self.staged.account, self.staged.attempt);
        settle(server, account).await?;
        let mut events = credential_events(server, self.actor, &self.staged)?;
        events.extend(together.events);
        // What stands already was carried out, at the latest by `settle`: it is not carried out again over what came
        // after it.
        let again = is_written(server, events.first()).await?;
        if !again && !server.credentials.stage(&self.staged).await? {
            return Err(ReplaceError::Overtaken);
        }
        let mut streams = vec![existing_account(account)];
        streams.extend(together.streams);
        let (subjects, requires) = (together.subjects, together.requires);
        let unit = Unit { streams, subjects, requires, events };
        // If the log does not answer, the change stays staged: whoever comes next looks whether it stands.
        let Outcome::Appended(placed) = server.batcher.append(unit).await? else {
            server.credentials.unstage(account, attempt).await?;
            return Err(ReplaceError::Overtaken);
        };
        server.credentials.carry_out(account, attempt).await?;
        Ok(Replaced { placed, again })
    }
}

/// Brings a change to its end that was cut off: its event decides. Whether anything was replaced.
///
/// # Errors
/// If a store does not answer.
pub async fn settle(server: &Server, account: AccountId) -> Result<bool, ReplaceError> {
    let Some(staged) = server.credentials.staged(account).await? else { return Ok(false) };
    let nobody = Actor { account, device: lockstep_events::DeviceId::NIL };
    let Some(first) = credential_events(server, nobody, &staged)?.into_iter().next() else {
        return Ok(false);
    };
    if is_written(server, Some(&first)).await? {
        server.credentials.carry_out(account, staged.attempt).await?;
        return Ok(true);
    } else if staged.staged_at.plus_seconds(STALE_S) <= server.clock.now() {
        server.credentials.unstage(account, staged.attempt).await?;
    }
    Ok(false)
}

/// Brings a change of what is known to its end, if it was cut off. Whether to ask again: also where somebody else has
/// brought it to its end since that was asked.
///
/// # Errors
/// If a store does not answer.
pub async fn outdated(server: &Server, known: Option<&KnownPassword>) -> Result<bool, ReplaceError> {
    let Some(known) = known.filter(|known| known.staged) else { return Ok(false) };
    settle(server, known.record.account).await?;
    Ok(true)
}

/// The password of an account as it counts: a change counts from its event on, which comes before it is carried out.
///
/// # Errors
/// If a store does not answer.
pub async fn password(server: &Server, account: AccountId) -> Result<Option<KnownPassword>, ReplaceError> {
    let known = server.credentials.password_of(account).await?;
    if outdated(server, known.as_ref()).await? {
        return Ok(server.credentials.password_of(account).await?);
    }
    Ok(known)
}

/// Whether exactly this event stands in the log.
async fn is_written(server: &Server, event: Option<&NewEvent>) -> Result<bool, LogError> {
    let Some(event) = event else { return Ok(false) };
    let found = server.log.find(&[event.event_id]).await?;
    Ok(found.iter().any(|found| found.body_hash == event.body_hash))
}

/// The events of what is new.
fn credential_events(server: &Server, actor: Actor, staged: &Staged) -> Result<Vec<NewEvent>, LogError> {
    let Replacement { password, wraps, .. } = &staged.replacement;
    let password =
        password.iter().map(|(record, generation)| ("opaque", *generation, record.record.as_slice()));
    let wraps = wraps
        .iter()
        .map(|Wrapped { name, generation, bytes }| (name.as_str(), *generation, bytes.as_slice()));
    password.chain(wraps).map(|new| credential_set(server, actor, staged.attempt, new)).collect()
}

/// One for each generation of a credential; the commitment is salted by what only the key file and the attempt give.
fn credential_set(
    server: &Server,
    actor: Actor,
    attempt: Uuid,
    (name, generation, bytes): (&str, u32, &[u8]),
) -> Result<NewEvent, LogError> {
    let salt = server.keys.stable("commitment", &[attempt.as_bytes(), name.as_bytes()].concat());
    let commitment = Hash32(sha256(&[&salt[..], bytes].concat()));
    let parts = [&actor.account.as_bytes()[..], name.as_bytes(), &generation.to_be_bytes()];
    let body = CredentialSet { credential: word(name.to_owned())?, generation, commitment };
    actor.event(derived("lockstep/v1/credential", &parts), None, AccountEvent::CredentialSet(body))
}
