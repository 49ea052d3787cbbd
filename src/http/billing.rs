//! `POST /v1/billing/events`: what the biller says, signed.

use axum::{body::Body, extract::State, http::HeaderMap, http::StatusCode};
use lockstep_api::{Code, MAX_JSON_BYTES, admin::BillingEvent};

use super::{
    Answer, Failure, Routes,
    extract::{check_content_type, parse, read_body},
    openapi::problems,
    routes::routes,
};
use crate::{
    billing::{Billed, Biller, BillingError, HmacBiller},
    commands::bill::{BillError, bill},
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(event))
}

problems! {
    /// What a biller's event meets.
    BillingProblems: Unauthenticated, NotFound, PreconditionFailed, InvalidField, InvalidHeader;
}

/// Takes what the biller says about a plan. The signature is over the bytes as they came; the same event again
/// changes nothing, and neither does one that is older than the last.
#[utoipa::path(post, path = "/v1/billing/events", operation_id = "take_billing_event", tag = "billing", request_body = BillingEvent,
    params(("lockstep-signature" = String, Header, description = "`t=<seconds>,v1=<HMAC-SHA-256, hex>`")),
    responses((status = 204, description = "Applied, or known already"), BillingProblems))]
async fn event(State(server): State<Shared>, headers: HeaderMap, body: Body) -> Answer<StatusCode> {
    let biller = HmacBiller::new(server.config.billing_secret.expose());
    check_content_type(&headers, "application/json")?;
    let bytes = read_body(&headers, body, MAX_JSON_BYTES).await?;
    let signature = headers.get(biller.header()).and_then(|value| value.to_str().ok());
    let missing =
        || Failure::from(Code::InvalidHeader).detail("lockstep-signature: the biller's, over the body");
    let signature = signature.ok_or_else(missing)?;
    biller.verify(signature, &bytes, server.clock.now())?;
    let BillingEvent { id, account, plan, until, at } = parse(&bytes)?;
    if !(1..=128).contains(&id.len()) {
        return Err(Failure::from(Code::InvalidField).detail("id: 1 to 128 bytes"));
    }
    bill(&server, &Billed { id, account, plan, until, at }).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<BillingError> for Failure {
    fn from(error: BillingError) -> Self {
        match error {
            BillingError::None => Code::NotFound.into(),
            // Which it is, the operator's log says alone.
            BillingError::Form | BillingError::Mac | BillingError::Time(_) => {
                Self::caused(Code::Unauthenticated, error)
            }
        }
    }
}

impl From<BillError> for Failure {
    fn from(error: BillError) -> Self {
        match error {
            BillError::NoAccount => Code::NotFound.into(),
            BillError::NoPlan => Self::from(Code::InvalidField).detail("plan: the server has no such plan"),
            BillError::Early => Self::from(Code::InvalidField).detail(error.to_string()),
            BillError::Differs => Self::from(Code::PreconditionFailed).detail(error.to_string()),
            BillError::Contended => Self::caused(Code::LogUnavailable, error),
            BillError::Log(error) => error.into(),
        }
    }
}
