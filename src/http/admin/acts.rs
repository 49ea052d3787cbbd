//! `/v1/admin/accounts/{account}/…`: acts on one account.

use axum::extract::State;
use lockstep_api::admin::{Done, Reason, SetFlag, SetPlan, SetRole};
use lockstep_events::{AccountId, event::Proposal};

use super::{
    accounts::answered,
    roll::{Acting, Resolute},
};
use crate::{
    commands::admin::{self, Act, disable::Disable, end_sessions, propose},
    http::{Answer, Json, Path, Routes, openapi::problems, routes::routes},
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(set_role))
        .routes(routes!(set_plan))
        .routes(routes!(set_flag))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(end))
        .routes(routes!(delete))
}

problems! {
    /// What an act meets.
    ActProblems: Forbidden, StepUpRequired, PreconditionFailed;
}

/// Gives the account another role; its sessions end. Needs a fresh step-up; with two administrators it is proposed.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/role", operation_id = "set_account_role", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path)), request_body = SetRole,
    responses((status = 200, description = "Done, or proposed", body = Done), ActProblems))]
async fn set_role(
    State(server): State<Shared>,
    Resolute(by): Resolute,
    Path(account): Path<AccountId>,
    Json(body): Json<SetRole>,
) -> Answer<Json<Done>> {
    let act = Act { server: &server, by, account, reason: &body.reason };
    Ok(answered(propose::do_or_propose(&act, Proposal::Role { role: body.role }).await?))
}

/// Gives the account another plan.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/plan", operation_id = "set_account_plan", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path)), request_body = SetPlan,
    responses((status = 200, description = "Done", body = Done), ActProblems))]
async fn set_plan(
    State(server): State<Shared>,
    Acting(by): Acting,
    Path(account): Path<AccountId>,
    Json(body): Json<SetPlan>,
) -> Answer<Json<Done>> {
    let act = Act { server: &server, by, account, reason: &body.reason };
    let command = admin::set_plan::SetPlan { plan: body.plan, until: body.until };
    Ok(answered(command.run(&act).await?))
}

/// Switches a feature for the account alone, or lets it follow the plan again.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/flags", operation_id = "set_account_flag", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path)), request_body = SetFlag,
    responses((status = 200, description = "Done", body = Done), ActProblems))]
async fn set_flag(
    State(server): State<Shared>,
    Acting(by): Acting,
    Path(account): Path<AccountId>,
    Json(body): Json<SetFlag>,
) -> Answer<Json<Done>> {
    let act = Act { server: &server, by, account, reason: &body.reason };
    Ok(answered(admin::set_flag::SetFlag { flag: body.flag, on: body.on }.run(&act).await?))
}

/// Disables the account: its sessions end, and nobody logs in to it.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/disable", operation_id = "disable_account", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path)), request_body = Reason,
    responses((status = 200, description = "Done", body = Done), ActProblems))]
async fn disable(
    State(server): State<Shared>,
    Acting(by): Acting,
    Path(account): Path<AccountId>,
    Json(body): Json<Reason>,
) -> Answer<Json<Done>> {
    let act = Act { server: &server, by, account, reason: &body.reason };
    Ok(answered(Disable { disabled: true }.run(&act).await?))
}

/// Lets the account be used again; a deletion that has not begun is called off.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/enable", operation_id = "enable_account", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path)), request_body = Reason,
    responses((status = 200, description = "Done", body = Done), ActProblems))]
async fn enable(
    State(server): State<Shared>,
    Acting(by): Acting,
    Path(account): Path<AccountId>,
    Json(body): Json<Reason>,
) -> Answer<Json<Done>> {
    let act = Act { server: &server, by, account, reason: &body.reason };
    Ok(answered(Disable { disabled: false }.run(&act).await?))
}

/// Ends all sessions of the account.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/sessions/end", operation_id = "end_account_sessions", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path)), request_body = Reason,
    responses((status = 200, description = "Done", body = Done), ActProblems))]
async fn end(
    State(server): State<Shared>,
    Acting(by): Acting,
    Path(account): Path<AccountId>,
    Json(body): Json<Reason>,
) -> Answer<Json<Done>> {
    let act = Act { server: &server, by, account, reason: &body.reason };
    Ok(answered(end_sessions::end_sessions(&act).await?))
}

/// Deletes the account: it is disabled at once, and erased for good after `erasure_wait_hours`. Enabling it before calls
/// that off. Needs a fresh step-up; with two administrators it is proposed.
#[utoipa::path(post, path = "/v1/admin/accounts/{account}/delete", operation_id = "delete_account", tag = "admin", security(("token" = [])),
    params(("account" = AccountId, Path)), request_body = Reason,
    responses((status = 200, description = "Begun, or proposed", body = Done), ActProblems))]
async fn delete(
    State(server): State<Shared>,
    Resolute(by): Resolute,
    Path(account): Path<AccountId>,
    Json(body): Json<Reason>,
) -> Answer<Json<Done>> {
    let act = Act { server: &server, by, account, reason: &body.reason };
    Ok(answered(propose::do_or_propose(&act, Proposal::Delete).await?))
}
