//! Revoking a device: the account signing key says so, and its sessions end.

use lockstep_events::{
    DeviceId, Position, SessionId,
    event::RevokeReason,
    roster::{Claim, Roster, Statement},
};

use super::{
    account,
    facts::Actor,
    roster::{StateError, state},
    session,
};
use crate::state::Server;

/// A revocation.
pub struct RevokeDevice {
    /// Who asks.
    pub actor: Actor,
    /// The device that shall go.
    pub device: DeviceId,
    /// `device_revoked`.
    pub statement: Statement,
}

fn decide(
    mut roster: Roster,
    stated: &[Statement],
    device: DeviceId,
    next: &Statement,
) -> Result<(), StateError> {
    if next.claim != (Claim::DeviceRevoked { device }) {
        return Err(StateError::Invalid("statement: device_revoked of the device in the path is needed"));
    }
    if stated.contains(next) {
        return Ok(());
    }
    if !roster.devices.contains_key(&device) {
        return Err(StateError::NoDevice);
    }
    Ok(roster.apply(next)?)
}

impl RevokeDevice {
    /// Revokes.
    ///
    /// # Errors
    /// [`StateError`]
    pub async fn run(self, server: &Server) -> Result<Position, StateError> {
        let row = account::present(server, self.actor.account).await?.ok_or(StateError::NoDevice)?;
        decide(account::roster(&row)?, &row.roster, self.device, &self.statement)?;
        let sessions = server.reads.sessions(self.actor.account).await.map_err(account::LookError::from)?;
        let open = sessions.iter().filter(|s| s.device == self.device && s.revoked.is_none());
        let open: Vec<SessionId> = open.map(|session| session.session).collect();
        let reason = RevokeReason::DeviceRevoked;
        let ends =
            open.iter().map(|s| self.actor.session_revoked(*s, reason)).collect::<Result<Vec<_>, _>>()?;
        let position = match state(server, self.actor, &self.statement, ends).await {
            // A session ended by itself meanwhile. The device's own end is what counts: its sessions have none left.
            Err(StateError::Overtaken) => state(server, self.actor, &self.statement, Vec::new()).await?,
            other => other?,
        };
        session::end(server, &open, server.clock.now()).await?;
        Ok(position)
    }
}
