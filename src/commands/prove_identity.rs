//! Somebody proved who they are by a mailed link or an identity provider: a session of scope `identity`, which opens
//! nothing by itself.

use lockstep_events::{
    AccountId, DeviceId, LogError, Outcome, Position, SessionId, Unit,
    event::{AccountEvent, IdentityProven, Method},
};
use uuid::Uuid;

use super::{
    account::{self, LookError},
    facts::{Actor, derived, existing_account},
};
use crate::{auth::minting::Bearer, auth::token::Scope, state::Server};

/// A proof that was checked.
pub struct ProveIdentity {
    /// The account.
    pub account: AccountId,
    /// How.
    pub method: Method,
}

/// Why there is no session of it.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// There is no such account (any more).
    #[error("there is no such account")]
    NoAccount,
    /// Nobody may use the account.
    #[error("the account is disabled")]
    Disabled,
    /// The account cannot be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl ProveIdentity {
    /// Writes it down, and says whom a token is for.
    ///
    /// # Errors
    /// [`ProveError`]
    pub async fn run(self, server: &Server) -> Result<(Bearer, Option<Position>), ProveError> {
        let row = account::present(server, self.account).await?.ok_or(ProveError::NoAccount)?;
        if row.standing.disabled {
            return Err(ProveError::Disabled);
        }
        let session = SessionId(Uuid::new_v4());
        let actor = Actor { account: self.account, device: DeviceId::NIL };
        let id = derived("lockstep/v1/identity-proven", &[session.as_bytes()]);
        let body = AccountEvent::IdentityProven(IdentityProven { session, method: self.method });
        let unit = Unit {
            streams: vec![existing_account(self.account)],
            events: vec![actor.event(id, Some(session.into()), body)?],
            ..Unit::default()
        };
        let Outcome::Appended(placed) = server.batcher.append(unit).await? else {
            return Err(ProveError::NoAccount);
        };
        let bearer = Bearer {
            account: self.account,
            device: DeviceId::NIL,
            session,
            scope: Scope::Identity,
            method: self.method,
            proven_at: lockstep_events::Micros(0),
            auth_epoch: row.auth_epoch,
        };
        Ok((bearer, placed.last().map(|placed| placed.position)))
    }
}
