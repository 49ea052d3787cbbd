//! The reason of a request without a body: in a header, because a reason may name somebody, and addresses are kept by many.

use axum::{extract::FromRequestParts, http::request::Parts};
use lockstep_api::Code;
use utoipa::IntoParams;

use crate::{commands::admin::is_reason, http::Failure};

const HEADER: &str = "lockstep-reason";

/// Why somebody asks.
pub struct Why(pub String);

/// The header, as the `OpenAPI` document shows it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the document reads its fields")]
pub struct WhyHeader {
    /// Why, in UTF-8: 1 to 500 bytes. It is kept sealed, and shown to the account's owner; where it is about no account, to
    /// whoever says it.
    #[param(rename = "lockstep-reason", min_length = 1, max_length = 500)]
    reason: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Why {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let value = parts.headers.get(HEADER).map(|value| value.as_bytes().to_vec());
        let reason = value.and_then(|value| String::from_utf8(value).ok()).filter(|text| is_reason(text));
        let missing =
            || Failure::from(Code::InvalidHeader).detail("lockstep-reason: why, 1 to 500 bytes of UTF-8");
        reason.map(Self).ok_or_else(missing)
    }
}
