//! The recovery code.

use lockstep_events::{Hash32, roster::Statement};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Bytes64,
    account::{Account, Wrap},
};

/// `PUT /v1/account/recovery`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverySet {
    /// `recovery_slot_set` of slot 0, the next of the roster; its commitment is SHA-256 of `verifier`.
    pub statement: Statement,
    /// SHA-256 of the secret that the code gives.
    pub verifier: Hash32,
    /// `ark/recovery` of the next generation.
    pub wrap: Wrap,
}

/// `POST /v1/recovery/start`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryStart {
    /// E-mail address or user name.
    #[schema(min_length = 1, max_length = 254)]
    pub name: String,
    /// The secret that the code gives; not the code.
    pub secret: Bytes64,
    /// OPAQUE `RegistrationRequest` of the new password.
    pub request: Bytes64,
}

/// Answer to [`RecoveryStart`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryStarted {
    /// Names this attempt; valid for 60 s.
    pub attempt: Uuid,
    /// The keys and the roster; among the wraps is `ark/recovery`.
    pub account: Account,
    /// OPAQUE `RegistrationResponse`.
    pub response: Bytes64,
}

/// `POST /v1/recovery/finish`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoveryFinish {
    /// From [`RecoveryStarted`].
    pub attempt: Uuid,
    /// OPAQUE `RegistrationUpload` of the new password.
    pub upload: Bytes64,
    /// The password suite used.
    pub suite: u16,
    /// `ark/password` of the next generation.
    pub wrap: Wrap,
    /// `device_added` for the device that recovers, the next of the roster.
    pub statement: Statement,
}
