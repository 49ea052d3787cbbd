//! `/v1/admin/invitations`: who may register where registration is not open to everybody.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Code,
    admin::{Invite, Invited},
};
use lockstep_events::SubjectId;
use rand::rngs::OsRng;
use utoipa_axum::routes;
use uuid::Uuid;

use super::roll::Acting;
use crate::{
    commands::admin::invite,
    http::{Answer, Failure, Json, Path, Routes, openapi::problems},
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(make)).routes(routes!(withdraw))
}

problems! {
    /// What an invitation meets.
    InviteProblems: Forbidden, StepUpRequired, PreconditionFailed;
}

/// Makes an invitation. Its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/admin/invitations", tag = "admin", security(("token" = [])),
    request_body = Invite,
    responses((status = 201, description = "The invitation", body = Invited), InviteProblems))]
async fn make(
    State(server): State<Shared>,
    Acting(by): Acting,
    Json(body): Json<Invite>,
) -> Answer<(StatusCode, Json<Invited>)> {
    if !(1..=720).contains(&body.hours) {
        return Err(Failure::from(Code::InvalidField).detail("hours: 1 to 720"));
    }
    let until = server.clock.now().plus_seconds(i64::from(body.hours) * 3600);
    let command = invite::Invite { plan: body.plan, plan_until: body.plan_until, until };
    let made = command.run(&server, by, &mut OsRng).await?;
    Ok((StatusCode::CREATED, Json(Invited { token: made.token, invitation: made.subject.0, until })))
}

/// Withdraws an invitation that was not used.
#[utoipa::path(delete, path = "/v1/admin/invitations/{invitation}", tag = "admin", security(("token" = [])),
    params(("invitation" = Uuid, Path, description = "The invitation")),
    responses((status = 204, description = "It is worth nothing now"), InviteProblems))]
async fn withdraw(
    State(server): State<Shared>,
    Acting(by): Acting,
    Path(invitation): Path<Uuid>,
) -> Answer<StatusCode> {
    invite::withdraw(&server, by, SubjectId(invitation)).await?;
    Ok(StatusCode::NO_CONTENT)
}
