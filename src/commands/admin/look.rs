//! Looking at accounts: the event first. What is shown was written down as shown.

use lockstep_events::{
    AccountId, Event, EventId, NewEvent, Outcome, Position, StreamId, Unit,
    event::{AccountEvent, AccountViewed, LogRead, OfficeList, OfficeListed, SystemEvent, Viewed},
};
use uuid::Uuid;

use super::act::{Act, AdminError, system};
use crate::{
    commands::{
        account::in_effect,
        facts::{Actor, existing_account},
    },
    state::Server,
};

/// Writes down that the account of the act is looked at.
///
/// # Errors
/// [`AdminError`]; nothing may be shown then.
pub async fn look(act: &Act<'_>, what: Viewed) -> Result<Position, AdminError> {
    act.checked()?;
    let events = vec![act.event(false, AccountEvent::Viewed(AccountViewed { what })).await?];
    let unit = Unit { streams: vec![existing_account(act.account)], events, ..Unit::default() };
    appended(act.server, unit).await
}

/// Writes down that accounts are listed: one event in the stream of each.
///
/// # Errors
/// [`AdminError`]; nothing may be shown then.
pub async fn list(
    server: &Server,
    by: Actor,
    accounts: &[AccountId],
    reason: &str,
) -> Result<(), AdminError> {
    let unit = listed(server, by, accounts, reason).await?;
    if unit.events.is_empty() { Ok(()) } else { appended(server, unit).await.map(drop) }
}

/// Writes down that invitations or proposals are listed, or that a name was looked for that nobody has: one event, with
/// the reason sealed under whoever looks, and one in the stream of each account that something on the list is about.
///
/// # Errors
/// [`AdminError`]; nothing may be shown then.
pub async fn office(
    server: &Server,
    by: Actor,
    (what, accounts): (OfficeList, &[AccountId]),
    reason: &str,
) -> Result<(), AdminError> {
    let mut unit = listed(server, by, accounts, reason).await?;
    unit.streams.push(system(server));
    unit.events.push(of_office(server, (by, reason), SystemEvent::Listed(OfficeListed { what })).await?);
    appended(server, unit).await.map(drop)
}

/// An event of the server's own stream about nobody else.
async fn of_office(
    server: &Server,
    (by, reason): (Actor, &str),
    event: SystemEvent,
) -> Result<NewEvent, AdminError> {
    let act = Act { server, by, account: by.account, reason };
    act.checked()?;
    let event = by.event_in(StreamId::SYSTEM, EventId(Uuid::new_v4()), None, &Event::System(event))?;
    act.sealed(event).await
}

async fn listed(
    server: &Server,
    by: Actor,
    accounts: &[AccountId],
    reason: &str,
) -> Result<Unit, AdminError> {
    let mut unit = Unit::default();
    for account in accounts {
        let act = Act { server, by, account: *account, reason };
        act.checked()?;
        let listed = AccountEvent::Viewed(AccountViewed { what: Viewed::Listed });
        unit.streams.push(existing_account(*account));
        unit.events.push(act.event(false, listed).await?);
    }
    Ok(unit)
}

async fn appended(server: &Server, unit: Unit) -> Result<Position, AdminError> {
    let Outcome::Appended(placed) = server.batcher.append(unit).await? else {
        return Err(AdminError::NoAccount);
    };
    let position = placed.iter().map(|placed| placed.position).max().unwrap_or_default();
    in_effect(server, position).await;
    Ok(position)
}

/// Writes down that the log itself is read.
///
/// # Errors
/// [`AdminError`]; nothing may be shown then.
pub async fn read_log(
    server: &Server,
    (by, reason): (Actor, &str),
    (after, limit): (Position, u32),
) -> Result<(), AdminError> {
    let read = SystemEvent::LogRead(LogRead { after, limit });
    let events = vec![of_office(server, (by, reason), read).await?];
    appended(server, Unit { streams: vec![system(server)], events, ..Unit::default() }).await.map(drop)
}
