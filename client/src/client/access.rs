//! Ways in and out: second factors, recovery, approval, another password.

use std::path::Path;

use lockstep_api::account::Device;
use lockstep_events::DeviceId;

use super::Client;
use crate::{
    account::{
        self,
        approval::{Asking, Waiting},
        password::ShowingFactor,
    },
    crypto::{password::Password, recovery::RecoveryCode},
    error::Error,
    server::Server,
};

/// For who does not expect to be asked: the demand is an error.
pub(super) fn no_factor(_: &lockstep_api::factor::Demanded) -> Result<lockstep_api::factor::Shown, Error> {
    let problem = lockstep_api::Problem::new(lockstep_api::Code::SecondFactorRequired);
    Err(Error::Refused { problem: Box::new(problem), retry_after: None })
}

impl Client {
    /// As [`Client::login`], for accounts with a second factor and devices that another password still opens: the
    /// second password opens the profile that is here, and the account's does from then on. *Online.*
    ///
    /// # Errors
    /// As [`Client::login`], and what `factor` gives.
    pub async fn login_with(
        home: &Path,
        server: &Server,
        name: &str,
        passwords: (&Password, Option<&Password>),
        factor: ShowingFactor<'_>,
    ) -> Result<Self, Error> {
        account::login(home, server, name, passwords, factor).await.map(|engine| Self { engine })
    }

    /// Proves the password again, and a second factor if one is demanded: for five minutes the session may do what needs
    /// a fresh proof. *Online.*
    ///
    /// # Errors
    /// [`Error::LoginFailed`] if it is not the password.
    pub async fn step_up(&self, password: &Password, factor: ShowingFactor<'_>) -> Result<(), Error> {
        self.engine.step_up(password, factor).await
    }

    /// A new password by the recovery code: the directory becomes a new device, every session ends, and the code is
    /// used up. *Online.*
    ///
    /// # Errors
    /// If the code is not right, or the password is weak.
    pub async fn recover(
        home: &Path,
        server: &Server,
        name: &str,
        code: &RecoveryCode,
        password: &Password,
    ) -> Result<Self, Error> {
        Self::recover_telling(home, server, name, code, password, || ()).await
    }

    /// The same; `sent` is called when it goes to the server. Whoever gives up after that does not know whether the new
    /// password counts: [`Client::login`] with it tells. *Online.*
    ///
    /// # Errors
    /// As [`Client::recover`].
    pub async fn recover_telling(
        home: &Path,
        server: &Server,
        name: &str,
        code: &RecoveryCode,
        password: &Password,
        sent: impl FnOnce() + Send,
    ) -> Result<Self, Error> {
        let recovered = account::password::recover(home, server, name, code, password, sent).await;
        recovered.map(|engine| Self { engine })
    }

    /// Asks to be approved by an enrolled device, in the place of a login by password. Its words must be compared.
    /// *Online.*
    ///
    /// # Errors
    /// [`Error::ProfileExists`], or what the server refuses.
    pub async fn ask_approval(home: &Path, server: &Server, name: &str) -> Result<Asking, Error> {
        Asking::start(home, server, name).await
    }

    /// Waits for the approval, and makes the profile; `password` opens it on this device. *Online.*
    ///
    /// # Errors
    /// [`Error::Alarm`] if what arrives is not what an enrolled device sealed for this one.
    pub async fn approved(home: &Path, asking: Asking, password: &Password) -> Result<Self, Error> {
        asking.finish(home, password).await.map(|engine| Self { engine })
    }

    /// The devices that ask to be approved, each with the words to compare. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn approvals(&self) -> Result<Vec<Waiting>, Error> {
        self.engine.approvals().await
    }

    /// Approves a device whose words a person has compared: it can open everything. *Online.*
    ///
    /// # Errors
    /// [`Error::LoginFailed`] if the password is not right.
    pub async fn approve(
        &self,
        waiting: &Waiting,
        password: &Password,
        factor: ShowingFactor<'_>,
    ) -> Result<(), Error> {
        self.engine.approve(waiting, password, factor).await
    }

    /// Changes the password, on the server and on this device. Every other session of the account ends. *Online.*
    ///
    /// # Errors
    /// [`Error::LoginFailed`] if `old` is not right, [`Error::Password`] if `new` is weak.
    pub async fn change_password(
        &self,
        old: &Password,
        new: &Password,
        factor: ShowingFactor<'_>,
    ) -> Result<(), Error> {
        self.engine.change_password(old, new, factor, || ()).await
    }

    /// The same; `sent` is called when it goes to the server. Whoever gives up after that does not know whether it was
    /// changed there; here it was not. *Online.*
    ///
    /// # Errors
    /// As [`Client::change_password`].
    pub async fn change_password_telling(
        &self,
        old: &Password,
        new: &Password,
        factor: ShowingFactor<'_>,
        sent: impl FnOnce() + Send,
    ) -> Result<(), Error> {
        self.engine.change_password(old, new, factor, sent).await
    }

    /// Makes a recovery code, in the place of the one before. It is shown this once. *Online.*
    ///
    /// # Errors
    /// [`Error::LoginFailed`] if the password is not right.
    pub async fn new_recovery_code(
        &self,
        password: &Password,
        factor: ShowingFactor<'_>,
    ) -> Result<RecoveryCode, Error> {
        self.engine.new_recovery_code(password, factor, || ()).await
    }

    /// The same; `sent` is called when it goes to the server. Whoever gives up after that does not know which code counts:
    /// another one has to be made. *Online.*
    ///
    /// # Errors
    /// As [`Client::new_recovery_code`].
    pub async fn new_recovery_code_telling(
        &self,
        password: &Password,
        factor: ShowingFactor<'_>,
        sent: impl FnOnce() + Send,
    ) -> Result<RecoveryCode, Error> {
        self.engine.new_recovery_code(password, factor, sent).await
    }

    /// Whether what a person asks for may go to the server now. Asked before something is changed here that would wait.
    ///
    /// # Errors
    /// [`Error::Held`] while an alarm waits to be seen that says that the server cheats.
    pub async fn may_ask(&self) -> Result<(), Error> {
        self.engine.may_ask().await
    }

    /// What a device in the list is called, if it has a name.
    pub fn device_name(&self, device: &Device) -> Option<String> {
        self.engine.device_name(device)
    }

    /// Gives a device of the account a name, which only its devices read. *Online.*
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is none.
    pub async fn name_device(&self, device: DeviceId, name: &str) -> Result<(), Error> {
        self.engine.name_device(device, name).await
    }

    /// Ends every session of the account but this device's. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn end_other_sessions(&self) -> Result<(), Error> {
        self.engine.end_other_sessions().await
    }
}
