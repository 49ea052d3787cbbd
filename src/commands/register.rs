//! Registering an account: its name is reserved, then everything it begins with is one unit of the log.
//!
//! A retry of the same attempt makes the same events, the same session and the same tokens.

use lockstep_events::{
    AccountId, DeviceId, Epoch, Hash32, LogError, NewEvent, Outcome, StreamId, StreamKind, Unit, VaultId,
    canonical::sha256,
    event::{AccountCreated, AccountEvent, CredentialSet, RosterStated, VaultAttached},
    log::StreamExpect,
    roster::{Claim, Roster, RosterError, Statement},
};
use uuid::Uuid;

use super::{
    create_vault,
    facts::{Actor, claim, derived, statement_id, word},
    invited,
    roster::unusable,
    session::{self, Opened},
};
use crate::{
    auth::credentials::{CredentialError, NameIndex, PasswordRecord, Reservation, Reserved, Wrapped},
    state::Server,
};

/// A name whose registration never came to its event is free again after so long, in seconds: longer than an attempt
/// can still be finished.
const STALE_S: i64 = 180;

/// A registration.
pub struct Register {
    /// The attempt; everything random is derived from it, so that a retry is the same.
    pub attempt: Uuid,
    /// The name.
    pub name: NameIndex,
    /// The password record.
    pub password: PasswordRecord,
    /// The first statements of the roster.
    pub statements: Vec<Statement>,
    /// The first device.
    pub device: DeviceId,
    /// The default vault.
    pub vault: VaultId,
    /// The wrapped keys.
    pub wraps: Vec<Wrapped>,
    /// The token of an invitation.
    pub invitation: Option<String>,
}

