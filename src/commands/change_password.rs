//! Changing the password: a new record and a new wrap of the root key take the place of the old ones, and every other
//! session ends.

use lockstep_events::{Position, SessionId, event::RevokeReason};
use lockstep_projections::rows::AccountRow;
use uuid::Uuid;

use super::{
    account::{self, LookError},
    end_access::EndAccess,
    facts::Actor,
    replace::{Replace, ReplaceError, Together},
};
use crate::{
    auth::{
        credentials::{CredentialError, PasswordRecord, Wrapped},
        factors::{Replacement, Staged},
    },
    state::Server,
};

/// The wrap of the root key under the password.
pub const ARK_BY_PASSWORD: &str = "ark/password";

/// A change of the password, by somebody who proved the old one.
pub struct ChangePassword {
    /// Who.
    pub actor: Actor,
    /// The session that goes on.
    pub session: SessionId,
    /// The attempt.
    pub attempt: Uuid,
    /// The new record.
    pub password: PasswordRecord,
    /// The root key under the new password.
    pub wrap: Wrapped,
}

/// Why the password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Something in it is not as it must be.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The account cannot be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// Another change was first, or a store did not answer.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

/// Whether the wrap is the next after what stands, or (in a retry) what stands.
///
/// # Errors
/// [`PasswordError::Invalid`]
pub fn check_next(row: &AccountRow, suite: u16, wrap: &Wrapped) -> Result<(), PasswordError> {
    let present = row.credentials.get(ARK_BY_PASSWORD).copied().unwrap_or_default();
    if suite != 1 {
        return Err(PasswordError::Invalid("suite: only 1 is known"));
    }
    if wrap.name != ARK_BY_PASSWORD || !wrap.fits() {
        return Err(PasswordError::Invalid("wrap: ark/password, 108 bytes"));
    }
    // The first generation was the registration's: it is never set again.
    let retry = wrap.generation == present && present > 1;
    if !retry && wrap.generation != present + 1 {
        return Err(PasswordError::Invalid("wrap: its generation is not the next"));
    }
    Ok(())
}

impl ChangePassword {
    /// Changes the password; where that is written.
    ///
    /// # Errors
    /// [`PasswordError`]
    pub async fn run(self, server: &Server) -> Result<Position, PasswordError> {
        let account = self.actor.account;
        let row = account::present(server, account).await?.ok_or(PasswordError::NoAccount)?;
        check_next(&row, self.password.suite, &self.wrap)?;
        let at = server.clock.now();
        let end = EndAccess {
            account,
            reason: RevokeReason::PasswordChanged,
            keep: Some(self.session),
            actor: Some(self.actor),
            cause: self.attempt.as_bytes().to_vec(),
            at,
        };
        let replacement = Replacement {
            password: Some((self.password, self.wrap.generation)),
            wraps: vec![self.wrap],
            ..Replacement::default()
        };
        let staged = Staged { account, attempt: self.attempt, replacement, staged_at: at };
        let event = end.event().map_err(ReplaceError::from)?;
        let together = Together { events: vec![event], ..Together::default() };
        let replaced = Replace { actor: self.actor, staged }.run(server, together).await?;
        if !replaced.again {
            end.settle(server).await?;
        }
        Ok(replaced.position())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_events::{AccountId, Micros};

    fn row(generation: u32) -> AccountRow {
        AccountRow {
            account: AccountId::NIL,
            roster: Vec::new(),
            vaults: Vec::new(),
            credentials: [(ARK_BY_PASSWORD.to_owned(), generation)].into(),
            auth_epoch: 0,
            created_at: Micros(0),
            standing: lockstep_events::standing::Standing::default(),
            erasure_due: None,
            erased_at: None,
        }
    }

    fn wrap(generation: u32) -> Wrapped {
        Wrapped { name: ARK_BY_PASSWORD.to_owned(), generation, bytes: vec![1; 108] }
    }

    #[test]
    fn the_next_generation_is_taken_and_the_present_one_as_a_retry() {
        assert!(check_next(&row(3), 1, &wrap(4)).is_ok());
        assert!(check_next(&row(3), 1, &wrap(3)).is_ok());
    }

    #[test]
    fn a_generation_that_jumps_or_goes_back_is_refused() {
        for generation in [0, 1, 2, 5, u32::MAX] {
            assert!(check_next(&row(3), 1, &wrap(generation)).is_err(), "{generation}");
        }
    }

    #[test]
    fn another_wrap_an_empty_one_a_long_one_and_another_suite_are_refused() {
        let named = Wrapped { name: "ask".to_owned(), ..wrap(4) };
        let (empty, long) =
            (Wrapped { bytes: vec![], ..wrap(4) }, Wrapped { bytes: vec![0; 109], ..wrap(4) });
        for wrong in [named, empty, long] {
            assert!(check_next(&row(3), 1, &wrong).is_err());
        }
        assert!(check_next(&row(3), 2, &wrap(4)).is_err());
    }
}
