//! `/v1/approvals`: a new device asks, an enrolled one approves, the new one collects or withdraws.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Bytes64, Code,
    account::proof_message,
    approval::{
        Approval, ApprovalAsked, Approvals, Approve as Body, Approved, AskApproval, CollectApproval,
        Collected, WithdrawApproval, withdrawal_message,
    },
};
use uuid::Uuid;

use super::{
    Answer, Failure, Json, Path, Routes, accounts,
    caller::{Caller, StepUp},
    limiting::Gate,
    openapi::problems,
    routes::routes,
    sessions::{self, checked_name, named},
};
use crate::{
    commands::{
        account::in_effect,
        approve::{self, Approve, ApproveError, Asked},
    },
    limits::{Action, Subject},
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list, ask))
        .routes(routes!(approve))
        .routes(routes!(collect))
        .routes(routes!(withdraw))
}

problems! {
    /// What an approval meets.
    ApproveProblems: StepUpRequired, NotFound, PreconditionFailed, RosterConflict, QuotaExceeded;
    /// What collecting meets.
    CollectProblems: NotFound, Revoked;
    /// What withdrawing meets.
    WithdrawProblems: NotFound, PreconditionFailed;
}

/// A new device asks to be approved. The answer is the same for names that do not exist.
#[utoipa::path(post, path = "/v1/approvals", operation_id = "ask_approval", tag = "devices", request_body = AskApproval, responses(
    (status = 201, description = "Compare the words, and collect", body = ApprovalAsked)))]
async fn ask(
    State(server): State<Shared>,
    gate: Gate,
    Json(body): Json<AskApproval>,
) -> Answer<(StatusCode, Json<ApprovalAsked>)> {
    let name = checked_name(&body.name)?;
    let index = server.keys.name_index(name);
    gate.subject(&server, Action::Pair, Subject::Name(index)).await?;
    let account = named(&server, name).await?.password.account;
    let AskApproval { device, public_key, kem_key, .. } = body;
    let request = Asked { device, public_key, kem_key: kem_key.0, sealed: None, withdrawn: false };
    let approval = approve::ask(&server, account, &request).await?;
    Ok((StatusCode::CREATED, Json(ApprovalAsked { approval })))
}

/// The devices that ask to be approved.
#[utoipa::path(get, path = "/v1/approvals", operation_id = "list_approvals", tag = "devices", security(("token" = [])),
    responses((status = 200, description = "Oldest first", body = Approvals)))]
async fn list(State(server): State<Shared>, caller: Caller) -> Answer<Json<Approvals>> {
    let open = approve::open(&server, caller.account).await?;
    let shown = open.into_iter().map(|(factor, asked)| Approval {
        approval: factor.id,
        device: asked.device,
        public_key: asked.public_key,
        kem_key: Bytes64(asked.kem_key),
        asked_at: factor.created_at,
    });
    Ok(Json(Approvals { approvals: shown.collect() }))
}

/// Approves a device. Needs a step-up. That a precondition fails means: the device withdrew its request as it was approved, and
/// is one of the account's.
#[utoipa::path(post, path = "/v1/approvals/{approval}/approve", operation_id = "approve_device", tag = "devices", request_body = Body,
    security(("token" = [])), params(("approval" = Uuid, Path, description = "The request")),
    responses((status = 204, description = "It is one of the account's devices"), ApproveProblems))]
async fn approve(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Path(approval): Path<Uuid>,
    Json(body): Json<Body>,
) -> Answer<StatusCode> {
    let (by, sealed) = (caller.access(), body.sealed.0);
    let position = Approve { by, approval, statement: body.statement, sealed }.run(&server).await?;
    in_effect(&server, position).await;
    Ok(StatusCode::NO_CONTENT)
}

/// What an approved device gets; nothing as long as nobody has approved it.
#[utoipa::path(post, path = "/v1/approvals/{approval}/collect", operation_id = "collect_approval", tag = "devices", request_body = CollectApproval,
    params(("approval" = Uuid, Path, description = "The request")),
    responses((status = 200, description = "Approved or not yet", body = Collected), CollectProblems))]
async fn collect(
    State(server): State<Shared>,
    Path(approval): Path<Uuid>,
    Json(body): Json<CollectApproval>,
) -> Answer<Json<Collected>> {
    let message = proof_message(approval.as_bytes());
    let Some(ready) = approve::collect(&server, approval, &message, &body.signature).await? else {
        return Ok(Json(Collected { approved: None }));
    };
    let tokens = sessions::tokens(&server, &ready.session, ready.auth_epoch)?;
    let account = accounts::shown(&server, ready.row).await?;
    Ok(Json(Collected { approved: Some(Approved { sealed: Bytes64(ready.sealed), account, tokens }) }))
}

/// The new device gives up waiting: nobody can approve it any more. Once it is approved, that is refused.
#[utoipa::path(post, path = "/v1/approvals/{approval}/withdraw", operation_id = "withdraw_approval", tag = "devices", request_body = WithdrawApproval,
    params(("approval" = Uuid, Path, description = "The request")),
    responses((status = 204, description = "It is offered to nobody"), WithdrawProblems))]
async fn withdraw(
    State(server): State<Shared>,
    Path(approval): Path<Uuid>,
    Json(body): Json<WithdrawApproval>,
) -> Answer<StatusCode> {
    approve::withdraw(&server, approval, &withdrawal_message(approval), &body.signature).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ApproveError> for Failure {
    fn from(error: ApproveError) -> Self {
        match error {
            ApproveError::NoRequest => Code::NotFound.into(),
            ApproveError::Withdrawn => {
                Self::from(Code::NotFound).detail("the device has withdrawn its request")
            }
            ApproveError::Joined => Self::from(Code::PreconditionFailed).detail(error.to_string()),
            ApproveError::Approved => {
                Self::from(Code::PreconditionFailed).detail("the device is approved already")
            }
            ApproveError::Ended => Code::Revoked.into(),
            ApproveError::Invalid(what) => Self::from(Code::InvalidField).detail(what),
            ApproveError::Enrol(error) => error.into(),
            ApproveError::Log(error) => error.into(),
            ApproveError::Credentials(error) => error.into(),
        }
    }
}
