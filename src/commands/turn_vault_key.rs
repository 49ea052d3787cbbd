//! The next generation of a vault's key: the account signing key states it, and the key comes wrapped.
//!
//! The wrap is staged, then statement and commitment stand in the log in one unit, then the wrap lies beside those of
//! the older generations. Two devices that turn the same key at the same time sign the same statement over different
//! keys: the commitments differ, so the log takes one, and whoever was second learns the other's key.

use lockstep_events::{
    LogError, NewEvent, Position, VaultId,
    canonical::sha256,
    event::{AccountEvent, RosterStated},
    log::Required,
    roster::{Claim, Roster, Statement, vault_key_name},
};
use uuid::Uuid;

use super::{
    account,
    create_vault::VaultError,
    facts::{Actor, derived, statement_id},
    replace::{Replace, ReplaceError, Together},
    roster::{StateError, follow},
};
use crate::{
    auth::{
        credentials::Wrapped,
        factors::{Replacement, Staged},
    },
    quotas::Exceeded,
    state::Server,
};

/// A vault's key has at most so many generations: all of them are kept.
pub const MAX_GENERATIONS: u32 = 1024;

/// The next generation of a vault's key.
pub struct TurnVaultKey {
    /// Whose, and at which device.
    pub actor: Actor,
    /// The vault.
    pub vault: VaultId,
    /// `vault_key_gen` of the next generation.
    pub statement: Statement,
    /// The key of that generation.
    pub wrap: Wrapped,
}

/// The generation that the statement begins; the same again if it stands already, word for word.
fn decide(
    mut roster: Roster,
    stated: &[Statement],
    vault: VaultId,
    next: &Statement,
) -> Result<u32, VaultError> {
    let generation = match next.claim {
        Claim::VaultKeyGen { vault: named, generation } if named == vault && generation > 1 => generation,
        _ => return Err(StateError::Invalid("statement: the vault's next vault_key_gen is needed").into()),
    };
    if stated.contains(next) {
        return Ok(generation);
    }
    follow(&mut roster, next)?;
    if generation > MAX_GENERATIONS {
        let (limit, used) = (MAX_GENERATIONS.into(), (generation - 1).into());
        return Err(VaultError::TooMany(Exceeded { what: "key_generations", limit, used }));
    }
    Ok(generation)
}

/// What stands in the log beside the commitment to the wrapped key, and what must stand before.
///
/// # Errors
/// Only if serde cannot write one of our own types.
pub(super) fn stated(actor: Actor, statement: &Statement) -> Result<(NewEvent, Required), LogError> {
    let (account, number) = (actor.account, statement.epoch);
    let body = AccountEvent::RosterStated(RosterStated { statement: statement.clone() });
    let event = actor.event(statement_id(account, number), None, body)?;
    let before = statement_id(account, number.saturating_sub(1));
    Ok((event, Required { stream: account.into(), event_id: before }))
}

/// Whether a wrap is that of a generation of a vault's key.
///
/// # Errors
/// [`StateError::Invalid`]
pub(super) fn check_wrap(wrap: &Wrapped, vault: VaultId, generation: u32) -> Result<(), StateError> {
    let fits = wrap.generation == generation && wrap.fits();
    if fits && wrap.name == vault_key_name(vault, generation) {
        return Ok(());
    }
    Err(StateError::Invalid(
        "wrap: vault/<vault> of generation 1, else vault/<vault>/<generation>; 104 bytes",
    ))
}

impl TurnVaultKey {
    /// Turns the key; where that is written. The same again changes nothing, but brings back a wrap that was lost.
    ///
    /// # Errors
    /// [`VaultError`]
    pub async fn run(self, server: &Server) -> Result<Position, VaultError> {
        let (actor, account) = (self.actor, self.actor.account);
        let row = account::present(server, account).await.map_err(StateError::from)?;
        let row = row.filter(|row| row.vaults.contains(&self.vault)).ok_or(StateError::NoDevice)?;
        let roster = account::roster(&row).map_err(StateError::from)?;
        let generation = decide(roster, &row.roster, self.vault, &self.statement)?;
        check_wrap(&self.wrap, self.vault, generation)?;
        let (event, before) = stated(actor, &self.statement).map_err(ReplaceError::from)?;
        let together = Together { events: vec![event], requires: vec![before], ..Together::default() };
        let staged = self.staged(server);
        let again = staged.clone();
        let replaced = match (Replace { actor, staged }).run(server, together).await {
            Err(ReplaceError::Overtaken) => return Err(StateError::Overtaken.into()),
            other => other?,
        };
        // Nothing ever takes this wrap's place, so what a restore of the credentials alone has lost can come back.
        if replaced.again && server.credentials.stage(&again).await.map_err(ReplaceError::from)? {
            server.credentials.carry_out(account, again.attempt).await.map_err(ReplaceError::from)?;
        }
        Ok(replaced.position())
    }

