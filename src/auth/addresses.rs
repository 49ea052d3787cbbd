//! The port for addresses of accounts and for links that were mailed. Addresses are sealed, links are hashes.

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros};

use super::credentials::{CredentialError, NameIndex};
use crate::mail::outbox::Confirmed;

/// At most so many links of one purpose are outstanding for an account.
pub const OUTSTANDING: usize = 3;
/// Whoever confirms an address has so long, in seconds, to finish what follows from it; then a worker does.
pub const FINISH_S: i64 = 120;

/// What an address is to its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Named, and not confirmed yet.
    Pending,
    /// Confirmed.
    Confirmed,
    /// It was confirmed before another one was. For [`lockstep_api::FORMER_ADDRESS_S`] nobody else gets it, and its owner logs in with it: also
    /// whoever had it changed by somebody else.
    Former,
}

impl Standing {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Former => "former",
        }
    }

    /// The standing behind a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Confirmed, Self::Former].into_iter().find(|standing| standing.name() == name)
    }
}

/// An address of an account.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The account.
    pub account: AccountId,
    /// What it is to the account.
    pub standing: Standing,
    /// Its keyed hash.
    pub index: NameIndex,
    /// The address itself, sealed under the account's own key.
    pub sealed: Vec<u8>,
    /// Since when.
    pub since: Micros,
}

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Signing in.
    SignIn,
    /// Confirming an address.
    Confirm,
}

impl Purpose {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Confirm => "confirm",
        }
    }

    /// The purpose behind a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::SignIn, Self::Confirm].into_iter().find(|purpose| purpose.name() == name)
    }
}

/// A link that was mailed.
#[derive(Clone, PartialEq, Eq)]
pub struct MailedLink {
    /// SHA-256 of its secret.
    pub token_hash: [u8; 32],
    /// What it is for.
    pub purpose: Purpose,
    /// The account.
    pub account: AccountId,
    /// The address that it was sent to.
    pub index: NameIndex,
    /// SHA-256 of the secret that only the client that asked holds.
    pub initiator: [u8; 32],
    /// When it runs out.
    pub expires_at: Micros,
}

/// Who has what to do with an address that an account wants to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The account still claims it, or has confirmed it a moment ago.
    pub pending: bool,
    /// Another account has confirmed it, or had it a short while ago.
    pub taken: bool,
    /// The account has another confirmed address.
    pub replaces: bool,
    /// Others who have it for their login name and never confirmed it.
    pub rivals: Vec<AccountId>,
}

/// Keeps addresses and links. Every call is one transaction.
#[async_trait]
pub trait Addresses: Send + Sync {
    /// An address of an account.
    async fn address(
        &self,
        account: AccountId,
        standing: Standing,
    ) -> Result<Option<Address>, CredentialError>;

    /// Sets the pending address of an account, in place of the one before.
    async fn claim_address(&self, pending: &Address) -> Result<(), CredentialError>;

    /// The account that has confirmed an address, or else the one that has it for its name.
    async fn account_of(&self, index: NameIndex) -> Result<Option<AccountId>, CredentialError>;

    /// Who has what to do with an address.
    async fn claims(&self, account: AccountId, index: NameIndex) -> Result<Claims, CredentialError>;

    /// Makes the pending address, to which this link was sent, the confirmed one, unless it is another one or taken:
    /// what follows from it, left as a task too, until that is finished. The same link again gives the same. A login
    /// name that was the address before follows it, and that address is held for the account, unless one from before it
    /// is held already. Accounts that had the address for their name and never confirmed it can no longer be entered;
    /// one that has confirmed another address has that for its name.
    async fn confirm_address(
        &self,
        link: &MailedLink,
        now: Micros,
    ) -> Result<Option<Confirmed>, CredentialError>;

    /// Forgets an address.
    async fn forget_address(&self, account: AccountId, standing: Standing) -> Result<(), CredentialError>;

    /// Frees the former addresses that are held since before a time; how many.
    async fn free_addresses(&self, before: Micros) -> Result<u64, CredentialError>;

    /// Keeps a link, unless [`OUTSTANDING`] of its purpose are outstanding for the account; whether it is kept. Links
    /// that ask an address for its confirmation are counted for that address: one that was mistyped takes nothing from
    /// the right one. Keeping the same again changes nothing.
    async fn put_link(&self, link: &MailedLink, now: Micros) -> Result<bool, CredentialError>;

    /// A link that can still be pressed. Looking changes nothing.
    async fn link(&self, token_hash: [u8; 32], now: Micros) -> Result<Option<MailedLink>, CredentialError>;

    /// Presses a link: of all who press it, one gets it.
    async fn press_link(
        &self,
        token_hash: [u8; 32],
        now: Micros,
    ) -> Result<Option<MailedLink>, CredentialError>;

    /// The account whose sign-in link, asked for by this initiator, was pressed: once.
    async fn take_pressed(
        &self,
        initiator: [u8; 32],
        now: Micros,
    ) -> Result<Option<AccountId>, CredentialError>;

    /// Deletes links that ran out; how many.
    async fn sweep_links(&self, now: Micros) -> Result<u64, CredentialError>;
}
