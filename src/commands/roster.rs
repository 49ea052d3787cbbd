//! Appending one more statement to a roster, with what follows from it, exactly once.

use lockstep_events::{
    DeviceId, LogError, NewEvent, Outcome, Position, Unit,
    event::{AccountEvent, RosterStated},
    header::can_verify,
    log::{Required, StreamClaim, StreamExpect},
    roster::{Claim, Roster, RosterError, Statement},
};

use super::{
    account::LookError,
    facts::{Actor, existing_account, statement_id},
};
use crate::{auth::credentials::CredentialError, quotas::Exceeded, state::Server};

/// A roster has at most so many statements. Every command about an account reads all of them, every event about it writes
/// them again, and all its devices keep them for ever. Who removes a device every week, and turns the keys of ten vaults
/// for it, gets there in seven years.
pub const MAX_STATEMENTS: u32 = 4096;

/// Why a statement was not appended.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It does not follow the roster as it stands.
    #[error("{0}")]
    Roster(#[from] RosterError),
    /// Another statement was first.
    #[error("another statement was first")]
    Overtaken,
    /// It does not say what this command is about.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such device.
    #[error("there is no such device")]
    NoDevice,
    /// What vouches for it has ended meanwhile.
    #[error("the session has ended")]
    Ended,
    /// The plan allows no more devices.
    #[error("the account has as many devices as it may have")]
    TooManyDevices(Exceeded),
    /// The roster is as long as one may be.
    #[error("the roster has as many statements as it may have")]
    TooManyStatements(Exceeded),
    /// The account cannot be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

/// Why a statement is not taken whoever signed it and wherever it would stand; the roster itself does not mind. Nil is said
/// where there is no device, with such a key a device could sign nothing that holds, and no client knows such a suite: all
/// of them would stand for ever.
pub fn unusable(claim: &Claim) -> Option<&'static str> {
    match claim {
        Claim::DeviceAdded { device: DeviceId::NIL, .. } => Some("device: a random UUID"),
        Claim::DeviceAdded { public_key, .. } if !can_verify(public_key) => {
            Some("public_key: no signature can hold under it")
        }
        Claim::SuiteRaised { .. } => Some("suite: only 1 is known"),
        _ => None,
    }
}

/// Applies the next statement to a roster, if there is room for it. A device can be removed from a full one too: there are
/// as many removals at most as devices that were added.
///
/// # Errors
/// [`StateError::TooManyStatements`], or it does not follow.
pub fn follow(roster: &mut Roster, next: &Statement) -> Result<(), StateError> {
    let (limit, used) = (MAX_STATEMENTS.into(), u64::from(roster.epoch) + 1);
    if used >= limit && !matches!(next.claim, Claim::DeviceRevoked { .. }) {
        return Err(StateError::TooManyStatements(Exceeded { what: "statements", limit, used }));
    }
    Ok(roster.apply(next)?)
}

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    /// It stands, and what follows from it ends here.
    At(Position),
    /// The account's stream is not as it was expected to be. Nothing was appended.
    Moved,
}

/// Appends a statement about a device that was checked against the roster, followed by `more`.
///
/// # Errors
/// As [`state_at`].
pub async fn state(
    server: &Server,
    actor: Actor,
    statement: &Statement,
    more: Vec<NewEvent>,
) -> Result<Position, StateError> {
    match state_at(server, actor, statement, more, StreamExpect::Exists).await? {
        Stated::At(position) => Ok(position),
        Stated::Moved => Err(StateError::Overtaken),
    }
}

/// Appends a statement, followed by `more`, to an account's stream as it is expected to be.
///
/// Its event has an id made of account and number, and needs the statement before: of two that were both checked
/// against the same roster, the log takes the first.
///
/// # Errors
/// [`StateError::Overtaken`], or what the log says.
pub async fn state_at(
    server: &Server,
    actor: Actor,
    statement: &Statement,
    more: Vec<NewEvent>,
    expect: StreamExpect,
) -> Result<Stated, StateError> {
    let stated = RosterStated { statement: statement.clone() };
    let (subject, event) = match statement.claim {
        Claim::DeviceAdded { device, .. } => (Some(device.into()), AccountEvent::DeviceAdded(stated)),
        Claim::DeviceRevoked { device } => (Some(device.into()), AccountEvent::DeviceRevoked(stated)),
        _ => (None, AccountEvent::RosterStated(stated)),
    };
    let first = actor.event(statement_id(actor.account, statement.epoch), subject, event)?;
    let before = statement_id(actor.account, statement.epoch.saturating_sub(1));
    let unit = Unit {
        streams: vec![StreamClaim { expect, ..existing_account(actor.account) }],
        requires: vec![Required { stream: actor.account.into(), event_id: before }],
        events: std::iter::once(first).chain(more).collect(),
        ..Unit::default()
    };
    match server.batcher.append(unit).await? {
        Outcome::Appended(placed) => {
            Ok(Stated::At(placed.iter().map(|p| p.position).max().unwrap_or_default()))
        }
        Outcome::Conflict(_) => Ok(Stated::Moved),
        Outcome::IdReused(_) | Outcome::Missing(_) => Err(StateError::Overtaken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::roster_testing::{added, next, with_devices};
    use uuid::Uuid;

    #[test]
    fn a_roster_has_an_end_and_devices_can_be_removed_from_a_full_one() {
        let (mut roster, _) = with_devices(2);
        roster.epoch = MAX_STATEMENTS - 2;
        let last = next(&roster, added(8));
        follow(&mut roster, &last).unwrap();
        let (limit, before) = (MAX_STATEMENTS.into(), roster.clone());
        let vault = Claim::VaultKeyGen { vault: Uuid::from_u128(7).into(), generation: 1 };
        for claim in [added(9), vault, Claim::SuiteRaised { suite: 2 }] {
            let refused = follow(&mut roster, &next(&before, claim));
            let full = Exceeded { what: "statements", limit, used: limit };
            assert!(matches!(refused, Err(StateError::TooManyStatements(e)) if e == full));
        }
        assert_eq!(roster, before);
        let removed = next(&roster, Claim::DeviceRevoked { device: Uuid::from_u128(8).into() });
        follow(&mut roster, &removed).unwrap();
        assert!(roster.devices[&Uuid::from_u128(8).into()].revoked);
    }
}
