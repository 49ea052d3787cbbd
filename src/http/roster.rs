//! `/v1/roster`: statements that a device holds, for a server that was restored to a time before them.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{Code, account::OfferRoster as Body};
use lockstep_events::DeviceId;

use super::{
    Answer, Failure, Routes, accounts::wrapped, caller::OwnOrEnrolling, extract::Json, limiting::Gate,
    openapi::problems, routes::routes,
};
use crate::{
    commands::{account::in_effect, offer_roster::OfferRoster},
    limits::{Action, Subject},
    state::Shared,
};

const MOST: usize = 64;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(offer))
}

problems! {
    /// What an offer meets.
    OfferProblems: Forbidden, QuotaExceeded, RosterConflict;
}

/// Offers statements of the account's own roster; those that stand already are skipped. The bearer may also be an
/// enrolment token: a device that was enrolled after the backup has no other.
#[utoipa::path(post, path = "/v1/roster", operation_id = "offer_roster", tag = "devices", request_body = Body, security(("token" = []), ("enrolment" = [])),
    responses((status = 204, description = "All of them stand"), OfferProblems))]
async fn offer(
    State(server): State<Shared>,
    gate: Gate,
    OwnOrEnrolling(caller): OwnOrEnrolling,
    Json(body): Json<Body>,
) -> Answer<StatusCode> {
    if !(1..=MOST).contains(&body.statements.len()) {
        return Err(Failure::from(Code::InvalidField).detail("statements: 1 to 64"));
    }
    if body.wraps.len() > MOST {
        return Err(Failure::from(Code::InvalidField).detail("wraps: at most 64"));
    }
    let device = Some(caller.device).filter(|device| *device != DeviceId::NIL);
    if device.is_none() {
        gate.subject(&server, Action::Renew, Subject::Account(caller.account)).await?;
    }
    let wraps = body.wraps.into_iter().map(wrapped).collect();
    let offer = OfferRoster { account: caller.account, device, statements: body.statements, wraps };
    if let Some(position) = offer.run(&server).await? {
        in_effect(&server, position).await;
    }
    Ok(StatusCode::NO_CONTENT)
}