/// Why an account was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The name belongs to another account.
    #[error("the name is taken")]
    NameTaken,
    /// An invitation is needed, and this is not a valid one.
    #[error("there is no valid invitation")]
    NoInvitation,
    /// Something in it is not as it must be.
    #[error("{0}")]
    Invalid(&'static str),
    /// The statements are not the beginning of a roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The attempt was finished before, with other contents.
    #[error("the attempt was finished with other contents")]
    Differs,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

impl Register {
    /// Registers.
    ///
    /// # Errors
    /// [`RegisterError`]
    pub async fn run(self, server: &Server) -> Result<Opened, RegisterError> {
        self.check()?;
        let account = self.password.account;
        let now = server.clock.now();
        let invited = invited::look(server, self.invitation.as_deref(), account, now).await?;
        let reservation = Reservation {
            name: self.name,
            attempt: self.attempt,
            at: now,
            password: self.password.clone(),
            wraps: self.wraps.clone(),
        };
        reserve(server, &reservation).await?;
        let actor = Actor { account, device: self.device };
        let cause = self.attempt.as_bytes();
        let stored = session::stable(server, actor, cause, now);
        let mut unit = self.unit(server, actor, &stored)?;
        if let Some(invited) = &invited {
            invited.join(server, actor, &mut unit)?;
        }
        let Outcome::Appended(placed) = server.batcher.append(unit).await? else {
            return Err(if invited.is_some() { RegisterError::NoInvitation } else { RegisterError::Differs });
        };
        server.credentials.confirm(account).await?;
        server.credentials.open_session(&stored).await?;
        let position = placed.iter().map(|p| p.position).max().unwrap_or_default();
        Ok(Opened { stored, position, auth_epoch: 0 })
    }

    /// Everything that needs no look at what stands.
    fn check(&self) -> Result<(), RegisterError> {
        let [first, device, key] = &self.statements[..] else {
            return Err(RegisterError::Invalid("statements: three are needed"));
        };
        let mut roster = Roster::start(first)?;
        roster.apply(device)?;
        roster.apply(key)?;
        if roster.account != self.password.account {
            return Err(RosterError::Account.into());
        }
        if !matches!(device.claim, Claim::DeviceAdded { device, .. } if device == self.device) {
            return Err(RegisterError::Invalid("statements: the second adds the first device"));
        }
        if key.claim != (Claim::VaultKeyGen { vault: self.vault, generation: 1 }) {
            return Err(RegisterError::Invalid("statements: the third is the vault's first key generation"));
        }
        if let Some(what) = unusable(&device.claim) {
            return Err(RegisterError::Invalid(what));
        }
        if self.password.suite != 1 {
            return Err(RegisterError::Invalid("suite: only 1 is known"));
        }
        self.check_ids()?;
        self.check_wraps()
    }

    fn check_ids(&self) -> Result<(), RegisterError> {
        let ids = [self.password.account.0, self.device.0, self.vault.0, Uuid::nil(), StreamId::SYSTEM.0];
        let fresh = |at: usize| !ids[..at].contains(&ids[at]) && !ids[3..].contains(&ids[at]);
        if fresh(1) && fresh(2) {
            return Ok(());
        }
        Err(RegisterError::Invalid("device and vault: different random UUIDs"))
    }

    fn check_wraps(&self) -> Result<(), RegisterError> {
        let mut names: Vec<&str> = self.wraps.iter().map(|wrap| wrap.name.as_str()).collect();
        names.sort_unstable();
        if names != ["ark/password", "ask", &format!("vault/{}", self.vault)] {
            return Err(RegisterError::Invalid("wraps: ark/password, ask and vault/<vault> are needed"));
        }
        let fits = |wrap: &Wrapped| wrap.generation == 1 && wrap.fits();
        if !self.wraps.iter().all(fits) {
            return Err(RegisterError::Invalid(
                "wraps: generation 1; ark/password of 108 bytes, the others of 104",
            ));
        }
        Ok(())
    }

    fn unit(
        &self,
        server: &Server,
        actor: Actor,
        stored: &crate::auth::credentials::StoredSession,
    ) -> Result<Unit, LogError> {
        let mut events = vec![self.stated(actor, 0)?];
        events.push(self.credential(server, actor, "opaque", &self.password.record)?);
        for wrap in &self.wraps {
            events.push(self.credential(server, actor, &wrap.name, &wrap.bytes)?);
        }
        events.push(self.stated(actor, 1)?);
        let attached = AccountEvent::VaultAttached(VaultAttached { vault: self.vault });
        let about = [&b"attached"[..], self.vault.as_bytes()];
        events.push(actor.event(derived("lockstep/v1/vault", &about), Some(self.vault.into()), attached)?);
        events.push(self.stated(actor, 2)?);
        events.push(actor.session_opened(stored.session, stored.method)?);
        events.push(create_vault::created(actor, self.vault)?);
        let epoch = |stream: &[u8]| {
            let bytes = server.keys.stable("epoch", &[self.attempt.as_bytes(), stream].concat());
            Epoch::from_slice(&bytes[..16]).unwrap_or(Epoch::ZERO)
        };
        let account = actor.account;
        Ok(Unit {
            streams: vec![
                claim(account.into(), StreamKind::Account, StreamExpect::None, epoch(account.as_bytes())),
                claim(self.vault.into(), StreamKind::Vault, StreamExpect::None, epoch(self.vault.as_bytes())),
            ],
            events,
            ..Unit::default()
        })
    }

    fn stated(&self, actor: Actor, epoch: usize) -> Result<NewEvent, LogError> {
        let statement = self.statements[epoch].clone();
        let id = statement_id(actor.account, statement.epoch);
        match epoch {
            0 => {
                let account = actor.account;
                actor.event(id, None, AccountEvent::Created(AccountCreated { account, statement }))
            }
            1 => {
                let body = AccountEvent::DeviceAdded(RosterStated { statement });
                actor.event(id, Some(actor.device.into()), body)
            }
            _ => actor.event(id, None, AccountEvent::RosterStated(RosterStated { statement })),
        }
    }

    /// The commitment is salted by what only the key file and the attempt give, and the attempt is forgotten with
    /// the account's name.
    fn credential(
        &self,
        server: &Server,
        actor: Actor,
        name: &str,
        bytes: &[u8],
    ) -> Result<NewEvent, LogError> {
        let salt = server.keys.stable("commitment", &[self.attempt.as_bytes(), name.as_bytes()].concat());
        let commitment = Hash32(sha256(&[&salt[..], bytes].concat()));
        let id = derived("lockstep/v1/credential", &[actor.account.as_bytes(), name.as_bytes(), &[1]]);
        let body = CredentialSet { credential: word(name.to_owned())?, generation: 1, commitment };
        actor.event(id, None, AccountEvent::CredentialSet(body))
    }
}

/// Takes the name, also from a registration that was given up.
async fn reserve(server: &Server, reservation: &Reservation) -> Result<(), RegisterError> {
    for _ in 0..2 {
        match server.credentials.reserve(reservation).await? {
            Reserved::Yes => return Ok(()),
            Reserved::Taken { by, since, confirmed: false }
                if since.plus_seconds(STALE_S) <= reservation.at && !exists(server, by).await? =>
            {
                server.credentials.release(reservation.name, by).await?;
            }
            Reserved::Taken { .. } => break,
        }
    }
    Err(RegisterError::NameTaken)
}

async fn exists(server: &Server, account: AccountId) -> Result<bool, LogError> {
    Ok(!server.log.stream_heads(&[account.into()]).await?.is_empty())
}
