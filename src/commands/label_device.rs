//! Naming a device. The name is encrypted by the client; the server keeps it beside the wrapped keys.

use lockstep_events::{DeviceId, Position};
use uuid::Uuid;

use super::{
    account,
    facts::Actor,
    recovery::RecoveryError,
    replace::{Replace, Together},
};
use crate::{
    auth::{
        credentials::Wrapped,
        factors::{Replacement, Staged},
    },
    state::Server,
};

/// An encrypted name is at most so long, in bytes.
pub const MAX_LABEL: usize = 512;

/// Under which name a device's label stands among the wrapped keys.
pub fn label_name(device: DeviceId) -> String {
    format!("label/{device}")
}

/// A new name of a device.
pub struct LabelDevice {
    /// Who.
    pub actor: Actor,
    /// The device.
    pub device: DeviceId,
    /// The encrypted name.
    pub label: Vec<u8>,
}

impl LabelDevice {
    /// Names it; where that is written.
    ///
    /// # Errors
    /// [`RecoveryError::Wrong`] if there is no such device.
    pub async fn run(self, server: &Server) -> Result<Position, RecoveryError> {
        let account = self.actor.account;
        let row = account::present(server, account).await?.ok_or(RecoveryError::Wrong)?;
        if !account::roster(&row)?.devices.contains_key(&self.device) {
            return Err(RecoveryError::Wrong);
        }
        let name = label_name(self.device);
        let generation = row.credentials.get(&name).copied().unwrap_or_default() + 1;
        let wraps = vec![Wrapped { name, generation, bytes: self.label }];
        let replacement = Replacement { wraps, ..Replacement::default() };
        let staged = Staged { account, attempt: Uuid::new_v4(), replacement, staged_at: server.clock.now() };
        Ok(Replace { actor: self.actor, staged }.run(server, Together::default()).await?.position())
    }
}
