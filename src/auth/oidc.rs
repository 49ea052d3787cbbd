//! Identity providers: who somebody is elsewhere, and what a flow between a client, this server and a provider needs.
//!
//! State, nonce and verifier of a flow are made from the hash of its owner's secret and a key of the server. So a flow
//! is bound to the client that began it, and a copied database does not help anybody to end it.
//!
//! What speaks to a provider is built with the feature `oidc` alone.

#[cfg(not(feature = "oidc"))]
mod absent;
#[cfg(feature = "oidc")]
mod apple;
#[cfg(feature = "oidc")]
mod guard;
#[cfg(feature = "oidc")]
mod idp;
#[cfg(feature = "oidc")]
mod kept;

use std::{collections::BTreeMap, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_events::canonical::sha256;

#[cfg(not(feature = "oidc"))]
pub use absent::Idp;
#[cfg(feature = "oidc")]
pub use idp::Idp;

use super::server_keys::ServerKeys;
use crate::config::Providers;

/// Why the providers of the options cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdpsError {
    /// An issuer is not an address that is asked.
    #[error("oidc: an issuer has to be an https:// address")]
    Address,
    /// The options for TLS cannot be used.
    #[error("oidc_ca: not a readable PEM file with authorities")]
    Tls,
    /// The key for Apple cannot be used.
    #[error("oidc: apple.key_file cannot be read or is not a P-256 key in PKCS#8")]
    AppleKey,
    /// This build speaks to no provider.
    #[error(
        "oidc: this build has no identity providers; build it with --features oidc, or remove the providers"
    )]
    NotBuilt,
}

/// Why a provider's answer proves nothing. Never holds a code or a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// The provider cannot be found, or describes itself wrongly.
    #[error("the provider cannot be found, or describes itself wrongly")]
    Discovery,
    /// The answer names another issuer, or none where it has to.
    #[error("the answer names another issuer")]
    Issuer,
    /// The provider gave no token for the code.
    #[error("the provider gave no token for the code")]
    Exchange,
    /// The identity token does not verify.
    #[error("the identity token does not verify")]
    Token,
    /// The key for Apple cannot be used.
    #[error("the key for Apple cannot be read or is not a P-256 key in PKCS#8")]
    AppleKey,
}

/// Somebody as a provider knows them: an issuer and its name for them, which never changes.
#[derive(Clone, PartialEq, Eq)]
pub struct Somebody {
    /// The issuer.
    pub issuer: String,
    /// The subject.
    pub subject: String,
}

/// What a flow needs that nobody but the server and the provider know.
pub struct FlowSecrets {
    /// Comes back with the answer.
    pub state: String,
    /// Comes back in the identity token.
    pub nonce: String,
    /// Shown with the code (PKCE).
    pub verifier: String,
}

impl FlowSecrets {
    /// Of the flow with this owner.
    pub fn of(keys: &ServerKeys, owner: &[u8; 32]) -> Self {
        let text = |purpose| URL_SAFE_NO_PAD.encode(keys.stable(purpose, owner));
        Self { state: text("oidc-state"), nonce: text("oidc-nonce"), verifier: text("oidc-verifier") }
    }

    /// Under which the state is found.
    pub fn state_hash(&self) -> [u8; 32] {
        sha256(self.state.as_bytes())
    }
}

/// A provider's answer, as the client brings it.
pub struct Answered<'a> {
    /// The code.
    pub code: &'a str,
    /// The state.
    pub state: &'a str,
    /// The issuer, where the provider names itself.
    pub iss: Option<&'a str>,
}

/// The providers of this server.
pub struct Idps {
    known: BTreeMap<String, Idp>,
}

impl Idps {
    /// The providers of the options.
    ///
    /// # Errors
    /// [`IdpsError`]
    pub fn new(providers: &Providers, authority: Option<&Path>) -> Result<Self, IdpsError> {
        let known = providers.0.iter();
        let known = known.map(|(name, provider)| Ok((name.clone(), Idp::new(provider, authority)?)));
        Ok(Self { known: known.collect::<Result<_, _>>()? })
    }

    /// The provider with a name.
    pub fn get(&self, name: &str) -> Option<&Idp> {
        self.known.get(name)
    }

    /// The names of all.
    pub fn names(&self) -> Vec<String> {
        self.known.keys().cloned().collect()
    }
}
