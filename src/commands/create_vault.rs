//! Creating a further vault: the account signing key states its first key generation, and the key comes wrapped.
//!
//! The statement decides: of two vaults that are created at the same time, on whichever nodes, both follow the same
//! statement, and the log takes one. Whoever was second counts again, so a plan's limit is exact.

use lockstep_events::{
    Epoch, Event, LogError, NewEvent, Position, StreamId, StreamKind, VaultId,
    event::{AccountEvent, VaultAttached, VaultCreated, VaultEvent},
    log::StreamExpect,
    roster::{Claim, Roster, Statement},
};
use uuid::Uuid;

use super::{
    account::{self, LookError},
    facts::{Actor, claim, derived},
    replace::{Replace, ReplaceError, Together},
    roster::{StateError, follow},
    turn_vault_key::{check_wrap, stated},
};
use crate::{
    auth::{
        credentials::Wrapped,
        factors::{Replacement, Staged},
    },
    quotas::Exceeded,
    state::Server,
};

/// An account has at most so many vaults, deleted ones among them, whatever its plan says.
const MAX_VAULTS: u64 = 256;

/// A further vault.
pub struct CreateVault {
    /// Whose, and at which device.
    pub actor: Actor,
    /// `vault_key_gen` 1 of the vault.
    pub statement: Statement,
    /// `vault/<vault>` of generation 1.
    pub wrap: Wrapped,
    /// Its account says that it was created before, and that a restore has lost it: whatever the plan says, it comes back.
    /// See [`super::offer_roster`].
    pub offered: bool,
}

