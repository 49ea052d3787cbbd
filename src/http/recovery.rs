//! `/v1/recovery`: the recovery code, set by a device and used by somebody who lost the password.

use axum::{extract::State, http::StatusCode};
use lockstep_api::{
    Code,
    account::Tokens,
    recovery::{RecoveryFinish, RecoverySet, RecoveryStart, RecoveryStarted},
};
use uuid::Uuid;

use super::{
    Answer, Failure, Json, Routes,
    accounts::{self, wrapped},
    caller::StepUp,
    openapi::problems,
    routes::routes,
    sessions::{self, checked_name, named, proof_place},
};
use crate::{
    auth::{
        attempt::{Attempt, LIFE_S},
        credentials::PasswordRecord,
        opaque,
    },
    commands::{
        account::in_effect,
        facts::Actor,
        recovery::{self, Recover, RecoveryError, SetRecovery},
    },
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(set)).routes(routes!(start)).routes(routes!(finish))
}

problems! {
    /// What setting a recovery code meets.
    SetProblems: StepUpRequired, RosterConflict, PreconditionFailed, QuotaExceeded;
    /// What using one meets.
    UseProblems: LoginFailed, AttemptExpired, AccountDisabled, RosterConflict, PreconditionFailed, QuotaExceeded;
}

/// Sets a recovery code, in the place of the one before. Needs a step-up.
#[utoipa::path(put, path = "/v1/account/recovery", operation_id = "set_recovery_code", tag = "accounts", request_body = RecoverySet,
    security(("token" = [])), responses((status = 204, description = "It is set"), SetProblems))]
async fn set(
    State(server): State<Shared>,
    StepUp(caller): StepUp,
    Json(body): Json<RecoverySet>,
) -> Answer<StatusCode> {
    let command = SetRecovery {
        actor: Actor { account: caller.account, device: caller.device },
        statement: body.statement,
        verifier: body.verifier.0,
        wrap: wrapped(body.wrap),
    };
    let position = command.run(&server).await?;
    in_effect(&server, position).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what a recovery code gives. The answer to a wrong code, to a name without one and to an unknown name is the
/// same.
#[utoipa::path(post, path = "/v1/recovery/start", operation_id = "start_recovery", tag = "accounts", request_body = RecoveryStart, responses(
    (status = 200, description = "Go on with `POST /v1/recovery/finish`", body = RecoveryStarted), UseProblems))]
async fn start(
    State(server): State<Shared>,
    Json(body): Json<RecoveryStart>,
) -> Answer<Json<RecoveryStarted>> {
    // Wrong codes are counted for the address that sends them and for everybody together, not for the name: nobody
    // guesses 160 bits, but anybody could use up a name's day and keep its owner out.
    let name = checked_name(&body.name)?;
    let _place = proof_place(&server).await?;
    let account = named(&server, name).await?.password.account;
    let slot = recovery::check(&server, account, &body.secret.0).await?;
    let row = recovery::of(&server, account).await?;
    let (setup_id, setup) = server.keys.newest_setup();
    let response = opaque::registration_response(setup, account, &body.request.0)
        .map_err(|e| Failure::caused(Code::InvalidField, e).detail("request: not an OPAQUE message"))?;
    let attempt = Uuid::new_v4();
    let until = server.clock.now().plus_seconds(LIFE_S);
    let state = Attempt::Recover { account, slot, setup: setup_id };
    server.credentials.put_attempt(attempt, &state.to_bytes(), until).await?;
    let account = accounts::shown(&server, row).await?;
    Ok(Json(RecoveryStarted { attempt, account, response: response.into() }))
}

/// Sets a new password: every session ends, the code is used up, and this device becomes one of the account's.
/// Sending the same again within the attempt's life gives the same answer.
#[utoipa::path(post, path = "/v1/recovery/finish", operation_id = "finish_recovery", tag = "accounts", request_body = RecoveryFinish, responses(
    (status = 201, description = "The password is set", body = Tokens), UseProblems))]
async fn finish(
    State(server): State<Shared>,
    Json(body): Json<RecoveryFinish>,
) -> Answer<(StatusCode, Json<Tokens>)> {
    let stored = server.credentials.attempt(body.attempt, server.clock.now()).await?;
    let Some(Attempt::Recover { account, slot, setup }) = stored.and_then(|b| Attempt::from_bytes(&b)) else {
        return Err(Code::AttemptExpired.into());
    };
    let record = opaque::record(&body.upload.0)
        .map_err(|e| Failure::caused(Code::InvalidField, e).detail("upload: not an OPAQUE message"))?;
    let command = Recover {
        account,
        attempt: body.attempt,
        slot,
        password: PasswordRecord { account, setup, suite: body.suite, record },
        wrap: wrapped(body.wrap),
        statement: body.statement,
    };
    let opened = command.run(&server).await?;
    in_effect(&server, opened.position).await;
    let tokens = sessions::tokens(&server, &opened.stored, opened.auth_epoch)?;
    Ok((StatusCode::CREATED, Json(tokens)))
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Wrong => Code::LoginFailed.into(),
            RecoveryError::Used => Self::from(Code::AttemptExpired).detail("the code was used"),
            RecoveryError::Disabled => Code::AccountDisabled.into(),
            RecoveryError::Roster(error) => Self::from(Code::RosterConflict).detail(error.to_string()),
            RecoveryError::Password(error) => error.into(),
            RecoveryError::TooMany(exceeded) => exceeded.into(),
            RecoveryError::Subjects(error) => error.into(),
        }
    }
}
