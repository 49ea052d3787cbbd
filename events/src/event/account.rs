//! What happens to an account, its devices and its sessions.

use serde::{Deserialize, Serialize};

use super::{ErasureBegun, ErasureCancelled, ErasureRequested, SubjectErased};
use crate::{
    ids::{AccountId, DeviceId, Hash32, SessionId, VaultId},
    public,
    roster::Statement,
    word::Word,
};

/// What happens to an account, its devices and its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEvent {
    /// `account.created`
    Created(AccountCreated),
    /// `account.credential_set`
    CredentialSet(CredentialSet),
    /// `device.added`; its subject is the device.
    DeviceAdded(RosterStated),
    /// `device.revoked`; its subject is the device.
    DeviceRevoked(RosterStated),
    /// `account.roster_stated`: any other statement.
    RosterStated(RosterStated),
    /// `account.vault_attached`; its subject is the vault.
    VaultAttached(VaultAttached),
    /// `session.opened`; its subject is the session.
    SessionOpened(SessionOpened),
    /// `session.refreshed`; its subject is the session.
    SessionRefreshed(SessionRefreshed),
    /// `session.refresh_reused`; its subject is the session.
    RefreshReused(RefreshReused),
    /// `session.revoked`; its subject is the session.
    SessionRevoked(SessionRevoked),
    /// `account.sessions_ended`; its subject is the session that goes on, if one does.
    SessionsEnded(super::SessionsEnded),
    /// `account.role_set`; its subject is the account.
    RoleSet(super::RoleSet),
    /// `account.plan_set`; its subject is the account.
    PlanSet(super::PlanSet),
    /// `account.flag_set`; its subject is the account.
    FlagSet(super::FlagSet),
    /// `account.disabled`; its subject is the account.
    Disabled(super::AccountDisabled),
    /// `account.enabled`; its subject is the account.
    Enabled(super::AccountEnabled),
    /// `account.viewed`
    Viewed(super::AccountViewed),
    /// `account.invited`
    Invited(super::AccountInvited),
    /// `account.email_set`
    EmailSet(super::EmailSet),
    /// `account.email_confirmed`
    EmailConfirmed(super::EmailConfirmed),
    /// `account.name_lost`
    NameLost(super::NameLost),
    /// `account.identity_proven`; its subject is the session.
    IdentityProven(super::IdentityProven),
    /// `account.identity_linked`; its subject is the link.
    IdentityLinked(super::IdentityLinked),
    /// `account.identity_unlinked`; its subject is the link.
    IdentityUnlinked(super::IdentityUnlinked),
    /// `account.exported`
    Exported(super::AccountExported),
    /// `account.erasure_requested`; its subject is the account.
    ErasureRequested(ErasureRequested),
    /// `account.erasure_cancelled`; its subject is the account.
    ErasureCancelled(ErasureCancelled),
    /// `account.erasure_begun`; its subject is the account.
    ErasureBegun(ErasureBegun),
    /// `account.subject_erased`; its subject is the account.
    SubjectErased(SubjectErased),
    /// `factor.set`; its subject is the factor.
    FactorSet(super::FactorSet),
    /// `factor.removed`; its subject is the factor.
    FactorRemoved(super::FactorRemoved),
    /// `factor.refused`
    FactorRefused(super::FactorRefused),
}

public! {
    /// An account was registered.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AccountCreated {
        /// The account.
        pub account: AccountId,
        /// Statement 0 of its roster.
        pub statement: Statement,
    }

    /// A credential was set or replaced. The credential itself never enters the log.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct CredentialSet {
        /// Which one: `opaque`, `ark_wrap`, `ask_wrap`, `vault_key_wrap`, …
        pub credential: Word,
        /// Its generation, from 1.
        pub generation: u32,
        /// SHA-256 of a random salt and the record; the salt lives and dies with the record.
        pub commitment: Hash32,
    }

    /// A statement of the roster.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RosterStated {
        /// The signed statement.
        pub statement: Statement,
    }

    /// A vault belongs to the account.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct VaultAttached {
        /// The vault.
        pub vault: VaultId,
    }

    /// How a session proved who it is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Method {
        /// OPAQUE.
        Password,
        /// A link in an e-mail, and the key of an enrolled device.
        MagicLink,
        /// An identity provider, and the key of an enrolled device.
        Oidc,
        /// The approval by an enrolled device.
        Approval,
        /// The recovery code.
        Recovery,
    }

    /// A session began.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SessionOpened {
        /// The session: a family of refresh tokens.
        pub session: SessionId,
        /// Its device.
        pub device: DeviceId,
        /// How it proved itself.
        pub method: Method,
    }

    /// A refresh token was used and replaced.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SessionRefreshed {
        /// The session.
        pub session: SessionId,
        /// How often it was refreshed.
        pub generation: u32,
    }

    /// A refresh token was used again after its grace: the family is dead.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RefreshReused {
        /// The session.
        pub session: SessionId,
        /// The generation of the token that was used again.
        pub generation: u32,
    }

    /// Why a session ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum RevokeReason {
        /// Its own log-out.
        Logout,
        /// Ended from another session of the account.
        Remote,
        /// Its device was revoked.
        DeviceRevoked,
        /// A refresh token was used again.
        RefreshReuse,
        /// The device opened a new session in its place.
        Replaced,
        /// Too many devices: the oldest idle one ended.
        DeviceLimit,
        /// All others were ended from another session of the account.
        Others,
        /// The password was changed.
        PasswordChanged,
        /// The recovery code was used.
        Recovered,
        /// The e-mail address was changed.
        EmailChanged,
        /// The role was changed.
        RoleChanged,
        /// The plan forbids access.
        PlanBanned,
        /// An administrator ended it.
        Admin,
        /// An administrator disabled the account.
        Disabled,
        /// The account is being deleted.
        Deletion,
        /// A second factor was set or removed.
        FactorChanged,
    }

    /// A session ended.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SessionRevoked {
        /// The session.
        pub session: SessionId,
        /// Why.
        pub reason: RevokeReason,
    }
}
