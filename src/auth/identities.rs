//! The port for identities elsewhere and for flows under way. An identity is a keyed hash of issuer and subject: it is
//! never found by an e-mail address, verified or not.

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros, SessionId};
use uuid::Uuid;

use super::credentials::CredentialError;

/// A keyed hash of issuer and subject.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentityKey(pub [u8; 32]);

/// An identity that is linked to an account.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its keyed hash.
    pub key: IdentityKey,
    /// Names the link.
    pub id: Uuid,
    /// The account.
    pub account: AccountId,
    /// The provider's name in the options.
    pub provider: String,
    /// When.
    pub linked_at: Micros,
}

/// A flow: from the moment that a client asks to the moment that it brings the provider's answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Flow {
    /// SHA-256 of the secret that only the asking client holds. State, nonce and verifier are made from it and a key
    /// of the server, and stand nowhere.
    pub owner: [u8; 32],
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// The provider's name in the options.
    pub provider: String,
    /// Where the asking client listens on its own machine.
    pub port: u16,
    /// To link the identity: the account and session that ask.
    pub link: Option<(AccountId, SessionId)>,
    /// When it runs out.
    pub expires_at: Micros,
}

/// Keeps identities and flows. Every call is one transaction.
#[async_trait]
pub trait Identities: Send + Sync {
    /// Keeps a flow. Another one of the same owner is not replaced: whether it was kept.
    async fn put_flow(&self, flow: &Flow) -> Result<bool, CredentialError>;

    /// The port of a flow, by its state; the flow stays.
    async fn flow_port(&self, state_hash: [u8; 32], now: Micros) -> Result<Option<u16>, CredentialError>;

    /// A flow, once: it is gone afterwards.
    async fn take_flow(&self, owner: [u8; 32], now: Micros) -> Result<Option<Flow>, CredentialError>;

    /// Links an identity; the identity as it stands then, which may be another account's.
    async fn link_identity(&self, identity: &Identity) -> Result<Identity, CredentialError>;

    /// The identity with a key.
    async fn identity(&self, key: IdentityKey) -> Result<Option<Identity>, CredentialError>;

    /// The identities of an account, oldest first.
    async fn identities(&self, account: AccountId) -> Result<Vec<Identity>, CredentialError>;

    /// Unlinks an identity of an account; whether there was one.
    async fn unlink_identity(&self, account: AccountId, id: Uuid) -> Result<bool, CredentialError>;

    /// Deletes flows that ran out; how many.
    async fn sweep_flows(&self, now: Micros) -> Result<u64, CredentialError>;
}
