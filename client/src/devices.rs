//! The devices, sessions and keys of the account, once this device is one of them.

use lockstep_api::account::{Device, Devices, LabelDevice, RevokeDevice, Session, Sessions};
use lockstep_events::{DeviceId, SessionId, roster::Claim};
use reqwest::Method;

use crate::{
    crypto::{label::MAX_NAME, os_random},
    engine::Engine,
    error::Error,
    store::keys,
    transport::Body,
};

impl Engine {
    /// The devices of the account. Which of them is this one, and which were revoked, the roster says that they signed,
    /// and not the server: nobody must believe a lost device out who is not.
    pub(crate) async fn devices(&self) -> Result<Vec<Device>, Error> {
        let mut devices = self.fetch::<Devices>("/v1/devices").await?.devices;
        self.pull_account().await?;
        let trusted = keys::trusted(&mut *self.store.pool().acquire().await?).await?;
        for known in &mut devices {
            known.current = known.device == self.device();
            known.revoked = trusted.roster.devices.get(&known.device).is_some_and(|signed| signed.revoked);
        }
        Ok(devices)
    }

    /// What a device is called, if it has a name that this account gave it.
    pub(crate) fn device_name(&self, device: &Device) -> Option<String> {
        let label = device.label.as_ref()?;
        self.keys.ark.open_label((self.account(), device.device), &label.0).ok()
    }

    /// Gives a device a name.
    pub(crate) async fn name_device(&self, device: DeviceId, name: &str) -> Result<(), Error> {
        let name = name.trim();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Error::Invalid("the name of a device: 1 to 64 bytes of text"));
        }
        self.may_ask().await?;
        let label = self.keys.ark.seal_label((self.account(), device), name, &mut os_random())?;
        let body = Body::json(&LabelDevice { label: label.into() })?;
        self.request(Method::PUT, &format!("/v1/devices/{device}/label"), body).await?.ok().map(drop)
    }

    /// Revokes a device, then turns every key that it knew. If that is cut off or refused, the next sync of any
    /// device does it: the roster says that it is due.
    pub(crate) async fn revoke_device(&self, device: DeviceId) -> Result<(), Error> {
        // The statement must follow the newest: read what others stated first.
        self.pull_account().await?;
        let trusted = keys::trusted(&mut *self.store.pool().acquire().await?).await?;
        let statement = self.keys.ask.state(&trusted.roster, Claim::DeviceRevoked { device })?;
        let body = Body::json(&RevokeDevice { statement })?;
        self.request(Method::POST, &format!("/v1/devices/{device}/revoke"), body).await?.ok()?;
        if device == self.device() {
            return self.device_is_revoked().await;
        }
        match self.turn_due_keys().await {
            Err(Error::Offline(_)) => Ok(()),
            other => other,
        }
    }

    /// The sessions of the account.
    pub(crate) async fn sessions(&self) -> Result<Vec<Session>, Error> {
        Ok(self.fetch::<Sessions>("/v1/sessions").await?.sessions)
    }

    /// Ends every session but this one.
    pub(crate) async fn end_other_sessions(&self) -> Result<(), Error> {
        self.request(Method::DELETE, "/v1/sessions", Body::None).await?.ok().map(drop)
    }

    /// Ends a session.
    pub(crate) async fn end_session(&self, session: SessionId) -> Result<(), Error> {
        let path = format!("/v1/sessions/{session}");
        self.request(Method::DELETE, &path, Body::None).await?.ok().map(drop)
    }
}
