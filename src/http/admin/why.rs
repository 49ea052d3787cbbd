//! The reason of a look: in a header, because a reason may name somebody, and addresses are kept by many.

use axum::{extract::FromRequestParts, http::request::Parts};
use lockstep_api::Code;
use utoipa::IntoParams;

use crate::http::Failure;

const HEADER: &str = "lockstep-reason";

/// Why somebody looks; what it has to be like, the command says.
pub struct Why(pub String);

/// The header, as the `OpenAPI` document shows it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the document reads its fields")]
pub struct WhyHeader {
    /// Why, in UTF-8: 1 to 500 bytes. It is kept sealed, and shown to the account's owner.
    #[param(rename = "lockstep-reason", min_length = 1, max_length = 500)]
    reason: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Why {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let missing = || Failure::from(Code::InvalidHeader).detail("lockstep-reason: why, in UTF-8");
        let value = parts.headers.get(HEADER).ok_or_else(missing)?;
        String::from_utf8(value.as_bytes().to_vec()).map(Self).map_err(|_| missing())
    }
}
