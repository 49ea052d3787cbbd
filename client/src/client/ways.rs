//! What a client does about its account's address and identities elsewhere.

use lockstep_api::ways::{Email, Identified, Identities};

use super::Client;
use crate::{
    account::password::ShowingFactor,
    error::Error,
    server::Server,
    ways::{self, OidcSignIn},
};

impl Client {
    /// Opens a new session for this device, by a proof of who one is, the device's key, and a second factor if one is
    /// demanded. The profile's server is from now on the one that the proof is from, also where another address or trust
    /// was given for it. *Online.*
    ///
    /// # Errors
    /// [`Error::NotProven`] if the proof is another account's, [`Error::LoginFailed`] if the device was revoked.
    pub async fn enter(
        self,
        server: &Server,
        proof: &Identified,
        factor: ShowingFactor<'_>,
    ) -> Result<Self, Error> {
        ways::enter(self.engine, server, proof, factor).await.map(|engine| Self { engine })
    }

    /// The addresses of the account. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn email(&self) -> Result<Email, Error> {
        self.engine.email().await
    }

    /// Names an address, which counts once it is confirmed; the two words that the letter to it shows. Needs a fresh
    /// proof: see [`Client::step_up`]. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn name_email(&self, email: &str) -> Result<String, Error> {
        self.engine.name_email(email).await
    }

    /// The identities elsewhere that are linked, and the providers that there are. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn identities(&self) -> Result<Identities, Error> {
        self.engine.identities().await
    }

    /// Begins to link an identity elsewhere. Needs a fresh proof: see [`Client::step_up`]. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn link_identity(&self, provider: &str) -> Result<OidcSignIn, Error> {
        self.engine.link_identity(provider).await
    }

    /// Unlinks an identity elsewhere. Needs a fresh proof: see [`Client::step_up`]. *Online.*
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn unlink_identity(&self, identity: uuid::Uuid) -> Result<(), Error> {
        self.engine.unlink_identity(identity).await
    }
}
