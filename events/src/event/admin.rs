//! Who looks after the server: what concerns no single account, or must be decided in one place.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Role;
use crate::{
    ids::{AccountId, Hash32, Position},
    public,
    time::Micros,
    word::Word,
};

public! {
    /// A one-time token was made with which the first administrator is named. Its subject is the roll.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct BootstrapOpened {
        /// SHA-256 of the token.
        pub token: Hash32,
        /// Not valid after.
        pub until: Micros,
    }

    /// The token was used: there is an administrator. Its subject is the roll.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct AdminBootstrapped {
        /// The first administrator.
        pub account: AccountId,
        /// SHA-256 of the token that was used.
        pub token: Hash32,
    }

    /// Somebody's role changed; it stands in the unit of the account's own event. Its subject is the roll, so that "is
    /// there another administrator" is decided in one place.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct RollChanged {
        /// Whose.
        pub account: AccountId,
        /// The new role.
        pub role: Role,
    }

    /// An invitation was made. Its subject is made of its token.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct InvitationMade {
        /// SHA-256 of the token.
        pub token: Hash32,
        /// The plan that the account gets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub plan: Option<Word>,
        /// When the plan ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub plan_until: Option<Micros>,
        /// Not valid after.
        pub until: Micros,
    }

    /// An invitation was used: it is worth nothing any more.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct InvitationUsed {
        /// The account that was registered with it.
        pub account: AccountId,
    }

    /// An invitation was withdrawn before it was used.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct InvitationWithdrawn {}

    /// What one administrator proposes and another one has to approve.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", tag = "act", deny_unknown_fields)]
    pub enum Proposal {
        /// Another role.
        Role {
            /// The role.
            role: Role,
        },
        /// The deletion of the account.
        Delete,
    }

    /// An administrator proposed something that takes two. Its subject is the proposal.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ActProposed {
        /// Names it.
        pub proposal: Uuid,
        /// The account that it is about.
        pub account: AccountId,
        /// What.
        pub what: Proposal,
        /// Not valid after.
        pub until: Micros,
    }

    /// A proposal was approved by another administrator, or withdrawn. Its subject is the proposal.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct ProposalSettled {
        /// Which.
        pub proposal: Uuid,
        /// Whether it was done.
        pub approved: bool,
    }

    /// An auditor read the log.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct LogRead {
        /// Events after this position.
        pub after: Position,
        /// At most so many.
        pub limit: u32,
    }

    /// Somebody who looks after the server looked at what is about no single account.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct OfficeListed {
        /// What.
        pub what: OfficeList,
    }

    /// What can be looked at.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum OfficeList {
        /// Invitations.
        Invitations,
        /// Proposals that wait for another administrator.
        Proposals,
        /// Nobody: a name was looked for that no account has.
        FoundNobody,
    }
}
