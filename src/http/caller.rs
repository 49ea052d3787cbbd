//! Who asks: the verified access token of a request.

use axum::{extract::FromRequestParts, http::request::Parts};
use lockstep_api::Code;
use lockstep_events::{AccountId, DeviceId, SessionId};

use super::problem::Failure;
use crate::state::Shared;

/// What an access token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Reads and writes of ciphertexts, wraps and the feed: an enrolled device that proved a key.
    Vault,
    /// Only the enrolment of a new device.
    Enrol,
}

/// A verified caller, extracted from the `Authorization` header: revocation is checked already.
///
/// As an extractor it demands scope [`Scope::Vault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// The session.
    pub session: SessionId,
    /// What the token allows.
    pub scope: Scope,
    /// When the token expires, seconds since 1970.
    pub expires_at: i64,
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(_parts: &mut Parts, _server: &Shared) -> Result<Self, Failure> {
        Err(Code::Unauthenticated.into())
    }
}
