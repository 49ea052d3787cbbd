//! After a restore: nobody is erased before they had the time again in which they can call it off.

use lockstep_events::{
    AccountId, Event, LogError, Micros, Position,
    event::{AccountEvent, AskedBy, ErasureRequested},
    log::{Contents, Filter},
};

use super::{
    erase::{Desk, EraseError, Erasure, ErasureState, append, event_of},
    facts::derived,
};

const PAGE: usize = 500;
/// The step before which an erasure can be called off.
const FIRST_STEP: u8 = 2;

/// Asks once more for every erasure that a restored log has as due: for how many.
///
/// A backup knows of the request and not of what came after it: whoever called it off would be erased, and for whoever did
/// not the time may have run down while nobody served. Devices have heard the old request and do not read it again, so
/// each stands in the log anew, however much time is left: they tell it, and a letter goes out. None begins before
/// `until`, and none earlier than it would have. What has begun, or is on the shred list, was not called off, and goes on.
///
/// # Errors
/// If the log or the queue does not answer. Those that were put off stay so. An account that cannot be read is left out: no
/// erasure begins that nobody can read.
pub async fn put_off(desk: &Desk, until: Micros) -> Result<u64, EraseError> {
    let filter = Filter { stream_kind: None, kinds: vec!["account.erasure_requested".to_owned()] };
    let (mut after, mut done) = (Position::ZERO, 0);
    loop {
        let page = desk.log.read_all(after, PAGE, &filter, Contents::No).await?;
        for recorded in &page {
            if let Ok(Event::Account(AccountEvent::ErasureRequested(body))) = recorded.event() {
                done += u64::from(one(desk, body.account, until).await?);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.position,
            _ => return Ok(done),
        }
    }
}

/// Whether it was asked for anew: once in a life of the account's stream, which is once for a restore. Of nodes that start
/// at the same time one does it, and the others find it done.
async fn one(desk: &Desk, account: AccountId, until: Micros) -> Result<bool, EraseError> {
    let found = match Erasure::of(&*desk.log, account).await {
        Err(error @ (LogError::Unavailable(_) | LogError::Full(_))) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(cause = %error, "the erasure of an account that cannot be read is not put off, and does not begin");
            return Ok(false);
        }
        Ok(found) => found,
    };
    let ErasureState::Due(due) = found.state else { return Ok(false) };
    if desk.erasures.find(account).await?.is_some_and(|job| job.step > FIRST_STEP) {
        return Ok(false);
    }
    let Some(life) = desk.log.stream_heads(&[account.into()]).await?.pop() else { return Ok(false) };
    let id = derived("lockstep/v1/erasure-put-off", &[account.as_bytes(), &life.epoch.0]);
    if !desk.log.find(&[id]).await?.is_empty() {
        return Ok(false);
    }
    let (by, due_at) = (found.by.unwrap_or(AskedBy::Operator), due.max(until));
    let body = ErasureRequested { account, by, due_at };
    let event = event_of(None, account, id, AccountEvent::ErasureRequested(body))?;
    let appended = append(desk, account, event, found.expect()).await?;
    if appended.is_some() {
        desk.erasures.put(account, due_at).await?;
    }
    Ok(appended.is_some())
}
