//! Whose a stream is, by the log itself: an account's stream bears its id, a vault's first event names its owner.

use lockstep_events::{
    AccountId, Event, EventLog, LogError, Seq, StreamId, StreamKind,
    event::{AccountEvent, VaultEvent},
    log::Contents,
};

/// The owner of a stream; none for the system stream and for one that does not exist. It never changes.
///
/// # Errors
/// If the log does not answer.
pub async fn of_stream(log: &dyn EventLog, stream: StreamId) -> Result<Option<AccountId>, LogError> {
    let first = log.read_stream(stream, Seq::ZERO, 1, Contents::No).await?;
    let Some(first) = first.first() else { return Ok(None) };
    if first.stream_kind == StreamKind::Account {
        return Ok(Some(stream.into()));
    }
    Ok(match first.event() {
        Ok(Event::Vault(VaultEvent::Created(created))) => Some(created.account),
        Ok(Event::Account(AccountEvent::Created(created))) => Some(created.account),
        _ => None,
    })
}
