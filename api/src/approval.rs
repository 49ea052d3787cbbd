//! Approval of a new device by an enrolled one.

use lockstep_events::{
    DeviceId, Micros,
    ids::{PublicKey, Signature},
    roster::Statement,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Bytes64,
    account::{Account, Tokens, proof_message},
};

/// `POST /v1/approvals`: a new device asks to be approved.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskApproval {
    /// E-mail address or user name of the account.
    #[schema(min_length = 1, max_length = 254)]
    pub name: String,
    /// The new device.
    pub device: DeviceId,
    /// Its public key (Ed25519).
    pub public_key: PublicKey,
    /// Its public key for HPKE (X25519), 32 bytes, used once.
    pub kem_key: Bytes64,
}

/// Answer to [`AskApproval`]; the same for names that do not exist.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAsked {
    /// Names the request; valid for 10 min.
    pub approval: Uuid,
}

/// A request as the account's devices see it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Names it.
    pub approval: Uuid,
    /// The new device.
    pub device: DeviceId,
    /// Its public key.
    pub public_key: PublicKey,
    /// Its public key for HPKE.
    pub kem_key: Bytes64,
    /// Microseconds since 1970.
    pub asked_at: Micros,
}

/// `GET /v1/approvals`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// Oldest first.
    pub approvals: Vec<Approval>,
}

/// `POST /v1/approvals/{approval}/approve`, after the words on both screens were compared.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// `device_added` for exactly the keys that were asked for, the next of the roster.
    pub statement: Statement,
    /// What only the new device opens (HPKE): at most 1024 bytes, opaque to the server.
    pub sealed: Bytes64,
}

/// `POST /v1/approvals/{approval}/collect`, by the new device.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectApproval {
    /// By the new device's key over [`crate::account::proof_message`] of the approval's id.
    pub signature: Signature,
}

/// `POST /v1/approvals/{approval}/withdraw`, by the new device, as long as nobody has approved it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawApproval {
    /// By the new device's key over [`withdrawal_message`].
    pub signature: Signature,
}

/// What a device signs to withdraw its request: nothing that collects it.
pub fn withdrawal_message(approval: Uuid) -> Vec<u8> {
    proof_message(&[approval.as_bytes(), b"withdraw".as_slice()].concat())
}

/// Answer to [`CollectApproval`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Collected {
    /// Once it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
}

/// What an approved device gets.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// What the approving device sealed.
    pub sealed: Bytes64,
    /// The keys and the roster.
    pub account: Account,
    /// Its session.
    pub tokens: Tokens,
}