/// Why a vault was not created.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The plan has no room for another vault.
    #[error("the account has as many vaults as it may have")]
    TooMany(Exceeded),
    /// The statement does not fit, or another one was first.
    #[error(transparent)]
    State(#[from] StateError),
    /// The wrapped key could not be kept.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

/// The vault that the statement begins, if there is room for one more; whether it stands already, word for word.
fn decide(
    mut roster: Roster,
    stated: &[Statement],
    next: &Statement,
    (limit, used): (u64, u64),
) -> Result<VaultId, VaultError> {
    let Claim::VaultKeyGen { vault, generation: 1 } = next.claim else {
        return Err(StateError::Invalid("statement: vault_key_gen of generation 1 is needed").into());
    };
    if stated.contains(next) {
        return Ok(vault);
    }
    if [Uuid::nil(), StreamId::SYSTEM.0, roster.account.0].contains(&vault.0) {
        return Err(StateError::Invalid("statement: the vault's id is a random UUID").into());
    }
    follow(&mut roster, next)?;
    if used >= limit {
        return Err(VaultError::TooMany(Exceeded { what: "vaults", limit, used }));
    }
    Ok(vault)
}

/// How many of an account's vaults its plan counts: their rows say which are emptied.
async fn in_use(server: &Server, vaults: &[VaultId]) -> Result<u64, StateError> {
    account::vaults_caught_up(server).await?;
    Ok(server.quotas.vaults_in_use(vaults).await.map_err(LookError::from)?)
}

impl CreateVault {
    /// Creates it; where that is written. The same again changes nothing.
    ///
    /// # Errors
    /// [`VaultError`]
    pub async fn run(self, server: &Server) -> Result<Position, VaultError> {
        let account = self.actor.account;
        let row = account::present(server, account).await.map_err(StateError::from)?;
        let row = row.ok_or(StateError::NoDevice)?;
        let (_, plan) = server.quotas.plans.of(&row.standing, server.clock.now());
        let room = match (plan.vaults, row.vaults.len() as u64) {
            (Some(limit), all) if !self.offered && all < MAX_VAULTS => {
                (limit, if all < limit { all } else { in_use(server, &row.vaults).await? })
            }
            (_, all) => (MAX_VAULTS, all),
        };
        let roster = account::roster(&row).map_err(StateError::from)?;
        let vault = decide(roster, &row.roster, &self.statement, room)?;
        check_wrap(&self.wrap, vault, 1)?;
        let attempt = derived("lockstep/v1/vault-attempt", &[account.as_bytes(), vault.as_bytes()]).0;
        let together = self.together(server, vault, attempt).map_err(ReplaceError::from)?;
        let replacement = Replacement { wraps: vec![self.wrap], ..Replacement::default() };
        let staged = Staged { account, attempt, replacement, staged_at: server.clock.now() };
        match (Replace { actor: self.actor, staged }).run(server, together).await {
            Ok(replaced) => Ok(replaced.position()),
            Err(ReplaceError::Overtaken) => Err(StateError::Overtaken.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// What stands in the same unit as the wrapped key.
    fn together(&self, server: &Server, vault: VaultId, attempt: Uuid) -> Result<Together, LogError> {
        let (event, before) = stated(self.actor, &self.statement)?;
        let attached = AccountEvent::VaultAttached(VaultAttached { vault });
        let id = derived("lockstep/v1/vault", &[b"attached", vault.as_bytes()]);
        let mut life = [&attempt.as_bytes()[..], vault.as_bytes()].concat();
        if self.offered {
            // Its stream had a life before: cursors of that one mean nothing in this.
            life.extend(server.clock.now().0.to_be_bytes());
        }
        let epoch = server.keys.stable("epoch", &life);
        let epoch = Epoch::from_slice(&epoch[..16]).unwrap_or(Epoch::ZERO);
        Ok(Together {
            events: vec![
                event,
                self.actor.event(id, Some(vault.into()), attached)?,
                created(self.actor, vault)?,
            ],
            requires: vec![before],
            subjects: Vec::new(),
            streams: vec![claim(vault.into(), StreamKind::Vault, StreamExpect::None, epoch)],
        })
    }
}

/// The first event of a vault's stream.
///
/// # Errors
/// Only if serde cannot write one of our own types.
pub fn created(actor: Actor, vault: VaultId) -> Result<NewEvent, LogError> {
    let id = derived("lockstep/v1/vault", &[b"created", vault.as_bytes()]);
    let body = VaultCreated { vault, account: actor.account };
    actor.event_in(vault.into(), id, None, &Event::Vault(VaultEvent::Created(body)))
}

#[cfg(test)]
mod tests {
    use lockstep_events::roster::RosterError;

    use super::*;
    use crate::commands::roster_testing::{account, next, with_devices};

    fn generation(roster: &Roster, vault: Uuid, generation: u32) -> Statement {
        next(roster, Claim::VaultKeyGen { vault: VaultId(vault), generation })
    }

    #[test]
    fn a_vault_begins_by_the_next_statement_of_the_roster_as_long_as_there_is_room() {
        let (roster, stated) = with_devices(0);
        let next = generation(&roster, Uuid::from_u128(7), 1);
        assert_eq!(decide(roster.clone(), &stated, &next, (2, 1)).unwrap(), VaultId(Uuid::from_u128(7)));
        let full = Exceeded { what: "vaults", limit: 2, used: 2 };
        assert!(matches!(decide(roster, &stated, &next, (2, 2)), Err(VaultError::TooMany(e)) if e == full));
    }

    #[test]
    fn a_retry_is_recognised_although_there_is_no_room_left() {
        let (mut roster, mut stated) = with_devices(0);
        let next = generation(&roster, Uuid::from_u128(7), 1);
        roster.apply(&next).unwrap();
        stated.push(next.clone());
        assert!(decide(roster, &stated, &next, (1, 1)).is_ok());
    }

    #[test]
    fn a_statement_that_does_not_follow_or_begins_no_vault_is_refused() {
        let (early, _) = with_devices(0);
        let late = generation(&early, Uuid::from_u128(7), 1);
        let (mut roster, mut stated) = with_devices(0);
        let other = generation(&roster, Uuid::from_u128(8), 1);
        roster.apply(&other).unwrap();
        stated.push(other);
        let order = decide(roster.clone(), &stated, &late, (9, 1));
        assert!(matches!(order, Err(VaultError::State(StateError::Roster(RosterError::Order)))));
        let second = generation(&roster, Uuid::from_u128(8), 2);
        for wrong in [second, generation(&roster, account().0, 1), generation(&roster, Uuid::nil(), 1)] {
            let decided = decide(roster.clone(), &stated, &wrong, (9, 1));
            assert!(matches!(decided, Err(VaultError::State(StateError::Invalid(_)))));
        }
    }
}
