//! `/v1/account/password`: changing the password.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Code,
    account::{PasswordFinish, PasswordStart, RegisterStarted},
};
use uuid::Uuid;

use super::{
    Answer, Failure, Json, Routes, accounts::wrapped, caller::StepUp, openapi::problems, routes::routes,
    sessions::proof_place,
};
use crate::{
    auth::{
        attempt::{Attempt, LIFE_S},
        credentials::PasswordRecord,
        opaque,
    },
    commands::{
        account::in_effect,
        change_password::{ChangePassword, PasswordError},
        facts::Actor,
        replace::{self, ReplaceError},
    },
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(start)).routes(routes!(finish))
}

problems! {
    /// What a change of the password meets.
    PasswordProblems: StepUpRequired, AttemptExpired, PreconditionFailed;
}

/// Begins a change of the password (an OPAQUE registration for the account that is there). Needs a step-up.
#[utoipa::path(post, path = "/v1/account/password/start", operation_id = "start_password", tag = "accounts", request_body = PasswordStart,
    security(("token" = [])), responses(
    (status = 200, description = "Go on with `POST /v1/account/password/finish`", body = RegisterStarted),
    PasswordProblems))]
async fn start(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Json(body): Json<PasswordStart>,
) -> Answer<Json<RegisterStarted>> {
    let _place = proof_place(&server).await?;
    replace::settle(&server, caller.account).await?;
    let (setup_id, setup) = server.keys.newest_setup();
    let response = opaque::registration_response(setup, caller.account, &body.request.0)
        .map_err(|e| Failure::caused(Code::InvalidField, e).detail("request: not an OPAQUE message"))?;
    let attempt = Uuid::new_v4();
    let state = Attempt::ChangePassword { session: caller.session, setup: setup_id };
    let until = server.clock.now().plus_seconds(LIFE_S);
    server.credentials.put_attempt(attempt, &state.to_bytes(), until).await?;
    Ok(Json(RegisterStarted { attempt, account: caller.account, response: response.into() }))
}

/// Ends it: the old password opens nothing any more, and every other session has ended. Sending the same again within
/// the attempt's life changes nothing.
#[utoipa::path(post, path = "/v1/account/password/finish", operation_id = "finish_password", tag = "accounts", request_body = PasswordFinish,
    security(("token" = [])),
    responses((status = 204, description = "The password is changed"), PasswordProblems))]
async fn finish(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Json(body): Json<PasswordFinish>,
) -> Answer<StatusCode> {
    let stored = server.credentials.attempt(body.attempt, server.clock.now()).await?;
    let setup = match stored.and_then(|bytes| Attempt::from_bytes(&bytes)) {
        Some(Attempt::ChangePassword { session, setup }) if session == caller.session => setup,
        _ => return Err(Code::AttemptExpired.into()),
    };
    let record = opaque::record(&body.upload.0)
        .map_err(|e| Failure::caused(Code::InvalidField, e).detail("upload: not an OPAQUE message"))?;
    let command = ChangePassword {
        actor: Actor { account: caller.account, device: caller.device },
        session: caller.session,
        attempt: body.attempt,
        password: PasswordRecord { account: caller.account, setup, suite: body.suite, record },
        wrap: wrapped(body.wrap),
    };
    let position = command.run(&server).await?;
    in_effect(&server, position).await;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ReplaceError> for Failure {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Overtaken => {
                Self::from(Code::PreconditionFailed).detail("another change of the credentials was first")
            }
            ReplaceError::Log(error) => error.into(),
            ReplaceError::Credentials(error) => error.into(),
        }
    }
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Invalid(what) => Self::from(Code::InvalidField).detail(what),
            PasswordError::NoAccount => Code::NotFound.into(),
            PasswordError::Look(error) => error.into(),
            PasswordError::Replace(error) => error.into(),
            PasswordError::Credentials(error) => error.into(),
        }
    }
}
