//! What happens to the log and the server as a whole.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ids::PublicKey, public, word::Word};

/// What happens to the log and the server as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemEvent {
    /// `system.signing_key_rotated`
    SigningKeyRotated(SigningKeyRotated),
    /// `system.operator_acted`: an operator's command that changes something.
    OperatorActed(OperatorActed),
    /// `admin.bootstrap_opened`
    BootstrapOpened(super::BootstrapOpened),
    /// `admin.bootstrapped`
    Bootstrapped(super::AdminBootstrapped),
    /// `admin.roll_changed`
    RollChanged(super::RollChanged),
    /// `admin.invitation_made`
    InvitationMade(super::InvitationMade),
    /// `admin.invitation_used`
    InvitationUsed(super::InvitationUsed),
    /// `admin.invitation_withdrawn`
    InvitationWithdrawn(super::InvitationWithdrawn),
    /// `admin.proposed`
    Proposed(super::ActProposed),
    /// `admin.proposal_settled`
    ProposalSettled(super::ProposalSettled),
    /// `audit.log_read`
    LogRead(super::LogRead),
    /// `admin.listed`
    Listed(super::OfficeListed),
    /// `system.oidc_rejected`: an identity provider's answer was refused.
    OidcRejected(super::OidcRejected),
}

public! {
    /// The key that signs access tokens changed.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SigningKeyRotated {
        /// The new key's id.
        pub kid: Word,
        /// Its public part (Ed25519).
        pub public_key: PublicKey,
    }

    /// An operator ran a command that changes something.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct OperatorActed {
        /// The command's words, for example `projections rebuild entries`.
        pub command: Word,
        /// One run of it.
        pub run: Uuid,
    }
}
