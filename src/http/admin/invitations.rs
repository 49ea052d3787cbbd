//! `/v1/admin/invitations`: who may register where registration is not open to everybody.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Code,
    admin::{InvitationState, InvitationView, Invitations, Invite, Invited},
};
use lockstep_events::{Micros, SubjectId, event::OfficeList};
use rand::rngs::OsRng;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    page::{Part, part},
    roll::{Acting, LookProblems, Looking},
    why::{Why, WhyHeader},
};
use crate::{
    commands::admin::{invite, look, pending::Invitation},
    http::{Answer, Failure, Json, Path, Query, Routes, openapi::problems, routes::routes},
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(list, make)).routes(routes!(withdraw))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Also those that were used, withdrawn or not used in time.
    #[serde(default)]
    all: bool,
    /// Those that were made after this one.
    #[serde(default)]
    after: u64,
    /// At most so many.
    #[serde(default = "super::page::usual")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: usize,
}

fn view(invitation: &Invitation, now: Micros) -> InvitationView {
    let state = match invitation {
        Invitation { used: true, .. } => InvitationState::Used,
        Invitation { withdrawn: true, .. } => InvitationState::Withdrawn,
        open if open.is_open(now) => InvitationState::Open,
        _ => InvitationState::Expired,
    };
    InvitationView {
        invitation: invitation.subject.0,
        made_by: invitation.by,
        made_at: invitation.at,
        until: invitation.made.until,
        plan: invitation.made.plan.clone().map(String::from),
        plan_until: invitation.made.plan_until,
        state,
    }
}

/// Invitations that can still be used, or all of them. That they were listed is an event.
#[utoipa::path(get, path = "/v1/admin/invitations", operation_id = "list_invitations", tag = "admin", security(("token" = [])), params(Page, WhyHeader),
    responses((status = 200, description = "A page", body = Invitations), LookProblems))]
async fn list(
    State(server): State<Shared>,
    looking: Looking,
    Why(reason): Why,
    Query(page): Query<Page>,
) -> Answer<Json<Invitations>> {
    let now = server.clock.now();
    let mut all = server.office.invitations(server.log.as_ref()).await?;
    all.retain(|invitation| page.all || invitation.is_open(now));
    let Part { shown, after } = part(all, (page.after, page.limit), |invitation| invitation.seq)?;
    look::office(&server, looking.by, (OfficeList::Invitations, &[]), &reason).await?;
    let invitations = shown.iter().map(|invitation| view(invitation, now)).collect();
    Ok(Json(Invitations { invitations, after }))
}

problems! {
    /// What an invitation meets.
    InviteProblems: Forbidden, StepUpRequired, PreconditionFailed;
}

/// Makes an invitation. Its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/admin/invitations", operation_id = "make_invitation", tag = "admin", security(("token" = [])),
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
    let made = command.run(&server, (by, &body.reason), &mut OsRng).await?;
    Ok((StatusCode::CREATED, Json(Invited { token: made.token, invitation: made.subject.0, until })))
}

/// Withdraws an invitation that was not used. Why comes in a header.
#[utoipa::path(delete, path = "/v1/admin/invitations/{invitation}", operation_id = "withdraw_invitation", tag = "admin", security(("token" = [])),
    params(("invitation" = Uuid, Path, description = "The invitation"), WhyHeader),
    responses((status = 204, description = "It is worth nothing now"), InviteProblems))]
async fn withdraw(
    State(server): State<Shared>,
    Acting(by): Acting,
    Path(invitation): Path<Uuid>,
    Why(reason): Why,
) -> Answer<StatusCode> {
    invite::withdraw(&server, (by, &reason), SubjectId(invitation)).await?;
    Ok(StatusCode::NO_CONTENT)
}
