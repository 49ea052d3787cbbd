//! Offering statements of a roster back: after a restore to a time before them. They are signed by the account, so it
//! does not matter which of its devices brings them.
//!
//! What the plan says of devices and vaults is not asked here. What was once allowed must be able to come back, and whether
//! it ever was nobody knows any more: a statement is signed by the account's own key, bears no word of the server and no
//! time, and each one stands on the one before, so that none can be left out. That the stream began another life is no
//! proof either, as any device can bring that about. So an account that signs for itself gets more devices and vaults
//! this way than its plan has, and nothing else by it: entries and bytes are counted over all vaults and refused as
//! ever, no plan has more than the 256 vaults that every account may have, and the roster has an end.

use lockstep_events::{
    AccountId, DeviceId, Position, StreamId,
    roster::{Claim, Roster, Statement, vault_key_name},
};

use super::{
    account,
    create_vault::{CreateVault, VaultError},
    facts::Actor,
    revoke_device::RevokeDevice,
    roster::{StateError, follow, state, unusable},
    turn_vault_key::TurnVaultKey,
};
use crate::{auth::credentials::Wrapped, state::Server};

/// An offer.
pub struct OfferRoster {
    /// Whose roster.
    pub account: AccountId,
    /// Who brings it; none: a device that is not enrolled as far as this server knows.
    pub device: Option<DeviceId>,
    /// Consecutive statements; some of them may stand already.
    pub statements: Vec<Statement>,
    /// The wrapped keys of those that are `vault_key_gen`.
    pub wraps: Vec<Wrapped>,
}

/// Those that do not stand yet, if all together make one roster.
fn decide(
    mut roster: Roster,
    stated: &[Statement],
    offered: &[Statement],
) -> Result<Vec<Statement>, StateError> {
    let mut missing = Vec::new();
    for statement in offered {
        let known = usize::try_from(statement.epoch).ok().and_then(|at| stated.get(at));
        match known {
            Some(known) if known == statement => {}
            _ => {
                if let Some(what) = unusable(&statement.claim) {
                    return Err(StateError::Invalid(what));
                }
                follow(&mut roster, statement)?;
                missing.push(statement.clone());
            }
        }
    }
    Ok(missing)
}

/// The wrapped key without which a generation is not taken back: nobody could use it.
fn wrap_of(wraps: &[Wrapped], name: &str) -> Result<Wrapped, StateError> {
    let found = wraps.iter().find(|wrap| wrap.name == name).cloned();
    found.ok_or(StateError::Invalid("wraps: a vault_key_gen that is missing here needs its wrapped key"))
}

/// The number of the last statement that was offered.
fn last_epoch(offered: &[Statement]) -> u64 {
    offered.last().map_or(0, |statement| u64::from(statement.epoch))
}

/// Who an event names that no known device brought: the device that the statements are about.
fn bringer(offered: &[Statement]) -> DeviceId {
    let added = offered.iter().rev().find_map(|statement| match statement.claim {
        Claim::DeviceAdded { device, .. } => Some(device),
        _ => None,
    });
    added.unwrap_or(DeviceId::NIL)
}

impl OfferRoster {
    /// Appends what is missing; where the last of it stands.
    ///
    /// # Errors
    /// [`VaultError`]
    pub async fn run(self, server: &Server) -> Result<Option<Position>, VaultError> {
        let row = account::present(server, self.account).await.map_err(StateError::from)?;
        let row = row.ok_or(StateError::NoDevice)?;
        let roster = account::roster(&row).map_err(StateError::from)?;
        let known_epoch = roster.epoch;
        let missing = decide(roster, &row.roster, &self.statements)?;
        let device = self.device.unwrap_or_else(|| bringer(&self.statements));
        let actor = Actor { account: self.account, device };
        let mut last = None;
        for statement in missing {
            last = Some(match statement.claim {
                Claim::DeviceRevoked { device } => {
                    RevokeDevice { actor, device, statement }.run(server).await?
                }
                Claim::VaultKeyGen { vault, generation } => {
                    let wrap = wrap_of(&self.wraps, &vault_key_name(vault, generation))?;
                    if generation == 1 {
                        CreateVault { actor, statement, wrap, offered: true }.run(server).await?
                    } else {
                        TurnVaultKey { actor, vault, statement, wrap }.run(server).await?
                    }
                }
                _ => state(server, actor, &statement, Vec::new()).await?,
            });
        }
        if last.is_some() && self.device.is_none() {
            // A device that was enrolled, and that this server does not know: it lost what came since. Places that
            // were given out then may name something else by now, so all streams begin another life.
            let (known, offered) = (u64::from(known_epoch), last_epoch(&self.statements));
            let own = StreamId::from(self.account);
            server.feed.data_was_lost(own, offered, known).await.map_err(StateError::from)?;
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::roster_testing::{fold, stated};
    use ed25519_dalek::SigningKey;
    use lockstep_events::roster::RosterError;
    use uuid::Uuid;

    #[test]
    fn a_roster_that_was_cut_off_gets_the_rest_and_nothing_twice() {
        let all = stated(&SigningKey::from_bytes(&[1; 32]), 3);
        let missing = decide(fold(&all[..2]), &all[..2], &all).unwrap();
        assert_eq!(missing, all[2..]);
        assert_eq!(decide(fold(&all), &all, &all).unwrap(), []);
        assert_eq!(bringer(&missing), DeviceId(Uuid::from_u128(3)));
    }

    #[test]
    fn a_generation_comes_back_with_its_own_wrap_only() {
        let wrap = |name: &str| Wrapped { name: name.to_owned(), generation: 2, bytes: vec![1] };
        let wraps = [wrap("vault/a"), wrap("vault/a/2")];
        assert_eq!(wrap_of(&wraps, "vault/a/2").unwrap().name, "vault/a/2");
        assert!(matches!(wrap_of(&wraps, "vault/a/3"), Err(StateError::Invalid(_))));
        assert!(matches!(wrap_of(&[], "vault/a"), Err(StateError::Invalid(_))));
    }

    #[test]
    fn statements_of_another_key_or_after_a_gap_are_refused() {
        let all = stated(&SigningKey::from_bytes(&[1; 32]), 3);
        let other = stated(&SigningKey::from_bytes(&[2; 32]), 3);
        assert!(matches!(
            decide(fold(&all[..2]), &all[..2], &other),
            Err(StateError::Roster(RosterError::Order))
        ));
        assert!(matches!(
            decide(fold(&all[..2]), &all[..2], &all[3..]),
            Err(StateError::Roster(RosterError::Order))
        ));
    }
}
