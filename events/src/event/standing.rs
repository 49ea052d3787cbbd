//! What an account may do: its role, plan and flags, whether it is disabled, and who looked at it.
//!
//! The events that change it have the account itself as their subject: the whole standing is the fold of one subject,
//! and a decision claims it at exactly the seq that it looked at. The envelope's `actor` is who did it; an
//! administrator's reason is the sealed part.

use serde::{Deserialize, Serialize};

use crate::{ids::Hash32, public, time::Micros, word::Word};

public! {
    /// What a person is to the server.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum Role {
        /// Somebody with a vault.
        #[default]
        User,
        /// Reads what administrators read, and the log; changes nothing.
        Auditor,
        /// Looks after accounts; sees no ciphertext, no wrap, no name.
        Admin,
    }

    /// The account has another role.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RoleSet {
        /// The new role.
        pub role: Role,
    }

    /// Why a plan changed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum PlanSource {
        /// An administrator set it.
        Admin,
        /// The biller said so.
        Billing,
        /// It came with an invitation.
        Invitation,
    }

    /// The account has another plan.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct PlanSet {
        /// Name of a plan of the configuration. One that the configuration no longer has counts as the default.
        pub plan: Word,
        /// When the account falls back to the default plan.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub until: Option<Micros>,
        /// Where it came from.
        pub source: PlanSource,
        /// The biller's own time of what it said: something older is not applied after it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub as_of: Option<Micros>,
    }

    /// A feature was switched for this account alone, or follows its plan again.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct FlagSet {
        /// Name of the feature.
        pub flag: Word,
        /// On, off, or what the plan says.
        pub on: Option<bool>,
    }

    /// The account was disabled: nobody logs in to it, and nobody who was logged in goes on.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AccountDisabled {}

    /// The account can be used again.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AccountEnabled {}

    /// What an administrator or auditor looked at.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Viewed {
        /// It stood in a list of accounts.
        Listed,
        /// The account itself: role, plan, flags, sizes.
        Account,
        /// Its sessions.
        Sessions,
        /// It was looked for by its name.
        Found,
    }

    /// Somebody who is not the account's owner looked at it. Its subject is none: looking changes no standing.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AccountViewed {
        /// What was looked at.
        pub what: Viewed,
    }

    /// The account was registered with an invitation; the actor is who made that.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AccountInvited {
        /// SHA-256 of the invitation's token.
        pub invitation: Hash32,
    }
}