    /// One attempt for each key that is offered: of two that are staged at once, each has its own.
    fn staged(self, server: &Server) -> Staged {
        let parts = [&self.statement.hash().as_bytes()[..], &sha256(&self.wrap.bytes)].concat();
        let attempt: Uuid = derived("lockstep/v1/vault-key", &[&parts]).0;
        let replacement = Replacement { wraps: vec![self.wrap], ..Replacement::default() };
        Staged { account: self.actor.account, attempt, replacement, staged_at: server.clock.now() }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::roster::RosterError;

    use super::*;
    use crate::commands::roster_testing::{next, with_devices};

    fn vault(n: u128) -> VaultId {
        VaultId(Uuid::from_u128(n))
    }

    /// An account with a vault of one generation.
    fn with_vault() -> (Roster, Vec<Statement>) {
        let (mut roster, mut stated) = with_devices(1);
        let first = generation(&roster, 7, 1);
        roster.apply(&first).unwrap();
        stated.push(first);
        (roster, stated)
    }

    fn generation(roster: &Roster, of: u128, generation: u32) -> Statement {
        next(roster, Claim::VaultKeyGen { vault: vault(of), generation })
    }

    #[test]
    fn the_next_generation_is_taken_and_recognised_in_a_retry() {
        let (mut roster, mut stated) = with_vault();
        let second = generation(&roster, 7, 2);
        assert_eq!(decide(roster.clone(), &stated, vault(7), &second).unwrap(), 2);
        roster.apply(&second).unwrap();
        stated.push(second.clone());
        assert_eq!(decide(roster, &stated, vault(7), &second).unwrap(), 2);
    }

    #[test]
    fn a_generation_that_is_not_the_next_or_follows_another_roster_is_refused() {
        let (roster, stated) = with_vault();
        for wrong in [3, u32::MAX] {
            let decided = decide(roster.clone(), &stated, vault(7), &generation(&roster, 7, wrong));
            assert!(matches!(decided, Err(VaultError::State(StateError::Roster(RosterError::Claim)))));
        }
        let (mut later, mut longer) = (roster.clone(), stated.clone());
        let (late, first) = (generation(&roster, 7, 2), generation(&roster, 8, 1));
        later.apply(&first).unwrap();
        longer.push(first);
        let decided = decide(later, &longer, vault(7), &late);
        assert!(matches!(decided, Err(VaultError::State(StateError::Roster(RosterError::Order)))));
    }

    #[test]
    fn what_is_said_of_another_vault_or_begins_one_or_is_no_generation_is_invalid() {
        let (roster, stated) = with_vault();
        let device = next(&roster, Claim::SuiteRaised { suite: 2 });
        for wrong in [generation(&roster, 8, 2), generation(&roster, 7, 1), generation(&roster, 7, 0), device]
        {
            let decided = decide(roster.clone(), &stated, vault(7), &wrong);
            assert!(matches!(decided, Err(VaultError::State(StateError::Invalid(_)))));
        }
    }

    #[test]
    fn after_the_last_generation_there_is_no_other() {
        let (mut roster, stated) = with_vault();
        roster.vault_generations.insert(vault(7), MAX_GENERATIONS);
        let full = Exceeded { what: "key_generations", limit: 1024, used: 1024 };
        let decided = decide(roster.clone(), &stated, vault(7), &generation(&roster, 7, MAX_GENERATIONS + 1));
        assert!(matches!(decided, Err(VaultError::TooMany(exceeded)) if exceeded == full));
    }

    #[test]
    fn a_wrap_lies_in_the_place_of_its_generation_and_has_a_length() {
        let wrap = |name: &str, generation, len| {
            let name = name.replace("VAULT", &vault(7).to_string());
            Wrapped { name, generation, bytes: vec![1; len] }
        };
        assert!(check_wrap(&wrap("vault/VAULT/2", 2, 104), vault(7), 2).is_ok());
        assert!(check_wrap(&wrap("vault/VAULT", 1, 104), vault(7), 1).is_ok());
        for (name, generation, len) in [
            ("vault/VAULT", 2, 104),
            ("vault/VAULT/2", 1, 104),
            ("vault/VAULT/3", 3, 104),
            ("vault/VAULT/2", 2, 0),
            ("vault/VAULT/2", 2, 1025),
            ("ask", 2, 104),
        ] {
            assert!(
                check_wrap(&wrap(name, generation, len), vault(7), 2).is_err(),
                "{name} {generation} {len}"
            );
        }
    }
}
